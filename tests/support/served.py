"""A scripted server in a thread of its own, for commands that have an event loop of theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import ScriptedServer, serving

START_SECONDS = 30.0


@contextmanager
def served(server: ScriptedServer) -> Iterator[str]:
    """The address of the server, while it serves."""
    started, stop = threading.Event(), threading.Event()
    addresses: list[str] = []

    async def serve() -> None:
        async with serving(server) as url:
            addresses.append(url)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(START_SECONDS), "the scripted server did not start"
    try:
        yield addresses[0]
    finally:
        stop.set()
        thread.join()
