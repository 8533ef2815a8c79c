"""Modules are built once and kept, not in each run anew.

Ansible packs a module and what it imports into an archive in the first task that needs it: 0.3 seconds of a processor
with bytecode, for which all hosts wait, and of which a run needs five. At its end it throws them away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

from ansible import constants

DOCUMENTATION = """
    name: kept_modules
    type: aggregate
    short_description: keeps built modules for the next run
    description:
      - Lays the archives of earlier runs where Ansible looks for those of this one, and keeps new ones when it ends.
      - Only those of Ansible and of this collection, each as long as all that is in it stays as it is.
    options:
      folder:
        description: Where they are kept.
        type: path
        default: ~/.cache/isthmus/ansible-modules
        env: [{name: ANSIBLE_KEPT_MODULES_FOLDER}]
        ini: [{section: callback_kept_modules, key: folder}]
    requirements:
      - enable in configuration
"""

PINNED = ("ansible.modules.", "ansible_collections.isthmus.host.")
"""Begins of names: others may change without a change of version."""

KEPT_S = 30 * 86400


def key(sources: Path) -> str:
    """Another one for each version of Ansible, of Python, whose bytecode it is, and of this collection."""
    said = [__version__, sys.version, *(str(path.read_bytes()) for path in sorted(sources.rglob("*.py")))]
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]


def lay(kept: Path, cache: Path) -> None:
    """Puts what is kept where Ansible looks for what it has built."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    for module in kept.glob("*"):
        if module.name.startswith(PINNED):
            (cache / module.name).symlink_to(module)


def keep(cache: Path, kept: Path) -> None:
    """Keeps what Ansible has built since, and drops what nobody has used for a month."""
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.utime(kept)
    for module in cache.glob("*"):
        built = module.name.startswith(PINNED) and not module.name.endswith((".lock", "-part"))
        if built and not module.is_symlink():
            unfinished = kept / f".{module.name}.{os.getpid()}"
            shutil.copyfile(module, unfinished)
            unfinished.replace(kept / module.name)
    for other in kept.parent.iterdir():
        if other.stat().st_mtime < time.time() - KEPT_S:
            shutil.rmtree(other, ignore_errors=True)


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Tells nothing: it begins and ends with the run."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "isthmus.host.kept_modules"
    CALLBACK_NEEDS_ENABLED = True

    def set_options(self, *arguments: Any, **more: Any) -> None:
        """Called once, before the first task."""
        super().set_options(*arguments, **more)
        self.kept = Path(self.get_option("folder")) / key(Path(__file__).parent.parent)
        self.cache = Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache"  # type: ignore[attr-defined]
        lay(self.kept, self.cache)

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002
        """Called at the end, also of a run that failed."""
        keep(self.cache, self.kept)
