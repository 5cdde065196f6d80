"""The page's charts and the tables of its sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from vlmctl.compare.charts import Axis, Point, Series, chart, cumulative, legend
from vlmctl.compare.report_tables import NONE, count, quality, seconds, section, table, usd
from vlmctl.compare.results import ComparisonResult, Reply
from vlmctl.compare.standings import EVERYTHING, Standings
from vlmctl.compare.sweep import (
    Plateau,
    SweepPoint,
    count_plateaus,
    count_points,
    resolution_plateaus,
    resolution_points,
)
from vlmctl.compare.verdicts import plateau_text, undecided
from vlmctl.units import show_seconds, show_usd

QUALITY = Axis("mean score", "{:.0%}".format, low=0.0, high=1.0)
WIDE = 20.0  # largest over smallest value, from which a scale is logarithmic
MONEY = Axis("dollars per 1,000 requests", show_usd, log_from=WIDE)
SHARE = Axis("share of answers", "{:.0%}".format, low=0.0, high=1.0)


class Swept(NamedTuple):
    """What a sweep is called on the page; `unit` in the singular."""

    name: str
    title: str
    head: str
    unit: str
    note: str


def money_and_time(result: ComparisonResult, found: Standings, numbers: Mapping[str, int]) -> str:
    """Quality against dollars with the Pareto line, and how latencies are distributed."""
    names = list(numbers.items())
    first = [(name, [reply for reply in result.of(name) if reply.answered and reply.repeat == 0]) for name, _ in names]
    figures = [
        _figure("Quality against dollars; dashed: the Pareto line", _money_chart(found, numbers), names),
        _figure("Share of answers whose first token had come", _latencies(first, numbers, "ttft_seconds"), names),
        _figure("Share of answers that were complete", _latencies(first, numbers, "e2e_seconds"), names),
    ]
    unpriced = "" if figures[0] else "<p>Give prices (price=1.20/h) to see quality against dollars.</p>"
    return section("money", "Quality, dollars and time", f'{unpriced}<div class="charts">{"".join(figures)}</div>')


def sweeps(result: ComparisonResult, numbers: Mapping[str, int]) -> str:
    """Quality, tokens, latency and dollars against resolution and the number of images, where they were swept."""
    parts = []
    if result.sides_pixels:
        sides = result.sides_pixels
        axis = Axis("longer side in pixels", "{:,.0f}".format, low=min(sides) / 1.1, log_from=1.0, at=sides)
        note = "The smallest size from which on none is worse than the best beyond luck, all pairs in a row counted."
        parts.append(_sweep(Swept("resolution", "Where more pixels stop paying", "Longer side, pixels", "px", note),
                            axis, numbers, resolution_points(result), resolution_plateaus(result)))  # fmt: skip
    if result.image_counts:
        counts = result.image_counts
        axis = Axis("images in the request", "{:,.0f}".format, low=min(counts) - 0.5, at=counts)
        note = "The most images up to which none is worse than the best beyond luck, all pairs in a row counted."
        parts.append(_sweep(Swept("images", "What more images do", "Images", "image", note),
                            axis, numbers, count_points(result), count_plateaus(result)))  # fmt: skip
    return "\n".join(parts)


def _money_chart(found: Standings, numbers: Mapping[str, int]) -> str:
    series = [
        Series(each.contender, numbers[each.contender],
               [Point(each.speed.usd_per_1k, each.quality.mean, each.quality.low, each.quality.high)])
        for each in found.contenders
        if each.speed.usd_per_1k is not None and each.quality is not None
    ]  # fmt: skip
    front = [each.points[0] for name in found.pareto for each in series if each.name == name]
    return chart("Quality against dollars per 1,000 requests", series, MONEY, QUALITY, line=front)


def _latencies(replies: Sequence[tuple[str, Sequence[Reply]]], numbers: Mapping[str, int], field: str) -> str:
    series = []
    for name, own in replies:
        values = [value for reply in own if (value := getattr(reply, field)) is not None]
        if values:
            series.append(Series(name, numbers[name], cumulative(values), joined=True, marked=False))
    return chart("Latencies", series, Axis("time", show_seconds, log_from=WIDE), SHARE)


def _sweep(
    swept: Swept, axis: Axis, numbers: Mapping[str, int], points: Sequence[SweepPoint], plateaus: Sequence[Plateau]
) -> str:
    """What is enough, the curve over all cases, the figures, and behind a fold the curves of the categories."""
    names, figures = list(numbers.items()), []
    for category in dict.fromkeys(category for point in points for category in point.quality):
        lines = [(contender, number, _line(points, contender, category)) for contender, number in names]
        series = [Series(*line, joined=True) for line in lines if line[2]]
        drawn = chart(f"{category}: quality against {axis.label}", series, axis, QUALITY)
        figures.append(_figure(category, drawn, names))
    each = f'<div class="charts">{"".join(figures[1:])}</div>'
    folded = f'<details class="fold"><summary>Each category</summary>{each}</details>'
    return section(
        swept.name,
        swept.title,
        _plateau_table(swept, plateaus)
        + f'<div class="charts">{"".join(figures[:1])}</div>'
        + _point_table(swept, points)
        + (folded if len(figures) > 2 else ""),
    )


def _line(points: Sequence[SweepPoint], contender: str, category: str) -> list[Point]:
    return [
        Point(point.value, interval.mean, interval.low, interval.high)
        for point in points
        if point.contender == contender and (interval := point.quality.get(category))
    ]


def _plateau_table(swept: Swept, plateaus: Sequence[Plateau]) -> str:
    contenders = tuple(dict.fromkeys(plateau.contender for plateau in plateaus))
    told = {(each.category, each.contender): plateau_text(each, swept.unit) for each in plateaus}
    decided = dict.fromkeys(plateau.category for plateau in plateaus if plateau.enough is not None)
    rows = [
        (escape(category), *(escape(told.get((category, each), NONE)) for each in contenders)) for category in decided
    ]
    few = escape(undecided(plateaus))
    if not rows:
        return f'<p class="soft">{few}</p>'
    heads = ("Category", *contenders)
    return table(heads, rows, name=swept.name, text=heads, note=f"{swept.note} {few}")


def _point_table(swept: Swept, points: Sequence[SweepPoint]) -> str:
    rows = [
        (
            escape(point.contender),
            f"{point.value:,}",
            quality(point.quality.get(EVERYTHING)),
            count(point.speed.prompt_tokens),
            count(point.speed.image_tokens),
            seconds(point.speed.ttft_p50_seconds),
            seconds(point.speed.e2e_p50_seconds),
            usd(point.speed.usd_per_1k),
        )
        for point in points
    ]
    heads = ("Model", swept.head, "Quality", "Prompt tokens", "Image tokens", "First token", "Whole answer", "$ per 1k")
    return table(heads, rows, name=swept.name, text=("Model",), note="Tokens: means of a request. Times: medians.")


def _figure(title: str, drawing: str, names: Sequence[tuple[str, int]]) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}{legend(names)}</figure>" if drawing else ""
