"""Backups leave the site by themselves, also those made while the link was cut, and can be had back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.environment import Environment
from ops import machines, sites
from tests.e2e import copies
from tests.e2e.both_sites import reaches, vpn, wait_for


def test_a_backup_made_without_the_link_comes_over_once_it_carries_and_is_opened_as_it_was(
    environment: str,
    settings: Environment,
    ingress: str,
    aws: Callable[[str], Any],
    make: Callable[..., Any],
    tmp_path: Path,
) -> None:
    s3, host = aws("s3"), settings.onprem.having("control_plane")[0].name
    far_end, node = vpn(settings), sites.one(settings, "cloud").hosts[0].name
    first = Path(copies.back_up(host))
    took = copies.wait_for_copy(s3, host, first.name)
    machines.power(environment, far_end, "cut")
    try:
        second = Path(copies.back_up(host))
        assert second.name != first.name
        assert not reaches(node, ingress), "there is another way between the sites"
        assert copies.name_of_copy(s3, host) == first.name
    finally:
        machines.power(environment, far_end, "heal")
    wait_for("the link", lambda: reaches(node, ingress))
    healed = copies.wait_for_copy(s3, host, second.name)
    print(f"a copy came {took:.0f} s after the backup, the one of a cut link {healed:.0f} s after that carried again")
    assert host in make("backups").stdout
    make("backups", f"ARGS={host} {tmp_path}")
    (opened,) = (tmp_path / host).iterdir()
    assert opened.name == second.name
    for file in ("snapshot.db.gz", "keys.tar"):
        there = machines.run(host, "sha256sum", f"{second}/{file}").split()[0]
        assert copies.sha256(opened / file) == there
