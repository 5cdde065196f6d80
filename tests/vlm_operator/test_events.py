"""Which Events a change of conditions gives: what is new, once, and as a warning only where something is wrong."""

from __future__ import annotations

from hypothesis import given
from vlm_operator.conditions import Facts, conditions, judge
from vlm_operator.events import Event, events
from vlm_operator.reasons import AvailableReason, DegradedReason, ReadyReason
from vlm_operator.records import Findings

from tests.vlm_operator.test_conditions import FACTS, STUCK, WELL
from tests.vlm_operator.worlds import NOW
from vlmctl.api import v1alpha1 as api


def of(facts: Facts, before: tuple[api.Condition, ...] = ()) -> tuple[api.Condition, ...]:
    """The conditions of some facts."""
    return conditions(judge(facts), before, generation=1, now=NOW)


@given(FACTS)
def test_nothing_is_told_where_nothing_changed(facts: Facts) -> None:
    """The same state gives no Event, however often it is looked at."""
    assert events(of(facts), of(facts)) == ()


@given(FACTS, FACTS)
def test_each_thing_is_told_once(first: Facts, second: Facts) -> None:
    """One cause stands in several conditions, and in one Event; there are at most as many as conditions."""
    told = events(of(first), of(second))
    assert len(told) <= len(api.ConditionType)
    assert len({(each.reason, each.message) for each in told}) == len(told)


def test_a_failure_is_a_warning_and_its_end_is_not() -> None:
    """What goes wrong warns with its remedy; that it works again is told as well."""
    failing = of(Facts(wanted=WELL.wanted, found=Findings(finding=STUCK)))
    warning = Event(type="Warning", reason=AvailableReason.CRASH_LOOP, message="The engine ends. See its log.")
    assert warning in events(of(Facts(wanted=WELL.wanted)), failing)
    told = {each.reason: each.type for each in events(failing, of(WELL))}
    assert told[ReadyReason.READY] == told[DegradedReason.AS_PLANNED] == "Normal"


def test_progress_is_no_warning() -> None:
    """A replica on its way is not ready, and nothing is wrong."""
    steps = [AvailableReason.SCHEDULING, AvailableReason.PULLING_IMAGE, AvailableReason.STARTING]
    before: tuple[api.Condition, ...] = ()
    for step in steps:
        after = of(Facts(wanted=WELL.wanted, progress=step))
        told = events(before, after)
        assert step in {each.reason for each in told}
        assert {each.type for each in told} == {"Normal"}
        before = after


def test_what_was_just_made_is_no_news() -> None:
    """That there are no replicas yet is not told of a new deployment, only where there were some."""
    new = of(Facts(wanted=WELL.wanted))
    assert AvailableReason.PENDING not in {each.reason for each in events((), new)}
    assert AvailableReason.PENDING in {each.reason for each in events(of(WELL), new)}
