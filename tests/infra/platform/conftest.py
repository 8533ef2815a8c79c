"""The platform as it is registered, with a small chart in Cilium's place."""

from __future__ import annotations

from typing import Any

import pytest

from infra.platform import Platform, PlatformArgs, cilium, cluster
from tests.infra import recording
from tests.infra.recording import Resource

CHART: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "cilium", "namespace": "kube-system"}},
    {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "cilium", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"k8s-app": "cilium"}}},
    },
]


@pytest.fixture(scope="session")
def platform() -> list[Resource]:
    """Every resource of the platform of environments/local.yaml."""
    local = recording.local()
    args = PlatformArgs(
        cluster=cluster.of_hosts(local.onprem),
        kubernetes_version=local.kubernetes.version,
        object_store=local.platform.object_store,
        index=recording.index(),
        published=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cilium, "objects", lambda *_: CHART)
        return recording.record(lambda: Platform("platform", args))
