"""The commands behind the Makefile."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ops.console import run_reporting


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="ops/isthmus", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, *, environment: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if environment:
            sub.add_argument("--env", default="local", help="environments/<env>.yaml (default: local)")
        return sub

    up = command("up", "build the environment and wait until it answers")
    up.add_argument("--hosts", action="store_true", help="look at the hosts too, and repair what was changed on them")
    command("test", "every test").add_argument("args", nargs="*", help="passed on to pytest")
    command("check", "lint, types, unit tests", environment=False)
    preview = command("preview", "what `up` would change")
    preview.add_argument("--hosts", action="store_true", help="add the hosts' check-mode diff")
    preview.add_argument("args", nargs="*", help="passed on to `pulumi preview`")
    command("status", "the state of every part")
    command("down", "take the lab down").add_argument("--all", action="store_true", help="the lab of any checkout")
    command("env", "shell exports").add_argument("--site", default="onprem", choices=["onprem", "cloud"])
    machine = command("machine", "a fault by hand")
    machine.add_argument("name", help="a machine's name, such as onprem-2")
    machine.add_argument("do", help="power-off, power-on, freeze, thaw or reboot; of the link's also cut or heal")
    predict = command("predict", "send a real digit to the served model")
    predict.add_argument("--site", default="onprem", choices=["onprem", "cloud"])
    predict.add_argument("--index", type=int, help="which held-out digit (default: one at random)")
    copies = command("backups", "list the copies of etcd's backups that the other site keeps, or fetch one")
    copies.add_argument("host", nargs="?", help="whose newest copy to fetch and open")
    copies.add_argument("folder", nargs="?", type=Path, help="where to put it, as FOLDER/HOST/TIME")
    copies.add_argument("--before", help="the newest that the bucket had at that time, such as 2026-01-31T00:30 (UTC)")
    copies.add_argument("--unverified", action="store_true", help="open it though no control plane of ours signed it")
    command("bench", "the benchmarks").add_argument("only", nargs="*", help="which (default: all but sites)")
    mirror = command("mirror", "the site mirror", environment=False)
    mirror.add_argument("args", nargs=argparse.REMAINDER, help="sync, list or verify; --help says more")
    return top


def main() -> int:
    """Runs one command; imports only what it needs, so that each starts fast."""
    args = parser().parse_args()
    match args.command:
        case "up":
            from ops.up import up

            return up(args.env, hosts=args.hosts)
        case "test":
            from ops.testing import test

            return test(args.env, args.args)
        case "check":
            from ops.testing import check

            return check()
        case "preview":
            from ops.preview import preview

            return preview(args.env, args.hosts, args.args)
        case "status":
            from ops.status import status

            return status(args.env)
        case "down":
            from ops.down import down

            return down(args.env, everyone=args.all)
        case "env":
            from ops.env import exports

            return exports(args.env, args.site)
        case "machine":
            from ops.machine import machine

            return machine(args.env, args.name, args.do)
        case "predict":
            from ops.ask import ask

            return ask(args.env, args.site, args.index)
        case "backups":
            from ops.backups import backups

            return backups(args.env, args.host, args.folder, args.before, unverified=args.unverified)
        case "bench":
            from ops.bench.__main__ import bench

            return bench(args.env, args.only)
        case "mirror":
            from ops.mirror.cli import main as mirror

            return mirror(args.args)
    raise AssertionError(args.command)


if __name__ == "__main__":
    sys.exit(run_reporting(main))
