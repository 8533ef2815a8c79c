"""Every role has the parts that it must have, and says the same of itself everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ansible.conftest import ANSIBLE, ROLES, role_yaml

NAMES = [role.name for role in ROLES]


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_a_role_has_all_its_parts(role: Path) -> None:
    for part in ("README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"):
        assert (role / part).is_file(), f"{role.name} lacks {part}"


@pytest.mark.parametrize("role", NAMES)
def test_the_argument_spec_equals_the_defaults(role: str) -> None:
    defaults = role_yaml(role, "defaults/main.yml")
    options = role_yaml(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]

    assert set(options) == set(defaults)
    for name, option in options.items():
        assert option["default"] == defaults[name], f"{name}: spec and defaults differ"
        assert option["description"].strip(), f"{name} is not explained"


@pytest.mark.parametrize("role", NAMES)
def test_public_variables_carry_the_roles_name_and_internal_ones_two_underscores_more(role: str) -> None:
    assert all(name.startswith(f"{role}_") for name in role_yaml(role, "defaults/main.yml"))
    assert all(name.startswith(f"__{role}_") for name in role_yaml(role, "vars/main.yml") or {})


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_what_tasks_register_has_no_name_of_a_variable(role: Path) -> None:
    """It would take its place for the rest of the run, in tasks that mean the variable."""
    registered = {
        name
        for tasks in (role / "tasks").glob("*.yml")
        for name in re.findall(r"^\s+register: (\w+)$", tasks.read_text(), re.MULTILINE)
    }
    assert not registered & {*role_yaml(role.name, "defaults/main.yml"), *(role_yaml(role.name, "vars/main.yml") or {})}


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_services_follow_files_and_no_handler_that_a_cut_off_run_forgets(role: Path) -> None:
    assert not (role / "handlers").exists()
    tasks = "\n".join(path.read_text() for path in sorted((role / "tasks").glob("*.yml")))
    assert not re.findall(r"^\s*notify:.*", tasks, re.MULTILINE)


def test_site_hands_over_only_variables_that_the_roles_declare() -> None:
    declared = {name for role in NAMES for name in role_yaml(role, "defaults/main.yml")}
    plays: list[dict[str, Any]] = yaml.safe_load((ANSIBLE / "site.yml").read_text())
    handed = {
        name
        for play in plays
        for role in play.get("roles", [])
        for name in role
        if name not in {"role", "when", "tags"}
    }

    assert handed <= declared, f"no role knows {sorted(handed - declared)}"


def test_the_argument_spec_of_an_entry_point_names_a_task_file() -> None:
    for role in ROLES:
        for entry in role_yaml(role.name, "meta/argument_specs.yml")["argument_specs"]:
            assert (role / "tasks" / f"{entry}.yml").is_file()


def test_every_group_exists_and_is_empty() -> None:
    groups = yaml.safe_load((ANSIBLE / "inventory" / "groups.yml").read_text())["all"]["children"]
    leavers = ("left", "was_load_balancer", "was_worker", "was_control_plane")
    assert groups == {name: {} for name in ("control_plane", "worker", "load_balancer", "nvidia", "changed", *leavers)}


def test_no_kubeadm_check_is_ignored_wholesale() -> None:
    for path in ANSIBLE.rglob("*.y*ml*"):
        assert "ignore-preflight-errors=all" not in path.read_text(errors="replace"), path
