"""How long a kubeconfig that a play handed back lets its holder in."""

from __future__ import annotations

import base64
import datetime
from typing import Any, Final

import yaml

RENEW_DAYS: Final = 45
"""Left of a kubeconfig when the next `up` fetches another. Hosts renew theirs when 60 days are left (role
certificate_renewal), so that by then there is one to fetch."""


def days_left(text: Any) -> int | None:
    """Whole days until the first of its client certificates ends; None where none can be read."""
    # Loaded here: the library takes a moment, and most processes of this provider ask for none.
    from cryptography import x509

    try:
        users = [entry["user"] for entry in yaml.safe_load(text)["users"]]
        coded = [user["client-certificate-data"] for user in users if "client-certificate-data" in user]
        ends = [x509.load_pem_x509_certificate(base64.b64decode(one)).not_valid_after_utc for one in coded]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        return None  # not a kubeconfig, or one that lets in by other means
    return (min(ends) - datetime.datetime.now(datetime.UTC)).days if ends else None


def near_its_end(state: dict[str, Any]) -> int | None:
    """The days that the kubeconfig in a Playbook's state has left, where they are few."""
    results = state.get("results")
    days = days_left(results.get("kubeconfig")) if isinstance(results, dict) and "kubeconfig" in results else None
    return days if days is not None and days < RENEW_DAYS else None
