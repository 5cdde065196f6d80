"""Intervals that hold what they promise, and that are not given where there is too little to go by."""

from __future__ import annotations

import math
from bisect import bisect
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.bench.statistics import (
    WIDENED,
    Estimate,
    Span,
    batch_rates,
    bounding_ranks,
    distribution,
    mean,
    percentile,
    proportion,
    requests_needed,
    student,
    throughput,
)

LATENCIES = st.lists(st.floats(0, 1e3, allow_subnormal=False), min_size=1, max_size=300)
SPANS = st.lists(
    st.tuples(st.floats(-50, 150), st.floats(0, 60)).map(lambda pair: Span(pair[0], pair[0] + pair[1])), max_size=60
)
REPEATS = 400  # of a simulated experiment; the share of intervals that hold the truth varies by 1.1% then


@given(LATENCIES, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_percentile_lies_within_the_values_and_its_interval(values: list[float], share: float) -> None:
    """As numpy's, with bounds that are values and stand on either side of it."""
    found = percentile(sorted(values), share)
    assert found.value == pytest.approx(float(np.percentile(values, 100 * share)), abs=1e-9)
    assert found.low is None or ((found.low in values or found.low == found.value) and found.low <= found.value)
    assert found.high is None or found.high >= found.value


@given(LATENCIES)
def test_higher_percentiles_are_no_lower(values: list[float]) -> None:
    """The mean lies among the values, and the order of values does not matter."""
    found, other = distribution(values), distribution(values[::-1])
    assert found is not None
    assert found == other
    assert found.count == len(values)
    assert found.p50.value <= found.p90.value <= found.p95.value <= found.p99.value
    assert min(values) - 1e-9 <= found.mean.value <= max(values) + 1e-9


def test_nothing_has_no_distribution() -> None:
    """No figure is made up for a load that nothing answered."""
    assert distribution([]) is None
    assert proportion(0, 0) is None
    assert throughput([], 1.0, 1.0) is None


@pytest.mark.parametrize(("share", "needed"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_too_few_values_bound_no_percentile_from_above(share: float, needed: int) -> None:
    """72 values are needed for a 95th percentile (0.95^72 = 0.025): with one fewer there is no upper bound."""
    assert requests_needed(share) == needed
    assert bounding_ranks(needed - 1, share)[1] is None
    assert bounding_ranks(needed, share)[1] == needed - 1


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [80, 500, 2_001])
def test_the_interval_of_a_percentile_holds_the_truth(count: int, share: float) -> None:
    """In at least 94% of simulated runs of exponential latencies, an open end taken as without bound."""
    rng, truth, held = np.random.default_rng(1), -math.log(1 - share), 0
    for _ in range(REPEATS):
        found = percentile(np.sort(rng.exponential(size=count)), share)
        held += (found.low is None or found.low <= truth) and (found.high is None or truth <= found.high)
    assert held / REPEATS >= 0.94 - 0.01


def test_a_share_has_wilsons_interval() -> None:
    """By hand, z = 1.96: 9 of 10 lies in 59.6% to 98.2%; none of 10 has a bound too."""
    found = proportion(9, 10)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.5958, 0.9821), abs=1e-4)
    none = proportion(0, 10)
    assert none is not None
    assert (none.low, none.high) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_a_mean_has_its_normal_interval() -> None:
    """By hand: 1, 2, 3 have mean 2, deviation 1 and standard error 0.577."""
    found = mean([1.0, 2.0, 3.0])
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2 - 1.1316, 2 + 1.1316), abs=1e-4)
    assert mean([5.0]).low is None


@given(SPANS, st.integers(1, 12))
def test_batches_add_up_to_the_whole(spans: list[Span], batches: int) -> None:
    """Every part of a request is counted once, however the time is cut."""
    whole = batch_rates(spans, 0.0, 100.0, 1)[0]
    parts = batch_rates(spans, 0.0, 100.0, batches)
    assert sum(parts) / batches == pytest.approx(whole, rel=1e-6, abs=1e-9)
    found = throughput(spans, 0.0, 100.0)
    assert found is not None
    assert found.value == pytest.approx(whole, rel=1e-6, abs=1e-9)


@given(st.integers(1, 20), st.floats(0.1, 5.0), st.floats(20.0, 60.0))
def test_waves_of_equal_requests_make_no_steps(in_flight: int, lasting: float, seconds: float) -> None:
    """A closed loop of equal requests has a throughput of exactly concurrency over latency, wherever it is cut."""
    waves = math.ceil(seconds / lasting) + 1
    spans = [Span(wave * lasting, (wave + 1) * lasting) for wave in range(waves) for _ in range(in_flight)]
    found = throughput(spans, 0.0, seconds)
    assert found is not None
    assert found.value == pytest.approx(in_flight / lasting, rel=1e-6)


def test_few_requests_or_a_short_time_give_no_interval() -> None:
    """Batches shorter than a request, or with fewer than two, tell nothing of the spread."""
    long = throughput([Span(0.0, 40.0), Span(40.0, 80.0), Span(80.0, 120.0)], 0.0, 100.0)
    assert long is not None
    assert long.low is None
    few = throughput([Span(10.0 * each, 10.0 * each + 1) for each in range(5)], 0.0, 100.0)
    assert few is not None
    assert few.low is None


@pytest.mark.parametrize("in_flight", [1, 8])
def test_the_interval_of_the_throughput_holds_the_truth(in_flight: int) -> None:
    """In at least 90% of simulated closed loops with exponential service: batches of time are nearly independent."""
    rng, held = Random(7), 0
    for _ in range(REPEATS):
        found = throughput(_closed(rng, in_flight, seconds=60.0), 0.0, 60.0)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= in_flight <= found.high
    assert held / REPEATS >= 0.90


def test_the_interval_at_which_a_load_is_stopped_holds_the_truth() -> None:
    """In at least 94% of runs that end at the first look that finds it narrow; one not widened would in fewer."""
    held = dict.fromkeys((1.0, WIDENED), 0)
    for widened in held:
        rng = Random(5)
        for _ in range(REPEATS):
            found = _first_narrow(_closed(rng, 4, seconds=60.0), wanted=0.2, widened=widened)
            held[widened] += found.low is None or found.high is None or found.low <= 4.0 <= found.high
    assert held[WIDENED] / REPEATS >= 0.94
    assert held[1.0] / REPEATS < 0.92


def _first_narrow(spans: list[Span], *, wanted: float, widened: float) -> Estimate:
    """What a load shows that is looked at twice a second, from 72 requests on, and stopped once it is narrow."""
    ends, at = sorted(span.stop for span in spans), 0.0
    while at < 60.0:
        at += 0.5
        until = min((span.begin for span in spans if span.begin < at < span.stop), default=at)
        if bisect(ends, at) >= requests_needed(0.95):
            seen = throughput(spans, 0.0, until, widened=widened)
            if seen is not None and (seen.relative_half_width or 1.0) <= wanted:
                break
    found = throughput(spans, 0.0, at, widened=widened)
    assert found is not None
    return found


def _closed(rng: Random, in_flight: int, *, seconds: float) -> list[Span]:
    """A closed load of so many requests, each of which takes a second on average, exponentially."""
    spans = []
    for _ in range(in_flight):
        at = -rng.expovariate(1.0)
        while at < seconds:
            lasting = rng.expovariate(1.0)
            spans.append(Span(at, at + lasting))
            at += lasting
    return spans


@given(SPANS)
def test_requests_counted_where_they_end_are_as_many_as_ended(spans: list[Span]) -> None:
    """Whole numbers of them; a weight counts as often as it says."""
    found = throughput(spans, 0.0, 100.0, by_end=True)
    assert found is not None
    ended = sum(0.0 <= span.stop < 100.0 for span in spans if span.begin < 100.0)
    assert found.value == pytest.approx(ended / 100.0)
    heavy = throughput([span._replace(weight=3.0) for span in spans], 0.0, 100.0, by_end=True)
    assert heavy is not None
    assert heavy.value == pytest.approx(3 * found.value)


@pytest.mark.parametrize(("freedom", "table"), [(2, 4.3027), (5, 2.5706), (9, 2.2622), (30, 2.0423), (1_000, 1.9623)])
def test_students_t_is_that_of_the_tables(freedom: int, table: float) -> None:
    """To 1% (Abramowitz and Stegun, table 26.10)."""
    assert student(freedom) == pytest.approx(table, rel=0.01)
