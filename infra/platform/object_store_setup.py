"""The Job that turns running Garage servers into one store with our layout, keys and buckets.

It needs Python, which Garage's own image does not have: the inference image is on every host anyway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi_kubernetes import batch, core

from infra.naming import OBJECT_STORE_NAMESPACE
from infra.platform import pods, policies, priorities
from infra.platform.credentials import Keys
from infra.platform.object_store_settings import ADMIN_PORT
from infra.platform.object_store_settings import APP as STORE

APP: Final = "garage-setup"
SECRETS: Final = "garage"
SCRIPT: Final = Path(__file__).parent / "scripts" / "object_store_setup.py"

PYTHON: Final = "/usr/bin/python3.11"
"""Where our images have it; see workloads/inference/Containerfile."""

SETUP_PATH: Final = "/etc/isthmus"
SECRETS_PATH: Final = "/var/run/secrets/isthmus"

DEADLINE_S: Final = 900
"""Longest that the hosts may take to pull images and start the servers."""


@dataclass(frozen=True, kw_only=True)
class OpenedBy:
    """The key of a bucket, and the Secret of the store's namespace that holds it."""

    keys: Keys
    secret: str


class ObjectStoreSetup(pulumi.ComponentResource):
    """Runs whenever what it is to bring about changes, under a new name; `job` is done when the store is usable."""

    job: batch.v1.Job

    def __init__(
        self,
        name: str,
        *,
        state: dict[str, Any],
        image: str,
        keys: Mapping[str, OpenedBy],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`state`: what the script brings about; `keys`: bucket -> what opens it."""
        super().__init__("isthmus:platform:ObjectStoreSetup", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        files = {"setup.py": SCRIPT.read_text(encoding="utf-8"), "state.json": json.dumps(state, indent=2)}
        config = core.v1.ConfigMap(
            APP,
            metadata=pods.metadata(APP, name=pods.content_name(APP, files), namespace=OBJECT_STORE_NAMESPACE),
            data=files,
            opts=child,
        )
        policies.allow(
            APP,
            OBJECT_STORE_NAMESPACE,
            ingress=[],
            egress=[{"to": [policies.app(STORE)], "ports": policies.ports(ADMIN_PORT)}],
            opts=child,
        )
        marks = {bucket: key.keys.mark for bucket, key in keys.items()}
        run = pulumi.Output.all(**marks).apply(lambda known: pods.content_name(APP, [files, image, known]))
        self.job = batch.v1.Job(
            APP,
            metadata={
                **pods.metadata(APP, namespace=OBJECT_STORE_NAMESPACE, annotations=pods.RERUN_FAILED),
                "name": run,
            },
            spec={
                "backoff_limit": 3,
                "active_deadline_seconds": DEADLINE_S,
                "template": {
                    "metadata": {"labels": pods.selector(APP)},
                    "spec": _pod(image, config.metadata["name"], {bucket: key.secret for bucket, key in keys.items()}),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create=f"{DEADLINE_S}s")),
        )
        self.register_outputs({})


def _pod(image: str, config: pulumi.Input[str], secrets: Mapping[str, str]) -> core.v1.PodSpecArgsDict:
    return {
        "restart_policy": "Never",
        "priority_class_name": priorities.STORAGE,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "containers": [
            {
                "name": APP,
                "image": image,
                "command": [PYTHON, f"{SETUP_PATH}/setup.py", f"{SETUP_PATH}/state.json", SECRETS_PATH],
                "resources": {
                    "requests": {"cpu": "10m", "memory": "32Mi"},
                    "limits": {"cpu": "500m", "memory": "128Mi"},
                },
                "security_context": pods.locked(),
                "volume_mounts": [
                    {"name": "setup", "mount_path": SETUP_PATH, "read_only": True},
                    {"name": "secrets", "mount_path": SECRETS_PATH, "read_only": True},
                ],
            }
        ],
        "volumes": [
            {"name": "setup", "config_map": {"name": config}},
            {"name": "secrets", "projected": {"default_mode": 0o440, "sources": _sources(secrets)}},
        ],
    }


def _sources(secrets: Mapping[str, str]) -> list[core.v1.VolumeProjectionArgsDict]:
    """The administration's token, and for each bucket a folder with both parts of its key."""
    parts = ("access_key_id", "secret_access_key")
    found: list[core.v1.VolumeProjectionArgsDict] = [{"secret": {"name": SECRETS, "items": [_item("admin_token")]}}]
    for bucket, secret in secrets.items():
        found.append({"secret": {"name": secret, "items": [_item(part, f"{bucket}/") for part in parts]}})
    return found


def _item(key: str, folder: str = "") -> core.v1.KeyToPathArgsDict:
    return {"key": key, "path": f"{folder}{key}"}
