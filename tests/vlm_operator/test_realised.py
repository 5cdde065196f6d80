"""What requests really cost: idle time is paid too, and without traffic nothing is said but that there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.realised import (
    FEWEST_REQUESTS,
    HOURS,
    LONGEST_GAP_SECONDS,
    WINDOW_SECONDS,
    WINDOWS,
    Realised,
    look,
)

STEP = 60.0


def follow(counts: list[float | None], *, replicas: int = 1, before: Realised | None = None) -> Realised:
    """Looks a minute apart at one replica, which is silent where the count is None."""
    state, now = before, 0.0 if before is None else before.at + STEP
    for count in counts:
        counters = {} if count is None else {"a": count}
        state = look(state, counters, replicas=replicas, alive=frozenset("a"), now=now)
        now += STEP
    assert state is not None
    return state


def test_idle_time_is_paid() -> None:
    """A window with 30 requests took the replica's time in it, busy or not; before its end nothing is said."""
    assert follow([0, 30, 30, 30, 30]).replica_hours_per_1k is None
    assert follow([0, 30, 30, 30, 30, 30]).replica_hours_per_1k == pytest.approx(2.8)  # a twelfth of an hour for 30


def test_an_hour_without_a_request_is_said_once() -> None:
    """Before its end the figure stays; then it is gone, as it says nothing of a replica that nobody asks."""
    busy = follow([0, 30, 30, 30, 30, 30])
    quiet = follow([30] * 55, before=busy)
    assert (quiet.replica_hours_per_1k, quiet.idle) == (busy.replica_hours_per_1k, False)
    told = [follow([30] * minutes, before=busy) for minutes in (60, 120, 60 * 24 * 7)]
    assert [(each.replica_hours_per_1k, each.idle) for each in told] == [(None, True)] * 3
    assert len(told[-1].windows) <= WINDOWS + HOURS


@given(st.integers(30, 3000), st.integers(30, 3000))
def test_minutes_do_not_take_the_place_of_an_hour(first: int, later: int) -> None:
    """A figure of less than an hour is told while there is no other; one of an hour gives way to an hour's alone."""
    hour = follow([0.0, *(first / 5 * minute for minute in range(1, 66))])
    known = Realised(began=0.0, at=0.0, counters={"a": 0.0}, replica_hours_per_1k=hour.replica_hours_per_1k, whole=True)
    for minutes, is_new in ((5, False), (55, False), (60, True)):
        after = follow([later / 5 * minute for minute in range(1, minutes + 1)], before=known)
        new = follow([0.0, *(later / 5 * minute for minute in range(1, minutes + 1))])
        expected = new if is_new else hour
        assert after.replica_hours_per_1k == expected.replica_hours_per_1k is not None


def test_little_traffic_is_judged_by_as_long_as_it_takes() -> None:
    """Ten requests an hour take a tenth of one each; fewer than the minimum in a day make no figure."""
    busy = follow([0, *[3000] * 5])
    slow = follow([3000.0 + minute // 6 for minute in range(60 * 5)], before=busy)
    assert (slow.replica_hours_per_1k, slow.idle) == (pytest.approx(100, rel=0.1), False)
    idle = follow([3050.0] * 60 * 25, before=slow)
    assert follow([3051, *[3051] * 5], before=idle).replica_hours_per_1k is None
    assert follow([3051, *[3051] * 5], before=idle).idle is False


def test_what_is_not_paid_for_is_not_idle() -> None:
    """A deployment at zero replicas is never said to hold any for nothing."""
    assert follow([0, *[30] * 200], replicas=0).idle is not True


@given(st.lists(st.integers(0, 50), min_size=1, max_size=WINDOWS * 5 - 1))
def test_every_request_is_counted_once(more: list[int]) -> None:
    """Whatever comes in an hour, the windows and what is not closed yet hold all of it, and all its cost."""
    counts, total = [0.0], 0.0
    for each in more:
        total += each
        counts.append(total)
    state = follow(list(counts))
    used, answered = (sum(getattr(each, name) for each in state.windows) for name in ("replica_seconds", "answered"))
    assert answered + state.answered == pytest.approx(total)
    assert used + state.replica_seconds == pytest.approx(STEP * len(more))


def test_proxies_that_restart_or_are_silent_lose_nothing() -> None:
    """A counter that went back began anew; what a silent replica answered is counted when it tells."""
    assert follow([100, 110, 5]).answered == 15
    assert follow([100, None, None, 130]).answered == 30
    state = follow([100])
    state = look(state, {"a": 100, "new": 7}, replicas=1, alive=frozenset({"a", "new"}), now=STEP)
    assert state.answered == 7
    state = look(state, {"new": 7}, replicas=1, alive=frozenset({"new"}), now=2 * STEP)
    assert set(state.counters) == {"new"}


def test_a_gap_is_nobodys_time() -> None:
    """What nobody looked at for long is neither paid nor counted."""
    state = follow([0, 10])
    late = look(state, {"a": 500}, replicas=1, alive=frozenset("a"), now=state.at + LONGEST_GAP_SECONDS + 1)
    assert (late.replica_seconds, late.answered) == (0.0, 0.0)


@given(st.lists(st.integers(0, 3), min_size=WINDOWS * 5, max_size=WINDOWS * 30))
def test_what_leaves_the_hour_is_kept_by_the_hour(more: list[int]) -> None:
    """Nothing is lost when windows are put together, for as long as a day."""
    total, counts = 0.0, [0.0]
    for each in more:
        total += each
        counts.append(total)
    state = follow(list(counts))
    assert sum(each.answered for each in state.windows) + state.answered == pytest.approx(total)
    used = sum(each.replica_seconds for each in state.windows) + state.replica_seconds
    assert used == pytest.approx(STEP * len(more))
    assert len(state.windows) <= WINDOWS + len(more) / 55 + 2


@pytest.mark.parametrize("gap", [False, True])
def test_what_was_there_and_silent_at_first_does_not_count_its_life(gap: bool) -> None:
    """After a restart of the operator, or a gap, a replica that is read late may have answered for weeks before."""
    before = follow([0]) if gap else None
    now = 0.0 if before is None else before.at + LONGEST_GAP_SECONDS + 1
    state = look(before, {}, replicas=1, alive=frozenset("a"), now=now)
    for count in (1e6, 1e6 + 10):
        now += STEP
        state = look(state, {"a": count}, replicas=1, alive=frozenset("a"), now=now)
    assert state.answered == 10


def test_few_requests_make_no_figure() -> None:
    """Below a number of requests there is none."""
    few = FEWEST_REQUESTS - 1
    assert follow([0, *[few] * int(WINDOW_SECONDS / STEP)]).replica_hours_per_1k is None
