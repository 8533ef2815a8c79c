"""The plugin's process."""

from __future__ import annotations

from infra.providers.offline.kubernetes.provider import KubernetesProvider
from infra.providers.offline.serve import serve


def main(arguments: list[str]) -> None:
    """Serve until the engine ends. Argument: the engine's address."""
    serve(arguments, KubernetesProvider)
