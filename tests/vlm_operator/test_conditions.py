"""The six conditions: always all there, one enumerated reason each, summed up in Ready; over any facts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.conditions import Facts, Measurement, conditions, judge
from vlm_operator.reasons import (
    AvailableReason,
    BenchmarkReason,
    DegradedReason,
    ModelReason,
    PlanReason,
    ReadyReason,
)
from vlm_operator.records import Finding, Findings

from tests.vlm_operator.worlds import NOW, REVISION
from vlmctl.api.status import ConditionType

PROGRESS = [
    AvailableReason.PENDING,
    AvailableReason.SCHEDULING,
    AvailableReason.PULLING_IMAGE,
    AvailableReason.STARTING,
    AvailableReason.BENCHMARKING,
    AvailableReason.NOT_READY,
]
WRONG = st.builds(
    Finding,
    reason=st.sampled_from(
        [
            AvailableReason.INSUFFICIENT_GPU,
            AvailableReason.CRASH_LOOP,
            ModelReason.GATED_REPOSITORY,
            BenchmarkReason.SMOKE_FAILED,
            BenchmarkReason.BELOW_MINIMUM,
        ]
    ),
    message=st.just("It does not work."),
    remedy=st.just("Do this."),
)
FACTS = st.builds(
    Facts,
    wanted=st.none() | st.just(REVISION),
    went_back=st.sampled_from(["", "It failed."]),
    replicas=st.integers(0, 3),
    serves=st.booleans(),
    rolled_out=st.booleans(),
    loaded=st.booleans(),
    downloading=st.booleans(),
    downloaded=st.booleans(),
    progress=st.sampled_from(PROGRESS),
    measurement=st.builds(
        Measurement,
        reason=st.sampled_from(BenchmarkReason),
        shown=st.just("0.85 requests/s"),
        below_plan=st.sampled_from(["", "It is slow."]),
    ),
    found=st.builds(
        Findings,
        refused=st.none() | st.builds(Finding, reason=st.sampled_from(list(PlanReason)[2:]), message=st.just("No.")),
        finding=st.none() | WRONG,
        problem=st.none() | st.builds(Finding, reason=st.just(DegradedReason.OPERATOR_ERROR), message=st.just("Bug.")),
        lesser=st.none() | st.builds(Finding, reason=st.just(DegradedReason.OVER_BUDGET), message=st.just("Dear.")),
        better=st.sampled_from([None, "", "Another one would cost less."]),
    ),
)
FAILURES = {*AvailableReason, *ModelReason, *BenchmarkReason, *DegradedReason}
REASONS = {
    ConditionType.PLANNED: set(PlanReason),
    ConditionType.MODEL_READY: set(ModelReason),
    ConditionType.AVAILABLE: set(AvailableReason),
    ConditionType.BENCHMARKED: set(BenchmarkReason),
    ConditionType.READY: {*ReadyReason, *PlanReason, *FAILURES},
    ConditionType.DEGRADED: FAILURES,
}
WELL = Facts(
    wanted=REVISION,
    serves=True,
    rolled_out=True,
    loaded=True,
    measurement=Measurement(reason=BenchmarkReason.MEASURED, shown="0.85 requests/s"),
)
STUCK = Finding(reason=AvailableReason.CRASH_LOOP, message="The engine ends.", remedy="See its log.")


@given(FACTS)
def test_all_six_conditions_are_there_with_reasons_of_their_own_list(facts: Facts) -> None:
    """A program can rely on each type, and on a closed list of reasons for each."""
    judged = judge(facts)
    assert list(judged) == list(ConditionType)
    for kind, each in judged.items():
        assert each.reason in REASONS[kind]
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", each.reason)  # what metav1.Condition lets through
        assert each.message
        assert "{" not in each.message


@given(FACTS)
def test_ready_sums_the_others_up(facts: Facts) -> None:
    """Ready means planned, available and rolled out; where it is not, it gives the reason of what stands in the way."""
    judged = judge(facts)
    ready, planned, available = (
        judged[kind] for kind in (ConditionType.READY, ConditionType.PLANNED, ConditionType.AVAILABLE)
    )
    if ready.status == "True":
        assert planned.status == available.status == "True"
        assert facts.rolled_out
        assert not facts.went_back
    else:
        others = {(each.reason, each.message) for kind, each in judged.items() if kind is not ConditionType.READY}
        if facts.found.finding is not None:  # which a rollback keeps out of Degraded
            others.add((facts.found.finding.reason, facts.found.finding.text))
        assert (ready.reason, ready.message) in others or ready.reason in set(ReadyReason)


@given(FACTS)
def test_what_is_wrong_is_told_whatever_else_is_so(facts: Facts) -> None:
    """A finding never gets lost: with replicas that serve it degrades, without them it makes Ready false."""
    judged = judge(facts)
    if facts.found.finding is None or facts.found.problem is not None or facts.went_back:
        return
    assert judged[ConditionType.DEGRADED].status == "True"
    assert judged[ConditionType.DEGRADED].reason == facts.found.finding.reason
    if not facts.serves and facts.replicas and facts.found.refused is None and facts.wanted is not None:
        assert judged[ConditionType.READY].reason == facts.found.finding.reason


@given(FACTS, FACTS, st.floats(0, 1e9))
def test_a_conditions_time_changes_with_its_status_alone(first: Facts, second: Facts, later: float) -> None:
    """As metav1.Condition has it: another reason or message is no transition."""
    before = conditions(judge(first), (), generation=1, now=NOW)
    after = conditions(judge(second), before, generation=2, now=NOW + 60 + later)
    for old, new in zip(before, after, strict=True):
        assert (old.status == new.status) is (old.last_transition_time == new.last_transition_time)
        assert new.observed_generation == 2


@pytest.mark.parametrize(
    ("changes", "reason", "degraded"),
    [
        ({}, ReadyReason.READY, DegradedReason.AS_PLANNED),
        ({"found": Findings(finding=STUCK)}, ReadyReason.READY, AvailableReason.CRASH_LOOP),
        ({"found": Findings(finding=STUCK), "serves": False}, AvailableReason.CRASH_LOOP, AvailableReason.CRASH_LOOP),
        ({"rolled_out": False}, ReadyReason.ROLLING_OUT, DegradedReason.AS_PLANNED),
        ({"went_back": "It failed."}, ReadyReason.ROLLED_BACK, DegradedReason.ROLLED_BACK),
        (
            {"measurement": Measurement(reason=BenchmarkReason.RUNNING)},
            BenchmarkReason.RUNNING,
            DegradedReason.AS_PLANNED,
        ),
        (
            {"measurement": Measurement(reason=BenchmarkReason.DISABLED)},
            ReadyReason.READY,
            DegradedReason.AS_PLANNED,
        ),
        (
            {"measurement": Measurement(reason=BenchmarkReason.MEASURED, below_plan="It is slow.")},
            ReadyReason.READY,
            DegradedReason.BELOW_PLAN,
        ),
        ({"serves": False, "replicas": 0}, AvailableReason.SCALED_TO_ZERO, DegradedReason.AS_PLANNED),
        (
            {"found": Findings(refused=Finding(reason=PlanReason.OVER_BUDGET, message="Too dear."))},
            PlanReason.OVER_BUDGET,
            DegradedReason.AS_PLANNED,
        ),
        (
            {"found": Findings(problem=Finding(reason=DegradedReason.WRITE_REFUSED, message="No."))},
            ReadyReason.READY,
            DegradedReason.WRITE_REFUSED,
        ),
    ],
)
def test_what_ready_and_degraded_say(changes: dict[str, object], reason: str, degraded: str) -> None:
    """Replicas that serve keep serving: what fails beside them degrades; what nobody serves is not ready."""
    judged = judge(replace(WELL, **changes))
    assert judged[ConditionType.READY].reason == reason
    assert judged[ConditionType.DEGRADED].reason == degraded


def test_a_remedy_follows_what_is_wrong() -> None:
    """A message ends with what to do."""
    judged = judge(replace(WELL, found=Findings(finding=STUCK), serves=False))
    assert judged[ConditionType.AVAILABLE].message == "The engine ends. See its log."
