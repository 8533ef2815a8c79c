"""What proves everybody to the view over both sites, and the view to them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.naming import GRAFANA
from infra.platform.monitoring.names import PROMETHEUS, VIEW, VIEW_NAME
from infra.platform.monitoring.sending import ClientKey
from infra.resources import Authority, Certificate


class ViewKeys(pulumi.ComponentResource):
    """`near` proves the Prometheus of the view's site to it, `far` that of the other, `asker` Grafana if there is one.

    `own` proves the view to all of them.
    """

    near: ClientKey
    far: ClientKey
    asker: ClientKey | None
    own: ClientKey

    def __init__(self, name: str, *, asked: bool, opts: pulumi.ResourceOptions | None = None) -> None:
        """`asked`: whether there is a Grafana."""
        super().__init__("isthmus:platform:ViewKeys", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # Of its own: whom this one has signed are all whom the view lets in.
        authority = Authority(VIEW, name="isthmus-view", opts=child)

        def signed(resource: str, subject: str) -> ClientKey:
            one = Certificate(resource, names=[subject], authority=authority, opts=child)
            return ClientKey(certificate=one.certificate, private_key=one.private_key, authority=authority.certificate)

        self.own = signed(VIEW, VIEW_NAME)
        self.near, self.far = (signed(f"{VIEW}-{who}", f"{PROMETHEUS}.{who}") for who in ("near", "far"))
        self.asker = signed(f"{VIEW}-{GRAFANA}", GRAFANA) if asked else None
        self.register_outputs({})


@dataclass(frozen=True, kw_only=True)
class ViewOver:
    """The view over both sites, where it is here: the name of the other site's cluster, and the keys."""

    far_site: str
    keys: ViewKeys
