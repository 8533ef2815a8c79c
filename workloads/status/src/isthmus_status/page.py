"""The page: what is known of the sites, as HTML. Everything shown is escaped, whoever said it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jinja2

from isthmus_status import health, quantities
from isthmus_status.health import Health
from isthmus_status.models import Amount, Cluster, Device, Reading, Site, now

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "style.css").read_text()


@dataclass(frozen=True)
class Card:
    """One site on the page. `url`: its own page, where this is not it."""

    name: str
    health: Health
    site: Site | None
    told: float = 0
    """Seconds since it told of itself."""
    fault: str = ""
    """Why it tells nothing now."""
    url: str = ""

    def age(self, part: Reading[Any]) -> str:
        """How old a part of the site is: its age when the site told of it, by the site's clock, and the time since."""
        return self.lasted(part.at) if part.at else "an unknown time"

    def lasted(self, since: datetime) -> str:
        """The time since a moment of the site's clock."""
        assert self.site
        return quantities.span((self.site.told_at - since).total_seconds() + self.told)


def own(site: Site) -> Card:
    """The site that the page is on."""
    return Card(site.name, health.of(site), site)


def other(peer: Reading[Site], url: str, moment: datetime) -> Card:
    """The other site: as it tells of itself, or as it told last and that it cannot be reached."""
    if peer.value is None or peer.at is None:
        return Card("other site", Health("unknown", [f"not known: {peer.fault}"]), None, fault=peer.fault, url=url)
    told = (moment - peer.at).total_seconds()
    state = health.of(peer.value)
    if peer.fault:
        state = Health("unknown", [f"not reachable: {peer.fault}; below is what it told {quantities.span(told)} ago"])
    return Card(peer.value.name, state, peer.value, told, peer.fault, url)


def total(cluster: Cluster, what: Literal["cpu", "memory"]) -> Amount:
    """The sum over the nodes."""
    amounts: list[Amount] = [getattr(node, what) for node in cluster.nodes]
    return Amount(allocatable=sum(a.allocatable for a in amounts), requested=sum(a.requested for a in amounts))


def devices(cluster: Cluster) -> dict[str, Device]:
    """Name of an extended resource -> the sum over the nodes."""
    found: dict[str, Device] = {}
    for one in (device for node in cluster.nodes for device in node.devices):
        so_far = found.get(one.name, Device(name=one.name, capacity=0, allocatable=0, requested=0))
        sums = {key: getattr(so_far, key) + getattr(one, key) for key in ("capacity", "allocatable", "requested")}
        found[one.name] = so_far.model_copy(update=sums)
    return found


def models_agree(cards: list[Card]) -> bool | None:
    """Whether all sites serve the same model; None where that is not known now, or there is one site."""
    told = [card.site.champion for card in cards if card.site and not card.fault]
    served = {(part.value.version, part.value.digest) for part in told if part.value and not part.fault}
    known = sum(1 for part in told if part.value and not part.fault)
    return len(served) == 1 if known == len(cards) > 1 else None


def share(amount: Amount) -> float:
    """How much of what there is has been handed out, 0 to 1."""
    return min(1.0, amount.requested / amount.allocatable) if amount.allocatable else 0.0


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {"cores": quantities.cores, "gib": quantities.gib, "span": quantities.span, "share": share}
_environment.globals |= {"total": total, "devices": devices}


def render(site: Site, peer: Reading[Site] | None, *, peer_url: str, refresh_seconds: float) -> str:
    """The page of a site; without a peer it stands alone."""
    moment = now()
    cards = [own(site), *([other(peer, peer_url, moment)] if peer else [])]
    return _environment.get_template("page.html").render(
        cards=cards, agree=models_agree(cards), moment=moment, refresh=max(5, round(refresh_seconds))
    )
