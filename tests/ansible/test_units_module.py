"""The units of the module isthmus.host.files, with a systemctl that notes what it is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.conftest import run_files_module

SYSTEMCTL = """\
#!/bin/sh
if [ "$1" = show ]; then cat {folder}/state; else echo "$@" >> {folder}/told; fi
echo "$SYSTEMCTL_SKIP_SYSV" > {folder}/sysv
[ ! -e {folder}/refuses ] || {{ echo "Job for one failed." >&2; exit 1; }}
"""

Run = Callable[..., dict[str, Any]]


def state(
    *, active: str = "active", enabled: str = "enabled", reload: str = "no", load: str = "loaded", drop_ins: str = ""
) -> str:
    """What systemctl prints of a unit that changed its state a minute ago."""
    then = time.strftime("%a %Y-%m-%d %H:%M:%S.000000 UTC", time.gmtime(time.time() - 60))
    return (
        f"LoadState={load}\nActiveState={active}\nUnitFileState={enabled}\n"
        f"NeedDaemonReload={reload}\nStateChangeTimestamp={then if load == 'loaded' else ''}\n"
        f"DropInPaths={drop_ins}\n"
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the module; its result, and what systemctl was told under the key `told`."""
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(folder=tmp_path))
    program.chmod(0o755)

    def act(
        *units: dict[str, Any], states: str, check: bool = False, files: Sequence[dict[str, Any]] = ()
    ) -> dict[str, Any]:
        (tmp_path / "state").write_text(states)
        (tmp_path / "told").write_text("")
        result = run_files_module(
            {"units": list(units), "files": list(files), "_ansible_check_mode": check, "_ansible_diff": True},
            os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )
        return result | {"told": (tmp_path / "told").read_text().splitlines()}

    return act


def test_a_unit_that_is_as_it_should_be_is_left_alone(run: Run, tmp_path: Path) -> None:
    old = tmp_path / "old.conf"
    old.touch()
    os.utime(old, (time.time() - 3600,) * 2)
    result = run({"name": "one", "files": [str(old), str(tmp_path / "missing")]}, states=state())
    assert (result["changed"], result["told"]) == (False, [])


@pytest.mark.parametrize(("newer", "verb"), [("restart", "restart"), ("reload", "reload-or-restart")])
def test_a_newer_file_restarts_or_reloads_also_when_an_earlier_run_wrote_it(
    run: Run, tmp_path: Path, newer: str, verb: str
) -> None:
    config = tmp_path / "new.conf"
    config.touch()
    unit = {"name": "one", "files": [str(config)], "newer": newer}
    assert run(unit, states=state())["told"] == [f"{verb} one"]


def test_a_new_unit_is_enabled_which_reads_it_and_started(run: Run) -> None:
    new = state(active="inactive", enabled="", load="not-found")
    told = ["enable one", "start one"]
    assert run({"name": "one"}, states=new)["told"] == told
    foreseen = run({"name": "one"}, states=new, check=True)
    assert (foreseen["changed"], foreseen["told"]) == (True, [])
    assert foreseen["actions"] == [f"systemctl {call}" for call in told]


def test_a_unit_is_not_started_without_what_it_needs(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "new.conf"
    unit = {"name": "one", "files": [str(config)], "needs": str(config)}
    stopped = state(active="inactive", enabled="disabled")
    assert run(unit, states=stopped)["told"] == ["enable one"]
    config.touch()
    assert run(unit, states=stopped)["told"] == ["enable one", "start one"], "a machine made anew on its disks"
    assert run(unit, states=state(active="activating"))["told"] == ["restart one"], "it is tried again and again"


@pytest.mark.parametrize(
    ("active", "enabled", "told"),
    [
        ("active", "enabled", ["disable one", "stop one"]),
        ("activating", "disabled", ["stop one"]),
        ("failed", "disabled", []),
        ("inactive", "", []),
    ],
)
def test_a_unit_that_others_start_is_stopped_and_not_started_at_boot(
    run: Run, active: str, enabled: str, told: list[str]
) -> None:
    unit = {"name": "one", "state": "stopped", "enabled": False}
    assert run(unit, states=state(active=active, enabled=enabled))["told"] == told


def test_a_unit_that_others_start_at_boot_is_started_and_restarted_all_the_same(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "new.conf"
    config.touch()
    unit = {"name": "one", "files": [str(config)], "enabled": False}
    assert run(unit, states=state(active="inactive", enabled="disabled"))["told"] == ["start one"]
    assert run(unit, states=state(reload="yes", enabled="disabled"))["told"] == ["daemon-reload", "restart one"]
    assert run({"name": "two"}, unit, states=state(enabled="") + "\n" + state())["told"] == [
        "enable two",
        "disable one",
        "restart one",
    ]


def test_several_units_are_asked_about_at_once_and_read_anew_once(run: Run) -> None:
    states = state(reload="yes") + "\n" + state(reload="yes", active="failed")
    assert run({"name": "one"}, {"name": "two"}, states=states)["told"] == ["daemon-reload", "start two"]


def test_a_changed_unit_is_read_anew_before_it_is_restarted(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "new.conf"
    config.touch()
    unit = {"name": "one", "files": [str(config)]}
    assert run(unit, states=state(reload="yes"))["told"] == ["daemon-reload", "restart one"]
    assert run(unit, states=state(reload="yes", enabled="disabled"))["told"] == ["enable one", "restart one"]


@pytest.mark.parametrize("folder", ["one.service.d", "one.timer.d"])
def test_a_drop_in_that_systemd_has_not_seen_is_read_whoever_starts_the_unit(
    run: Run, tmp_path: Path, folder: str
) -> None:
    drop_in = tmp_path / folder / "10-isthmus.conf"
    unit = {"name": folder.removesuffix(".d").removesuffix(".service"), "files": [str(drop_in)]}
    by_others = unit | {"state": "stopped", "enabled": False}
    stopped = {"active": "inactive", "enabled": "disabled"}
    assert run(by_others, states=state(**stopped))["told"] == []
    drop_in.parent.mkdir()
    drop_in.touch()
    assert run(by_others, states=state(**stopped))["told"] == ["daemon-reload"]
    assert run(by_others, states=state(**stopped, drop_ins=f"/run/one.conf {drop_in}"))["told"] == []
    assert run(unit, states=state(active="inactive"))["told"] == ["daemon-reload", f"start {unit['name']}"]


def test_a_folder_of_the_services_own_is_not_systemds(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "one.d" / "one.conf"
    own.parent.mkdir()
    own.touch()
    os.utime(own, (time.time() - 3600,) * 2)
    assert run({"name": "one", "files": [str(own)]}, states=state())["told"] == []


def test_links_of_sysv_scripts_are_left_alone(run: Run, tmp_path: Path) -> None:
    run({"name": "one"}, states=state(enabled="disabled"))
    assert (tmp_path / "sysv").read_text() == "1\n"


def test_what_systemctl_refuses_is_told_with_its_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "refuses").touch()
    result = run({"name": "one"}, states=state())
    assert result["failed"] is True
    assert "Job for one failed." in result["msg"]


def test_what_check_mode_says_of_a_unit_is_what_a_run_does_with_the_files_beside_it(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "one.conf"
    config.write_text("old")
    os.utime(config, (time.time() - 3600,) * 2)
    unit = {"name": "one", "files": [str(config)], "newer": "reload"}
    file = {"dest": str(config), "content": "new"}
    foreseen = run(unit, states=state(), files=[file], check=True)
    assert (foreseen["actions"], foreseen["told"]) == (["systemctl reload-or-restart one"], [])
    assert foreseen["diff"][-1] == {"prepared": "systemctl reload-or-restart one\n"}
    assert config.read_text() == "old"
    done = run(unit, states=state(), files=[file])
    assert (done["actions"], done["told"]) == (foreseen["actions"], ["reload-or-restart one"])
    assert (done["changed"], config.read_text()) == (True, "new")


def test_a_unit_is_not_touched_where_a_file_beside_it_is_refused(run: Run, tmp_path: Path) -> None:
    file = {"dest": str(tmp_path / "one.conf"), "content": "new", "validate": "/bin/false %s"}
    result = run({"name": "one", "files": [file["dest"]]}, states=state(active="inactive"), files=[file])
    assert (result["failed"], result["told"]) == (True, [])
