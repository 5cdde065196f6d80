"""A comparison for machines and for people at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlmctl.cli.output import Block, Heading, Table, Text, plain
from vlmctl.compare import sweep
from vlmctl.compare.results import ComparisonResult
from vlmctl.compare.significance import Interval
from vlmctl.compare.standings import EVERYTHING, Standings, standings
from vlmctl.compare.verdicts import clusters_note, in_clusters, pair_verdict, plateau_text, undecided, verdict, warnings
from vlmctl.units import show_seconds, show_usd

NONE = "–"


def data(result: ComparisonResult) -> dict[str, Any]:
    """What `-o json` writes; every key is always there."""
    found = standings(result)
    return {
        "made_at": result.made_at,
        "cases": len(result.cases),
        "settings": plain(result.settings),
        "complete": result.complete,
        "verdict": verdict(found, result.settings.alpha),
        "winner": found.winner,
        "warnings": list(warnings(result, found)),
        "leaderboard": _leaderboard(result, found),
        "pairs": plain(found.pairs),
        "category_winners": found.category_winners,
        "pareto": list(found.pareto),
        "resolution": {
            "points": plain(sweep.resolution_points(result)) if result.sides_pixels else [],
            "plateaus": plain(sweep.resolution_plateaus(result)) if result.sides_pixels else [],
        },
        "images": {
            "points": plain(sweep.count_points(result)) if result.image_counts else [],
            "plateaus": plain(sweep.count_plateaus(result)) if result.image_counts else [],
        },
    }


def blocks(result: ComparisonResult) -> list[Block]:
    """What people read: the verdict, who stands where, categories, and the sweeps."""
    found = standings(result)
    said: list[Block] = [Text(verdict(found, result.settings.alpha))]
    said += [Text(text, bullet=True) for text in warnings(result, found)]
    said += [_standings_table(found), *_pairs(result, found), *_categories(result, found)]
    if result.sides_pixels:
        said += [Heading("Where more pixels stop paying")]
        said += _sweep(sweep.resolution_points(result), sweep.resolution_plateaus(result), "Longer side", "px")
    if result.image_counts:
        said += [Heading("What more images do")]
        said += _sweep(sweep.count_points(result), sweep.count_plateaus(result), "Images", "image")
    return said


def _leaderboard(result: ComparisonResult, found: Standings) -> list[dict[str, Any]]:
    facts = {each.name: each for each in result.contenders}
    rows = []
    for each in found.contenders:
        model, quality = facts[each.contender], each.quality
        rows.append(
            {
                "name": each.contender,
                "model": model.model,
                "catalog_id": model.catalog_id,
                "price": plain(model.price),
                "rank": each.rank,
                "quality": quality.mean if quality else None,
                "quality_low": quality.low if quality else None,
                "quality_high": quality.high if quality else None,
                "cases": quality.cases if quality else 0,
                **plain(each.speed),
                "asked": each.requests,
                "unanswered": each.unanswered,
                "turned_down": each.turned_down,
                "unjudged": each.unjudged,
                "cut_off": each.cut_off,
                "categories": plain(each.categories),
                "problem": each.problem,
            }
        )
    return rows


def _standings_table(found: Standings) -> Table:
    rows = [
        (
            str(each.rank or NONE),
            each.contender,
            _quality(each.quality),
            _shown(each.speed.usd_per_1k, show_usd),
            _times(each.speed.ttft_p50_seconds, each.speed.ttft_p95_seconds),
            _times(each.speed.e2e_p50_seconds, each.speed.e2e_p95_seconds),
            _shown(each.speed.prompt_tokens, "{:,.0f}".format),
            _shown(each.speed.image_tokens, "{:,.0f}".format),
        )
        for each in found.contenders
    ]
    headers = (
        "Rank",
        "Model",
        "Quality (95%)",
        "$ / 1k",
        "TTFT p50 / p95",
        "E2E p50 / p95",
        "Prompt",
        "Image",
    )
    return Table(headers, rows, right=("Rank", "$ / 1k", "Prompt", "Image"))


def _pairs(result: ComparisonResult, found: Standings) -> list[Block]:
    rows = [
        (
            f"{pair.first} – {pair.second}",
            f"{pair.difference * 100:+.1f} ({pair.low * 100:+.1f} to {pair.high * 100:+.1f})",
            f"{pair.adjusted_p:.4f}",
            f"{pair.cases}{in_clusters(pair)}",
            pair_verdict(pair, found.pairs, result.settings.alpha),
        )
        for pair in found.pairs
    ]
    headers = ("Pair", "Points", "Adjusted p", "Cases", "Verdict")
    note = clusters_note(found.pairs)
    return [Table(headers, rows, right=("Adjusted p", "Cases")), *([Text(note)] if note else [])] if rows else []


def _categories(result: ComparisonResult, found: Standings) -> list[Block]:
    names = sorted({case.category for case in result.cases})
    if len(names) < 2:
        return []
    rows = [
        (
            name,
            *(_quality(each.categories.get(name)) for each in found.contenders),
            found.category_winners.get(name, NONE),
        )
        for name in names
    ]
    return [Table(("Category", *(each.contender for each in found.contenders), "Best"), rows)]


def _sweep(points: Sequence[sweep.SweepPoint], plateaus: Sequence[sweep.Plateau], head: str, unit: str) -> list[Block]:
    rows = [
        (
            point.contender,
            f"{point.value:,}",
            _quality(point.quality.get(EVERYTHING)),
            _shown(point.speed.prompt_tokens, "{:,.0f}".format),
            _shown(point.speed.ttft_p50_seconds, show_seconds),
            _shown(point.speed.usd_per_1k, show_usd),
        )
        for point in points
    ]
    headers = ("Model", head, "Quality (95%)", "Prompt", "TTFT p50", "$ / 1k")
    said: list[Block] = [Table(headers, rows, right=(head, "Prompt", "$ / 1k"))]
    enough = [(each.contender, each.category, plateau_text(each, unit)) for each in plateaus if each.enough is not None]
    if enough:
        said.append(Table(("Model", "Category", "Enough"), enough))
    few = undecided(plateaus)
    return [*said, Text(few)] if few else said


def _quality(interval: Interval | None) -> str:
    return NONE if interval is None else f"{interval.mean:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _times(median: float | None, tail: float | None) -> str:
    return f"{_shown(median, show_seconds)} / {_shown(tail, show_seconds)}"


def _shown(value: float | None, show: Any) -> str:
    return NONE if value is None else show(value)
