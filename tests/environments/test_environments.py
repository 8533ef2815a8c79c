"""The environment file: every rule refuses what it should with key, rule and fix, and nothing else is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from infra import environment, environment_checks
from infra.environment import InvalidEnvironment
from infra.paths import ROOT

HERE = Path(__file__).parent
INVALID = sorted((HERE / "invalid").glob("*.yaml"))
VALID = sorted((HERE / "valid").glob("*.yaml")) + sorted(
    path for path in (ROOT / "environments").glob("*.yaml") if not path.name.startswith("Pulumi.")
)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_file_is_refused_with_key_rule_and_fix(path: Path) -> None:
    header = dict(re.findall(r"^# (key|rule|fix): (.+)$", path.read_text(), flags=re.MULTILINE))
    assert header.keys() == {"key", "rule", "fix"}, "the header says which error the file stands for"
    with pytest.raises(InvalidEnvironment) as caught:
        environment.load(path)
    assert len(caught.value.problems) == 1, f"one fault, one line, but: {caught.value}"
    line = caught.value.problems[0]
    assert "\n" not in line
    assert line.startswith(f"invalid/{path.name}: {header['key']}: "), line
    assert header["rule"] in line and header["fix"] in line, line


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_file_is_accepted(path: Path) -> None:
    assert environment.load(path).name == path.stem


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = (ROOT / "environments" / "local.yaml").read_text()
    path = tmp_path / "local.yaml"
    path.write_text(text.replace("10.90.0.12", "10.90.0.11").replace("10.96.0.0/16", "10.90.0.0/16"))
    with pytest.raises(InvalidEnvironment) as caught:
        environment.load(path)
    assert len(caught.value.problems) == 2


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidEnvironment, match="cannot be read"):
        environment.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n", "1: a\n", "name: \x00\n", "a: b\n---\nc: d\n"])
def test_what_holds_no_keys_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(InvalidEnvironment) as caught:
        environment.load(path)
    assert len(caught.value.problems) == 1


def test_the_json_schema_in_the_repository_is_current() -> None:
    path = ROOT / "environments" / "schema.json"
    hint = "run: python -m infra.environment schema > environments/schema.json"
    assert path.read_text() == environment.schema(), hint
    assert json.loads(path.read_text())["additionalProperties"] is False


def test_every_rule_between_keys_has_a_file_that_it_refuses() -> None:
    parsed = [one for path in INVALID if (one := _parsed(path))]
    refused = {check.__name__ for check in environment_checks.CHECKS if any(any(check(one)) for one in parsed)}
    assert refused == {check.__name__ for check in environment_checks.CHECKS}


def _parsed(path: Path) -> environment.Environment | None:
    """The file, if each of its keys is sound by itself."""
    try:
        return environment.parse(path)
    except ValueError:
        return None


def test_the_digest_is_the_files_sha256_so_that_anyone_can_compare(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert environment.digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_command_checks_files_and_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert environment.main(["check", str(ROOT / "environments" / "local.yaml")]) == 0
    assert environment.main(["check", str(INVALID[0])]) == 1
    assert INVALID[0].name in capsys.readouterr().err
    assert environment.main(["schema"]) == 0
    assert environment.main([]) == 2
