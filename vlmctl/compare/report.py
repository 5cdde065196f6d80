"""A comparison as one HTML page that needs no other file and no network: verdict, leaderboard, charts, every case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from importlib.resources import files

from vlmctl.compare import report_cases, report_charts
from vlmctl.compare.report_tables import NONE, count, quality, seconds, section, small, table, usd
from vlmctl.compare.results import ComparisonResult
from vlmctl.compare.significance import Paired
from vlmctl.compare.standings import MAXIMUM_UNANSWERED, TAIL_REQUESTS, Standing, Standings, standings
from vlmctl.compare.verdicts import clusters_note, in_clusters, listed, pair_verdict, price_text, verdict, warnings

# Nothing may be fetched: what the page shows is in it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def report_html(result: ComparisonResult, pictures: Mapping[str, str]) -> str:
    """The page. `pictures`: data URLs of the cases' images, by the images' sha256; those missing are said to be."""
    found = standings(result)
    numbers = {facts.name: number for number, facts in enumerate(result.contenders)}
    title = f"{listed([facts.name for facts in result.contenders])} on the same images"
    body = "\n".join(
        (
            _verdicts(result, found),
            _leaderboard(result, found),
            _pairs(found, result),
            _categories(result, found),
            report_charts.money_and_time(result, found, numbers),
            report_charts.sweeps(result, numbers),
            report_cases.cases_section(result, pictures),
        )
    )
    style, script = _resource("page.css"), _resource("page.js")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>\n{style}</style>\n</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"<header><h1>{escape(title)}</h1>{_about(result)}</header>\n"
        f'<main id="main">\n{body}\n</main>\n{_footer(result)}\n<script>\n{script}</script>\n</body>\n</html>\n'
    )


def _resource(name: str) -> str:
    return files("vlmctl.compare").joinpath(name).read_text(encoding="utf-8")


def _about(result: ComparisonResult) -> str:
    chosen = result.settings
    repeats = "once" if chosen.repeats == 1 else f"{chosen.repeats} times"
    return (
        f'<p class="soft">{len(result.cases)} cases from {escape(result.cases_source)}, each asked {repeats}, '
        f"{chosen.concurrency} in flight, at most {chosen.max_tokens} tokens, temperature {chosen.temperature:g}. "
        f"The same images and questions for all. {escape(result.made_at)}</p>"
    )


def _verdicts(result: ComparisonResult, found: Standings) -> str:
    said = [f'<p class="verdict">{escape(verdict(found, result.settings.alpha))}</p>']
    said += [f'<p class="verdict warning">{escape(text)}</p>' for text in warnings(result, found)]
    return "\n".join(said)


def _leaderboard(result: ComparisonResult, found: Standings) -> str:
    facts = {each.name: each for each in result.contenders}
    rows = []
    for each in found.contenders:
        model, speed = facts[each.contender], each.speed
        rows.append(
            (
                str(each.rank or NONE),
                escape(each.contender) + small(f"{model.model}, {price_text(model.price)}"),
                quality(each.quality, whole=len(result.cases)),
                usd(speed.usd_per_1k),
                seconds(speed.ttft_p50_seconds) + small(seconds(speed.ttft_p95_seconds)),
                seconds(speed.e2e_p50_seconds) + small(seconds(speed.e2e_p95_seconds)),
                count(speed.prompt_tokens),
                count(speed.image_tokens),
                count(speed.output_tokens),
                _troubles(each),
            )
        )
    heads = ("Rank", "Model", "Quality", "$ per 1k", "First token", "Whole answer", "Prompt tokens", "Image tokens",
             "Output tokens", "Broken off")  # fmt: skip
    note = (
        "Rank: 1 + how many are better beyond luck. Quality: mean score of the cases with its 95% interval. Times: "
        f"median, 95th percentile below{_few(found)}. Tokens: means of a request."
    )
    return section("leaderboard", "Leaderboard", table(heads, rows, name="leaderboard", text=("Model",), note=note))


def _few(found: Standings) -> str:
    least = min((each.speed.requests for each in found.contenders if each.speed.requests), default=0)
    return f" (of {least} answers only, so hardly more than the slowest)" if 0 < least < TAIL_REQUESTS else ""


def _pairs(found: Standings, result: ComparisonResult) -> str:
    rows = [
        (
            escape(f"{pair.first} – {pair.second}"),
            f"{pair.difference * 100:+.1f}",
            f"{pair.low * 100:+.1f} to {pair.high * 100:+.1f}",
            _p(pair.p),
            _p(pair.adjusted_p),
            f"{pair.cases}{in_clusters(pair)}",
            escape(pair_verdict(pair, found.pairs, result.settings.alpha)),
        )
        for pair in sorted(found.pairs, key=_clearest)
    ]
    if not rows:
        return ""
    tests = " and ".join(sorted({pair.test for pair in found.pairs}))
    note = (
        f"Difference of quality in points, first minus second, on the cases both answered ({escape(tests)}). "
        f"Adjusted: Holm's correction for {len(rows)} comparison{'s' * (len(rows) != 1)}; "
        f"below {result.settings.alpha:g} it is more than luck. {clusters_note(found.pairs)}"
    ).rstrip()
    heads = ("Pair", "Difference", "95% interval", "p", "Adjusted p", "Cases", "Verdict")
    shown = table(heads, rows, name="pairs", text=("Pair", "Verdict"), note=note)
    return section("pairs", "Is the difference more than luck?", shown)


def _categories(result: ComparisonResult, found: Standings) -> str:
    counts = Counter(case.category for case in result.cases)
    rows = []
    for category in sorted(counts):
        winner = found.category_winners.get(category)
        own = [quality(each.categories.get(category), whole=counts[category]) for each in found.contenders]
        rows.append((escape(category) + small(f"best: {winner}" if winner else ""), str(counts[category]), *own))
    heads = ("Category", "Cases", *(each.contender for each in found.contenders))
    note = "A best one is named only where it is better than every other beyond luck, all categories counted."
    return section("categories", "By category", table(heads, rows, name="categories", text=("Category",), note=note))


def _footer(result: ComparisonResult) -> str:
    who = "; ".join(
        f"{each.name}: {each.model} at {each.url}" + (f", boxes read as {each.boxes}" if each.boxes else "")
        for each in result.contenders
    )
    return (
        f"<footer><p>Made by {escape(result.program)}. {escape(who)}.</p>"
        "<p>How scores, intervals and tests are made: docs/compare.md of vlmctl. Requests that broke off are asked "
        f"again, then left out; a model with more than {MAXIMUM_UNANSWERED:.0%} of them gets no rank. Requests that a "
        "server would not take score 0. Times count the first time each case was asked.</p></footer>"
    )


def _troubles(standing: Standing) -> str:
    notes = (
        (standing.turned_down, "turned down"),
        (standing.cut_off, "cut off"),
        (standing.unjudged, "not judged"),
    )
    return str(standing.unanswered) + small(", ".join(f"{number} {name}" for number, name in notes if number))


def _p(value: float) -> str:
    return "&lt; 0.0001" if value < 0.0001 else f"{value:.4f}"


def _clearest(pair: Paired) -> tuple[float, str, str]:
    return pair.adjusted_p, pair.first, pair.second
