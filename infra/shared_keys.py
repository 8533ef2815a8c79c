"""What the on-prem site makes and both sites take: keys of its object store, the mesh's authority, keys of the view.

Nothing here waits for a cluster: where the on-prem one cannot be made, the cloud half is finished all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import meshes
from infra.environment import Environment
from infra.platform.credentials import Credentials, Keys
from infra.platform.monitoring import ViewKeys, ViewOver
from infra.resources import Authority


@dataclass(frozen=True, kw_only=True)
class SharedKeys:
    """Of a site that stands alone only `store`, which opens its models, is there: all else is of use to two."""

    store: Keys
    backups: Keys | None
    """What opens the store's bucket for hosts' backups, on their way to the other site."""
    authority: Authority | None
    """Signs both sites' certificates of the mesh."""
    over: ViewOver | None
    """The view over both sites, if they are watched."""


def make(env: Environment, opts: pulumi.ResourceOptions) -> SharedKeys:
    """Those that the environment has a use for."""
    return SharedKeys(
        store=Credentials("object-store", opts).keys,
        backups=Credentials("backups", opts).keys if env.cloud else None,
        authority=Authority("mesh", name=meshes.AUTHORITY, opts=opts) if meshes.onprem(env) else None,
        over=_over(env, opts),
    )


def _over(env: Environment, opts: pulumi.ResourceOptions) -> ViewOver | None:
    settings = env.platform.monitoring
    if env.cloud is None or settings is None:
        return None
    keys = ViewKeys("view-keys", asked=settings.grafana is not None, opts=opts)
    return ViewOver(far_site=env.cloud.cluster.name, keys=keys)
