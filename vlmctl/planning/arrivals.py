"""Requests over time: a trace's, or drawn at random from a rate that follows the day, the weekend and bursts."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from vlmctl.errors import InvalidValue
from vlmctl.specs.record import Record
from vlmctl.units import SECONDS_PER_HOUR

SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR
MAXIMUM_REQUESTS = 3_000_000  # of one simulation: about 100 bytes each, and minutes per policy
# A working day, as shares of its busiest hour: an assumption about interactive use, to be replaced by one's own curve.
# Its mean is 0.56 of the peak, its valley a seventh.
WORKING_DAY = ((0, 0.2), (3, 0.14), (6, 0.2), (9, 0.85), (11, 1.0), (13, 0.85), (15, 1.0), (18, 0.7), (22, 0.35))
WEEKEND_SHARE = 0.4  # of a weekday's rate, in `weekly`: an assumption like the day's
BURSTS_PER_DAY = 3.0  # in `weekly`
BURST_FACTOR = 3.0  # times the rate of the hour, while a burst lasts
BURST_SECONDS = 300.0  # mean length of a burst, exponentially distributed
DAYS_PER_WEEK = 7
WEEKDAYS = 5
RATE_STEP_SECONDS = 60.0  # of a day's curve, within which the rate stays
COPY_SPREAD_SECONDS = 30.0  # a copied request is sent within so much of its original: bursts stay, pairs do not


class Randomness(Protocol):
    """What is drawn from: `random.Random` does."""

    def random(self) -> float:
        """Evenly from 0 up to 1."""
        ...

    def expovariate(self, lambd: float, /) -> float:
        """Exponentially, with that rate."""
        ...


class Arrivals(Record, frozen=True, kw_only=True):
    """Requests in the order of their arrival: seconds from the start, text tokens in, tokens out, images.

    `duration_seconds`: how long was watched, at least to the last request. A size that is None is the same for all:
    what the asked workload says.
    """

    seconds: Sequence[float]
    duration_seconds: float
    prompt_tokens: Sequence[int] | None = None
    output_tokens: Sequence[int] | None = None
    images: Sequence[int] | None = None

    def busiest_rate(self, window_seconds: float) -> float:
        """The highest requests per second over any window that starts with a request, or over all where it is less."""
        window, times = min(window_seconds, self.duration_seconds), self.seconds
        if not times or window <= 0.0:
            return 0.0
        most, end = 0, 0
        for start, at in enumerate(times):
            while end < len(times) and times[end] < at + window:
                end += 1
            most = max(most, end - start)
        return most / window

    def longest_gap_seconds(self) -> float:
        """The longest time without an arrival, the ends included."""
        if not self.seconds:
            return self.duration_seconds
        ends = (self.seconds[0], self.duration_seconds - self.seconds[-1])
        return max(*ends, *(later - earlier for earlier, later in pairwise(self.seconds)), 0.0)


class RateCurve(Record, frozen=True, kw_only=True):
    """Requests per second over a day: (hour, rate) points in order, straight lines between, midnight joined to the end.

    `weekend_share`: the rate of the sixth and seventh day over that of the others. Bursts start at random,
    `bursts_per_day` on average, and multiply the rate by `burst_factor` for about `burst_seconds`.
    """

    points: tuple[tuple[float, float], ...]
    weekend_share: float = 1.0
    bursts_per_day: float = 0.0
    burst_factor: float = BURST_FACTOR
    burst_seconds: float = BURST_SECONDS

    @property
    def highest(self) -> float:
        """The highest rate of the day without bursts."""
        return max(rate for _, rate in self.points)

    def scaled(self, factor: float) -> tuple[tuple[float, float], ...]:
        """The points with every rate times `factor`."""
        return tuple((hour, rate * factor) for hour, rate in self.points)

    def rate_at(self, seconds: float) -> float:
        """Requests per second at a time from midnight of the first day, bursts left out."""
        day, second = divmod(seconds, SECONDS_PER_DAY)
        hour, points = second / SECONDS_PER_HOUR, self.points
        after = bisect_right(points, hour, key=lambda point: point[0])
        (low_hour, low), (high_hour, high) = points[after - 1], points[after % len(points)]
        width = (high_hour - low_hour) % 24.0 or 24.0
        rate = low + (high - low) * ((hour - low_hour) % 24.0) / width
        return rate * (self.weekend_share if day % DAYS_PER_WEEK >= WEEKDAYS else 1.0)


def check_curve(curve: RateCurve, duration_seconds: float) -> None:
    """Raise InvalidValue for a curve that is none, or that brings more requests than a simulation takes."""
    hours = [hour for hour, _ in curve.points]
    if not hours or hours != sorted(set(hours)) or not 0 <= hours[0] <= hours[-1] < 24:
        raise InvalidValue("a rate needs hours from 0 to below 24, each later than the one before.")
    numbers = (*(rate for _, rate in curve.points), curve.weekend_share, curve.bursts_per_day, duration_seconds)
    if not all(0 <= number < math.inf for number in numbers):
        raise InvalidValue("rates, shares and bursts are 0 or more.")
    busy = min(curve.bursts_per_day * curve.burst_seconds / SECONDS_PER_DAY, 1.0)
    highest = curve.highest * max(1.0, curve.weekend_share) * (1.0 + busy * (curve.burst_factor - 1.0))
    if highest * duration_seconds > MAXIMUM_REQUESTS:
        raise InvalidValue(
            f"up to {highest * duration_seconds:,.0f} requests are more than the {MAXIMUM_REQUESTS:,} of a simulation.",
            remedy="Take fewer --days or a lower rate.",
        )


def random_arrivals(curve: RateCurve, duration_seconds: float, rng: Randomness) -> Arrivals:
    """Poisson arrivals at the curve's rate, held for each minute; raises as `check_curve` does."""
    check_curve(curve, duration_seconds)
    bursts = _bursts(curve, duration_seconds, rng)
    seconds = array("d")
    for minute in range(math.ceil(duration_seconds / RATE_STEP_SECONDS)):
        now = minute * RATE_STEP_SECONDS
        end = min(now + RATE_STEP_SECONDS, duration_seconds)
        rate = curve.rate_at(now) * (curve.burst_factor if minute in bursts else 1.0)
        while rate > 0.0:
            now += rng.expovariate(rate)
            if now >= end:
                break
            seconds.append(now)
    return Arrivals(seconds=seconds, duration_seconds=duration_seconds)


def scaled_arrivals(arrivals: Arrivals, factor: float, rng: Randomness) -> Arrivals:
    """`factor` times as many requests of the same sizes at about the same times; raises InvalidValue.

    Each is taken `factor` times, the fraction by chance; the first copy at its own time, others within half a minute.
    """
    if not 0 < factor * len(arrivals.seconds) <= MAXIMUM_REQUESTS:
        raise InvalidValue(
            f"{factor:g} times {len(arrivals.seconds):,} requests are none, or above {MAXIMUM_REQUESTS:,}.",
            remedy="Choose another --scale.",
        )
    taken: list[tuple[float, int]] = []
    for index, at in enumerate(arrivals.seconds):
        whole, part = divmod(factor, 1.0)
        for copy in range(int(whole) + (rng.random() < part)):
            shift = (2.0 * rng.random() - 1.0) * COPY_SPREAD_SECONDS if copy else 0.0
            taken.append((min(max(at + shift, 0.0), arrivals.duration_seconds), index))
    taken.sort()
    return Arrivals(
        seconds=array("d", (at for at, _ in taken)),
        duration_seconds=arrivals.duration_seconds,
        prompt_tokens=_picked(arrivals.prompt_tokens, taken),
        output_tokens=_picked(arrivals.output_tokens, taken),
        images=_picked(arrivals.images, taken),
    )


def arrivals_within(arrivals: Arrivals, start: float, end: float) -> int:
    """How many arrive from `start` up to `end`."""
    return bisect_left(arrivals.seconds, end) - bisect_left(arrivals.seconds, start)


def _bursts(curve: RateCurve, duration_seconds: float, rng: Randomness) -> set[int]:
    """The minutes that a burst falls into."""
    found: set[int] = set()
    at = 0.0
    while curve.bursts_per_day > 0.0:
        at += rng.expovariate(curve.bursts_per_day / SECONDS_PER_DAY)
        if at >= duration_seconds:
            break
        end = min(at + rng.expovariate(1.0 / curve.burst_seconds), duration_seconds)
        found.update(range(int(at // RATE_STEP_SECONDS), int(end // RATE_STEP_SECONDS) + 1))
    return found


def _picked(sizes: Sequence[int] | None, taken: Sequence[tuple[float, int]]) -> Sequence[int] | None:
    return None if sizes is None else array("q", (sizes[index] for _, index in taken))
