"""Pie charts with a legend, with or without the shares written on the slices: shares, ranks, sums and colours."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import WHITE, Box, Canvas
from vlmctl.cases.chart_axes import SERIES_COLOURS
from vlmctl.cases.fonts import Face
from vlmctl.cases.pictures import NAME_ONLY, NUMBER_ONLY, Ask, Picture, Studio, number, text
from vlmctl.cases.vocabulary import PRODUCTS, REGIONS
from vlmctl.compare.cases import Metric

WIDTH, HEIGHT = 1000.0, 750.0
PIE = Box(60, 130, 620, 690)
LEGEND_LEFT = 690.0
LEAST_PERCENT = 7  # thinner slices hold no label
LEAST_GAP_PERCENT = 3  # between any two slices, so that ranks can be seen
FULL_DEGREES = 360.0
TOP_DEGREES = -90.0  # the first slice starts at twelve o'clock


class Pie(NamedTuple):
    """Slices clockwise from the top; whole percents that add up to 100."""

    title: str
    names: tuple[str, ...]
    percents: tuple[int, ...]
    colours: tuple[str, ...]
    labelled: bool


def imagine(rng: Random) -> Pie:
    """Four or five slices; two pies of three carry their percents."""
    names = tuple(rng.sample(rng.choice((PRODUCTS, REGIONS)), rng.randint(4, 5)))
    percents: tuple[int, ...] = ()
    while not percents:
        percents = _shares(rng, len(names))
    colours = tuple(rng.sample(sorted(SERIES_COLOURS), len(names)))
    title = f"{rng.choice(('Share of sales', 'Share of costs', 'Share of orders'))}, {rng.randint(2018, 2026)}"
    return Pie(title, names, percents, colours, rng.random() < 2 / 3)


def draw(studio: Studio, rng: Random) -> Picture:
    """A pie chart, and questions about its slices."""
    pie = imagine(rng)
    canvas = studio.canvas(WIDTH, HEIGHT)
    canvas.text((60, 72), pie.title, 36, face=Face.BOLD)
    _slices(canvas, pie)
    for index, (name, colour) in enumerate(zip(pie.names, pie.colours, strict=True)):
        top = PIE.centre[1] + (index - len(pie.names) / 2) * 62
        canvas.rectangle(Box(LEGEND_LEFT, top, LEGEND_LEFT + 30, top + 30), fill=SERIES_COLOURS[colour])
        canvas.text((LEGEND_LEFT + 46, top + 25), name, 28)
    return Picture((canvas,), _asks(pie, rng))


def _slices(canvas: Canvas, pie: Pie) -> None:
    start = TOP_DEGREES
    radius = (PIE.right - PIE.left) / 2 * 0.68
    for percent, colour in zip(pie.percents, pie.colours, strict=True):
        end = start + FULL_DEGREES * percent / 100
        canvas.slice(PIE, start, end, fill=SERIES_COLOURS[colour])
        if pie.labelled:
            middle = math.radians((start + end) / 2)
            place = PIE.centre[0] + radius * math.cos(middle), PIE.centre[1] + radius * math.sin(middle)
            canvas.text(place, f"{percent}%", 30, face=Face.BOLD, fill=WHITE, anchor="mm")
        start = end


def _shares(rng: Random, count: int) -> tuple[int, ...]:
    """Percents that add up to 100, none too thin and no two alike; nothing where the draw was not so lucky."""
    cuts = sorted(rng.sample(range(LEAST_PERCENT, 100 - LEAST_PERCENT + 1), count - 1))
    shares = tuple(after - before for before, after in zip((0, *cuts), (*cuts, 100), strict=True))
    ranked = sorted(shares)
    apart = all(more - less >= LEAST_GAP_PERCENT for less, more in pairwise(ranked))
    return shares if ranked[0] >= LEAST_PERCENT and apart else ()


def _asks(pie: Pie, rng: Random) -> tuple[Ask, ...]:
    one, other = rng.sample(range(len(pie.names)), 2)
    ranked = sorted(range(len(pie.names)), key=lambda index: -pie.percents[index])
    both = f"What percentage do {pie.names[one]} and {pie.names[other]} have together? {NUMBER_ONLY}"
    colour = f"Which colour is the slice of {pie.names[one]}? {NAME_ONLY}"
    asks = [
        Ask("largest", f"Which has the largest slice? {NAME_ONLY}", Metric.EXACT, text(pie.names[ranked[0]])),
        Ask("smallest", f"Which has the smallest slice? {NAME_ONLY}", Metric.EXACT, text(pie.names[ranked[-1]])),
        Ask("colour", colour, Metric.EXACT, text(pie.colours[one])),
        Ask("second", f"Which has the second largest slice? {NAME_ONLY}", Metric.EXACT, text(pie.names[ranked[1]])),
        Ask("slices", f"How many slices are there? {NUMBER_ONLY}", Metric.NUMERIC, number(len(pie.names))),
    ]
    if pie.labelled:  # without labels a share can only be guessed
        share = f"What percentage does {pie.names[one]} have? {NUMBER_ONLY}"
        asks.insert(0, Ask("share", share, Metric.RELAXED_ACCURACY, number(pie.percents[one])))
        asks.insert(2, Ask("both", both, Metric.RELAXED_ACCURACY, number(pie.percents[one] + pie.percents[other])))
    return tuple(asks)
