"""The engine with the kubernetes stand-in, on a cluster."""

from __future__ import annotations

from pathlib import Path

from tests.providers.offline.engine import Stack

PRELUDE = """
import os, pathlib
import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

def provider(kubeconfig=pathlib.Path("kubeconfig").read_text(), **settings):
    return k8s.Provider("cluster", k8s.ProviderArgs(kubeconfig=kubeconfig, **settings))
"""


def stack(folder: Path, kubeconfig: str) -> Stack:
    """A stack whose programs have `provider` and `k8s` already."""
    made = Stack(folder=folder, package="kubernetes", prelude=PRELUDE)
    made.prepare()
    (folder / "kubeconfig").write_text(kubeconfig)
    return made
