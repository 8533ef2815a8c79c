"""`make predict`: a real digit through the site's ingress."""

from __future__ import annotations

from ops import predict, sites
from ops.up import load


def ask(environment: str, site: str, index: int | None) -> int:
    """Sends one held-out digit to the model that the site serves and prints the answer."""
    return predict.main(sites.ingress_url(load(environment), site), index)
