"""What the probe of preflight finds on a host."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ansible.conftest import ANSIBLE

MANIFEST = """\
spec:
  containers:
  - command: [kube-apiserver, --etcd-servers=https://127.0.0.1:2379]
    image: registry.k8s.io/kube-apiserver:v1.37.2
"""


@pytest.fixture
def probe() -> dict[str, Any]:
    """Its functions. It is a program without a module's guard, as it is sent to a host's Python on standard input."""
    source = (ANSIBLE / "files" / "probe.py").read_text()
    assert source.endswith("\n\nmain()\n")
    found: dict[str, Any] = {}
    exec(compile(source.removesuffix("main()\n"), "probe.py", "exec"), found)  # noqa: S102
    return found


@pytest.mark.parametrize(("manifest", "version"), [(MANIFEST, "v1.37.2"), ("", "")])
def test_the_version_of_an_api_server_is_that_of_its_manifest(
    probe: dict[str, Any], manifest: str, version: str
) -> None:
    asked: list[str] = []
    probe["read"] = lambda path: asked.append(path) or manifest
    assert probe["api_server"]() == version
    assert asked == ["/etc/kubernetes/manifests/kube-apiserver.yaml"]
