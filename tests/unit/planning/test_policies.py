"""Policies compared: what a replica serves within the objectives, the fewest that are enough, the cheapest, Pareto."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from vlmctl.errors import InvalidValue, NothingFits
from vlmctl.planning.arrivals import Arrivals, RateCurve, random_arrivals
from vlmctl.planning.outcomes import MISSES_ALLOWED, Machine
from vlmctl.planning.policies import Comparison, Grid, Scenario, compare_policies, replica_capacity
from vlmctl.planning.replica import ReplicaSpeed
from vlmctl.planning.scaling import ScalingPolicy
from vlmctl.specs.workload import Objectives

SPEED = ReplicaSpeed(
    step_seconds=(0.0, *(0.02 + 0.0005 * batch for batch in range(1, 65))),
    prefill_seconds=0.2,
    request_seconds=0.03,
    output_tokens=100,
)
CURVE = RateCurve(points=((0.0, 0.5), (1.0, 8.0), (2.0, 0.5)))


def scenario(arrivals: Arrivals | None = None, **changes: Any) -> Scenario:
    usual = Scenario(
        arrivals=arrivals or random_arrivals(CURVE, 3 * 3600.0, Random(1)),
        speed=SPEED,
        objectives=Objectives(ttft_seconds=1.0, tpot_seconds=0.08),
        machine=Machine(usd_per_hour=2.0),
        cold_start_seconds=60.0,
    )
    return replace(usual, **changes)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare_policies(scenario(), Grid(), Random(2))


def test_a_replica_serves_its_capacity_and_no_more() -> None:
    """At the capacity requests are in time but for what is allowed; a fifth above they are not."""
    found = replica_capacity(scenario(), Random(3))
    assert found.in_flight == pytest.approx(found.requests_per_second * found.e2e_seconds)
    for factor, kept in ((0.9, True), (1.2, False)):
        flat = RateCurve(points=((0.0, factor * found.requests_per_second),))
        traffic = random_arrivals(flat, 7200.0, Random(4))
        one = Grid(maximum=1, minimums=(1,), targets=(1.0,))
        outcomes = compare_policies(scenario(traffic), one, Random(2)).outcomes
        assert {each.keeps for each in outcomes} == {kept}


def test_looser_objectives_allow_more(comparison: Comparison) -> None:
    """A replica serves more in time where the time is longer, and most where nothing was asked."""
    rates = [
        replica_capacity(scenario(objectives=objectives), Random(3)).requests_per_second
        for objectives in (
            Objectives(ttft_seconds=0.5),
            Objectives(ttft_seconds=1.0),
            Objectives(ttft_seconds=4.0),
            Objectives(),
        )
    ]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]


def test_objectives_that_an_idle_replica_misses_are_refused() -> None:
    """No number of replicas helps where one request alone is late."""
    with pytest.raises(NothingFits, match="even on an idle replica"):
        replica_capacity(scenario(objectives=Objectives(ttft_seconds=0.1)), Random(0))


def test_the_cheapest_that_keeps_the_objectives_wins(comparison: Comparison) -> None:
    """Outcomes come cheapest first, and the winner is the first of those that keep the objectives."""
    assert [each.usd for each in comparison.outcomes] == sorted(each.usd for each in comparison.outcomes)
    kept = [each for each in comparison.outcomes if each.missed_share <= MISSES_ALLOWED]
    assert comparison.cheapest == kept[0].name
    assert all(each.keeps == (each in kept) for each in comparison.outcomes)


def test_scaling_saves_on_a_day_with_a_peak(comparison: Comparison) -> None:
    """Where the peak is many times the mean, following the load is cheaper than its peak all day."""
    always = min(each.usd for each in comparison.outcomes if each.utilization is None and each.keeps)
    scaled = min(each.usd for each in comparison.outcomes if each.utilization is not None and each.keeps)
    assert scaled < 0.9 * always


def test_always_on_takes_the_fewest_that_are_enough(comparison: Comparison) -> None:
    """The search ends at a number that keeps the objectives while one fewer was tried and does not."""
    tried = {each.replicas_peak: each.keeps for each in comparison.outcomes if each.utilization is None}
    fewest = min(count for count, keeps in tried.items() if keeps)
    assert fewest == 1 or tried[fewest - 1] is False


def test_pareto_marks_what_nothing_beats(comparison: Comparison) -> None:
    """An outcome is marked exactly when no other is at least as good in both and better in one."""
    for one in comparison.outcomes:
        beaten = any(
            other.usd <= one.usd and other.missed <= one.missed and (other.usd, other.missed) != (one.usd, one.missed)
            for other in comparison.outcomes
        )
        assert one.pareto is not beaten


def test_silence_is_free_at_zero() -> None:
    """Without a request the cheapest policy has no replica and costs nothing."""
    found = compare_policies(scenario(Arrivals(seconds=[], duration_seconds=86400.0)), Grid(), Random(0))
    best = found.outcomes[0]
    assert (best.usd, best.requests, best.replicas_peak, best.keeps) == (0.0, 0, 0, True)
    assert best.ttft_p95_seconds is best.usd_per_1k_requests is None


def test_a_grid_is_tried_as_given() -> None:
    """Targets, minimums, idle times and the maximum of the grid are those of the policies."""
    grid = Grid(
        targets=(0.5,), minimums=(0, 2), maximum=3, idle_seconds=(120.0,), base=ScalingPolicy(target_in_flight=1.0)
    )
    found = [each for each in compare_policies(scenario(), grid, Random(0)).outcomes if each.utilization is not None]
    assert {each.policy.minimum_replicas for each in found} == {0, 2}
    assert {(each.policy.maximum_replicas, each.utilization) for each in found} == {(3, 0.5)}
    # KEDA alone goes to zero, and knows the load of now alone.
    alone = {each.policy.minimum_replicas: (each.policy.lead_seconds, each.policy.keeps_missing) for each in found}
    assert alone == {0: (0.0, False), 2: (60.0, True)}
    usual = replace(grid, minimums=None)
    for to_zero in (True, False):
        tried = compare_policies(scenario(), replace(usual, to_zero=to_zero), Random(0)).outcomes
        assert (0 in {each.policy.minimum_replicas for each in tried}) is to_zero
    by_keda = compare_policies(scenario(), replace(grid, external_metric=True), Random(0)).outcomes
    scaled = [each.policy for each in by_keda if each.utilization is not None]
    assert {(each.lead_seconds, each.keeps_missing) for each in scaled} == {(0.0, False)}
    assert max(each.replicas_peak for each in found) <= 4  # one that is leaving may still be paid for
    with pytest.raises(InvalidValue):
        compare_policies(scenario(), replace(grid, minimums=(4,)), Random(0))


@pytest.mark.parametrize(("gap_seconds", "sleeps"), [(290.0, False), (400.0, True)])
def test_an_answer_keeps_replicas_awake_before_the_idle_time(gap_seconds: float, sleeps: bool) -> None:
    """KEDA counts the idle time from when answers are no longer recent: 120 s of it are 300 s without a request."""
    arrivals = Arrivals(seconds=[gap_seconds * number for number in range(10)], duration_seconds=10 * gap_seconds)
    grid = Grid(targets=(0.5,), minimums=(0,), maximum=2, idle_seconds=(120.0,))
    (found,) = (
        each for each in compare_policies(scenario(arrivals), grid, Random(0)).outcomes if each.utilization is not None
    )
    assert found.policy.idle_seconds == 120.0
    assert (found.replicas_mean < 0.95) is sleeps
    if sleeps:
        assert found.replicas_mean == pytest.approx((60.0 + 300.0) / gap_seconds, rel=0.15)


def test_no_more_than_can_be_had() -> None:
    """Owned machines bound every policy, always on ones included."""
    found = compare_policies(scenario(maximum_replicas=2), Grid(), Random(0))
    assert max(each.policy.maximum_replicas for each in found.outcomes) == 2
    assert found.cheapest is None


def test_the_same_question_has_the_same_answer(comparison: Comparison) -> None:
    """A comparison depends on its arguments alone, and each policy is announced before it runs."""
    names: list[str] = []
    assert compare_policies(scenario(), Grid(), Random(2), progress=names.append) == comparison
    assert sorted(names) == sorted(each.name for each in comparison.outcomes)
