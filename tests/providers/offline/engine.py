"""The real engine with a program of a test's own, in a folder of its own, and a stand-in as its plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.paths import BIN, ROOT


@dataclass(frozen=True, kw_only=True)
class Run:
    """What an engine command printed. `steps` are of resources of `package`."""

    code: int
    text: str
    package: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def diagnostics(self) -> str:
        """Everything that resources and providers said, without the engine's own formatting."""
        found = [event["diagnosticEvent"] for event in self.events if "diagnosticEvent" in event]
        return "\n".join(diagnostic["message"] for diagnostic in found)

    @property
    def steps(self) -> dict[str, str]:
        """Logical name -> operation, of resources other than the stack and its providers."""
        found: dict[str, str] = {}
        for event in self.events:
            step = (event.get("resourcePreEvent") or {}).get("metadata")
            if step and step["type"].startswith(f"{self.package}:"):
                found.setdefault(step["urn"].rpartition("::")[2], step["op"])
        return found

    @property
    def operations(self) -> dict[tuple[str, str], str]:
        """(type, logical name) -> operation, where names alone do not tell resources apart; unchanged ones left out."""
        found: dict[tuple[str, str], str] = {}
        for event in self.events:
            step = (event.get("resourcePreEvent") or {}).get("metadata")
            if step and step["type"].startswith(f"{self.package}:") and step["op"] not in ("same", "read", "refresh"):
                found.setdefault((step["type"].rpartition(":")[2], step["urn"].rpartition("::")[2]), step["op"])
        return found

    @property
    def changed(self) -> dict[str, str]:
        """The steps that are not "same"."""
        return {name: step for name, step in self.steps.items() if step not in ("same", "read")}


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A project with one stack on a file backend. `prelude` stands before every program of it."""

    folder: Path
    package: str
    prelude: str

    def prepare(self) -> None:
        """Make the project and its stack."""
        plugin = ROOT / "infra" / "providers" / "offline" / self.package / f"pulumi-resource-{self.package}"
        (self.folder / "plugins").mkdir(parents=True)
        (self.folder / "plugins" / plugin.name).symlink_to(plugin)
        (self.folder / "backend").mkdir()
        (self.folder / "Pulumi.yaml").write_text("name: standin\nruntime: python\n")
        self.pulumi("stack", "init", "test")

    def program(self, text: str) -> None:
        """Set the program."""
        (self.folder / "__main__.py").write_text(self.prelude + textwrap.dedent(text))

    def up(self, *args: str) -> Run:
        """Bring the program about."""
        return self._operate("up", "--yes", "--skip-preview", *args)

    def preview(self, *args: str) -> Run:
        """Say what `up` would do."""
        return self._operate("preview", *args)

    def refresh(self, *args: str) -> Run:
        """Look at what is there."""
        return self._operate("refresh", "--yes", "--skip-preview", *args)

    def destroy(self) -> Run:
        """Delete all."""
        return self._operate("destroy", "--yes", "--skip-preview")

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").text)

    def state(self) -> dict[str, dict[str, Any]]:
        """Logical name -> resource as the engine keeps it, secrets encrypted."""
        deployment = json.loads(self.pulumi("stack", "export").text)["deployment"]
        return {entry["urn"].rpartition("::")[2]: entry for entry in deployment.get("resources", [])}

    def pulumi(self, *args: str) -> Run:
        """One short command."""
        done = subprocess.run(
            ["pulumi", *args, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"pulumi {' '.join(args)}: {done.stderr or done.stdout}")
        return Run(code=done.returncode, text=done.stdout, package=self.package)

    def _operate(self, command: str, *args: str) -> Run:
        log = self.folder / "events.json"
        log.unlink(missing_ok=True)
        done = subprocess.run(
            ["pulumi", command, *args, "--non-interactive", "--color=never", f"--event-log={log}"],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return Run(code=done.returncode, text=done.stdout + done.stderr, package=self.package, events=events)

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the user's own engine is used."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "KUBECONFIG"))}
        path = [str(self.folder / "plugins"), str(Path(sys.executable).parent), os.environ["PATH"], str(BIN)]
        return {
            **inherited,
            "PATH": ":".join(path),
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # The flag --event-log is one of them.
            "PULUMI_DEBUG_COMMANDS": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
