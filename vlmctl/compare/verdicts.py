"""What a comparison comes to, in sentences: for the page and for the terminal alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlmctl.compare.contenders import Price
from vlmctl.compare.results import ComparisonResult
from vlmctl.compare.significance import Paired, decidable
from vlmctl.compare.standings import MAXIMUM_UNANSWERED, Standings
from vlmctl.compare.sweep import Plateau
from vlmctl.units import show_usd


def verdict(found: Standings, alpha: float) -> str:
    """Who is best, or why nobody is."""
    ranked = [each for each in found.contenders if each.rank is not None and each.quality is not None]
    if not ranked:
        return "Nothing was answered, so nobody is better."
    if len(ranked) == 1:
        return f"Only {ranked[0].contender} answered, so there is nothing to compare it with."
    if found.winner is not None:
        return f"{found.winner} answers better than every other, beyond luck."
    if not any(decidable(pair, found.pairs, alpha) for pair in found.pairs):
        return f"{_few(found.pairs)}: whatever they had answered, none could have been called better. Ask more cases."
    if not any(pair.better(alpha) for pair in found.pairs):
        return "No model is better than another beyond luck: choose by price and speed, or ask more cases."
    worse = {
        side
        for pair in found.pairs
        if (best := pair.better(alpha))
        for side in (pair.first, pair.second)
        if side != best
    }
    top = [each.contender for each in ranked if each.contender not in worse]
    return f"{listed(top)} lead; which of them is best is not beyond luck."


def pair_verdict(pair: Paired, pairs: Sequence[Paired], alpha: float) -> str:
    """Which side of a pair, one of `pairs`, is better; else how large a difference is still possible."""
    better = pair.better(alpha)
    if better is not None:
        return f"{better} is better"
    if not decidable(pair, pairs, alpha):
        return f"{_few([pair]).lower()}: no difference could have been shown"
    return f"no difference shown; up to {max(abs(pair.low), abs(pair.high)) * 100:.0f} points are possible"


def _few(pairs: Sequence[Paired]) -> str:
    return f"Too few {'cases' if all(pair.clusters == pair.cases for pair in pairs) else 'clusters'} to tell"


def in_clusters(found: Paired | Plateau) -> str:
    """What to say behind the number of cases where some share an image; empty where none do."""
    return "" if found.clusters == found.cases else f" in {found.clusters} clusters"


def clusters_note(pairs: Sequence[Paired]) -> str:
    """What clusters are, where there are some; empty else."""
    if all(pair.clusters == pair.cases for pair in pairs):
        return ""
    return "Cases that share an image form a cluster, which counts as one: who misreads it errs in all of them."


def warnings(result: ComparisonResult, found: Standings) -> Iterator[str]:
    """What a reader must know before relying on it."""
    if not result.complete:
        yield "This comparison was interrupted: it holds what was answered until then."
    for each in found.contenders:
        if each.problem:
            yield f"{each.contender}: {each.problem}"
        if each.unanswered:
            ranked = "" if each.unanswered <= MAXIMUM_UNANSWERED * each.requests else " It gets no rank."
            yield f"{each.contender}: {each.unanswered} of {each.requests} requests broke off.{ranked}"
        if each.unjudged:
            yield f"{each.contender}: {_answers(each.unjudged)} could not be judged; the cases say why."
        if each.cut_off:
            limit = result.settings.max_tokens
            yield f"{each.contender}: {_answers(each.cut_off)} reached {limit} tokens and may have been cut off."


def plateau_text(plateau: Plateau, unit: str) -> str:
    """Where more stops paying, with what is still possible to lose there; `unit` is the singular, without an s."""
    if plateau.enough is None:
        return f"{plateau.cases} cases{in_clusters(plateau)} are too few to tell"
    if plateau.enough == plateau.best:
        return f"{_counted(plateau.best, unit)}, the best"
    points = (plateau.loss_at_most or 0.0) * 100
    best = _counted(plateau.best, unit)
    below = f"at most {points:.0f} points below {best}" if points >= 1 else f"as good as {best}"
    return f"{_counted(plateau.enough, unit)}: {below}"


def undecided(plateaus: Sequence[Plateau]) -> str:
    """Which categories hold too few cases to tell anything by; empty where none."""
    few = {each.category: f"{each.cases}{in_clusters(each)}" for each in plateaus if each.enough is None}
    if not few:
        return ""
    return "Too few cases to tell: " + ", ".join(f"{name} ({cases})" for name, cases in few.items()) + "."


def _counted(value: int, unit: str) -> str:
    return f"{value:,} {unit}" + ("s" if unit != "px" and value != 1 else "")


def price_text(price: Price | None) -> str:
    """A price as people say it."""
    if price is None:
        return "no price given"
    if price.usd_per_hour is not None:
        return f"{show_usd(price.usd_per_hour)} per hour"
    given, back = price.usd_per_million_input or 0.0, price.usd_per_million_output or 0.0
    return f"{show_usd(given)} in and {show_usd(back)} out per million tokens"


def _answers(count: int) -> str:
    return f"{count:,} answer" + "s" * (count != 1)


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
