"""The tools of this checkout in `.state/bin`: Pulumi engine, its Python host, kubectl, helm, etcd's, the plugins.

ops/bootstrap.sh has brought Debian packages, uv and .venv before; this takes the rest from the mirror's catalog.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from infra.paths import BIN, CACHE, ROOT, STATE
from ops.console import run_reporting, say
from ops.mirror.store import Meta, Store
from ops.mirror.sync import sync

NOTES = STATE / "bootstrap"
TOOLS = ("pulumi", "pulumi-language-python", "kubectl", "helm", "etcdctl", "etcdutl")
PLUGINS = ("aws", "kubernetes")
STAND_INS = ROOT / "infra" / "providers" / "offline"
PULUMI_HOME = CACHE / "pulumi"


def ensure() -> None:
    """Makes sure that every tool is there; says in a line a part what was taken from where. Warm, it takes a second."""
    for part in ("debian", "uv", "python"):
        note = NOTES / part
        say(f"    {part}: {note.read_text().strip() if note.exists() else 'was on this machine already'}")
    records = sync(TOOLS)
    store = Store()
    for name in TOOLS:
        _link_tool(store, records[name])
        say(f"    {name}: {records[name].version}, {records[name].source}")
    for name in PLUGINS:
        say(f"    {name} plugin: {plugin(name)}")


def _link_tool(store: Store, meta: Meta) -> None:
    """Links a tool, and what lies beside it, into `.state/bin`."""
    folder = store.folder(meta.name, meta.key)
    for name in meta.files:
        link(BIN / Path(name).name, folder / name)


def link(place: Path, target: Path) -> None:
    """Makes a link at once, also where another one is."""
    if place.is_symlink() and place.readlink() == target:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_name(f".{place.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.rename(place)


def plugin(name: str) -> str:
    """The official plugin where it can be had, otherwise the stand-in; says which, and why.

    The answer is kept in this checkout for each version of the SDK, so that later runs do not ask the network.
    """
    version, program = importlib.metadata.version(f"pulumi-{name}"), f"pulumi-resource-{name}"
    official = PULUMI_HOME / "plugins" / f"resource-{name}-v{version}" / program
    if not official.exists():
        kept = NOTES / f"{name}-plugin.json"
        known = json.loads(kept.read_text()) if kept.exists() else {}
        if known.get("version") != version:
            reason = _install_plugin(name, version)
            NOTES.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps({"version": version, "reason": reason}))
            known = {"reason": reason}
        if not official.exists():
            link(BIN / program, STAND_INS / name / program)
            return (
                f"the stand-in of this repository (official {version}: {known['reason']}; remove {kept} to ask again)"
            )
    # On PATH the stand-in would win over the installed plugin.
    (BIN / program).unlink(missing_ok=True)
    return f"{version}, the official one"


def _install_plugin(name: str, version: str) -> str:
    """Tries to install the official plugin; returns why it could not, or nothing."""
    url = f"https://get.pulumi.com/releases/plugins/pulumi-resource-{name}-v{version}-linux-amd64.tar.gz"
    try:
        answer = httpx.head(url, timeout=4, follow_redirects=True)
    except httpx.HTTPError as error:
        return f"get.pulumi.com cannot be reached ({type(error).__name__})"
    if answer.status_code != 200:
        return f"get.pulumi.com answers {answer.status_code}"
    command = [str(BIN / "pulumi"), "plugin", "install", "resource", name, version]
    settings = {"PULUMI_HOME": str(PULUMI_HOME), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        done = subprocess.run(
            command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=600, check=False
        )
    except subprocess.TimeoutExpired:
        return "its download did not end within 10 minutes"
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip().splitlines()[-1][:200]


def main() -> int:
    ensure()
    return 0


if __name__ == "__main__":
    sys.exit(run_reporting(main))
