"""Volumes: the classes of each kind of site, and how the lab's driver is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.artifacts import Artifact
from infra.environment import Environment, Storage, Volumes
from infra.platform import cluster
from infra.platform.csi import Csi, CsiArgs, classes, lab_driver, snapshots
from tests.infra import recording
from tests.infra.platform.conftest import CRDS
from tests.infra.recording import Resource


def of(environment: Environment) -> list[Resource]:
    """Every resource of the volumes of an environment."""
    storage = environment.platform.storage
    assert storage
    args = CsiArgs(cluster=cluster.of_hosts(environment.onprem), storage=storage, index=recording.index())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "definitions", lambda *_: CRDS)
        return recording.record(lambda: Csi("csi", args))


@pytest.fixture(scope="module")
def lab() -> list[Resource]:
    return of(recording.local())


def class_(resources: list[Resource], name: str, kind: str = "StorageClass") -> dict[str, Any]:
    return recording.the(resources, kind, name if kind == "StorageClass" else f"{kind.lower()}-{name}").inputs


def test_every_site_has_a_default_class_and_one_for_several_hosts(lab: list[Resource]) -> None:
    default, shared = class_(lab, "isthmus"), class_(lab, "isthmus-shared")
    assert default["metadata"]["annotations"] == {classes.DEFAULT: "true"}
    assert "annotations" not in shared["metadata"]
    for one in (default, shared):
        assert one["provisioner"] == classes.LAB_DRIVER
        assert one["allowVolumeExpansion"] is True


def test_on_real_hosts_the_classes_are_of_the_drivers_that_their_owners_run() -> None:
    longhorn = Volumes(provisioner="driver.longhorn.io", snapshots=True, snapshot_parameters={"type": "snap"})
    nfs = Volumes(provisioner="nfs.csi.k8s.io", binds="immediately", parameters={"server": "nas", "share": "/data"})
    local = recording.local()
    storage = Storage.model_validate({"site": {"default": longhorn.model_dump(), "shared": nfs.model_dump()}})
    site = local.model_copy(update={"platform": local.platform.model_copy(update={"storage": storage})})
    resources = of(site)
    assert class_(resources, "isthmus")["volumeBindingMode"] == "WaitForFirstConsumer"
    shared = class_(resources, "isthmus-shared")
    assert (shared["volumeBindingMode"], shared["parameters"]) == ("Immediate", nfs.parameters)
    snapshot = class_(resources, "isthmus", "VolumeSnapshotClass")
    assert (snapshot["driver"], snapshot["parameters"]) == ("driver.longhorn.io", {"type": "snap"})
    assert not [one for one in resources if one.name.startswith("lab-csi")]
    assert len([one for one in resources if one.kind == "VolumeSnapshotClass"]) == 1, "NFS makes none"


def test_a_driver_has_one_default_snapshot_class(lab: list[Resource]) -> None:
    defaults = [one for one in lab if one.kind == "VolumeSnapshotClass" and "annotations" in one.inputs["metadata"]]
    assert [one.inputs["metadata"]["name"] for one in defaults] == ["isthmus"]


def test_a_lost_hosts_volumes_are_used_elsewhere_at_once(lab: list[Resource]) -> None:
    assert recording.the(lab, "CSIDriver", classes.LAB_DRIVER).inputs["spec"]["attachRequired"] is False


def test_drivers_speak_over_sockets_and_controllers_to_the_api_alone(lab: list[Resource]) -> None:
    policies = {one.name: one.inputs["spec"] for one in lab if one.kind == "NetworkPolicy"}
    assert policies.keys() == {f"storage-{name}" for name in ("deny-all", "lab-csi-controller", "snapshot-controller")}
    for name in ("lab-csi-controller", "snapshot-controller"):
        (egress,) = policies[f"storage-{name}"]["egress"]
        assert egress["to"] == [{"ipBlock": {"cidr": "10.90.0.0/24"}}]
        assert [port["port"] for port in egress["ports"]] == [6443]
        assert policies[f"storage-{name}"]["ingress"] == []


def test_what_the_driver_mounts_reaches_the_host_and_its_pool_does_not(lab: list[Resource]) -> None:
    pod = recording.the(lab, "DaemonSet", lab_driver.NODE).pod
    assert pod
    mounts = {one["name"]: one for one in pod["containers"][0]["volumeMounts"]}
    assert mounts["pods"]["mountPropagation"] == "Bidirectional"
    assert [name for name, one in mounts.items() if "mountPropagation" in one] == ["pods"]
    assert pod["tolerations"] == [{"operator": "Exists"}], "a host without the driver runs no pod with a volume"


def test_a_host_that_does_not_share_the_folder_runs_no_driver(lab: list[Resource]) -> None:
    for kind, name in (("DaemonSet", lab_driver.NODE), ("Deployment", lab_driver.CONTROLLER)):
        pod = recording.the(lab, kind, name).pod
        assert pod
        (nas,) = [one["hostPath"] for one in pod["volumes"] if one["name"] == "nas"]
        assert nas == {"path": "/srv/nas", "type": "Directory"}, "another type would make one, of that host alone"


def test_upstreams_definitions_are_spelled_as_the_sdk_does(tmp_path: Path) -> None:
    text = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: volumesnapshots.snapshot.storage.k8s.io}
spec:
  versions:
    - {name: v1, schema: {openAPIV3Schema: {x-kubernetes-map-type: atomic}}}
status: {storedVersions: []}
"""
    (tmp_path / "snapshot.storage.k8s.io_volumesnapshots.yaml").write_text(text)
    (tmp_path / "groupsnapshot.storage.k8s.io_volumegroupsnapshots.yaml").write_text(text)
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization")
    chart = Artifact(kind="chart", version="v1", path=tmp_path, digest=f"sha256:{'0' * 64}", size=1)
    (definition,) = snapshots.definitions(recording.index(**{"snapshot-crds": chart}))
    assert definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == {"x_kubernetes_map_type": "atomic"}
    assert "status" not in definition
