"""The engine next door: whether it answers, and what it counts."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from time import monotonic
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from vlmctl.bench.counters import ServerState, read_state

HEALTH_SECONDS = 5.0
PAGE_SECONDS = 10.0  # for a page of counters: a busy front end takes seconds


class Health(Enum):
    """What came of asking for its health."""

    WELL = auto()
    SILENT = auto()  # something listens, and does not say that it is well
    GONE = auto()  # nothing listens: it starts, or has ended


class Busy(msgspec.Struct, frozen=True):
    """Requests that it has accepted, those whose images are still decoded included (``/load``)."""

    server_load: int = 0


class Engine:
    """An open connection to it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # No connection is kept: the engine closes idle ones, and then a request that meets the end of one would fail.
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def health(self) -> Health:
        """Whether it is well; a hung one still says so."""
        try:
            return Health.WELL if await self._page("/health", HEALTH_SECONDS) is not None else Health.SILENT
        except aiohttp.ClientConnectorError as error:  # also where we are out of sockets, which is not for it to say
            return Health.GONE if isinstance(error.os_error, ConnectionRefusedError) else Health.SILENT
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Health.SILENT

    async def counters(self) -> ServerState | None:
        """Its counters; None where it does not tell."""
        page = await self._answer("/metrics")
        return read_state(page.decode("utf-8", "replace"), monotonic()) if page is not None else None

    async def in_flight(self) -> int | None:
        """Requests that it has accepted, where it counts them (``--enable-server-load-tracking``)."""
        page = await self._answer("/load")
        try:
            return msgspec.json.decode(page, type=Busy).server_load if page is not None else None
        except msgspec.MsgspecError:
            return None

    async def _answer(self, path: str) -> bytes | None:
        try:
            return await self._page(path, PAGE_SECONDS)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def _page(self, path: str, seconds: float) -> bytes | None:
        """What it answers; None where that is no 200."""
        assert self._session is not None, "use `async with Engine(...)`"
        async with asyncio.timeout(seconds), self._session.get(self._url + path) as response:
            content = await response.read()
            return content if response.status == 200 else None
