"""Queueing in one replica: what a prompt waits for in the engine's steps, for a free place, and how latencies spread.

An engine takes up at once what came during its last step, so that a step with j new prompts lasts s + j p seconds (s:
its decoding, p: one prefill) and j is random with the mean rate x (length of the step before): a gated queue, whose
moments follow from that recursion. Nothing here is fitted; `engine_simulation` is what it is checked against.
"""

from __future__ import annotations

import math
from typing import NamedTuple

BUSIEST = 0.999  # highest utilization that waits are worked out for


class Percentile(NamedTuple):
    """Share of a distribution that is above, and how many standard deviations that is above a normal one's mean."""

    above: float
    deviations: float


MEDIAN = Percentile(0.5, 0.0)
P95 = Percentile(0.05, 1.6449)


class Distribution(NamedTuple):
    """A latency: the least that anybody has and the mean, in seconds, and the variance."""

    least: float
    mean: float
    variance: float


class StepWait(NamedTuple):
    """What comes before and beside one's own prefill: mean and variance, and of the mean the prefills in one's step."""

    mean: float
    variance: float
    beside: float


def wait_for_step(step: float, prefill: float, busy: float) -> StepWait:
    """The rest of the step under way, then the prefills of all others that came during it; `busy`: rate x prefill.

    The step that is under way when a prompt comes is longer than most: its moments are those of all steps, weighted by
    their length (renewal theory).
    """
    if busy > BUSIEST:
        busy = BUSIEST
    square = busy * busy
    cube = square * busy
    first = step / (1.0 - busy)  # moments of a step's length, from T' = step + prefill x Poisson(rate x T)
    if first > 0.0:
        second = (step * step + busy * first * (2.0 * step + prefill)) / (1.0 - square)
        third = (
            step * step * (step + 3.0 * busy * first)
            + 3.0 * square * second * (step + prefill)
            + busy * prefill * first * (3.0 * step + prefill)
        ) / (1.0 - cube)
        met, met_squared = second / first, third / first
    else:  # the same in the limit of no decoding
        met = prefill * busy / (1.0 - square)
        met_squared = prefill * busy * (prefill + 3.0 * busy * met) / (1.0 - cube)
    mean = met * (0.5 + busy)
    return StepWait(mean, met_squared * (1.0 / 3.0 + busy + square) + prefill * busy * met - mean * mean, met * busy)


def wait_among_others(step: float, prefill: float, busy: float) -> StepWait:
    """The same where each prompt comes as another request ends: with a token written, and so not during prefills.

    Then as many come in a step that carries prompts as in any other, and steps differ less.
    """
    if busy > BUSIEST:
        busy = BUSIEST
    first = step / (1.0 - busy)
    prompts = first * busy / prefill if prefill > 0.0 else 0.0  # of one step, mean
    carried = prefill * prompts
    second = first * first + prefill * carried
    third = first * first * first + 3.0 * first * prefill * carried + prefill * prefill * carried
    met, met_squared = second / first, third / first
    return StepWait(met / 2.0 + carried, met_squared / 3.0 - met * met / 4.0 + prefill * carried, carried)


def decoding_time(alone: float, overlap: float, prefill: float, rate: float) -> Distribution:
    """The time in which a sequence decodes what would take it `alone` seconds, while others come at `rate`.

    Each arrival adds its prefill and, for as long as both decode, its share of the steps: `overlap` seconds in all if
    it decodes throughout. What comes meanwhile lengthens the time in which more comes, as in a busy period of M/G/1
    (Kleinrock, Queueing Systems I, 5.8); of decoding that overlaps by chance, two thirds of the square remain.
    """
    free = 1.0 - rate * (prefill + overlap)
    if free < 1.0 - BUSIEST:
        free = 1.0 - BUSIEST
    mean = alone / free
    each = prefill * prefill + prefill * overlap + 2.0 / 3.0 * overlap * overlap
    return Distribution(0.0, mean, rate * mean * each / (free * free))


def share_queued(used: float, places: int, variance: float = 0.0) -> float:
    """Share of the arrivals that find every place taken, when `used` of them are on average.

    Sakasegawa's exponent (Ann. Inst. Statist. Math. 29, 1977) on the share of places in use. `variance`: of the number
    in use beyond that of random arrivals; then as many are taken to be in use as leaves the limit equally far away.
    """
    if variance > 0.0 and used < places:
        away = (places - used) / math.sqrt(used + variance)
        root = math.sqrt(away * away + 4.0 * places) - away
        used = root * root / 4.0
    share: float = (used / places) ** (math.sqrt(2.0 * (places + 1.0)) - 1.0) if used < places else 1.0
    return share


def queue_seconds(capacity: float, rate: float) -> float:
    """Mean wait of those who find every place taken: half of that at random service times, since these are alike."""
    spare, least = capacity - rate, capacity * (1.0 - BUSIEST)
    return 0.5 / (spare if spare > least else least)


def quantile(latency: Distribution, percentile: Percentile) -> float:
    """Of a gamma distribution above the least value (Wilson and Hilferty, PNAS 17, 1931)."""
    above = latency.mean - latency.least
    if above <= 0.0 or latency.variance <= 0.0:
        return latency.mean
    ninth = latency.variance / (9.0 * above * above)
    root = 1.0 - ninth + percentile.deviations * math.sqrt(ninth)
    return latency.least + above * root * root * root if root > 0.0 else latency.least


def queued_quantile(latency: Distribution, share: float, queued: float, percentile: Percentile) -> float:
    """The same where `share` of all wait `queued` seconds more on average, exponentially distributed."""
    found = quantile(latency, percentile)
    return max(found, latency.mean + queued * math.log(share / percentile.above)) if share > percentile.above else found


def share_below(latency: Distribution, limit: float) -> float:
    """Share of the same distribution that is at most `limit`."""
    above = latency.mean - latency.least
    if above <= 0.0 or latency.variance <= 0.0:
        return 1.0 if limit >= latency.mean else 0.0
    if limit <= latency.least:
        return 0.0
    ninth = latency.variance / (9.0 * above * above)
    deviations = (((limit - latency.least) / above) ** (1.0 / 3.0) - 1.0 + ninth) / math.sqrt(ninth)
    return 0.5 * math.erfc(-deviations / math.sqrt(2.0))


def queued_share_below(latency: Distribution, share: float, queued: float, limit: float) -> float:
    """Share of `queued_quantile`'s distribution that is at most `limit`."""
    late = 1.0 - math.exp(-(limit - latency.mean) / queued) if limit > latency.mean and queued > 0.0 else 0.0
    return (1.0 - share) * share_below(latency, limit) + share * late
