"""A clock of a test's own: waiting takes no time and always the same, so that latencies can be told to the millisecond.

While nothing is to be done and no bytes arrive, the event loop's clock jumps to the next timer; each turn of the loop
takes a little. Servers and clients of a test run in the same loop, over real connections.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar
from unittest.mock import patch

CLOCKS = (  # modules that read the time
    "vlmctl.bench.client",
    "vlmctl.bench.load",
    "vlmctl.bench.run",
    "vlmctl.bench.steps",
    "tests.support.servers",
)
TURN_SECONDS = 2e-5  # that a turn of the loop takes
PATIENCE_SECONDS = 0.0005  # real ones: so long bytes may be under way between two sockets of this machine
_T = TypeVar("_T")


class JumpingSelector(selectors.DefaultSelector):
    """Waits for bytes alone; for timers it moves its clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; without bytes, the time that was to be waited has gone by."""
        self.now += TURN_SECONDS
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0) or super().select(PATIENCE_SECONDS)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on that clock, which runs work for threads at once."""

    def __init__(self) -> None:
        self.clock = JumpingSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        """Seconds of the clock."""
        return self.clock.now

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Done before anything else happens, as names of hosts are looked up and pictures drawn."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """What `asyncio.run` gives, on a clock of its own."""
    with ExitStack() as stack, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        for module in CLOCKS:
            stack.enter_context(patch(f"{module}.monotonic", runner.get_loop().time))
        return runner.run(main)
