"""`make predict`: a real digit through the site's ingress."""

from __future__ import annotations

from infra import addressing
from ops import predict, sites
from ops.up import load


def ask(environment: str, site: str, index: int | None) -> int:
    """Sends one held-out digit to the model that the site serves and prints the answer."""
    network = sites.one(load(environment), site).network
    return predict.main(addressing.ingress_url(network), index)
