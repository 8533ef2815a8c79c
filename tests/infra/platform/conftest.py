"""The platform as it is registered, with a small chart in Cilium's place, and upstream's definitions of snapshots."""

from __future__ import annotations

import dataclasses

import pytest

from infra import nodes
from infra.platform import Platform, PlatformArgs, Shown, cilium, cluster
from infra.platform.chart import Manifest
from infra.platform.credentials import Credentials
from infra.platform.csi import snapshots
from tests.infra import recording
from tests.infra.manifests.vendor import SNAPSHOTS
from tests.infra.recording import Resource

CHART: list[Manifest] = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "cilium", "namespace": "kube-system"}},
]

CRDS: list[Manifest] = list(SNAPSHOTS.content()["definitions"].values())


@pytest.fixture(scope="session")
def platform() -> list[Resource]:
    """Every resource of the platform of environments/local.yaml."""
    local = recording.local()
    assert local.platform.status
    args = PlatformArgs(
        cluster=cluster.of_hosts(local.onprem),
        kubernetes_version=local.kubernetes.version,
        storage=local.platform.storage,
        object_store=local.platform.object_store,
        index=recording.index(),
        published=True,
        accelerators=nodes.offers(local, "onprem"),
        monitoring=local.platform.monitoring,
        for_autoscalers=local.workloads.inference.scales_by_requests,
        status=Shown(settings=local.platform.status, model=local.workloads.inference.model),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cilium, "objects", lambda *_: CHART)
        patch.setattr(snapshots, "definitions", lambda *_: CRDS)

        def made() -> None:
            keys = Credentials("object-store").keys
            Platform("platform", dataclasses.replace(args, keys=keys))

        return recording.record(made)
