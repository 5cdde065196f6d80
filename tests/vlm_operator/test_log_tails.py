"""The last words of engines that ended: read once for each end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from vlm_operator import names
from vlm_operator.observe import Asked

from tests.vlm_operator.children import PARENT
from tests.vlm_operator.test_observe import KEY, RUNNING, observing


def ended(run: str, state: str = "lastState") -> dict[str, Any]:
    """An engine that ended; in `lastState`, another run follows."""
    told: dict[str, Any] = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    return {names.ENGINE: {**told, state: {"terminated": {"exitCode": 1, "containerID": run}}}}


def test_the_last_words_are_read_once_for_each_end() -> None:
    """A run's log is asked for when it has ended, and again only after another end."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod(phase="Pending", containers=ended("1", "state"))
            for _ in range(3):
                assert (await observer.ask(KEY)).again_seconds is None
            world.pod(phase="Pending", containers=ended("2"))
            await observer.ask(KEY)
            assert world.asked == ["engine false", "engine true"]
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.logs == {"uid-p": "last words"}

    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "words"), [(200, "last words"), (404, "next words")])
def test_the_log_of_a_run_is_read_again_once_another_follows(status: int, words: str) -> None:
    """What is read before may be of the next run already, and is kept only where the kubelet has nothing else."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.words = "next words"
            world.pod(phase="Pending", containers=ended("1", "state"))
            await observer.ask(KEY)
            world.words, world.log_status = "last words", status
            world.pod(phase="Pending", containers=ended("1"))
            for _ in range(3):
                await observer.ask(KEY)
            assert world.asked == ["engine false", "engine true"]
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.logs == {"uid-p": words}

    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "again"), [(404, False), (503, True)])
def test_a_log_that_cannot_be_read(status: int, again: bool) -> None:
    """A log that is gone is not asked for again; a kubelet that does not answer is, later and later."""

    async def scenario() -> None:
        now = 0.0
        async with observing(lambda: now) as (world, observer):
            world.put(PARENT)
            world.log_status = status
            world.pod(phase="Pending", containers=ended("1"))
            pauses = [(await observer.ask(KEY)).again_seconds]
            assert (await observer.ask(KEY)).again_seconds == pauses[0]  # too early to ask
            assert len(world.asked) == 1
            while pauses[-1] is not None and len(pauses) < 5:
                now += pauses[-1]
                pauses.append((await observer.ask(KEY)).again_seconds)
            assert pauses == ([2.5, 5.0, 10.0, 20.0, 30.0] if again else [None])
            now += 30
            world.log_status = 200
            await observer.ask(KEY)
            assert len(world.asked) == (6 if again else 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("run", ["1", "2"])
def test_what_was_read_stays_while_the_kubelet_is_silent(run: str) -> None:
    """When another run follows, or has ended too, the log is asked for again; what is known holds until then."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod(phase="Pending", containers=ended("1", "state"))
            await observer.ask(KEY)
            world.log_status = 503
            world.pod(phase="Pending", containers=ended(run))
            assert await observer.ask(KEY) == Asked(news=False, again_seconds=2.5)
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.logs == {"uid-p": "last words"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "containers",
    [
        {names.ENGINE: {**ended("1")[names.ENGINE], "state": RUNNING, "started": True}},
        {names.DOWNLOAD: {"state": {"terminated": {"exitCode": 0, "containerID": "1"}}}},
    ],
    ids=["up again", "done"],
)
def test_logs_that_tell_nothing_are_not_read(containers: dict[str, Any]) -> None:
    """Of an engine that is up again, and of a download that ended well."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod(phase="Pending", containers=containers)
            await observer.ask(KEY)
            assert world.asked == []

    asyncio.run(scenario())
