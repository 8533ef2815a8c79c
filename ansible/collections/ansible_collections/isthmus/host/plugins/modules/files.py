"""Ansible module isthmus.host.files: whole files, and the units that read them, in one round trip."""

from __future__ import annotations

import concurrent.futures
import hashlib
import pathlib
import subprocess
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.isthmus.host.plugins.module_utils import units

DOCUMENTATION = r"""
module: files
short_description: Whole files, rendered or downloaded, and the units that read them, in one round trip
description:
  - Makes each file what it is asked to be, with the folders above it. A file that is right is not touched.
  - Every file is made beside its place and validated before it is put there, all before the first one is. Those that
    are not valid without the others are made when these are in place.
  - Then enables each unit, starts it, and restarts or reloads one whose files are newer than its last change of
    state; or stops it, or leaves it to somebody else to start it at boot. Changed unit files are read first.
  - Supports check mode, also where the folders are still missing, and diff.
options:
  folders:
    description: Folders that are to exist. Of one that does, owner and mode are somebody else's and stay.
    type: list
    elements: path
    default: []
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      dest: {description: Absolute path., type: path, required: true}
      content: {description: The whole content., type: str}
      url: {description: Where the content is to be had instead., type: str}
      sha256: {description: Its SHA-256 sum in hexadecimal; needed with url., type: str}
      mode: {description: Permissions., type: str, default: "0644"}
      validate: {description: "Command that must accept the new file, in place of %s.", type: str}
      needs_others: {description: Whether it is valid only beside the other files., type: bool, default: false}
  units:
    description: systemd units, in the order in which they are started.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the unit., type: str, required: true}
      files: {description: Paths of what the unit reads when it starts., type: list, elements: path, default: []}
      newer: {description: What a newer file asks for., type: str, choices: [restart, reload], default: restart}
      needs: {description: "Path without which the unit is not started, only enabled.", type: path}
      state: {description: What it is to be now., type: str, choices: [started, stopped], default: started}
      enabled: {description: Whether a boot starts it., type: bool, default: true}
author: Isthmus
"""

EXAMPLES = r"""
- name: Configure the service, and run it now and after each boot
  isthmus.host.files:
    files:
      - dest: /etc/service/service.conf
        content: "{{ lookup('ansible.builtin.template', 'service.conf.j2') }}"
        validate: /usr/sbin/service --test %s
    units:
      - name: service
        files: [/etc/service/service.conf]
        newer: reload
"""

RETURN = r"""
changed_files:
  description: Paths of the files and folders that changed, or would in check mode.
  type: list
  elements: str
  returned: always
actions:
  description: What was done for the units, or would be in check mode, as systemctl calls.
  type: list
  elements: str
  returned: always
"""

DOWNLOADS = 3
"""At a time: the disk, not the network, is what they wait for."""


class Refused(Exception):
    """A file cannot be had as it is asked for."""


class File:
    """One file: what it is, what it should be."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.path = pathlib.Path(wanted["dest"])
        self.url: str | None = wanted["url"]
        self.mode = int(wanted["mode"], 8)
        self.validate: str | None = wanted["validate"]
        self.needs_others: bool = wanted["needs_others"]
        self.content = None if wanted["content"] is None else wanted["content"].encode()
        self.sum = wanted["sha256"] if self.content is None else hashlib.sha256(self.content).hexdigest()
        self.differs = _sum(self.path) != self.sum
        self.other_mode = not self.differs and (self.path.stat().st_mode & 0o7777) != self.mode
        self.fresh: pathlib.Path | None = None

    @property
    def changed(self) -> bool:
        """Is there anything to do?"""
        return self.differs or self.other_mode

    def diff(self) -> dict[str, str]:
        """For people: content, or the sum of what is downloaded."""
        if self.other_mode:
            was = f"mode {self.path.stat().st_mode & 0o7777:04o}\n"
            return self._diff(was, f"mode {self.mode:04o}\n")
        if self.content is None:
            was = _sum(self.path)
            return self._diff(f"sha256 {was}\n" if was else "", f"sha256 {self.sum}\n")
        before = self.path.read_text(errors="replace") if self.path.exists() else ""
        return self._diff(before, self.content.decode())

    def _diff(self, before: str, after: str) -> dict[str, str]:
        return {"before": before, "after": after, "before_header": str(self.path), "after_header": str(self.path)}

    def prepare(self) -> None:
        """Make the new file beside its place, and have it validated."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}.", delete=False) as fresh:
            self.fresh = pathlib.Path(fresh.name)
            if self.content is not None:
                fresh.write(self.content)
            else:
                self._download(fresh)
        self.fresh.chmod(self.mode)
        if self.validate:
            command = [str(self.fresh) if word == "%s" else word for word in self.validate.split()]
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise Refused(f"{self.path} would not be valid: {(answer.stderr or answer.stdout).strip()}")

    def _download(self, into: Any) -> None:
        # Only here: they take long to load, and most runs of the module download nothing.
        import urllib.error
        import urllib.request

        total = hashlib.sha256()
        try:
            with urllib.request.urlopen(str(self.url), timeout=60) as answer:
                while block := answer.read(1 << 20):
                    total.update(block)
                    into.write(block)
        except (OSError, ValueError, urllib.error.URLError) as error:
            raise Refused(f"{self.path} cannot be fetched from {self.url}: {error}") from error
        if total.hexdigest() != self.sum:
            raise Refused(f"{self.path}: what {self.url} gave has SHA-256 {total.hexdigest()}, not {self.sum}")

    def apply(self) -> None:
        """Put it in place."""
        if self.other_mode:
            self.path.chmod(self.mode)
        elif self.fresh is not None:
            self.fresh.replace(self.path)

    def clean(self) -> None:
        """Leave no half-made file behind."""
        if self.fresh is not None:
            self.fresh.unlink(missing_ok=True)


def _sum(path: pathlib.Path) -> str:
    """The SHA-256 sum of a file; empty when there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(files: list[File]) -> None:
    """All or nothing, first of those that need no others: no file is put in place before each could be made."""
    for part in (False, True):
        _make([file for file in files if file.needs_others is part])


def _make(files: list[File]) -> None:
    try:
        with concurrent.futures.ThreadPoolExecutor(DOWNLOADS) as pool:
            list(pool.map(File.prepare, [file for file in files if file.differs]))
        for file in files:
            file.apply()
    finally:
        for file in files:
            file.clean()


def main() -> None:
    """What Ansible calls."""
    options = {
        "dest": {"type": "path", "required": True},
        "content": {"type": "str"},
        "url": {"type": "str"},
        "sha256": {"type": "str"},
        "mode": {"type": "str", "default": "0644"},
        "validate": {"type": "str"},
        "needs_others": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            "folders": {"type": "list", "elements": "path", "default": []},
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": options,
                "mutually_exclusive": [("content", "url")],
                "required_one_of": [("content", "url")],
                "required_together": [("url", "sha256")],
            },
            "units": {"type": "list", "elements": "dict", "default": [], "options": units.OPTIONS},
        },
        supports_check_mode=True,
    )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        files = [file for file in pool.map(File, module.params["files"]) if file.changed]
    folders = [folder for folder in module.params["folders"] if not pathlib.Path(folder).is_dir()]
    changed = [*folders, *(str(file.path) for file in files)]
    result: dict[str, Any] = {"changed": bool(changed), "changed_files": changed, "actions": []}
    if module._diff:
        new = [{"before": "", "after": "a folder\n", "before_header": one, "after_header": one} for one in folders]
        result["diff"] = new + [file.diff() for file in files]
    try:
        if not module.check_mode:
            make(files)
            for folder in folders:
                pathlib.Path(folder).mkdir(mode=0o755, parents=True)
        # asked when the files are in place: some of them make the unit
        todo = units.calls(units.ask(module.params["units"], changed))
        result["actions"] = [" ".join(["systemctl", *call]) for call in todo]
        result["changed"] = bool(changed or todo)
        if module._diff and todo:
            result["diff"].append({"prepared": "".join(f"{action}\n" for action in result["actions"])})
        if not module.check_mode:
            for call in todo:
                units.systemctl(*call)
    except (Refused, OSError, units.Failed) as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
