"""Charts as inline SVG, coloured by the page's style sheet so that they follow its theme. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 440, 290  # of the view box: narrow, so that text stays readable on a telephone
LEFT, RIGHT, TOP, BOTTOM = 52, 30, 14, 44  # margins around the plot
SERIES = 8  # colours and marks that the style sheet tells apart; then they repeat
TICKS = 5
TICK_PIXELS = 44.0  # between two values under the plot at least
MARK = 5.0  # half the size of a mark
BESIDE = 5.0  # by which series that share their values of x stand apart, so that no interval hides another

Show = Callable[[float], str]


class Point(NamedTuple):
    """A place with its interval in y, None where there is none."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


class Series(NamedTuple):
    """Points of one name; `number` picks its colour and mark. `joined`: a line goes through them."""

    name: str
    number: int
    points: Sequence[Point]
    joined: bool = False
    marked: bool = True


class Axis(NamedTuple):
    """What an axis shows; a bound that is None is found from the points.

    `log_from`: the ratio of largest to smallest from which it is logarithmic. `at`: values to name, round ones if none.
    """

    label: str
    show: Show
    low: float | None = None
    high: float | None = None
    log_from: float = math.inf
    at: Sequence[float] = ()


class Scale(NamedTuple):
    """Values of one axis as pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        share = (
            math.log(value / self.low) / math.log(self.high / self.low)
            if self.log
            else (value - self.low) / (self.high - self.low)
        )
        return self.start + (self.end - self.start) * share


def chart(title: str, series: Sequence[Series], x: Axis, y: Axis, *, line: Sequence[Point] = ()) -> str:
    """One chart; `line`: points that a dashed line joins, such as a Pareto front."""
    every = [point for each in series for point in each.points]
    if not every:
        return ""
    across = _scale(x, [point.x for point in every], LEFT, WIDTH - RIGHT)
    down = _scale(y, [value for point in every for value in point[1:] if value is not None], HEIGHT - BOTTOM, TOP)
    parts = [_axes(x, y, across, down)]
    if len(line) > 1:
        parts.append(f'<path class="front" d="{_path(line, across, down)}"/>')
    for place, each in enumerate(series):
        beside = (place - (len(series) - 1) / 2) * BESIDE if each.joined and each.marked else 0.0
        parts.append(_drawn(each, x, y, across, down, beside))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">\n'
        f"<title>{escape(title)}</title>\n" + "\n".join(parts) + "\n</svg>"
    )


def legend(names: Sequence[tuple[str, int]]) -> str:
    """Names with their marks, for below a chart."""
    items = "".join(
        f'<li><svg viewBox="-8 -8 16 16" aria-hidden="true" class="key s{number % SERIES}">{_mark(number, 0, 0)}</svg>'
        f"{escape(name)}</li>"
        for name, number in names
    )
    return f'<ul class="legend">{items}</ul>'


def cumulative(values: Sequence[float]) -> list[Point]:
    """The share of values at or below each, as the corners of a step line."""
    ordered, points = sorted(values), [Point(min(values), 0.0)]
    for rank, value in enumerate(ordered, start=1):
        points += [Point(value, points[-1].y), Point(value, rank / len(ordered))]
    return points


def ticks(low: float, high: float, *, log: bool = False) -> list[float]:
    """Round values between the two, about five."""
    if log:
        first = math.floor(math.log10(low))
        steps = [m * 10.0**e for e in range(first, math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)]
        inside = [value for value in steps if low <= value <= high]
        return inside[:: max(1, math.ceil(len(inside) / (TICKS + 1)))]
    rough = (high - low) / TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    log = low > 0 and high / low > axis.log_from
    if axis.low is None:
        low = low / 1.2 if log else min(low, 0.0)
    if axis.high is None:
        high = high * 1.2 if log else high * 1.08
    return Scale(low, high if high > low else low + 1.0, start, end, log)


def _axes(x: Axis, y: Axis, across: Scale, down: Scale) -> str:
    base, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in ticks(down.low, down.high, log=down.log):
        at = f"{down(value):.1f}"
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{right}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at}" dy="4" text-anchor="end">{escape(y.show(value))}</text>')
    last = -TICK_PIXELS
    for value in x.at or ticks(across.low, across.high, log=across.log):
        if across(value) - last < TICK_PIXELS:
            continue
        last = across(value)
        at = f"{last:.1f}"
        parts.append(f'<text x="{at}" y="{base + 16}" text-anchor="middle">{escape(x.show(value))}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{base}H{right}"/>')
    label = escape(x.label + (", logarithmic" if across.log else ""))
    parts.append(
        f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle" class="label">{label}</text>'
    )
    middle = (TOP + base) / 2
    turned = f'transform="rotate(-90 12 {middle:.0f})"'
    parts.append(f'<text x="12" y="{middle:.0f}" {turned} text-anchor="middle" class="label">{escape(y.label)}</text>')
    return "\n".join(parts)


def _drawn(series: Series, x: Axis, y: Axis, across: Scale, down: Scale, beside: float) -> str:
    parts = [f'<g class="s{series.number % SERIES}" transform="translate({beside:g} 0)">']
    if series.joined:
        parts.append(f'<path class="line" d="{_path(series.points, across, down)}"/>')
    for point in series.points if series.marked else ():
        at_x, at_y = across(point.x), down(point.y)
        said = f"{series.name}: {x.show(point.x)}, {y.show(point.y)}"
        if point.low is not None and point.high is not None:
            said += f" ({y.show(point.low)} to {y.show(point.high)})"
            parts.append(f'<path class="whisker" d="M{at_x:.1f} {down(point.low):.1f}V{down(point.high):.1f}"/>')
        parts.append(f"<g>{_mark(series.number, at_x, at_y)}<title>{escape(said)}</title></g>")
    return "\n".join([*parts, "</g>"])


def _path(points: Sequence[Point], across: Scale, down: Scale) -> str:
    return "M" + "L".join(f"{across(point.x):.1f} {down(point.y):.1f}" for point in points)


def _mark(number: int, x: float, y: float) -> str:
    """A mark whose shape tells series apart without colour."""
    m = MARK
    match number % 4:
        case 0:
            return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{m:g}"/>'
        case 1:
            return f'<rect class="mark" x="{x - m:.1f}" y="{y - m:.1f}" width="{2 * m:g}" height="{2 * m:g}"/>'
        case 2:
            return f'<path class="mark" d="M{x:.1f} {y - m:.1f}l{m:g} {2 * m:g}h{-2 * m:g}z"/>'
    d = m + 1
    return f'<path class="mark" d="M{x:.1f} {y - d:.1f}l{d:g} {d:g} {-d:g} {d:g} {-d:g} {-d:g}z"/>'
