"""The page: one card a site, everything escaped, and the other site as it told last."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from isthmus_status import page as pages
from isthmus_status.models import Reading, Site, now

from workloads.status.tests.world import Open, World, alert, eventually, node, other_site

EVIL = "<script>alert(1)</script>"


def text(client: httpx.Client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


def test_a_site_alone_is_one_card(opened: Open) -> None:
    page = text(opened())
    assert page.count("<section") == 1
    assert '<span class="badge healthy">healthy</span>' in page
    assert "onprem-1" in page and "v1-abc" in page and "none is firing" in page
    assert "serve" not in page, "there is nothing to compare with"


def test_two_sites_are_two_cards_and_their_models_are_compared(world: World, opened: Open) -> None:
    client = opened(peer=True)
    page = text(client)
    assert page.count("<section") == 2
    assert 'id="cloud"' in page and 'href="http://peer/"' in page
    assert "both sites serve the same model" in page
    world.peer = other_site(version="v0-old").model_dump(mode="json")
    eventually(lambda: "the sites serve different models" in text(client), "told of another model")


def test_whatever_a_source_says_is_escaped(world: World, opened: Open) -> None:
    world.champion = {"name": EVIL, "versions": [EVIL], "parameters": {"digest": EVIL}}
    world.alerts = [alert(EVIL, EVIL, summary=EVIL, runbook_url=EVIL)]
    world.lists["nodes"] = [node(EVIL, ready=False)]
    world.peer = other_site(name=f'"{EVIL}').model_dump(mode="json")
    page = text(opened(peer=True))
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 8
    assert 'id="&#34;&lt;script&gt;' in page, "quotes end no attribute"


def test_nothing_can_run_or_be_loaded_from_elsewhere(opened: Open) -> None:
    client = opened(peer=True)
    answer = client.get("/")
    assert "script" not in answer.text
    assert "default-src 'none'; style-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert "style=" not in answer.text, "the policy would refuse it"
    assert client.get("/style.css").headers["content-type"].startswith("text/css")


def test_another_site_that_has_never_answered_is_told_as_not_known(world: World, opened: Open) -> None:
    world.gone.add("peer")
    page = text(opened(peer=True))
    assert page.count("<section") == 2
    assert "not known: peer does not answer: Connection refused" in page
    assert "link: no answer" in page


def test_another_site_that_no_longer_answers_is_shown_as_it_told_last(world: World, opened: Open) -> None:
    client = opened(peer=True)
    assert "linked" in text(client)
    world.gone.add("peer")
    eventually(lambda: "link: no answer" in text(client), "told of the link")
    page = text(client)
    assert "not reachable: peer does not answer: Connection refused; below is what it told 0 s ago" in page
    assert 'id="cloud"' in page and page.count("v1-abc") == 2
    assert "same model" not in page, "nobody knows what it serves now"
    assert '<span class="badge unknown">unknown</span>' in page
    world.gone.clear()
    eventually(lambda: "linked" in text(client), "told that it is back")


def with_champion(**changes: object) -> object:
    told = other_site().model_dump(mode="json")
    return told | {"champion": told["champion"] | changes}


@pytest.mark.parametrize(
    "garbage", [[], {}, {"name": "cloud"}, "hello", with_champion(at="2026-11-26T20:00:00"), with_champion(value=7)]
)
def test_another_site_that_talks_nonsense_spoils_nothing(world: World, opened: Open, garbage: object) -> None:
    world.peer = garbage
    page = text(opened(peer=True))
    assert "not known: an answer cannot be read" in page
    assert '<span class="badge healthy">healthy</span>' in page, "this site"


def test_another_site_may_leave_out_when_it_learnt_something(world: World, opened: Open) -> None:
    world.peer = with_champion(at=None, fault="gone")
    assert "as of an unknown time ago: gone" in text(opened(peer=True))


def test_a_version_ahead_is_understood(world: World, opened: Open) -> None:
    world.peer |= {"weather": "fine"}
    assert "both sites serve the same model" in text(opened(peer=True))


def test_ages_bear_clocks_that_differ() -> None:
    ahead = timedelta(hours=5)
    site = other_site()
    moved = site.champion.model_copy(update={"at": now() + ahead - timedelta(seconds=30)})
    site = site.model_copy(update={"told_at": now() + ahead, "champion": moved})
    peer = Reading[Site](value=site, at=now() - timedelta(seconds=10), fault="")
    assert pages.other(peer, "", now()).age(site.champion) == "40 s"


def test_health_says_what_is_ill_before_what_is_not_known(world: World, opened: Open) -> None:
    world.gone.add("alertmanager")
    world.lists["nodes"] = [node("onprem-1", ready=False)]
    page = text(opened())
    assert "<li>node onprem-1 not ready</li>" in page
    assert '<span class="badge degraded">degraded</span>' in page
