"""The rules of an environment with two sites: of the view over both, of who sends to it, and of the mesh.

A site that stands alone has none of them. What only the environment file says becomes a series that rules compare with,
as in bounds.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).parent / "linked_rules"
FAR_SITE: Final = "view:far_site"
SITES_FILE: Final = "sites.yaml"


def of_senders() -> dict[str, str]:
    """Of each site's own Prometheus, by the file's name."""
    return _read("sending.yaml")


def of_mesh() -> dict[str, str]:
    """Of a site's own Prometheus where the clusters are meshed, by the file's name."""
    return _read("mesh.yaml")


def of_view(*, far_site: str) -> dict[str, str]:
    """Of the view, by the file's name; `far_site` is the name of the cluster at the other end of the link."""
    record: dict[str, Any] = {"record": FAR_SITE, "labels": {"cluster": far_site}, "expr": "vector(1)"}
    sites = {"groups": [{"name": "sites", "rules": [record]}]}
    return _read("view.yaml") | {SITES_FILE: yaml.safe_dump(sites, sort_keys=False)}


def _read(name: str) -> dict[str, str]:
    return {name: (RULES / name).read_text()}
