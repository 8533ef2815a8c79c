"""The provider's own settings: which cluster, and what to do in doubt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.values import at

_TEXTS = frozenset({"cluster", "clusterIdentifier", "context", "kubeconfig", "namespace"})
_FLAGS = {
    "deleteUnreachable": "delete_unreachable",
    "enableConfigMapMutable": "mutable_config_maps",
    "enablePatchForce": "force",
    "enableSecretMutable": "mutable_secrets",
    "skipUpdateUnreachable": "skip_update_unreachable",
    "upsertExistingObjects": "upsert",
}
_WITHOUT_EFFECT = frozenset({"suppressDeprecationWarnings", "suppressHelmHookWarnings", "version"})
"""Settings that only silence what this stand-in never says."""


class ConfigError(Exception):
    """The settings cannot be used; the message says why, without the kubeconfig's content."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings as they are used. `kubeconfig` is None while it is unknown."""

    kubeconfig: dict[str, Any] | None = None
    context: str | None = None
    namespace: str = "default"
    delete_unreachable: bool = False
    force: bool = False
    mutable_config_maps: bool = False
    mutable_secrets: bool = False
    skip_update_unreachable: bool = False
    upsert: bool = False

    @property
    def mutable(self) -> frozenset[str]:
        """Kinds whose data may change in place."""
        kinds = {"ConfigMap": self.mutable_config_maps, "Secret": self.mutable_secrets}
        return frozenset(kind for kind, may in kinds.items() if may)


def problems(config: dict[str, Any]) -> dict[str, str]:
    """Setting -> reason, for those that this stand-in refuses."""
    found = {}
    for key, value in config.items():
        if key == "enableServerSideApply":
            if value is not UNKNOWN and not _flag(value):
                found[key] = "the stand-in for the kubernetes plugin always uses server-side apply"
        elif key not in _TEXTS and key not in _FLAGS and key not in _WITHOUT_EFFECT:
            found[key] = "the stand-in for the kubernetes plugin does not have this setting"
    if not found:
        try:
            settings(config)
        except ConfigError as error:
            found["kubeconfig"] = str(error)
    return found


def settings(config: dict[str, Any]) -> Settings:
    """The settings in use; ConfigError where the kubeconfig cannot be."""
    raw = config.get("kubeconfig")
    kubeconfig = None if raw is UNKNOWN else load_kubeconfig(raw)
    context = config.get("context")
    context = context if isinstance(context, str) and context else None
    if kubeconfig is not None:
        kubeconfig = _choose(kubeconfig, context, config.get("cluster"))
    namespace = config.get("namespace")
    if not isinstance(namespace, str) or not namespace:
        namespace = at(_entry(kubeconfig, "context", context) or {}, "namespace") or "default"
    flags = {field: _flag(config.get(key)) for key, field in _FLAGS.items()}
    return Settings(kubeconfig=kubeconfig, context=context, namespace=namespace, **flags)


def load_kubeconfig(raw: Any) -> dict[str, Any]:
    """A kubeconfig from its content or its path, ~/.kube/config by default."""
    text = raw if isinstance(raw, str) and raw else "~/.kube/config"
    path = Path(text).expanduser() if "\n" not in text and "{" not in text else None
    if path is not None:
        try:
            text = path.read_text()
        except OSError as error:
            raise ConfigError(f"kubeconfig {path}: {error.strerror}; give its content or the path of a file") from None
    try:
        # The C loader, where there is one, is some ten times faster; both make plain values only.
        loaded = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        raise ConfigError("the kubeconfig is not valid YAML") from None
    if not isinstance(loaded, dict) or not loaded.get("clusters"):
        raise ConfigError("the kubeconfig names no cluster")
    return loaded


def cluster_moved(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether two configurations mean different clusters, so that everything in the old one must be made again.

    New credentials for the same server are not another cluster, a new certificate authority is.
    """
    if UNKNOWN in (old.get("kubeconfig"), new.get("kubeconfig")):
        return False
    identifiers = old.get("clusterIdentifier"), new.get("clusterIdentifier")
    if identifiers != (None, None):
        return identifiers[0] != identifiers[1]
    return _endpoint(old) != _endpoint(new)


def _endpoint(config: dict[str, Any]) -> tuple[Any, Any] | None:
    try:
        used = settings(config)
    except ConfigError:
        # A file that is gone, or content that is damaged: nothing says that it was another cluster.
        return None
    context = _entry(used.kubeconfig, "context", used.context) or {}
    cluster = _entry(used.kubeconfig, "cluster", context.get("cluster")) or {}
    return cluster.get("server"), cluster.get("certificate-authority-data") or cluster.get("certificate-authority")


def _entry(kubeconfig: dict[str, Any] | None, what: str, name: Any) -> dict[str, Any] | None:
    """A named context or cluster; the current context without a name."""
    if kubeconfig is None:
        return None
    name = name or (kubeconfig.get("current-context") if what == "context" else None)
    entries = kubeconfig.get(f"{what}s") or []
    return next((entry.get(what) or {} for entry in entries if entry.get("name") == name), None)


def _choose(kubeconfig: dict[str, Any], context: str | None, cluster: Any) -> dict[str, Any]:
    """The kubeconfig with the cluster that the settings want in the context that they want."""
    wanted = _entry(kubeconfig, "context", context)
    if wanted is None:
        name = context or kubeconfig.get("current-context") or ""
        raise ConfigError(f"the kubeconfig has no context {name!r}")
    target = cluster if isinstance(cluster, str) and cluster else wanted.get("cluster")
    if _entry(kubeconfig, "cluster", target) is None:
        raise ConfigError(f"the kubeconfig has no cluster {target!r}")
    name = context or kubeconfig["current-context"]
    contexts = [
        {**entry, "context": {**entry["context"], "cluster": target}} if entry["name"] == name else entry
        for entry in kubeconfig["contexts"]
    ]
    return {**kubeconfig, "contexts": contexts, "current-context": name}


def _flag(value: Any) -> bool:
    """The engine hands nested settings over as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return False
    return value is True
