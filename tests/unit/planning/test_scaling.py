"""The scaling policy: what it answers to loads, and the promises that hold whatever it is asked."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from vlmctl.errors import InvalidValue
from vlmctl.planning.scaling import (
    Decision,
    Direction,
    Observation,
    Reason,
    ScalingPolicy,
    Select,
    State,
    Step,
    StepKind,
    as_external_metric,
    check_policy,
    decide,
)

FREE = Direction(tolerance=0.1)  # no window, no rate limit
POLICY = ScalingPolicy(target_in_flight=10.0, minimum_replicas=1, maximum_replicas=8, up=FREE, down=FREE)


def follow(policy: ScalingPolicy, loads: list[float | None], *, replicas: int, step: float = 15.0) -> list[Decision]:
    """The decisions for loads seen one after the other, each carried out at once."""
    state, found = State(), []
    for number, load in enumerate(loads):
        decision = decide(policy, state, Observation(replicas=replicas, in_flight=load), number * step)
        state, replicas = decision.state, decision.replicas
        found.append(decision)
    return found


def counts(decisions: list[Decision]) -> list[int]:
    return [each.replicas for each in decisions]


@pytest.mark.parametrize(
    ("replicas", "load", "wanted", "reason"),
    [
        (1, 30.0, 3, Reason.LOAD),
        (1, 31.0, 4, Reason.LOAD),
        (3, 32.9, 3, Reason.STEADY),
        (3, 27.1, 3, Reason.STEADY),
        (3, 12.0, 2, Reason.LOAD),
        (3, 0.0, 1, Reason.BOUNDED),
        (3, 500.0, 8, Reason.BOUNDED),
        (9, 500.0, 8, Reason.BOUNDED),
        (0, 0.0, 1, Reason.BOUNDED),
        (3, None, 3, Reason.UNKNOWN),
    ],
)
def test_load_over_target(replicas: int, load: float | None, wanted: int, reason: Reason) -> None:
    """Replicas are the load over the target, rounded up, within bounds and tolerance; unknown load moves nothing."""
    (decision,) = follow(POLICY, [load], replicas=replicas)
    assert (decision.replicas, decision.reason) == (wanted, reason)
    assert decision.message


def test_replicas_that_do_not_report_are_empty_going_up_and_full_going_down() -> None:
    """A replica without metrics neither causes growth nor allows shrinking."""

    def seen(load: float, missing: int) -> int:
        return decide(POLICY, State(), Observation(replicas=4, in_flight=load, missing=missing), 0.0).replicas

    assert seen(12.0, 0) == 2
    assert seen(12.0, 2) == 4
    assert seen(30.0, 2) == 4
    assert seen(60.0, 2) == 6


def test_an_external_metric_says_nothing_of_replicas_that_start() -> None:
    """The HPA lets go what the load of now does not ask for, started or not, and grows no sooner than it does."""
    policy = replace(POLICY, lead_seconds=600.0, interval_seconds=5.0)
    rising = [5.0 + number for number in range(20)]
    assert (
        counts(follow(policy, rising, replicas=1, step=5.0))[-1]
        > counts(follow(as_external_metric(policy), rising, replicas=1, step=5.0))[-1]
        == 3
    )
    starting = Observation(replicas=4, in_flight=12.0, missing=2)
    assert decide(policy, State(), starting, 0.0).replicas == 4
    assert decide(as_external_metric(policy), State(), starting, 0.0).replicas == 2


def test_scaling_down_waits_for_the_window() -> None:
    """The highest recommendation of the window holds; after it, the replicas follow the load."""
    policy = replace(POLICY, down=Direction(stabilization_seconds=60.0))
    decisions = follow(policy, [40.0, 10.0, 10.0, 25.0, 10.0, 10.0, 10.0, 10.0], replicas=4)
    assert counts(decisions) == [4, 4, 4, 4, 3, 3, 3, 1]
    assert decisions[1].reason is Reason.STABILIZED


def test_scaling_up_waits_for_the_window_too() -> None:
    """A burst shorter than the window for up adds nothing."""
    policy = replace(POLICY, up=Direction(stabilization_seconds=30.0))
    assert counts(follow(policy, [10.0, 50.0, 10.0, 50.0, 50.0, 50.0], replicas=1)) == [1, 1, 1, 1, 5, 5]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((Step(kind=StepKind.PODS, value=2, period_seconds=30.0),), [3, 3, 5, 5, 7]),
        ((Step(kind=StepKind.PERCENT, value=100, period_seconds=15.0),), [2, 4, 8, 8, 8]),
        (
            (
                Step(kind=StepKind.PERCENT, value=100, period_seconds=15.0),
                Step(kind=StepKind.PODS, value=4, period_seconds=15.0),
            ),
            [5, 8, 8, 8, 8],
        ),
    ],
)
def test_scaling_up_is_limited(steps: tuple[Step, ...], expected: list[int]) -> None:
    """Within a period no more are added than a step allows, and of several steps the most generous counts."""
    policy = replace(POLICY, up=Direction(steps=steps))
    assert counts(follow(policy, [1000.0] * 5, replicas=1)) == expected


def test_zero_after_the_idle_time_and_back_with_the_first_request() -> None:
    """Idle for long enough: none. One request: one replica at once, whatever windows and limits say."""
    slow = Direction(stabilization_seconds=600.0, steps=(Step(kind=StepKind.PODS, value=1, period_seconds=600.0),))
    policy = replace(POLICY, minimum_replicas=0, idle_seconds=45.0, up=slow, down=slow)
    decisions = follow(policy, [20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], replicas=2)
    assert counts(decisions) == [2, 2, 2, 0, 0, 0, 1]
    assert (decisions[3].reason, decisions[6].reason) == (Reason.IDLE, Reason.WAKE)


def test_a_silent_replica_keeps_the_fleet_awake() -> None:
    """Nothing is stopped as idle while a replica does not report."""
    policy = replace(POLICY, minimum_replicas=0, idle_seconds=10.0)
    state = State(active_at=0.0)
    seen = Observation(replicas=1, in_flight=0.0, missing=1)
    assert decide(policy, state, seen, 100.0).replicas == 1


def test_a_rising_load_is_met_before_it_is_there() -> None:
    """With a lead the replicas for the load to come are asked for; noise around a level asks for none."""
    policy = replace(POLICY, lead_seconds=120.0)
    rising = [10.0 + 2.0 * number for number in range(8)]
    assert counts(follow(POLICY, rising, replicas=1))[-1] == 3
    ahead = follow(policy, rising, replicas=1)
    assert counts(ahead)[-1] == 4
    assert any(each.reason is Reason.AHEAD for each in ahead)
    noise = [20.0, 18.0, 22.0, 19.0, 21.0, 18.0, 22.0, 20.0]
    assert counts(follow(policy, noise, replicas=2)) == [2] * 8


@pytest.mark.parametrize(
    "changes",
    [
        {"minimum_replicas": 9},
        {"minimum_replicas": -1},
        {"minimum_replicas": 0, "maximum_replicas": 0},
        {"target_in_flight": 0.0},
        {"interval_seconds": 0.0},
        {"idle_seconds": -1.0},
        {"lead_seconds": 3601.0},
        {"down": Direction(stabilization_seconds=3601.0)},
        {"up": Direction(tolerance=-0.1)},
    ],
)
def test_senseless_policies_are_refused(changes: dict[str, object]) -> None:
    """A policy that no scaler would accept is an error before it is used."""
    check_policy(POLICY)
    with pytest.raises(InvalidValue):
        check_policy(replace(POLICY, **changes))


@st.composite
def directions(draw: st.DrawFn) -> Direction:
    steps = st.builds(
        Step,
        kind=st.sampled_from(StepKind),
        value=st.integers(1, 200),
        period_seconds=st.sampled_from([15.0, 40.0, 120.0]),
    )
    return Direction(
        stabilization_seconds=draw(st.sampled_from([0.0, 20.0, 90.0])),
        steps=tuple(draw(st.lists(steps, max_size=2))),
        tolerance=draw(st.sampled_from([0.0, 0.1])),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[ScalingPolicy, list[float | None]]:
    minimum = draw(st.integers(0, 3))
    policy = ScalingPolicy(
        target_in_flight=draw(st.floats(0.5, 20.0)),
        minimum_replicas=minimum,
        maximum_replicas=draw(st.integers(max(minimum, 1), 20)),
        up=draw(directions()),
        down=draw(directions()),
        idle_seconds=draw(st.sampled_from([0.0, 30.0, 90.0])),
        lead_seconds=draw(st.sampled_from([0.0, 60.0])),
        keeps_missing=draw(st.booleans()),
    )
    loads = draw(st.lists(st.none() | st.just(0.0) | st.floats(0.0, 300.0), min_size=1, max_size=30))
    return policy, loads


@given(histories(), st.integers(0, 25))
def test_bounds_hold_whatever_happens(history: tuple[ScalingPolicy, list[float | None]], replicas: int) -> None:
    """Never more than the maximum, never fewer than the minimum, and never none while a request is in flight."""
    policy, loads = history
    for load, decision in zip(loads, follow(policy, loads, replicas=replicas), strict=True):
        assert policy.minimum_replicas <= decision.replicas <= policy.maximum_replicas
        assert decision.replicas > 0 or not load


@given(histories())
def test_rate_limits_hold_over_every_period(history: tuple[ScalingPolicy, list[float | None]]) -> None:
    """Over any period of the most generous step no more are added than it allows; waking and idling are free."""
    policy, loads = history
    if len(policy.up.steps) != 1:
        return
    (step,) = policy.up.steps
    replicas = max(policy.minimum_replicas, 1)
    series = [(-15.0, replicas)] + [
        (number * 15.0, each.replicas) for number, each in enumerate(follow(policy, loads, replicas=replicas))
    ]
    for index, (start, before) in enumerate(series):
        later = [count for at, count in series[index + 1 :] if at < start + 15.0 + step.period_seconds]
        within = [count for _, count in series[index : index + 1 + len(later)]]
        if before == 0 or 0 in later:
            continue
        if all(second >= first for first, second in pairwise(within)):  # growth alone
            allowed = step.value if step.kind is StepKind.PODS else -(-before * step.value // 100)
            assert within[-1] - before <= allowed


@given(histories())
def test_the_window_for_down_holds(history: tuple[ScalingPolicy, list[float | None]]) -> None:
    """Unless it is idle, a fleet is never smaller than what any load within the window asked for."""
    policy, loads = history
    policy = replace(policy, lead_seconds=0.0, up=FREE, minimum_replicas=1)
    decisions = follow(policy, loads, replicas=1)
    for index, decision in enumerate(decisions):
        window = [
            each.replicas
            for number, each in enumerate(decisions[: index + 1])
            if (index - number) * 15.0 < policy.down.stabilization_seconds and each.reason is Reason.LOAD
        ]
        assert decision.replicas >= max((count for count in window), default=0) or decision.reason is Reason.UNKNOWN


@given(histories())
def test_a_decision_is_a_function_of_its_arguments(history: tuple[ScalingPolicy, list[float | None]]) -> None:
    """The same history twice gives the same decisions, and the state does not grow without bound."""
    policy, loads = history
    assert follow(policy, loads, replicas=1) == follow(policy, loads, replicas=1)
    state = follow(policy, loads, replicas=1)[-1].state
    assert max(map(len, (state.recommendations, state.changes, state.loads))) <= 120.0 / 15.0 + 1


STEPS = (Step(kind=StepKind.PODS, value=1, period_seconds=60.0), Step(kind=StepKind.PODS, value=3, period_seconds=60.0))


@pytest.mark.parametrize(
    ("select", "up", "down"),
    [(Select.MAX, [5, 5], [3, 3]), (Select.MIN, [3, 3], [5, 5]), (Select.DISABLED, [2, 2], [6, 6])],
)
def test_of_several_rates_the_selected_one_counts(select: Select, up: list[int], down: list[int]) -> None:
    """Max takes the rate that allows most, Min the one that allows least, Disabled none: in each direction."""
    limited = Direction(steps=STEPS, select=select)
    assert counts(follow(replace(POLICY, up=limited), [80.0, 80.0], replicas=2)) == up
    assert counts(follow(replace(POLICY, down=limited), [0.0, 0.0], replicas=6)) == down


def test_a_gap_in_the_metrics_shrinks_nothing() -> None:
    """The window for down begins anew with each look that told nothing, however long nothing was told."""
    policy = replace(POLICY, down=Direction(stabilization_seconds=60.0))
    quiet: list[float | None] = [80.0, *[None] * 24, *[2.0] * 5]
    assert counts(follow(policy, quiet, replicas=8)) == [8] * 28 + [1] * 2


def test_what_is_not_known_is_not_idle() -> None:
    """The idle time begins anew with a look that told nothing, or left a replica out."""
    policy = replace(POLICY, minimum_replicas=0, idle_seconds=60.0)
    quiet: list[float | None] = [1.0, *[None] * 24, *[0.0] * 4]
    assert counts(follow(policy, quiet, replicas=1)) == [1] * 28 + [0]
    state = decide(policy, State(active_at=0.0), Observation(replicas=1, in_flight=0.0, missing=1), 100.0).state
    assert decide(policy, state, Observation(replicas=1, in_flight=0.0), 115.0).replicas == 1


@given(histories(), st.integers(1, 20))
def test_nothing_shrinks_within_the_window_after_an_unknown_look(
    history: tuple[ScalingPolicy, list[float | None]], replicas: int
) -> None:
    """Whatever was asked for when the load was last unknown stays for the window, or for the idle time to zero."""
    policy, loads = history
    decisions = follow(policy, loads, replicas=min(max(replicas, policy.minimum_replicas), policy.maximum_replicas))
    for unknown, then in enumerate(decisions):
        if then.reason is not Reason.UNKNOWN:
            continue
        for number, later in enumerate(decisions[unknown:]):
            seconds = number * 15.0
            if later.replicas == 0 and then.replicas:
                assert seconds >= policy.idle_seconds
                break  # what wakes again begins anew
            if seconds < policy.down.stabilization_seconds:
                assert later.replicas >= then.replicas


@pytest.mark.parametrize("lead", [60.0, 180.0, 600.0])
def test_a_step_is_no_trend(lead: float) -> None:
    """A load that rose at once and stays there gets its replicas and no more, however far ahead is looked."""
    policy = replace(POLICY, target_in_flight=8.0, maximum_replicas=64, lead_seconds=lead)
    stepped: list[float | None] = [8.0] * 60 + [40.0] * 60
    assert max(counts(follow(policy, stepped, replicas=1))) == 5


@pytest.mark.parametrize("looks", [4, 5, 8])
def test_chance_is_no_trend(looks: int) -> None:
    """Of loads that go up and down by chance alone one in twenty is followed at most, however few looks there were."""
    rng, eager = Random(1), Direction(tolerance=0.0)
    lead = (looks - 0.5) * POLICY.interval_seconds
    policy = replace(POLICY, target_in_flight=1.0, maximum_replicas=99, up=eager, down=eager, lead_seconds=lead)
    followed = 0
    for _ in range(2000):
        loads: list[float | None] = [rng.gauss(20.0, 4.0) for _ in range(looks)]
        followed += follow(policy, loads, replicas=20)[-1].reason is Reason.AHEAD
    assert followed <= 0.05 * 2000


def test_what_was_seen_for_a_minute_is_not_told_of_the_next_ten() -> None:
    """A load that doubles between the first looks counts no further ahead than it was seen, then as far as a start."""
    policy = replace(POLICY, maximum_replicas=99, lead_seconds=600.0)
    rising: list[float | None] = [2.0 + 2.0 * number for number in range(60)]  # 8 a minute
    found = follow(policy, rising, replicas=1)
    assert found[3].replicas == 2  # 8 in flight, and 8 more within the minute; 80 more within ten
    assert found[-1].replicas == 20  # 120 in flight, and 80 more


def test_a_short_start_is_looked_ahead_for_too() -> None:
    """Within 30 seconds there are two looks; a trend has more."""
    policy = replace(POLICY, lead_seconds=30.0)
    rising: list[float | None] = [10.0 + 3.0 * number for number in range(8)]
    assert any(each.reason is Reason.AHEAD for each in follow(policy, rising, replicas=1))
    late = [decide(policy, State(), Observation(replicas=1, in_flight=10.0), 0.0)]
    for number in range(1, 6):  # each look comes a second late
        seen = Observation(replicas=late[-1].replicas, in_flight=10.0 + 3.0 * number)
        late.append(decide(policy, late[-1].state, seen, number * 16.0))
    assert any(each.reason is Reason.AHEAD for each in late)


@given(
    shares=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    lead=st.floats(30.0, 600.0),
)
def test_replicas_that_tell_again_are_no_trend(shares: list[int], lead: float) -> None:
    """A load that stays the same asks for no more, in whatever order the four that carry it fall silent and tell."""
    policy = replace(POLICY, lead_seconds=lead)
    state, replicas = State(), 4
    for number, told in enumerate([*shares, *range(5), *[4] * 8]):
        load = 8.0 * told if told else None
        seen = Observation(replicas=replicas, in_flight=load, missing=4 - told, silent=4 - told)
        decision = decide(policy, state, seen, number * 15.0)
        state, replicas = decision.state, decision.replicas
        assert replicas == 4
