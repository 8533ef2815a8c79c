"""`make mirror ARGS="sync|list|verify|publish URL"`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ops.console import run_reporting, say
from ops.mirror import catalog as catalogs
from ops.mirror import upstream
from ops.mirror.catalog import File, Image, Nothing
from ops.mirror.plan import Planner
from ops.mirror.publish import publish
from ops.mirror.store import Store
from ops.mirror.sync import sync
from ops.mirror.verify import verify


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="make mirror", description="the site's mirror of everything third-party")
    commands = top.add_subparsers(dest="command", required=True)
    filling = commands.add_parser("sync", help="make what is missing")
    filling.add_argument("names", nargs="*", help="artefacts (default: all)")
    filling.add_argument(
        "--source",
        choices=["auto", "build", "upstream"],
        default="auto",
        help="copy from upstream, build from package registries, or whichever can be had (default)",
    )
    filling.add_argument("--jobs", type=int, help="builds side by side (default: half of the processors, at least 2)")
    commands.add_parser("list", help="the catalog: what, from where, for whom, and what is there")
    checking = commands.add_parser("verify", help="hold everything to its recorded sums")
    checking.add_argument("names", nargs="*", help="artefacts (default: all)")
    publishing = commands.add_parser("publish", help="send what a real site's hosts ask for to the site's registry")
    publishing.add_argument("url", help="such as http://10.0.0.2:5000")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the four commands."""
    args = parser().parse_args(arguments)
    match args.command:
        case "sync":
            records = sync(args.names or None, source=args.source, jobs=args.jobs)
            say(f"    the mirror holds {len(records)} artefacts, {sum(m.size for m in records.values()) / 1e9:.2f} GB")
            return 0
        case "verify":
            return verify(args.names or None)
        case "publish":
            publish(args.url, sync().values())
            return 0
    return show()


def show() -> int:
    """Prints the catalog as a table."""
    catalog = catalogs.load()
    planned = Planner(catalog, Store(), "auto", upstream.nowhere).plan()
    table = Table(
        "name", "kind", "version", "licence", "MB", "had from", "upstream", "used by", box=None, pad_edge=False
    )
    for name, entry in catalog.artifacts.items():
        meta = planned[name].meta if name in planned else None
        match entry.upstream:
            case Image(image=place):
                pass
            case File(url=place):
                pass
            case Nothing(none=reason):
                place = f"({reason})"
        size = f"{meta.size / 1e6:.1f}" if meta else "-"
        had = meta.source if meta else "not there yet"
        table.add_row(name, entry.kind, entry.version, entry.licence, size, had, place, ", ".join(entry.used_by))
    Console(width=None if sys.stdout.isatty() else 240).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(run_reporting(main))
