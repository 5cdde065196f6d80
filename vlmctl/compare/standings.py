"""Who is better, by how much, how sure that is, how fast and at what price: pure functions of a result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from vlmctl.bench.statistics import percentile
from vlmctl.compare.clusters import clusters_of
from vlmctl.compare.results import ComparisonResult, Reply
from vlmctl.compare.significance import Interval, Paired, compare_pairs, mean_interval
from vlmctl.specs.record import Record

EVERYTHING = "all cases"
MAXIMUM_UNANSWERED = 0.05  # share of requests that may break off before a model is left out of verdicts
MEDIAN, TAIL = 0.5, 0.95  # quantiles that are shown
TAIL_REQUESTS = 20  # below it the 95th percentile is the largest value


class Speed(Record, frozen=True, kw_only=True):
    """Latency and tokens of the first time each case was asked, later ones meeting the server's caches.

    Tokens are means of one request, None where the server does not count them; `usd_per_1k`: of 1,000 requests.
    """

    requests: int
    ttft_p50_seconds: float | None = None
    ttft_p95_seconds: float | None = None
    e2e_p50_seconds: float | None = None
    e2e_p95_seconds: float | None = None
    prompt_tokens: float | None = None
    image_tokens: float | None = None
    output_tokens: float | None = None
    usd_per_1k: float | None = None


class Standing(Record, frozen=True, kw_only=True):
    """One contender. `rank`: 1 + those significantly better; None where too much broke off to say.

    `unanswered`: requests that broke off, out of `requests`; `turned_down`: the server would not take them, which
    scores 0; `unjudged`: no metric could tell; `cut_off`: answers that reached the most tokens allowed.
    """

    contender: str
    rank: int | None
    quality: Interval | None
    categories: dict[str, Interval]
    speed: Speed
    requests: int
    unanswered: int
    turned_down: int
    unjudged: int
    cut_off: int
    problem: str = ""


class Standings(Record, frozen=True, kw_only=True):
    """All contenders, the best first. `winner`: significantly better than every other; None where there is none.

    `pairs`: over all cases; `category_winners`: categories in which one is better than all others, corrected for the
    number of categories as well. `pareto`: no other is both better and cheaper, by their means.
    """

    contenders: tuple[Standing, ...]
    pairs: tuple[Paired, ...]
    winner: str | None
    category_winners: dict[str, str]
    pareto: tuple[str, ...]


def standings(result: ComparisonResult) -> Standings:
    """The leaderboard of a result, over the images as they are."""
    replies = {each.name: list(result.of(each.name)) for each in result.contenders}
    judged = [name for name, own in replies.items() if own and _unanswered(own) <= MAXIMUM_UNANSWERED * len(own)]
    scores = {name: case_scores(replies[name]) for name in judged}
    pairs = compare_pairs(scores, clusters_of(result.cases), seed=result.settings.seed)
    better = [(side, _other(pair, side)) for pair in pairs if (side := pair.better(result.settings.alpha))]
    found = []
    for facts in result.contenders:
        rank = 1 + sum(worse == facts.name for _, worse in better) if scores.get(facts.name) else None
        found.append(_standing(facts.name, rank, replies[facts.name], result, facts.problem))
    found.sort(key=_order)
    return Standings(
        contenders=tuple(found),
        pairs=pairs,
        winner=_winner(judged, better),
        category_winners=_category_winners(result, judged, replies),
        pareto=_pareto(found),
    )


def case_scores(replies: Iterable[Reply]) -> dict[str, float]:
    """The score of each case, the mean over its repeats; cases that nothing judged are left out."""
    found: dict[str, list[float]] = {}
    for reply in replies:
        if reply.score is not None:
            found.setdefault(reply.case, []).append(reply.score)
    return {case: math.fsum(scores) / len(scores) for case, scores in found.items()}


def speed_of(replies: Iterable[Reply]) -> Speed:
    """Latencies, tokens and dollars of the answers among some replies."""
    answers = [reply for reply in replies if reply.answered and reply.repeat == 0]
    ttft = [reply.ttft_seconds for reply in answers if reply.ttft_seconds is not None]
    e2e = [reply.e2e_seconds for reply in answers if reply.e2e_seconds is not None]
    usd = _mean([reply.usd for reply in answers])
    return Speed(
        requests=len(answers),
        ttft_p50_seconds=_percentile(ttft, MEDIAN),
        ttft_p95_seconds=_percentile(ttft, TAIL),
        e2e_p50_seconds=_percentile(e2e, MEDIAN),
        e2e_p95_seconds=_percentile(e2e, TAIL),
        prompt_tokens=_mean([reply.prompt_tokens for reply in answers]),
        image_tokens=_mean([reply.image_tokens for reply in answers]),
        output_tokens=_mean([reply.output_tokens for reply in answers]),
        usd_per_1k=None if usd is None else usd * 1000,
    )


def _standing(
    name: str, rank: int | None, replies: Sequence[Reply], result: ComparisonResult, problem: str
) -> Standing:
    seed, category_of = result.settings.seed, {case.id: case.category for case in result.cases}
    scores, clusters = case_scores(replies), clusters_of(result.cases)
    categories: dict[str, dict[str, float]] = {category: {} for category in sorted(set(category_of.values()))}
    for case, score in scores.items():
        categories[category_of[case]][case] = score
    intervals = {
        each: interval for each, own in categories.items() if (interval := mean_interval(own, clusters, seed=seed))
    }
    return Standing(
        contender=name,
        rank=rank,
        quality=mean_interval(scores, clusters, seed=seed),
        categories=intervals,
        speed=speed_of(replies),
        requests=len(replies),
        unanswered=_unanswered(replies),
        turned_down=sum(not reply.answered and reply.score is not None for reply in replies),
        unjudged=sum(reply.answered and reply.score is None for reply in replies),
        cut_off=sum(reply.cut_off for reply in replies),
        problem=problem,
    )


def _unanswered(replies: Sequence[Reply]) -> int:
    return sum(not reply.answered and reply.score is None for reply in replies)


def _order(standing: Standing) -> tuple[float, float, str]:
    quality = standing.quality.mean if standing.quality is not None else -1.0
    return (math.inf if standing.rank is None else standing.rank, -quality, standing.contender)


def _other(pair: Paired, side: str) -> str:
    return pair.second if side == pair.first else pair.first


def _winner(names: Sequence[str], better: Sequence[tuple[str, str]]) -> str | None:
    for name in names:
        beaten = {worse for side, worse in better if side == name}
        if len(names) > 1 and beaten >= set(names) - {name}:
            return name
    return None


def _category_winners(
    result: ComparisonResult, names: Sequence[str], replies: dict[str, list[Reply]]
) -> dict[str, str]:
    """Categories with a winner; a category's alpha is its share, so that none is called by luck more often in all."""
    categories = sorted({case.category for case in result.cases})
    alpha, winners, clusters = result.settings.alpha / max(len(categories), 1), {}, clusters_of(result.cases)
    for category in categories:
        within = {case.id for case in result.cases if case.category == category}
        scores = {name: case_scores(each for each in replies[name] if each.case in within) for name in names}
        pairs = compare_pairs(scores, clusters, seed=result.settings.seed)
        winner = _winner(names, [(side, _other(pair, side)) for pair in pairs if (side := pair.better(alpha))])
        if winner is not None:
            winners[category] = winner
    return winners


def _pareto(found: Sequence[Standing]) -> tuple[str, ...]:
    """Contenders, the cheapest first, each better than every cheaper one."""
    priced = [
        (each.speed.usd_per_1k, -each.quality.mean, each.contender)
        for each in found
        if each.speed.usd_per_1k is not None and each.quality is not None and each.rank is not None
    ]
    line: list[str] = []
    best = math.inf
    for _, quality, name in sorted(priced):
        if quality < best:
            best = quality
            line.append(name)
    return tuple(line)


def _percentile(values: Sequence[float], share: float) -> float | None:
    return percentile(sorted(values), share).value if values else None


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is missing, since the rest would not stand for all."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
