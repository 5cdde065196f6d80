"""Arrivals drawn at a rate: as many as the rate says, at the hours it says, and copies that keep a trace's shape."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from vlmctl.errors import InvalidValue
from vlmctl.planning.arrivals import (
    SECONDS_PER_DAY,
    WORKING_DAY,
    Arrivals,
    RateCurve,
    arrivals_within,
    random_arrivals,
    scaled_arrivals,
)

DAY = RateCurve(points=WORKING_DAY)
FLAT = RateCurve(points=((0.0, 0.5),))


def test_a_curve_joins_its_points_with_straight_lines() -> None:
    """Between two hours the rate is between theirs, and the last hour leads over midnight to the first."""
    curve = RateCurve(points=((6.0, 1.0), (12.0, 3.0), (18.0, 1.0)), weekend_share=0.5)
    found = [curve.rate_at(hour * 3600.0) for hour in (6.0, 9.0, 12.0, 15.0, 18.0, 0.0, 3.0)]
    assert found == pytest.approx([1.0, 2.0, 3.0, 2.0, 1.0, 1.0, 1.0])
    assert curve.rate_at(5 * SECONDS_PER_DAY + 12 * 3600.0) == pytest.approx(1.5)


def test_a_constant_rate_is_a_poisson_process() -> None:
    """Counts and gaps are those of the rate: mean and variance of the gaps agree within their sampling error."""
    arrivals = random_arrivals(FLAT, SECONDS_PER_DAY, Random(1))
    gaps = [later - earlier for earlier, later in pairwise(arrivals.seconds)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert len(arrivals.seconds) == pytest.approx(0.5 * SECONDS_PER_DAY, abs=4 * math.sqrt(0.5 * SECONDS_PER_DAY))
    assert (mean, variance) == (pytest.approx(2.0, rel=0.03), pytest.approx(4.0, rel=0.06))


def test_a_week_follows_day_weekend_and_bursts() -> None:
    """Each hour holds what the curve gives it, weekends their share, and bursts stand out."""
    week = RateCurve(points=WORKING_DAY, weekend_share=0.4)
    arrivals = random_arrivals(week, 7 * SECONDS_PER_DAY, Random(2))
    for day in range(7):
        for hour in (3, 11, 20):
            start = day * SECONDS_PER_DAY + hour * 3600
            expected = sum(week.rate_at(start + 60 * minute) * 60 for minute in range(60))
            assert arrivals_within(arrivals, start, start + 3600) == pytest.approx(expected, abs=4.5 * expected**0.5)
    bursty = random_arrivals(replace(week, bursts_per_day=3.0), 7 * SECONDS_PER_DAY, Random(2))
    assert bursty.busiest_rate(300.0) > 1.5 * arrivals.busiest_rate(300.0)


def test_the_same_seed_draws_the_same() -> None:
    """Arrivals depend on the curve and the generator alone."""
    first, again, other = (random_arrivals(DAY, 3600.0 * 12, Random(seed)) for seed in (3, 3, 4))
    assert list(first.seconds) == list(again.seconds) != list(other.seconds)


@pytest.mark.parametrize(
    "curve",
    [
        RateCurve(points=()),
        RateCurve(points=((5.0, 1.0), (4.0, 1.0))),
        RateCurve(points=((24.0, 1.0),)),
        RateCurve(points=((0.0, -1.0),)),
        RateCurve(points=((0.0, math.nan),)),
        RateCurve(points=((0.0, 1.0),), weekend_share=-1.0),
        RateCurve(points=((0.0, 1.0),), bursts_per_day=math.inf),
        RateCurve(points=((0.0, 1e6),)),
    ],
)
def test_senseless_curves_are_refused(curve: RateCurve) -> None:
    """Hours out of order, negative rates and more requests than a simulation takes are errors."""
    with pytest.raises(InvalidValue):
        random_arrivals(curve, SECONDS_PER_DAY, Random(0))


@given(st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=60), st.floats(0.0, 5.0, exclude_min=True))
def test_scaling_keeps_sizes_and_times(times: list[float], factor: float) -> None:
    """Copies are near their originals in time and equal in size, and a whole factor gives exactly so many."""
    times.sort()
    trace = Arrivals(
        seconds=times,
        duration_seconds=1000.0,
        prompt_tokens=list(range(len(times))),
        output_tokens=[number + 1 for number in range(len(times))],
    )
    scaled = scaled_arrivals(trace, factor, Random(5))
    assert scaled.prompt_tokens is not None
    assert scaled.output_tokens is not None
    assert list(scaled.seconds) == sorted(scaled.seconds)
    assert math.floor(factor) * len(times) <= len(scaled.seconds) <= math.ceil(factor) * len(times)
    for at, prompt, output in zip(scaled.seconds, scaled.prompt_tokens, scaled.output_tokens, strict=True):
        assert abs(at - times[prompt]) <= 30.0
        assert output == prompt + 1
        assert 0.0 <= at <= 1000.0


def test_factors_that_leave_nothing_or_too_much_are_refused() -> None:
    """A factor of zero, or one beyond what a simulation takes, is an error."""
    trace = Arrivals(seconds=[0.0, 1.0], duration_seconds=2.0)
    for factor in (0.0, 1e9):
        with pytest.raises(InvalidValue):
            scaled_arrivals(trace, factor, Random(0))


def test_the_busiest_window_and_the_longest_gap() -> None:
    """Both are found wherever they are; without requests there is one gap."""
    arrivals = Arrivals(seconds=[5.0, 6.0, 7.0, 40.0], duration_seconds=100.0)
    assert arrivals.busiest_rate(10.0) == pytest.approx(0.3)
    assert arrivals.busiest_rate(1000.0) == pytest.approx(0.04)
    assert arrivals.longest_gap_seconds() == 60.0
    empty = Arrivals(seconds=[], duration_seconds=100.0)
    assert (empty.busiest_rate(10.0), empty.longest_gap_seconds()) == (0.0, 100.0)
