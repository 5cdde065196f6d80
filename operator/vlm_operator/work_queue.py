"""Which VLMDeployments are to be looked at: each waits once, is in one pass at a time, and comes back if it failed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

from vlm_operator.log_lines import about
from vlm_operator.metrics import QUEUE_LENGTH
from vlm_operator.records import Key

REST_SECONDS = 0.2  # after a pass: what happens meanwhile, our own writes above all, is taken in one more
FAILED_REST_SECONDS = 1.0  # the same after one that failed
FIRST_BACKOFF_SECONDS = 1.0
MOST_BACKOFF_SECONDS = 30.0  # so that all is tried, and time left to do it, within a minute of an outage's end

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """How a pass ended. `after_seconds`: come again then, at the latest; of a failed one: at the earliest, unless it is
    `paced`, as it was done but for writes that have pauses of their own.
    """

    failed: bool = False
    after_seconds: float | None = None
    paced: bool = False


class WorkQueue:
    """Runs `work` for each key that was added, `workers` at once. `rng` spreads what failed together."""

    def __init__(self, work: Callable[[Key], Awaitable[Outcome]], *, workers: int, rng: Random) -> None:
        self._work = work
        self._workers = workers
        self._rng = rng
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: dict[Key, float] = {}  # those in `_ready`, the first first: since when
        self._busy: set[Key] = set()  # in a pass, or resting after one
        self._again: set[Key] = set()  # busy, and something has happened since
        self._timers: dict[Key, asyncio.TimerHandle] = {}  # when to come again
        self._rests: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    @property
    def oldest_age_seconds(self) -> float:
        """How long the first that waits has done so; 0 where none waits."""
        since = next(iter(self._waiting.values()), None)
        return 0.0 if since is None else time.monotonic() - since

    def add(self, key: Key) -> None:
        """Something happened: look at the VLMDeployment as soon as a worker is free."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._disarm(key)
            self._waiting[key] = time.monotonic()
            self._ready.put_nowait(key)
            QUEUE_LENGTH.set(len(self._waiting))

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at it after so long; earlier if something happens, or if that was asked for before."""
        loop = asyncio.get_running_loop()
        armed = self._timers.get(key)
        if key in self._waiting or (armed is not None and armed.when() <= loop.time() + seconds):
            return
        self._disarm(key)
        self._timers[key] = loop.call_later(seconds, self._due, key)

    async def run(self) -> None:
        """Work until cancelled; passes under way are then cancelled too, and timers forgotten."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._worker())
        finally:
            for timer in (*self._timers.values(), *self._rests.values()):
                timer.cancel()
            self._timers.clear()
            self._rests.clear()
            self._busy.clear()
            self._again.clear()

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.pop(key, None)
            QUEUE_LENGTH.set(len(self._waiting))
            self._busy.add(key)
            with about(key):
                try:
                    outcome = await self._work(key)
                except Exception:
                    log.exception("A pass over %s/%s ended with a bug.", key.namespace, key.name)
                    outcome = Outcome(failed=True)
            self._settle(key, outcome)

    def _settle(self, key: Key, outcome: Outcome) -> None:
        after = outcome.after_seconds
        if outcome.failed and not outcome.paced:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            after = max(self._backoff_seconds(failures), after or 0.0)
        else:
            self._failures.pop(key, None)
        if after is not None:
            self.add_after(key, after)
        rest = FAILED_REST_SECONDS if outcome.failed else REST_SECONDS
        self._rests[key] = asyncio.get_running_loop().call_later(rest, self._rested, key)

    def _backoff_seconds(self, failures: int) -> float:
        """Doubled with each failure; between half of that and all of it."""
        longest = min(MOST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16))
        return longest * self._rng.uniform(0.5, 1.0)

    def _rested(self, key: Key) -> None:
        del self._rests[key]
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    def _disarm(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
