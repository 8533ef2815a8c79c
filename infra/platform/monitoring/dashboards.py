"""Dashboards of what Prometheus keeps: short files in dashboards/, written out as Grafana reads them; pure functions.

A file has rows of panels. The panels of a row share its width, so that nobody reckons with coordinates, and each query
is beside the words that its line is called by.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from infra import strict_yaml
from infra.environment_values import Model

FOLDER: Final = Path(__file__).parent / "dashboards"

Source = Literal["site", "view"]
"""Which Prometheus is asked: the site's own, or the view over both sites. Also what Grafana calls it by."""

COLUMNS: Final = 24
"""Of Grafana's grid."""
SCHEMA: Final = 42
"""Version of Grafana's classic model of a dashboard; it takes older ones too."""
TAG: Final = "isthmus"
"""On each of them, so that each leads to the others."""

Text = Annotated[str, Field(min_length=1)]


class Panel(Model):
    """Lines over time, or numbers of now. `queries`: what each is called, by its labels ({{name}}) -> what is asked."""

    title: Text
    queries: dict[Text, Text] = Field(min_length=1)
    unit: Literal["short", "percentunit", "bytes", "binBps", "s", "reqps", "ops", "pps", "celsius"] = "short"
    """As Grafana names it; percentunit is a share of 1."""
    number: bool = False
    red_from: float | None = None
    """A number that is bad."""


class Row(Model):
    """Panels side by side, of one source."""

    title: Text
    source: Source = "site"
    panels: list[Panel] = Field(min_length=1, max_length=4)


class Dashboard(Model):
    """A file of dashboards/."""

    title: Text
    rows: list[Row] = Field(min_length=1)


def read(path: Path) -> Dashboard:
    """One of the files; raises ValueError for what is none."""
    return Dashboard.model_validate(strict_yaml.parse(path.read_text()))


def files(*, view: bool) -> dict[str, str]:
    """Grafana's files of all dashboards, by their names. `view`: whether there is the view over both sites."""
    return {
        f"{path.stem}.json": json.dumps(written(path.stem, read(path), view=view), sort_keys=True)
        for path in sorted(FOLDER.glob("*.yaml"))
    }


def written(name: str, dashboard: Dashboard, *, view: bool) -> dict[str, Any]:
    """A dashboard in Grafana's classic model; its address ends with /d/isthmus-NAME."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        if row.source == "view" and not view:
            continue
        height = 4 if all(panel.number for panel in row.panels) else 8
        width = COLUMNS // len(row.panels)
        panels.append({"type": "row", "title": row.title, "collapsed": False, "panels": [], **_at(0, top, COLUMNS, 1)})
        for number, panel in enumerate(row.panels):
            panels.append(_panel(panel, row.source) | _at(number * width, top + 1, width, height))
        top += 1 + height
    return {
        "uid": f"isthmus-{name}",
        "title": dashboard.title,
        "tags": [TAG],
        "links": [_to_the_others()],
        "schemaVersion": SCHEMA,
        # It is changed in its file, not here.
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": []},
        "panels": [{"id": at, **panel} for at, panel in enumerate(panels, 1)],
    }


def _to_the_others() -> dict[str, Any]:
    looks = {"icon": "external link", "tooltip": "", "targetBlank": False, "asDropdown": True}
    return {"type": "dashboards", "title": "Dashboards", "tags": [TAG], "keepTime": True, "includeVars": False, **looks}


def _at(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {"gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _panel(panel: Panel, source: Source) -> dict[str, Any]:
    datasource = {"type": "prometheus", "uid": source}
    asked = [
        {
            "refId": chr(ord("A") + number),
            "datasource": datasource,
            "expr": query,
            "legendFormat": legend,
            "instant": panel.number,
            "range": not panel.number,
        }
        for number, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "type": "stat" if panel.number else "timeseries",
        "title": panel.title,
        "datasource": datasource,
        "targets": asked,
        "fieldConfig": {"defaults": _looks(panel), "overrides": []},
        "options": _numbers() if panel.number else _lines(),
    }


def _looks(panel: Panel) -> dict[str, Any]:
    looks: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.number:
        bad = [{"color": "red", "value": panel.red_from}] if panel.red_from is not None else []
        looks["thresholds"] = {"mode": "absolute", "steps": [{"color": "green", "value": None}, *bad]}
    return looks


def _numbers() -> dict[str, Any]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    return {
        "reduceOptions": last,
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }


def _lines() -> dict[str, Any]:
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
