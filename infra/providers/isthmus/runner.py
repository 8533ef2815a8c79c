"""Runs one playbook with ansible-runner, in a private folder that is gone afterwards.

Inventory, variables and host keys go into files of mode 0600 below `work_dir`, never on a command line; what the play
hands back is read from the folder in its variable `isthmus_outputs`. `isthmus_changed_hosts` tells it which hosts the
run is about, groups of their own tell it who left (leavers.py). A folder that a killed run left behind is cleaned up,
and its ansible ended, by the next run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from infra.paths import ROOT
from infra.providers.isthmus import ansible_process, leavers, processes, ssh
from infra.providers.isthmus.events import Recorder
from infra.providers.isthmus.handler import ResourceError

_SOCKETS = "sockets"

_STALE = re.compile(r"run-(?P<owner>\d+)-(?P<started>\d+)-\w+")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a playbook. `inventory` has the structure of an ansible YAML inventory."""

    folder: Path
    playbook: str
    inventory: dict[str, Any]
    variables: dict[str, Any]
    private_key: Path
    work_dir: Path
    timeout_s: int
    changed_hosts: list[str] | None = None
    """The hosts that alone are the reason for the run, which a play may limit itself to; None: all."""
    leaving: leavers.Leavers = field(default_factory=dict)
    """Who is told to the play beside the inventory, because it left."""
    check: bool = False
    """Check mode: what would change, with diffs; nothing is done."""
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended. `stopped` says why it was ended from outside, empty if it was not."""

    succeeded: bool
    results: dict[str, str]
    stopped: str = ""
    last_words: str = ""
    """The exit status and the end of the output of a run that failed; not redacted."""


def run(job: Job, recorder: Recorder) -> Outcome:
    """Run the playbook to its end, its time limit, or until it is cancelled; events go to `recorder`."""
    _require(job)
    with _private_folder(job.work_dir) as folder, _sockets(folder) as sockets:
        outputs = folder / "outputs"
        outputs.mkdir(mode=0o700)
        (folder / "env").mkdir(mode=0o700)
        inventory = {**job.inventory, **leavers.groups(job.leaving, job.inventory)}
        _write(folder / "inventory.json", ordered(inventory))
        changed = sorted(ssh.hosts(job.inventory)) if job.changed_hosts is None else job.changed_hosts
        told = {"isthmus_outputs": str(outputs), "isthmus_changed_hosts": changed}
        _write(folder / "env" / "extravars", ordered({**job.variables, **told}))
        _write(folder / "env" / "settings", json.dumps({"pexpect_timeout": 1}))
        _write(folder / "known_hosts", ssh.known_hosts(inventory))
        call = ansible_process.Call(
            project=str(job.folder),
            playbook=job.playbook,
            inventory=str(folder / "inventory.json"),
            check=job.check,
            variables=_variables(job, folder, sockets),
        )
        _write(folder / "run.json", json.dumps(call))
        with _Watch(job, recorder, folder) as watch:
            succeeded, last_words = _play(folder, recorder)
        results = {path.name: path.read_text() for path in sorted(outputs.iterdir()) if path.is_file()}
    return Outcome(succeeded=succeeded, results=results, stopped=watch.reason, last_words=last_words)


def _play(folder: Path, recorder: Recorder) -> tuple[bool, str]:
    """Hands every event to `recorder`; returns whether the run succeeded, and the last words of one that did not."""
    # The process gets SIGTERM when the thread that waits for it dies with its process.
    command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", ansible_process.__name__, str(folder)]
    end: dict[str, Any] = {}
    with (folder / "stderr").open("w+") as stderr:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
            try:
                for line in process.stdout or ():
                    event = json.loads(line)
                    if "rc" in event:
                        end = event
                    else:
                        recorder(event)
            except BaseException:
                process.terminate()
                raise
        if end.get("rc") == 0:
            return True, ""
        stderr.seek(0)
        said = " ".join([end.get("said", ""), *stderr.read().split()[-ansible_process.LAST_WORDS :]]).strip()
    status = end.get("rc", process.returncode)
    how = "was ended by a signal" if status is None or status < 0 else f"ended with status {status}"
    return False, f"it {how} and said: {said or 'nothing'}"


class _Watch(threading.Thread):
    """Ends the run when its time is over or when it is cancelled.

    A thread of its own, so that the limit holds while no event comes. The workers of ansible lead process groups of
    their own: each process is ended by its id.
    """

    def __init__(self, job: Job, recorder: Recorder, folder: Path) -> None:
        super().__init__(name="watch", daemon=True)
        self.reason = ""
        self._job, self._recorder, self._folder = job, recorder, folder
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look twice a second."""
        known = False
        while not self._over.wait(0.5):
            pid = processes.find(str(self._folder))
            if pid is None:
                continue  # not begun, or ended by itself a moment ago: then its own verdict counts
            if not known:
                (self._folder / "ansible.pid").write_text(f"{pid} {processes.start_time(pid)}")
                known = True
            if self._job.cancelled.is_set():
                self.reason = "it was cancelled"
            elif self._recorder.elapsed > self._job.timeout_s:
                self.reason = f"it took longer than its limit of {self._job.timeout_s} s (timeout_s)"
            if self.reason:
                processes.stop(pid)
                return


def _require(job: Job) -> None:
    if job.cancelled.is_set():
        raise ResourceError(f"playbook {job.playbook} was not started: the operation was cancelled")
    if not (job.folder / job.playbook).is_file():
        raise ResourceError(f"playbook {job.playbook} does not exist in {job.folder}")
    if any(ssh.over_ssh(host) for host in ssh.hosts(job.inventory).values()) and not job.private_key.is_file():
        raise ResourceError(f"the ssh key {job.private_key} does not exist; run: make up, which generates it")


def ordered(values: dict[str, Any]) -> str:
    """JSON, in an order that is the same in every run.

    The engine hands maps over in a random one, and Ansible keeps it: each run would list the hosts in another order.
    """
    return json.dumps(values, sort_keys=True)


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


@contextlib.contextmanager
def _private_folder(work_dir: Path) -> Iterator[Path]:
    work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    _clean_up(work_dir)
    owner = os.getpid()
    folder = Path(tempfile.mkdtemp(prefix=f"run-{owner}-{processes.start_time(owner)}-", dir=work_dir))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _sockets(run_folder: Path) -> Iterator[Path]:
    # Not below work_dir: the path of a socket holds 107 characters at most. The link is for the clean-up.
    folder = Path(tempfile.mkdtemp(prefix="isthmus-ssh-"))
    (run_folder / _SOCKETS).symlink_to(folder)
    try:
        yield folder
    finally:
        _remove_sockets(folder)


def _remove_sockets(folder: Path) -> None:
    ssh.close_connections(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _clean_up(work_dir: Path) -> None:
    """Remove what runs of dead processes left behind; end an ansible that outlived its provider."""
    for folder in work_dir.glob("run-*"):
        found = _STALE.fullmatch(folder.name)
        if found is None or processes.start_time(int(found["owner"])) == int(found["started"]):
            continue
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid, started = (int(part) for part in (folder / "ansible.pid").read_text().split())
            if processes.start_time(pid) == started:
                processes.stop(pid)
        if (folder / _SOCKETS).is_symlink():
            _remove_sockets((folder / _SOCKETS).resolve())
        shutil.rmtree(folder, ignore_errors=True)


def _variables(job: Job, folder: Path, sockets: Path) -> dict[str, str]:
    """Settings of ansible that belong to this run; all others stand in the ansible.cfg of the project's folder."""
    settings = {
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_SSH_COMMON_ARGS": ssh.options(folder / "known_hosts"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
        "ANSIBLE_PRIVATE_KEY_FILE": str(job.private_key),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(job.work_dir / "facts"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        # The playbook and what it delegates to localhost run with this program's own Python.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }
    config = job.folder / "ansible.cfg"
    return {**settings, **({"ANSIBLE_CONFIG": str(config)} if config.is_file() else {})}
