"""What requests really cost: idle time is paid too, and nothing moves without traffic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.realised import FEWEST_REQUESTS, LONGEST_GAP_SECONDS, WINDOW_SECONDS, WINDOWS, Realised, look

STEP = 60.0


def follow(counts: list[float | None], *, usd_per_hour: float = 3.6, before: Realised | None = None) -> Realised:
    """Looks a minute apart at one replica, which is silent where the count is None."""
    state, now = before, 0.0 if before is None else before.at + STEP
    for count in counts:
        counters = {} if count is None else {"a": count}
        state = look(state, counters, usd_per_hour=usd_per_hour, alive=frozenset("a"), now=now)
        now += STEP
    assert state is not None
    return state


def test_idle_time_is_paid() -> None:
    """A window with 30 requests costs what the replica cost in it, busy or not; before its end nothing is said."""
    assert follow([0, 30, 30, 30, 30]).usd_per_1k is None
    assert follow([0, 30, 30, 30, 30, 30]).usd_per_1k == pytest.approx(10.0)  # 0.3 USD in 5 minutes


def test_nothing_moves_without_traffic() -> None:
    """Hours without a request leave the figure as it is; the next traffic pays for an hour of them."""
    busy = follow([0, 30, 30, 30, 30, 30])
    idle = follow([30] * 120, before=busy)
    assert idle.usd_per_1k == busy.usd_per_1k
    again = follow([330, *[330] * 5], before=idle)
    assert again.usd_per_1k == pytest.approx(3.6 / 300 * 1000)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=WINDOWS * 5 - 1))
def test_every_request_is_counted_once(more: list[int]) -> None:
    """Whatever comes in an hour, the windows and what is not closed yet hold all of it, and all its cost."""
    counts, total = [0.0], 0.0
    for each in more:
        total += each
        counts.append(total)
    state = follow(list(counts))
    usd, answered = (sum(each[place] for each in state.windows) for place in (0, 1))
    assert answered + state.answered == pytest.approx(total)
    assert usd + state.usd == pytest.approx(3.6 * STEP * len(more) / 3600)


def test_proxies_that_restart_or_are_silent_lose_nothing() -> None:
    """A counter that went back began anew; what a silent replica answered is counted when it tells."""
    assert follow([100, 110, 5]).answered == 15
    assert follow([100, None, None, 130]).answered == 30
    state = follow([100])
    state = look(state, {"a": 100, "new": 7}, usd_per_hour=1, alive=frozenset({"a", "new"}), now=STEP)
    assert state.answered == 7
    state = look(state, {"new": 7}, usd_per_hour=1, alive=frozenset({"new"}), now=2 * STEP)
    assert set(state.counters) == {"new"}


def test_a_gap_is_nobodys_time() -> None:
    """What nobody looked at for long is neither paid nor counted."""
    state = follow([0, 10])
    late = look(state, {"a": 500}, usd_per_hour=9.0, alive=frozenset("a"), now=state.at + LONGEST_GAP_SECONDS + 1)
    assert (late.usd, late.answered) == (0.0, 0.0)


def test_few_requests_make_no_figure() -> None:
    """Below a number of requests there is none."""
    few = FEWEST_REQUESTS - 1
    assert follow([0, *[few] * int(WINDOW_SECONDS / STEP)]).usd_per_1k is None
