"""A digest of the playbook and all that it uses, so that an edited role is a change of the Playbook."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_SKIPPED = frozenset({"__pycache__", "molecule", "tests", "node_modules"})
_DOCUMENTS = frozenset({".md", ".rst", ".pyc"})
_ROLE_TASKS = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "ansible.builtin.", "ansible.legacy.")
    for name in ("import_role", "include_role")
)
_IMPORTS = ("import_playbook", "ansible.builtin.import_playbook")


class _Loader(yaml.SafeLoader):
    """Reads ansible's own tags (!vault, !unsafe) as nothing: only the structure matters here."""


_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


def roles_digest(folder: Path | str, playbook: str) -> str:
    """`sha256:<hex>` over the playbook, those it imports, the roles that they use, and everything in `folder` that is
    neither a playbook nor a role: ansible.cfg, templates, plugins, group variables. Times and owners do not count.

    Documents, tests and hidden files do not change what is done to a host, so they do not count either.
    """
    root = Path(folder).resolve()
    playbooks = _imported(root, root / playbook)
    used = _used_roles(root, playbooks)
    digest = hashlib.sha256()
    for path in sorted(_files(root), key=lambda path: path.relative_to(root).as_posix()):
        parts = path.relative_to(root).parts
        if parts[0] == "roles" and len(parts) > 2 and parts[1] not in used:
            continue
        if len(parts) == 1 and path not in playbooks and _is_playbook(path):
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        executable = "x" if path.stat().st_mode & 0o100 else "-"
        digest.update(f"{path.relative_to(root).as_posix()}\0{executable}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if any(part in _SKIPPED or part.startswith(".") for part in parts) or path.suffix in _DOCUMENTS:
            continue
        if path.is_file():
            yield path


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None  # ansible will say what is wrong with it; here its bytes count


def _is_playbook(path: Path) -> bool:
    if path.suffix not in (".yml", ".yaml"):
        return False
    plays = _read(path)
    return isinstance(plays, list) and any(
        isinstance(play, dict) and ("hosts" in play or any(key in play for key in _IMPORTS)) for play in plays
    )


def _imported(root: Path, playbook: Path) -> set[Path]:
    """The playbook and all that it imports, directly or not."""
    if not playbook.is_file():
        raise FileNotFoundError(f"playbook {playbook.name} does not exist in {root}")
    found, waiting = set[Path](), [playbook.resolve()]
    while waiting:
        current = waiting.pop()
        if current in found or not current.is_file():
            continue
        found.add(current)
        for play in _read(current) or []:
            if isinstance(play, dict):
                names = [str(play[key]) for key in _IMPORTS if key in play]
                waiting += [(current.parent / name).resolve() for name in names]
    return found


def _used_roles(root: Path, playbooks: set[Path]) -> set[str]:
    """Names of the roles that are used, through `roles:`, include_role, import_role and role dependencies."""
    every = {path.name for path in (root / "roles").iterdir() if path.is_dir()} if (root / "roles").is_dir() else set()
    found, waiting = set[str](), set[str]()
    for path in playbooks:
        waiting |= set(_names(_read(path)))
    for path in sorted((root / "tasks").rglob("*.y*ml")):
        waiting |= set(_names(_read(path)))
    while waiting:
        name = waiting.pop()
        if re.search(r"\{\{", name):
            return every  # chosen while it runs: any role may be meant
        if name in found or name not in every:
            continue
        found.add(name)
        for path in sorted((root / "roles" / name).rglob("*.y*ml")):
            if path.relative_to(root / "roles" / name).parts[0] in ("tasks", "handlers", "meta"):
                waiting |= set(_names(_read(path), dependencies=True))
    return found


def _names(node: Any, *, dependencies: bool = False) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _names(item, dependencies=dependencies)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "roles" or (dependencies and key == "dependencies"):
                for role in value if isinstance(value, list) else []:
                    yield str(role if isinstance(role, str) else (role or {}).get("role") or (role or {}).get("name"))
            elif key in _ROLE_TASKS:
                yield str(value.get("name") if isinstance(value, dict) else value)
            else:
                yield from _names(value, dependencies=dependencies)
