"""The provider's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.kubernetes.config import ConfigError, cluster_moved, problems, settings


def kubeconfig(server: str = "https://a:6443", user: str = "me", ca: str = "Q0E=", namespace: str = "team") -> str:
    """With two contexts."""
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": ca}}],
            "users": [{"name": user, "user": {"token": "hidden-token"}}],
            "contexts": [
                {"name": "x", "context": {"cluster": "c", "user": user, "namespace": namespace}},
                {"name": "y", "context": {"cluster": "c", "user": user}},
            ],
            "current-context": "x",
        }
    )


def test_content_and_path_are_both_taken(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig())
    assert settings({"kubeconfig": str(path)}) == settings({"kubeconfig": kubeconfig()})


def test_the_namespace_is_the_settings_then_the_contexts_then_default() -> None:
    assert settings({"kubeconfig": kubeconfig(), "namespace": "own"}).namespace == "own"
    assert settings({"kubeconfig": kubeconfig()}).namespace == "team"
    assert settings({"kubeconfig": kubeconfig(), "context": "y"}).namespace == "default"


def test_an_unknown_kubeconfig_is_no_problem() -> None:
    assert problems({"kubeconfig": UNKNOWN}) == {}
    assert settings({"kubeconfig": UNKNOWN}).kubeconfig is None


def test_flags_come_as_json_text() -> None:
    found = settings({"kubeconfig": kubeconfig(), "enablePatchForce": "true", "enableConfigMapMutable": True})
    assert found.force
    assert found.mutable == {"ConfigMap"}
    assert not found.upsert


@pytest.mark.parametrize(
    ("config", "key", "says"),
    [
        ({"kubeconfig": "/does/not/exist"}, "kubeconfig", "No such file"),
        ({"kubeconfig": "a: [hidden-token\n"}, "kubeconfig", "not valid YAML"),
        ({"kubeconfig": "a: b\n"}, "kubeconfig", "names no cluster"),
        ({"kubeconfig": kubeconfig(), "context": "z"}, "kubeconfig", "no context 'z'"),
        ({"kubeconfig": kubeconfig(), "cluster": "z"}, "kubeconfig", "no cluster 'z'"),
        ({"renderYamlToDirectory": "x"}, "renderYamlToDirectory", "does not have this setting"),
        ({"enableServerSideApply": "false"}, "enableServerSideApply", "always uses server-side apply"),
    ],
)
def test_what_cannot_be_used_is_named(config: dict[str, Any], key: str, says: str) -> None:
    found = problems(config)
    assert says in found[key]
    assert "hidden-token" not in str(found)


def test_settings_that_cannot_be_used_raise() -> None:
    with pytest.raises(ConfigError):
        settings({"kubeconfig": "a: b\n"})


@pytest.mark.parametrize(
    ("new", "moved"),
    [
        ({"kubeconfig": kubeconfig(user="renewed")}, False),
        ({"kubeconfig": kubeconfig(), "enablePatchForce": "true"}, False),
        ({"kubeconfig": UNKNOWN}, False),
        ({"kubeconfig": kubeconfig(server="https://b:6443")}, True),
        ({"kubeconfig": kubeconfig(ca="T1RIRVI=")}, True),
        ({"kubeconfig": kubeconfig(server="https://b:6443"), "clusterIdentifier": "one"}, True),
    ],
)
def test_another_cluster_is_told_from_other_credentials(new: dict[str, Any], moved: bool) -> None:
    assert cluster_moved({"kubeconfig": kubeconfig()}, new) is moved


def test_the_identifier_alone_decides_where_it_is_set() -> None:
    old = {"kubeconfig": kubeconfig(), "clusterIdentifier": "one"}
    assert not cluster_moved(old, {"kubeconfig": kubeconfig(server="https://b:6443"), "clusterIdentifier": "one"})
    assert cluster_moved(old, {"kubeconfig": kubeconfig(), "clusterIdentifier": "two"})
