"""What the real chart of Cilium makes of our values. It comes from the mirror, so `make test` looks at it."""

from __future__ import annotations

import dataclasses
import json
from typing import cast

import pulumi
import pytest

from infra import environment, meshes
from infra.artifacts import Index
from infra.cloud import lab_site
from infra.naming import MESH_IMAGE
from infra.platform import chart, cilium, cluster, manifests
from infra.platform.chart import Manifest
from tests.infra import program, recording
from tests.infra.manifests import exceptions, rendered, rules, schema

pytestmark = pytest.mark.mirror


def held() -> Index:
    """What the mirror holds, and the mesh's image, which it has only where somebody asked for it."""
    return Index(artifacts={MESH_IMAGE: recording.image("registry.example/mesh:v1"), **Index.load().artifacts})


@pytest.fixture(scope="module")
def clusters() -> dict[str, list[Manifest]]:
    """The objects of Cilium in every cluster of the reviewed environments."""
    index, made = held(), {}
    for name in program.ENVIRONMENTS:
        env = environment.load(program.file(name))
        sites = {"onprem": cluster.of_hosts(env.onprem, linked=bool(env.cloud), mesh=meshes.onprem(env))}
        if env.cloud and env.cloud.provisioner == "lab":
            sites["cloud"] = cluster.of_hosts(lab_site.site(env.cloud), mesh=meshes.cloud(env.onprem, env.cloud))
        elif env.cloud:
            mesh = meshes.cloud(env.onprem, env.cloud)
            sites["cloud"] = cluster.of_eks(env.cloud, env.onprem.network.cidr, "api.example", mesh=mesh)
        for site, facts in sites.items():
            # Whatever this machine mounts where.
            anywhere = dataclasses.replace(facts, cgroup_root=str(cluster.CGROUP_ROOT))
            version = f"v{env.cloud.kubernetes_version}.0" if facts.eks and env.cloud else env.kubernetes.version
            made[f"{name}-{site}"] = registered(cilium.objects(anywhere, index, version))
    return made


def test_where_aws_names_the_api_that_is_all_that_is_said_later(clusters: dict[str, list[Manifest]]) -> None:
    env = environment.load(program.file("prod"))
    assert env.cloud
    early = dataclasses.replace(
        cluster.of_eks(env.cloud, env.onprem.network.cidr, "", mesh=meshes.cloud(env.onprem, env.cloud)),
        api_host=cast(pulumi.Output[str], None),
    )
    text = json.dumps(cilium.objects(early, held(), f"v{env.cloud.kubernetes_version}.0"))
    objects = json.loads(text.replace(cilium.API_HOST, "api.example"))
    in_order = {"key": chart.identity}
    assert sorted(registered(objects), **in_order) == sorted(clusters["prod-cloud"], **in_order)
    assert text.count(cilium.API_HOST) >= 2, "agents and operator need it"


def registered(objects: list[Manifest]) -> list[Manifest]:
    """As they are once they have been through the SDK."""
    opts = pulumi.ResourceOptions()
    return rendered.manifests(recording.record(lambda: manifests.create(objects, opts=opts)))


def test_every_object_is_as_the_schema_of_its_kind_has_it(clusters: dict[str, list[Manifest]]) -> None:
    for name, objects in clusters.items():
        for one in objects:
            assert schema.faults(one) == [], f"{name}: {one['kind']} {one['metadata']['name']}"


def test_its_pods_break_exactly_the_rules_that_a_network_must(clusters: dict[str, list[Manifest]]) -> None:
    broken = set().union(*(rules.broken(objects) for objects in clusters.values()))
    assert broken == set().union(*(one.allowed for one in exceptions.CILIUM))
