"""A second `make up` changes nothing; check mode after it finds nothing, and finds exactly what somebody broke."""

from __future__ import annotations

import re

from infra.paths import state
from ops import machines

EDITED = "/etc/sysctl.d/90-isthmus.conf"


def test_a_second_up_changes_nothing(make, environment: str) -> None:
    said = make("up").stdout
    log = (state(environment) / "logs" / "up.log").read_text()
    counts = dict(re.findall(r"^\s+([~+-]|\+-) (\d+) (?:to )?\w+", log, re.MULTILINE))
    assert not counts, f"the second up changed something: {counts}\n{log[-3000:]}"
    assert re.search(r"\d+ unchanged", log), log[-3000:]
    print(said[-600:])


def test_check_mode_finds_exactly_the_file_that_somebody_edited_and_nothing_after_its_repair(make, settings) -> None:
    host = settings.onprem.hosts[1].name
    machines.run(host, "sh", "-c", f"echo '# edited' >> {EDITED}")
    try:
        shown = make("preview", "HOSTS=1")
        said = shown.stdout + shown.stderr  # the engine keeps its own summary apart from what a provider tells
        found = set(re.findall(r"hosts\.([\w-]+)\[", said))
        assert found == {host}, said[-3000:]
        assert EDITED in said
    finally:
        make("up", "HOSTS=1")
    make("preview", "HOSTS=1", "ARGS=--expect-no-changes")
