"""Grouped bar charts whose bars end on readable values: heights, extremes, differences and sums."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import Box, Canvas
from vlmctl.cases.chart_axes import HEIGHT, PLOT, SERIES_COLOURS, WIDTH, Scale, draw_axes, draw_legend, draw_names
from vlmctl.cases.pictures import NAME_ONLY, NUMBER_ONLY, Ask, Picture, Studio, number, text
from vlmctl.cases.vocabulary import CITIES, MEASURES, PRODUCTS, REGIONS
from vlmctl.compare.cases import Metric

STEPS = (10, 20, 40, 50, 100, 200)
PARTS_OF_A_STEP = 4  # bars end at quarters between grid lines, which the eye can tell
LEAST_PARTS = 3
BAR_SHARE = 0.72  # of the room for a name, the rest is gap


class Bars(NamedTuple):
    """Series by year; `heights` holds one row per year, in parts of a step."""

    title: str
    measure: str
    names: tuple[str, ...]
    years: tuple[int, ...]
    heights: tuple[tuple[int, ...], ...]
    scale: Scale
    colours: tuple[str, ...]

    def value(self, year: int, name: int) -> float:
        """What a bar stands for."""
        return self.heights[year][name] * self.scale.step / PARTS_OF_A_STEP


def imagine(rng: Random) -> Bars:
    """One to three years of four to seven names; all bars of a year differ."""
    names = tuple(rng.sample(rng.choice((CITIES, PRODUCTS, REGIONS)), rng.randint(4, 6)))
    years = rng.choice((1, 2, 2, 3))
    first = rng.randint(2015, 2024)
    scale = Scale(rng.choice(STEPS))
    parts = range(LEAST_PARTS, 5 * PARTS_OF_A_STEP)
    heights = tuple(tuple(rng.sample(parts, len(names))) for _ in range(years))
    measure = rng.choice(MEASURES)
    colours = tuple(rng.sample(sorted(SERIES_COLOURS), years))
    labels = tuple(first + year for year in range(years))
    return Bars(f"{measure} by {_kind(names)}", measure, names, labels, heights, scale, colours)


def draw(studio: Studio, rng: Random) -> Picture:
    """A bar chart, and questions about its bars."""
    bars = imagine(rng)
    canvas = studio.canvas(WIDTH, HEIGHT)
    draw_axes(canvas, bars.scale, title=bars.title, unit=bars.measure)
    room = (PLOT.right - PLOT.left) / len(bars.names)
    centres = [PLOT.left + (index + 0.5) * room for index in range(len(bars.names))]
    for year in range(len(bars.years)):
        _draw_year(canvas, bars, year, room)
    draw_names(canvas, bars.names, centres)
    draw_legend(
        canvas, {str(year): SERIES_COLOURS[colour] for year, colour in zip(bars.years, bars.colours, strict=True)}
    )
    return Picture((canvas,), _asks(bars, rng))


def _draw_year(canvas: Canvas, bars: Bars, year: int, room: float) -> None:
    width = room * BAR_SHARE / len(bars.years)
    for index in range(len(bars.names)):
        left = PLOT.left + index * room + room * (1 - BAR_SHARE) / 2 + year * width
        top = bars.scale.y(bars.value(year, index))
        gap = width * 0.04
        canvas.rectangle(Box(left + gap, top, left + width - gap, PLOT.bottom), fill=SERIES_COLOURS[bars.colours[year]])


def _asks(bars: Bars, rng: Random) -> tuple[Ask, ...]:
    year, name = rng.randrange(len(bars.years)), rng.randrange(len(bars.names))
    said = f"in {bars.years[year]}"
    heights = bars.heights[year]
    most, least = bars.names[heights.index(max(heights))], bars.names[heights.index(min(heights))]
    high, low = sorted(rng.sample(range(len(bars.names)), 2), key=lambda each: -heights[each])
    difference = bars.value(year, high) - bars.value(year, low)
    more = f"By how much does {bars.names[high]} exceed {bars.names[low]} {said}? {NUMBER_ONLY}"
    value = f"What is the value of {bars.names[name]} {said}? {NUMBER_ONLY}"
    bars_in_all = f"How many bars does this chart show in all? {NUMBER_ONLY}"
    return (
        Ask("value", value, Metric.RELAXED_ACCURACY, number(bars.value(year, name))),
        Ask("most", f"Which has the highest bar {said}? {NAME_ONLY}", Metric.EXACT, text(most)),
        Ask("difference", more, Metric.RELAXED_ACCURACY, number(difference)),
        Ask("least", f"Which has the lowest bar {said}? {NAME_ONLY}", Metric.EXACT, text(least)),
        *_above(bars, year, said),
        Ask("bars", bars_in_all, Metric.NUMERIC, number(len(bars.names) * len(bars.years))),
    )


def _above(bars: Bars, year: int, said: str) -> Iterator[Ask]:
    """How many bars pass a grid line, the nearest to the middle on which no bar ends."""
    heights = bars.heights[year]
    free = [line for line in (2, 3, 1, 4) if line * PARTS_OF_A_STEP not in heights]
    for line in free[:1]:
        above = sum(height > line * PARTS_OF_A_STEP for height in heights)
        question = f"How many bars are higher than {line * bars.scale.step} {said}? {NUMBER_ONLY}"
        yield Ask("above", question, Metric.NUMERIC, number(above))


def _kind(names: tuple[str, ...]) -> str:
    return {CITIES: "city", PRODUCTS: "product", REGIONS: "region"}[
        next(group for group in (CITIES, PRODUCTS, REGIONS) if names[0] in group)
    ]
