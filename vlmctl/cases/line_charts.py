"""Line charts of two or three teams over months: values, peaks, and who leads where the lines are well apart."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import NamedTuple

from vlmctl.cases.canvas import WHITE, Box
from vlmctl.cases.chart_axes import HEIGHT, PLOT, SERIES_COLOURS, WIDTH, Scale, draw_axes, draw_legend, draw_names
from vlmctl.cases.pictures import NAME_ONLY, NUMBER_ONLY, Ask, Picture, Studio, number, text
from vlmctl.cases.vocabulary import LONG_MONTHS, MEASURES, MONTHS, TEAMS
from vlmctl.compare.cases import Expected, Metric

STEPS = (10, 20, 40, 50, 100)
PARTS_OF_A_STEP = 4  # points lie on quarters between grid lines
MARKER = 7.0  # units from the middle of a marker to its edge
LONGEST_STEP = 5  # parts that a line rises or falls from month to month


class Lines(NamedTuple):
    """Lines by team; `points` in parts of a step. In a month no two points are the same, and a peak is one."""

    measure: str
    year: int
    teams: tuple[str, ...]
    months: tuple[str, ...]
    points: tuple[tuple[int, ...], ...]
    scale: Scale
    colours: tuple[str, ...]

    def value(self, team: int, month: int) -> float:
        """What a point stands for."""
        return self.points[team][month] * self.scale.step / PARTS_OF_A_STEP


def imagine(rng: Random) -> Lines:
    """Two or three teams over six to nine months."""
    teams = tuple(rng.sample(TEAMS, rng.randint(2, 3)))
    first = rng.randrange(4)
    months = MONTHS[first : first + rng.randint(6, 8)]
    points: list[tuple[int, ...]] = []
    while len(points) < len(teams):
        line = _line(rng, len(months))
        if line.count(max(line)) == 1 and line.count(min(line)) == 1 and all(_apart(line, each) for each in points):
            points.append(line)
    colours = tuple(rng.sample(sorted(SERIES_COLOURS), len(teams)))
    scale = Scale(rng.choice(STEPS))
    return Lines(rng.choice(MEASURES), rng.randint(2016, 2026), teams, months, tuple(points), scale, colours)


def draw(studio: Studio, rng: Random) -> Picture:
    """A line chart, and questions about its points."""
    lines = imagine(rng)
    canvas = studio.canvas(WIDTH, HEIGHT)
    draw_axes(canvas, lines.scale, title=f"{lines.measure} in {lines.year}", unit=f"{lines.measure} per month")
    room = (PLOT.right - PLOT.left) / len(lines.months)
    centres = [PLOT.left + (index + 0.5) * room for index in range(len(lines.months))]
    for team, colour in enumerate(lines.colours):
        ink = SERIES_COLOURS[colour]
        places = [(x, lines.scale.y(lines.value(team, month))) for month, x in enumerate(centres)]
        canvas.line(places, fill=ink, width=4)
        for x, y in places:
            canvas.ellipse(Box(x, y, x, y).grown(MARKER), fill=ink, outline=WHITE, width=1.5)
    draw_names(canvas, lines.months, centres)
    draw_legend(canvas, {team: SERIES_COLOURS[each] for team, each in zip(lines.teams, lines.colours, strict=True)})
    return Picture((canvas,), _asks(lines, rng))


def _line(rng: Random, months: int) -> tuple[int, ...]:
    parts = [rng.randint(3, 17)]
    while len(parts) < months:
        parts.append(min(19, max(1, parts[-1] + rng.randint(-LONGEST_STEP, LONGEST_STEP))))
    return tuple(parts)


def _apart(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(a != b for a, b in zip(one, other, strict=True))


def _asks(lines: Lines, rng: Random) -> tuple[Ask, ...]:
    team, month = rng.randrange(len(lines.teams)), rng.randrange(len(lines.months))
    points = lines.points[team]
    peak, low = lines.months[points.index(max(points))], lines.months[points.index(min(points))]
    leading = max(range(len(lines.teams)), key=lambda each: lines.points[each][month])
    name = lines.teams[team]
    crossings = sum(after > before for before, after in pairwise(points))
    leads = f"Which team has the highest value in {lines.months[month]}? {NAME_ONLY}"
    rises = f"From one month to the next, how many times does team {name} rise? {NUMBER_ONLY}"
    value = f"What is the value of team {name} in {lines.months[month]}? {NUMBER_ONLY}"
    colour = f"Which colour is the line of team {name}? {NAME_ONLY}"
    return (
        Ask("value", value, Metric.RELAXED_ACCURACY, number(lines.value(team, month))),
        Ask("peak", f"In which month does team {name} have its highest value? {NAME_ONLY}", Metric.EXACT, _month(peak)),
        Ask("leads", leads, Metric.EXACT, text(lines.teams[leading])),
        Ask("low", f"In which month does team {name} have its lowest value? {NAME_ONLY}", Metric.EXACT, _month(low)),
        Ask("rises", rises, Metric.NUMERIC, number(crossings)),
        Ask("colour", colour, Metric.EXACT, text(lines.colours[team])),
    )


def _month(short: str) -> Expected:
    return text(*dict.fromkeys((short, LONG_MONTHS[short])))
