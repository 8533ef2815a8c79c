"""Volumes of the running cluster: bound, kept, shared, bounded, grown, copied, and gone with their claims."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from infra.naming import SHARED_CLASS, STORAGE_CLASS
from infra.naming import STORAGE_NAMESPACE as NAMESPACE
from infra.platform.csi.lab_driver import NODE
from ops import cluster, sites
from ops.up import load
from tests.cluster.volumes import FULL, Volumes, volumes

SITES = list(sites.of(load(os.environ.get("ISTHMUS_ENV", "local"))))


@pytest.fixture(scope="module", params=SITES)
def site(environment: str, request: pytest.FixtureRequest) -> Iterator[Volumes]:
    with volumes(environment, request.param) as made:
        yield made


def test_the_site_has_both_classes_and_one_of_them_is_the_default(site: Volumes) -> None:
    found = {one["metadata"]["name"]: one for one in cluster.items(site.environment, "storageclasses", site=site.site)}
    assert {STORAGE_CLASS, SHARED_CLASS} <= found.keys()
    default = "storageclass.kubernetes.io/is-default-class"
    marked = [n for n, one in found.items() if (one["metadata"].get("annotations") or {}).get(default) == "true"]
    assert marked == [STORAGE_CLASS]


def test_the_driver_is_registered_on_every_node(site: Volumes) -> None:
    for node in cluster.items(site.environment, "csinodes", site=site.site):
        drivers = [one["name"] for one in node["spec"].get("drivers") or []]
        assert drivers == ["lab.csi.isthmus.dev"], node["metadata"]["name"]


def test_what_a_pod_wrote_is_there_for_the_next_one_and_goes_with_the_claim(site: Volumes) -> None:
    site.claim("kept", "50Mi")
    site.pod("first", "kept")
    assert site.write("first", "file", 10) == ""
    written = site.read("first", "file")
    site.kubectl("delete", "pod", "first", "--wait=true", timeout=60)
    site.pod("second", "kept")
    assert site.read("second", "file") == written
    volume = site.get("pvc", "kept")["spec"]["volumeName"]
    site.kubectl("delete", "pod", "second", "--wait=true", timeout=60)
    site.kubectl("delete", "pvc", "kept", "--wait=true", timeout=60)

    def gone() -> bool:
        found = cluster.items(site.environment, "persistentvolumes", site=site.site)
        return volume not in [one["metadata"]["name"] for one in found]

    site.until(60, gone, f"{volume} is still there")


def test_pods_on_different_hosts_see_each_others_writes(site: Volumes) -> None:
    hosts = [host.name for host in sites.one(load(site.environment), site.site).workers()]
    site.claim("shared", "50Mi", of=SHARED_CLASS, mode="ReadWriteMany")
    # The lab's cloud site may have one host; there both pods are on it.
    pods = {"one": hosts[0], "two": hosts[-1]}
    for name, host in pods.items():
        site.pod(name, "shared", node=host)
    for name in pods:
        assert site.write(name, name, 1) == ""
    for file in pods:
        assert len({site.read(name, file) for name in pods}) == 1


def test_a_write_beyond_the_claim_fails_until_the_claim_is_larger(site: Volumes) -> None:
    site.claim("bounded", "20Mi")
    site.pod("bounded", "bounded")
    assert site.write("bounded", "file", 30) == FULL
    site.kubectl("patch", "pvc", "bounded", "-p", '{"spec":{"resources":{"requests":{"storage":"60Mi"}}}}')
    grown = lambda: site.get("pvc", "bounded")["status"]["capacity"]["storage"] == "60Mi"  # noqa: E731
    site.until(60, grown, "the claim does not grow")
    assert site.write("bounded", "file", 30) == "", "in the same pod, without a restart"


def test_a_snapshot_and_a_clone_hold_what_was_there_and_are_written_apart(site: Volumes) -> None:
    site.claim("origin", "50Mi")
    site.pod("origin", "origin")
    site.write("origin", "file", 10)
    before = site.read("origin", "file")
    site.snapshot("then", "origin")
    site.write("origin", "file", 5)
    site.claim("restored", "50Mi", source=("VolumeSnapshot", "then"))
    site.claim("clone", "60Mi", source=("PersistentVolumeClaim", "origin"))
    after = site.read("origin", "file")
    for name, expected in (("restored", before), ("clone", after)):
        site.pod(name, name)
        assert site.read(name, "file") == expected
        assert site.write(name, "own", 1) == ""
    assert before != after
    assert site.read("origin", "file") == after


def test_a_driver_that_dies_on_a_host_takes_no_volume_with_it(site: Volumes) -> None:
    host = sites.one(load(site.environment), site.site).workers()[0].name
    site.claim("outlives", "50Mi")
    site.pod("outlives", "outlives", node=host)
    assert site.write("outlives", "before", 5) == ""
    before = site.read("outlives", "before")
    drivers = ("-n", NAMESPACE, "-l", f"app.kubernetes.io/name={NODE}", f"--field-selector=spec.nodeName={host}")

    def ready() -> set[str]:
        """Names of the drivers on the host that work."""
        found = cluster.items(site.environment, "pods", *drivers, site=site.site)
        return {pod["metadata"]["name"] for pod in found if cluster.ready(pod)}

    (driver,) = ready()
    kill = ("delete", "pod", driver, "-n", NAMESPACE, "--grace-period=0", "--force")
    cluster.kubectl(site.environment, *kill, site=site.site)
    assert site.write("outlives", "meanwhile", 5) == ""
    assert site.read("outlives", "before") == before
    site.until(60, lambda: bool(ready() - {driver}), "there is no other driver")
    # The next driver mounts volumes on the host, and lets go of what the one before it has mounted.
    site.claim("later", "50Mi")
    site.pod("later", "later", node=host)
    assert site.write("later", "file", 5) == ""
    for name in ("outlives", "later"):
        site.kubectl("delete", "pod", name, "--wait=true", timeout=60)
