"""Figures with what is known of their uncertainty: percentiles, throughput and shares, each with a 95% interval.

Pure. An interval that the data cannot give is None, and so is a bound: ten requests bound no 95th percentile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmctl.specs.record import Record

CONFIDENCE = 0.95
Values = Sequence[float] | NDArray[Any]
NORMAL = 1.959964  # two-sided 95% point of the normal distribution
BATCHES = 10  # a run is cut into, for the interval of its throughput; more would be shorter than requests last
MINIMUM_BATCHES = 3
# Times as wide is the interval of a throughput that is looked at again and again until it is narrow: at some look it is
# so by chance. By simulation (1 to 32 in flight, exponential service, a look every 0.5 s) the last one then holds the
# truth in 95 to 99% of runs, against 87 to 92% of those that are not widened.
WIDENED = 1.4
REQUESTS_PER_BATCH = 2  # at least, or the batches' rates say nothing
EXACT_UP_TO = 2_000  # values: beyond it ranks come from the normal approximation of the binomial distribution


class Estimate(Record, frozen=True, kw_only=True):
    """A figure with its 95% interval; a bound of None: there were too few requests to say."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def relative_half_width(self) -> float | None:
        """Half the interval over the value; None without both bounds or a value."""
        if self.low is None or self.high is None or not self.value:
            return None
        return (self.high - self.low) / 2 / self.value


class Span(NamedTuple):
    """When a request began and ended, and what it counts."""

    begin: float
    stop: float
    weight: float = 1.0


class Distribution(Record, frozen=True, kw_only=True):
    """Latencies in seconds over `count` requests (of gaps between tokens: so many gaps)."""

    count: int
    mean: Estimate
    p50: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def distribution(values: Values) -> Distribution | None:
    """Mean and percentiles with intervals; None without values. Intervals take the values to be independent."""
    if not len(values):
        return None
    ordered = np.sort(np.asarray(values))
    found = {name: percentile(ordered, share) for name, share in PERCENTILES.items()}
    return Distribution(count=len(ordered), mean=mean(ordered), **found)


def mean(values: Values) -> Estimate:
    """The mean with its normal interval."""
    middle = float(np.mean(values, dtype=np.float64))
    if len(values) < 2:
        return Estimate(value=middle)
    half = NORMAL * float(np.std(values, ddof=1, dtype=np.float64)) / math.sqrt(len(values))
    return Estimate(value=middle, low=middle - half, high=middle + half)


def percentile(ordered: Values, share: float) -> Estimate:
    """A percentile of sorted values, interpolated linearly, between two order statistics that bound it.

    The number of values below the true percentile is binomial, whatever they are distributed like (Conover, Practical
    Nonparametric Statistics, 3.2).
    """
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    value = float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))
    low, high = bounding_ranks(len(ordered), share)
    return Estimate(
        value=value,
        low=None if low is None else min(float(ordered[low]), value),
        high=None if high is None else max(float(ordered[high]), value),
    )


@lru_cache(maxsize=256)
def bounding_ranks(count: int, share: float) -> tuple[int | None, int | None]:
    """Places in `count` sorted values that bound the percentile, each missed with a chance of 2.5% at most."""
    tail = (1.0 - CONFIDENCE) / 2
    if count > EXACT_UP_TO:
        middle, spread = count * share, NORMAL * math.sqrt(count * share * (1.0 - share))
        low, high = math.floor(middle - spread) - 1, math.ceil(middle + spread)
        return (low if low >= 0 else None), (high if high < count else None)
    cumulative, low_rank, high_rank = 0.0, None, None
    for below in range(count + 1):
        cumulative += _binomial(count, below, share)
        if cumulative <= tail:
            low_rank = below
        if cumulative >= 1.0 - tail and high_rank is None:
            high_rank = below
    return low_rank, (high_rank if high_rank is not None and high_rank < count else None)


def _binomial(count: int, hits: int, share: float) -> float:
    choose = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(choose + hits * math.log(share) + (count - hits) * math.log1p(-share))


def student(freedom: int) -> float:
    """The 0.975 quantile of Student's t, to 1% from two degrees of freedom on (Abramowitz and Stegun 26.7.5)."""
    z = NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + math.fsum(term / math.pow(freedom, power) for power, term in enumerate(terms, start=1))


def requests_needed(share: float) -> int:
    """The fewest values whose largest bounds a percentile from above with 97.5% confidence: 72 for the 95th."""
    return math.ceil(math.log((1.0 - CONFIDENCE) / 2) / math.log(share))


def proportion(hits: int, count: int) -> Estimate | None:
    """A share with its Wilson interval (J. Am. Stat. Assoc. 22, 1927); None of nothing."""
    if not count:
        return None
    share, square = hits / count, NORMAL**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL * math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    return Estimate(value=share, low=max(middle - half, 0.0), high=min(middle + half, 1.0))


def throughput(
    spans: Sequence[Span], start: float, end: float, *, by_end: bool = False, widened: float = 1.0
) -> Estimate | None:
    """Requests per second between two times, from when each of them began and ended; None without time.

    A request counts by the part of its life that lies within, so that waves of equal requests make no steps; or where
    it ended, `by_end`: where the load begins at `start`, the lives of requests that then queue grow longer, and their
    parts would count what the server has not done. Of requests with a weight it is the weight per second.

    The interval is that of the means of up to ten batches of time, each as long as requests last (Law and Kelton,
    Simulation Modeling and Analysis, 9.5.3), `widened` so many times; None where the time holds fewer than three.
    """
    length = end - start
    if length <= 0:
        return None
    counted = [span for span in spans if span.stop >= start and span.begin < end]
    lasting = fmean(span.stop - span.begin for span in counted) if counted else 0.0
    if by_end:
        counted = [Span(span.stop, span.stop, span.weight) for span in counted if span.stop < end]
    parts = [_within(span.begin, span.stop, start, end) for span in counted]
    rate = sum(part * span.weight for part, span in zip(parts, counted, strict=True)) / length
    possible = length / lasting if lasting > 0 else BATCHES
    batches = math.floor(min(BATCHES, possible, sum(parts) / REQUESTS_PER_BATCH))
    if batches < MINIMUM_BATCHES:
        return Estimate(value=rate)
    rates = batch_rates(counted, start, end, batches)
    half = widened * student(batches - 1) * stdev(rates) / math.sqrt(batches)
    return Estimate(value=rate, low=max(rate - half, 0.0), high=rate + half)


def batch_rates(spans: Sequence[Span], start: float, end: float, batches: int) -> list[float]:
    """Requests, or their weight, per second in each of `batches` equal parts of the time."""
    width = (end - start) / batches
    totals = [0.0] * batches
    for begin, stop, weight in spans:
        first = max(0, math.floor((begin - start) / width))
        last = min(batches - 1, math.floor((stop - start) / width))
        for batch in range(first, last + 1):
            totals[batch] += weight * _within(begin, stop, start + batch * width, start + (batch + 1) * width)
    return [total / width for total in totals]


def _within(begin: float, stop: float, start: float, end: float) -> float:
    """The part of a request's life that lies within; all or nothing of one that took no time."""
    if stop <= begin:
        return 1.0 if start <= begin < end else 0.0
    return max(min(stop, end) - max(begin, start), 0.0) / (stop - begin)
