"""Loads: so many requests always in flight, or requests sent at times of their own whatever the server does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from enum import StrEnum
from random import Random
from time import monotonic
from typing import Any

from vlmctl.bench.endpoint import FailureKind
from vlmctl.bench.samples import Sample
from vlmctl.errors import InvalidValue
from vlmctl.specs.record import Record

ERROR_PAUSE_SECONDS = 0.1  # before a slot that saw a request fail sends the next, so that a dead server is not flooded
RATE_LIMIT_PAUSE_SECONDS = 1.0  # where the server does not say when to come again
LONGEST_PAUSE_SECONDS = 30.0  # however long it says
# A timer of the event loop is late by up to so much (epoll counts whole milliseconds); the rest is waited in turns.
TIMER_SECONDS = 0.0015


class Arrival(StrEnum):
    """When requests are sent."""

    CLOSED = "closed"  # as soon as another has ended
    POISSON = "poisson"
    GAMMA = "gamma"
    CONSTANT = "constant"
    TRACE = "trace"


class LoadShape(Record, frozen=True, kw_only=True):
    """`concurrency` for a closed load, `requests_per_second` for the open ones.

    `burstiness`: shape of the gamma distribution of the gaps: below 1 burstier than Poisson, above 1 more even.
    """

    arrival: Arrival
    concurrency: int | None = None
    requests_per_second: float | None = None
    burstiness: float = 1.0

    @property
    def label(self) -> str:
        """What people call it: ``8 in flight``, ``2.5/s poisson``."""
        if self.arrival is Arrival.CLOSED:
            return f"{self.concurrency} in flight"
        if self.arrival is Arrival.TRACE:
            return "trace"
        bursts = f" of burstiness {self.burstiness:g}" if self.arrival is Arrival.GAMMA else ""
        return f"{self.requests_per_second:g}/s {self.arrival.value}{bursts}"


class Sending:
    """Numbers for the requests of a load, until it is stopped or so many were sent. `stopped_at`: when that was."""

    def __init__(self, *, first: int = 0, limit: int | None = None) -> None:
        self.sent = 0
        self.stopped_at: float | None = None
        self._first = first
        self._limit = limit
        self._stopped = asyncio.Event()

    def take(self) -> int | None:
        """The number of the next request; None where there is to be none."""
        if self.stopped_at is None and self.sent == self._limit:
            self.stop()
        if self.stopped_at is not None:
            return None
        self.sent += 1
        return self._first + self.sent - 1

    def stop(self) -> None:
        """Send no more."""
        if self.stopped_at is None:
            self.stopped_at = monotonic()
            self._stopped.set()

    async def stopped_or(self, interrupted: asyncio.Event) -> None:
        """Wait until it is stopped, or the other event is set."""
        waiting = [asyncio.ensure_future(each.wait()) for each in (interrupted, self._stopped)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until it is stopped."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return


Send = Callable[[int, float | None], Awaitable[Sample]]  # number of the request, intended time -> what came of it


async def closed_loop(send: Send, sending: Sending, *, concurrency: int) -> None:
    """Keep `concurrency` requests in flight until sending stops; then wait for the last of them."""

    async def slot() -> None:
        while (number := sending.take()) is not None:
            sample = await send(number, None)
            if sample.failure is not None:
                await sending.pause(_pause_seconds(sample))

    await _together(asyncio.ensure_future(slot()) for _ in range(concurrency))


async def open_loop(send: Send, sending: Sending, *, offsets: Iterable[float]) -> None:
    """Send each request at its own time from now, in seconds, until sending stops or the times end; then wait for all.

    A request that is sent late counts from when it was to be sent, so that a server that stops does not hide it.
    """
    start, tasks = monotonic(), set[asyncio.Future[Sample]]()
    try:
        for offset in offsets:
            await sending.pause(start + offset - monotonic() - TIMER_SECONDS)
            while monotonic() < start + offset and sending.stopped_at is None:
                await asyncio.sleep(0)
            number = sending.take()
            if number is None:
                break
            task = asyncio.ensure_future(send(number, start + offset))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except BaseException:
        await _cancelled(tasks)
        raise
    sending.stop()
    await _together(tasks)


def offsets(shape: LoadShape, rng: Random) -> Iterator[float]:
    """Seconds from the start at which requests are sent, without end."""
    rate = shape.requests_per_second
    if rate is None or not 0 < rate < math.inf or not 0 < shape.burstiness < math.inf:
        raise InvalidValue("an open load needs a rate and a burstiness above 0.")
    at = 0.0
    while True:
        yield at
        if shape.arrival is Arrival.CONSTANT:
            at += 1.0 / rate
        elif shape.arrival is Arrival.GAMMA:
            at += rng.gammavariate(shape.burstiness, 1.0 / (rate * shape.burstiness))
        else:
            at += rng.expovariate(rate)


def _pause_seconds(sample: Sample) -> float:
    failure = sample.failure
    if failure is None or failure.kind is not FailureKind.RATE_LIMITED:
        return ERROR_PAUSE_SECONDS
    return min(failure.retry_after_seconds or RATE_LIMIT_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)


async def _together(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Wait for all; cancelled, or with a bug in one, cancel all."""
    running = list(tasks)
    try:
        await asyncio.gather(*running)
    except BaseException:
        await _cancelled(running)
        raise


async def _cancelled(tasks: Iterable[asyncio.Future[Any]]) -> None:
    running = list(tasks)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
