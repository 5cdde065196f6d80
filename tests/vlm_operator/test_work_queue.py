"""The work queue on a clock of the tests' own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlm_operator import work_queue
from vlm_operator.records import Key
from vlm_operator.work_queue import Outcome, WorkQueue

from tests.support import virtual_time

A, B = Key("default", "a"), Key("default", "b")


async def run_for(seconds: float, queue: WorkQueue) -> None:
    running = asyncio.create_task(queue.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Passes:
    """Notes when each pass began; `outcomes`: of one after the other, then all is well."""

    def __init__(self, *outcomes: Outcome | Exception, takes_seconds: float = 0.0) -> None:
        self.begun: list[tuple[Key, float]] = []
        self.outcomes = list(outcomes)
        self.takes_seconds = takes_seconds

    async def __call__(self, key: Key) -> Outcome:
        self.begun.append((key, asyncio.get_running_loop().time()))
        await asyncio.sleep(self.takes_seconds)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @property
    def times(self) -> list[float]:
        return [at for _, at in self.begun]


def queue(work: Callable[[Key], Awaitable[Outcome]], workers: int = 2) -> WorkQueue:
    return WorkQueue(work, workers=workers, rng=Random(7))


def test_one_pass_for_many_events() -> None:
    """A key that is added many times before a worker is free is looked at once."""

    async def scenario() -> None:
        passes = Passes()
        work = queue(passes)
        for _ in range(5):
            work.add(A)
        work.add(B)
        await run_for(5, work)
        assert Counter(key for key, _ in passes.begun) == {A: 1, B: 1}

    virtual_time.run(scenario())


def test_an_event_during_a_pass_is_not_lost() -> None:
    """What happens while a key is in a pass leads to another pass, after a short rest."""

    async def scenario() -> None:
        passes = Passes(takes_seconds=1.0)
        work = queue(passes)
        work.add(A)
        asyncio.get_running_loop().call_later(0.5, work.add, A)
        await run_for(5, work)
        first, second = passes.times
        assert second - first == pytest.approx(1.0 + work_queue.REST_SECONDS, abs=0.01)

    virtual_time.run(scenario())


def test_a_delayed_key_comes_back_once_at_the_earliest_time() -> None:
    """Of two delays that were asked for, the shorter holds, and an event before it replaces it."""

    async def scenario() -> None:
        passes = Passes()
        work = queue(passes)
        work.add_after(A, 9.0)
        work.add_after(A, 3.0)
        work.add_after(A, 6.0)
        work.add_after(B, 3.0)
        asyncio.get_running_loop().call_later(1.0, work.add, B)
        await run_for(20, work)
        assert [(key, round(at)) for key, at in passes.begun] == [(B, 1), (A, 3)]

    virtual_time.run(scenario())


def test_a_pass_asks_to_come_again() -> None:
    """`after_seconds` of an outcome is when the key is looked at again without any event."""

    async def scenario() -> None:
        passes = Passes(Outcome(after_seconds=2.5))
        work = queue(passes)
        work.add(A)
        await run_for(10, work)
        assert passes.times == pytest.approx([0.0, 2.5], abs=0.01)

    virtual_time.run(scenario())


def test_failures_back_off_up_to_half_a_minute_and_end_with_success() -> None:
    """Each failure about doubles the wait, up to half a minute; a success starts over."""

    async def scenario() -> None:
        passes = Passes(*[Outcome(failed=True)] * 9, Outcome(), Outcome(failed=True))
        work = queue(passes)
        work.add(A)
        await run_for(400, work)
        waits = [after - before for before, after in zip(passes.times, passes.times[1:], strict=False)]
        for failures, waited in enumerate(waits[:9]):
            longest = min(30.0, 2.0**failures)
            assert longest / 2 - 0.01 <= waited <= longest + 0.01
        count = len(passes.times)
        work.add(A)
        await run_for(3, work)
        assert passes.times[count + 1] - passes.times[count] <= 1.01  # the backoff of a first failure

    virtual_time.run(scenario())


def test_a_failed_pass_waits_as_long_as_it_was_told_to() -> None:
    """A server that says when to come back is not asked before."""

    async def scenario() -> None:
        passes = Passes(Outcome(failed=True, after_seconds=17.0))
        work = queue(passes)
        work.add(A)
        await run_for(30, work)
        assert passes.times == pytest.approx([0.0, 17.0], abs=0.01)

    virtual_time.run(scenario())


def test_a_pass_that_only_failed_to_write_is_repeated_when_it_says() -> None:
    """Its writes have pauses of their own, and agents are to be heard meanwhile."""

    async def scenario() -> None:
        passes = Passes(*[Outcome(failed=True, after_seconds=2.5, paced=True)] * 20)
        work = queue(passes)
        work.add(A)
        await run_for(21, work)
        assert passes.times == pytest.approx([2.5 * number for number in range(9)], abs=0.01)

    virtual_time.run(scenario())


def test_an_event_shortens_a_backoff_but_does_not_spin() -> None:
    """A key that fails is looked at on an event, at most once a second."""

    async def scenario() -> None:
        passes = Passes(*[Outcome(failed=True)] * 100)
        work = queue(passes)

        async def pester() -> None:
            while True:
                work.add(A)
                await asyncio.sleep(0.05)

        pestering = asyncio.create_task(pester())
        await run_for(10, work)
        pestering.cancel()
        assert 9 <= len(passes.times) <= 11

    virtual_time.run(scenario())


def test_a_bug_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that a pass lets out is told with its traceback, and the pass repeated."""

    async def scenario() -> None:
        passes = Passes(ZeroDivisionError("provoked"))
        work = queue(passes)
        work.add(A)
        await run_for(5, work)
        assert len(passes.begun) == 2

    virtual_time.run(scenario())
    assert "ZeroDivisionError: provoked" in caplog.text


def test_a_second_term_starts_clean() -> None:
    """After `run` was cancelled in the middle of a pass, the next `run` takes the key anew, once."""

    async def scenario() -> None:
        passes = Passes(takes_seconds=1.0)
        work = queue(passes)
        work.add(A)
        await run_for(0.5, work)
        work.add(A)
        await run_for(5, work)
        assert len(passes.begun) == 2

    virtual_time.run(scenario())


events = st.lists(st.tuples(st.sampled_from([A, B]), st.floats(0, 3), st.floats(0, 1)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(events=events, fails=st.lists(st.booleans(), max_size=6), workers=st.integers(1, 3), seed=st.integers(0, 99))
def test_laws(events: list[tuple[Key, float, float]], fails: list[bool], workers: int, seed: int) -> None:
    """No key is ever in two passes at once, and each event is followed by a pass that began after it."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        inside: Counter[Key] = Counter()
        begun: dict[Key, list[float]] = {A: [], B: []}
        added: dict[Key, float] = {}
        takes = [seconds for _, _, seconds in events]
        left = list(fails)

        async def work(key: Key) -> Outcome:
            inside[key] += 1
            assert inside[key] == 1
            begun[key].append(loop.time())
            await asyncio.sleep(takes[len(begun[key]) % len(takes)])
            inside[key] -= 1
            return Outcome(failed=left.pop() if left else False)

        def add(key: Key) -> None:
            added[key] = loop.time()
            tested.add(key)

        tested = WorkQueue(work, workers=workers, rng=Random(seed))
        for key, at, _ in events:
            loop.call_later(at, add, key)
        await run_for(120, tested)
        for key, last in added.items():
            assert begun[key][-1] >= last

    virtual_time.run(scenario())
