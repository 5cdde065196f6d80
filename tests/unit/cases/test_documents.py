"""What documents and charts are said to hold adds up, and is what was drawn."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.cases.conftest import QUICK
from vlmctl.cases import bar_charts, forms, line_charts, menus, pie_charts, receipts, small_print, tables
from vlmctl.cases.canvas import Box, Canvas, Colour
from vlmctl.cases.chart_axes import PLOT, SERIES_COLOURS
from vlmctl.cases.fonts import Fonts
from vlmctl.cases.pictures import Ask, Picture, Studio

STUDIO = Studio(QUICK, Fonts())
SCALE = QUICK.width_pixels / 1000  # pixels of a unit
NEAR = 40
seeds = st.integers(0, 2**32)
few = settings(max_examples=8)


def _ask(picture: Picture, key: str) -> Ask:
    return next(ask for ask in picture.asks if ask.key == key)


def _is_colour(canvas: Canvas, colour: Colour) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(np.abs(np.asarray(canvas.finished()).astype(int) - np.array(colour)).sum(axis=2) < NEAR)


@few
@given(seed=seeds)
def test_receipts_add_up(seed: int) -> None:
    """Lines make the subtotal, tax comes on top, and cash less total is the change: in the printed figures."""
    picture = receipts.draw(STUDIO, Random(seed))
    words = [written.text for written in picture.canvases[0].written]
    lines = [index for index, word in enumerate(words) if re.match(r"\d x ", word)]
    prices = [round(float(words[index + 1]) * 100) for index in lines]
    printed = {words[index]: words[index + 1] for index in range(len(words) - 1)}
    rate = next(int(word[4:-1]) for word in words if re.fullmatch(r"Tax \d+%", word))
    names = ("Subtotal", f"Tax {rate}%", "TOTAL", "Cash", "Change")
    cents = {name: round(float(printed[name]) * 100) for name in names}
    assert cents["Subtotal"] == sum(prices)
    assert abs(cents[f"Tax {rate}%"] - sum(prices) * rate / 100) <= 0.5
    assert cents["TOTAL"] == cents["Subtotal"] + cents[f"Tax {rate}%"]
    assert cents["Cash"] - cents["TOTAL"] == cents["Change"] > 0
    assert _ask(picture, "total").expected.number == pytest.approx(cents["TOTAL"] / 100)
    assert _ask(picture, "change").expected.number == pytest.approx(cents["Change"] / 100)
    assert _ask(picture, "goods").expected.number == len(lines)


@few
@given(seed=seeds)
def test_lines_of_receipts_are_quantity_times_price(seed: int) -> None:
    """Where several were bought, the price of one is printed, and times their number it is the line's."""
    words = [written.text for written in receipts.draw(STUDIO, Random(seed)).canvases[0].written]
    for index, word in enumerate(words):
        if each := re.fullmatch(r"at (\d+\.\d\d) each", word):
            quantity = int(words[index - 2].split(" x ")[0])
            assert float(words[index - 1]) == pytest.approx(quantity * float(each[1]))


@few
@given(seed=seeds)
def test_the_box_of_the_total_is_its_ink(seed: int) -> None:
    """The box to point at holds the amount's dark pixels, which reach its edges."""
    picture = receipts.draw(STUDIO, Random(seed))
    box = _ask(picture, "where").expected.box
    assert box is not None
    left, top, right, bottom = (int(side) for side in box)
    dark = np.asarray(picture.canvases[0].finished().convert("L")) < 190
    ink = np.argwhere(dark[top - 4 : bottom + 4, left - 4 : right + 4]) - 4
    assert ink[:, 0].min() == pytest.approx(0, abs=2)
    assert ink[:, 0].max() == pytest.approx(bottom - top, abs=2)
    assert ink[:, 1].min() == pytest.approx(0, abs=2)
    assert ink[:, 1].max() == pytest.approx(right - left, abs=2)


@few
@given(seed=seeds)
def test_tables_answer_from_their_cells(seed: int) -> None:
    """Cell, extremes and sum are those of the printed numbers, which differ within a column."""
    table = tables.imagine(Random(seed))
    picture = tables.draw(STUDIO, Random(seed))
    _, *words = [written.text for written in picture.canvases[0].written]
    width = len(table.columns) + 1
    header, body = words[: width - 1], words[width - 1 :]
    rows = [body[index : index + width] for index in range(0, len(body), width)]
    printed = {name: [int(cell) for cell in cells] for name, *cells in rows}
    cell = re.match(r"What number does the table give for (.*) in (\w+)\?", _ask(picture, "cell").question)
    assert cell is not None
    assert printed[cell[1]][header.index(cell[2])] == _ask(picture, "cell").expected.number
    column = header.index(cell[2])
    numbers = [row[column] for row in printed.values()]
    assert len(set(numbers)) == len(numbers)
    assert max(printed, key=lambda row: printed[row][column]) == _ask(picture, "most").expected.answers[0]
    assert min(printed, key=lambda row: printed[row][column]) == _ask(picture, "least").expected.answers[0]
    added = re.match(r"What do (.*) and (.*) add up to", _ask(picture, "sum").question)
    assert added is not None
    assert printed[added[1]][column] + printed[added[2]][column] == _ask(picture, "sum").expected.number


@few
@given(seed=seeds)
def test_bars_are_as_high_as_their_values(seed: int) -> None:
    """The pixels of a series reach up to the value that its bar stands for."""
    bars = bar_charts.imagine(Random(seed))
    picture = bar_charts.draw(STUDIO, Random(seed))
    room = (PLOT.right - PLOT.left) / len(bars.names)
    for year, colour in enumerate(bars.colours):
        own = _is_colour(picture.canvases[0], SERIES_COLOURS[colour])
        for index in range(len(bars.names)):
            left = int((PLOT.left + index * room) * SCALE)
            rows = np.argwhere(own[: int(PLOT.bottom * SCALE), left : left + int(room * SCALE)].any(axis=1))
            height = (PLOT.bottom * SCALE - rows.min()) / ((PLOT.bottom - PLOT.top) * SCALE) * bars.scale.top
            assert height == pytest.approx(bars.value(year, index), abs=0.012 * bars.scale.top)


@few
@given(seed=seeds)
def test_bars_of_a_year_differ(seed: int) -> None:
    """The highest bar is the only one of its height, and no bar ends on the line that bars are counted above."""
    bars = bar_charts.imagine(Random(seed))
    picture = bar_charts.draw(STUDIO, Random(seed))
    assert all(len(set(heights)) == len(heights) for heights in bars.heights)
    above = next((ask for ask in picture.asks if ask.key == "above"), None)
    assume(above is not None)
    assert above is not None
    asked = re.search(r"higher than (\d+) in (\d+)", above.question)
    assert asked is not None
    year = bars.years.index(int(asked[2]))
    values = [bars.value(year, index) for index in range(len(bars.names))]
    assert int(asked[1]) not in values
    assert sum(value > int(asked[1]) for value in values) == above.expected.number


@few
@given(seed=seeds)
def test_points_of_lines_lie_at_their_values(seed: int) -> None:
    """The marker of the last team, which lies on top, is at the height of its value in every month."""
    lines = line_charts.imagine(Random(seed))
    picture = line_charts.draw(STUDIO, Random(seed))
    own = _is_colour(picture.canvases[0], SERIES_COLOURS[lines.colours[-1]])
    room = (PLOT.right - PLOT.left) / len(lines.months)
    for month in range(len(lines.months)):
        value = lines.value(len(lines.teams) - 1, month)
        y = PLOT.bottom - (PLOT.bottom - PLOT.top) * value / lines.scale.top
        assert own[round(y * SCALE), round((PLOT.left + (month + 0.5) * room) * SCALE)]


@few
@given(seed=seeds)
def test_lines_have_one_peak_and_do_not_meet_at_a_month(seed: int) -> None:
    """Highest, lowest and leading are never tied."""
    lines = line_charts.imagine(Random(seed))
    for points in lines.points:
        assert points.count(max(points)) == points.count(min(points)) == 1
    for month in zip(*lines.points, strict=True):
        assert len(set(month)) == len(month)


@few
@given(seed=seeds)
def test_slices_have_the_area_of_their_shares(seed: int) -> None:
    """Shares add up to 100, differ visibly, and are what the pixels of each colour make of the pie."""
    pie = pie_charts.imagine(Random(seed))
    picture = pie_charts.draw(STUDIO, Random(seed))
    assert sum(pie.percents) == 100
    ranked = sorted(pie.percents)
    assert min(more - less for less, more in pairwise(ranked)) >= pie_charts.LEAST_GAP_PERCENT
    end = int(640 * SCALE)  # the legend is further right
    areas = [_is_colour(picture.canvases[0], SERIES_COLOURS[colour])[:, :end].sum() for colour in pie.colours]
    for area, percent in zip(areas, pie.percents, strict=True):
        assert 100 * area / sum(areas) == pytest.approx(percent, abs=2)


@few
@given(seed=seeds)
def test_forms_hold_what_is_asked(seed: int) -> None:
    """Every expected text was written, the cross lies over the ticked choice, and the signature's box is inked."""
    picture = forms.draw(STUDIO, Random(seed))
    canvas = picture.canvases[0]
    written = [each.text for each in canvas.written]
    for key in ("name", "member", "city", "birth", "email"):
        assert _ask(picture, key).expected.answers[0] in written
    grey = np.asarray(canvas.finished().convert("L"))
    ticked = _ask(picture, "ticked")
    darkness = {}
    for option in ticked.options:
        *_, label = (each.box for each in canvas.written if each.text == option)
        box = Box(label.left - 29, label.centre[1] - 9, label.left - 11, label.centre[1] + 9)
        left, top, right, bottom = (int(side * SCALE) for side in box)
        darkness[option] = 255 - grey[top:bottom, left:right].mean()
    assert max(darkness, key=lambda option: darkness[option]) == ticked.expected.answers[0]
    signature = _ask(picture, "signature").expected.box
    assert signature is not None
    left, top, right, bottom = (int(side) for side in signature)
    ink = np.argwhere(grey[top - 3 : bottom - 2, left - 3 : right + 3] < 235) - 3
    assert ink[:, 1].min() == pytest.approx(0, abs=2)
    assert ink[:, 1].max() == pytest.approx(right - left, abs=2)


@few
@given(seed=seeds)
def test_small_print_says_each_fact_once(seed: int) -> None:
    """A fact's figure or name stands on the page exactly once, and the clauses are numbered to the last."""
    picture = small_print.draw(STUDIO, Random(seed))
    words = [written.text for written in picture.canvases[0].written]
    page = " ".join(words[2:])
    for key in ("code", "court"):
        assert page.count(_ask(picture, key).expected.answers[0]) == 1
    for key, unit in (("notice", "days"), ("interest", "percent"), ("limit", "euros"), ("report", "hours")):
        assert page.count(f" {_ask(picture, key).expected.number} {unit}") == 1
    numbers = [int(word[:-1]) for word in words if re.fullmatch(r"\d+\.", word)]
    assert numbers == list(range(1, int(_ask(picture, "clauses").expected.number or 0) + 1))


@few
@given(seed=seeds)
def test_menus_price_each_dish_once(seed: int) -> None:
    """Prices differ, so that the dearest dish and the dish of a price are one."""
    picture = menus.menu(menus.LATIN_MENU, menus.Face.SERIF)(STUDIO, Random(seed))
    _, *words = [written.text for written in picture.canvases[0].written]
    prices = {words[index]: int(words[index + 1]) for index in range(0, len(words), 2)}
    assert len(set(prices.values())) == len(prices)
    assert max(prices, key=lambda dish: prices[dish]) == _ask(picture, "dearest").expected.answers[0]
    assert min(prices, key=lambda dish: prices[dish]) == _ask(picture, "cheapest").expected.answers[0]
    asked = re.match(r"What does (.*) cost", _ask(picture, "price").question)
    assert asked is not None
    assert prices[asked[1]] == _ask(picture, "price").expected.number
