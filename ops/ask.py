"""`make predict`: a real digit through the site's ingress."""

from __future__ import annotations

from ops import predict
from ops.up import load


def ask(environment: str, site: str, index: int | None) -> int:
    """Sends one held-out digit to the model that the site serves and prints the answer."""
    settings = load(environment)
    network = getattr(settings, site).network
    url = f"http://{network.ingress_address}:{network.ingress_port}"
    return predict.main(url, index)
