"""The Grafana dashboard as people meet it: every panel says what it shows, in which unit, and has its own place."""

from __future__ import annotations

import json
from typing import Any

from docs.generate._chart import CHART

COLUMNS = 24


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((CHART / "dashboards" / "vlmctl.json").read_text())["panels"]
    return found


def test_every_panel_explains_itself() -> None:
    """A title of its own, a sentence, a unit and at least one query; ids tell them apart."""
    shown = [each for each in panels() if each["type"] != "row"]
    assert len({each["title"] for each in shown}) == len(shown)
    assert len({each["id"] for each in panels()}) == len(panels())
    for each in shown:
        assert each["description"].endswith("."), each["title"]
        assert each["fieldConfig"]["defaults"]["unit"], each["title"]
        assert all(target["expr"] for target in each["targets"]), each["title"]


def test_no_panel_lies_on_another() -> None:
    """Each cell of the grid belongs to one panel at most, and none is beyond its edge."""
    cells: set[tuple[int, int]] = set()
    for each in panels():
        place = each["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, each["title"]
        cells |= own
