"""Short questions to pods, which may answer whatever they like."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import aiohttp

from vlm_operator.records import KubernetesObject
from vlmctl.errors import InvalidValue

CONNECTIONS = 256  # of a client at once: below what a process may have open; a thousand that hang are soon asked


class PodClient:
    """Asks pods over HTTP, each within `seconds` from when it has a place; used inside `async with`."""

    def __init__(self, *, seconds: float, maximum_bytes: int) -> None:
        self._limit = aiohttp.ClientTimeout(total=seconds)
        self._maximum_bytes = maximum_bytes
        self._session: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(CONNECTIONS)  # not the connector's: waiting for one is nobody's time

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=self._limit, trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, pod: KubernetesObject, port: int, path: str) -> bytes | None:
        """What a pod that has an address answers; None where it does not, or not with 200.

        Raises InvalidValue for an answer of more than `maximum_bytes`, of which little more is read.
        """
        if self._session is None:
            raise RuntimeError("a PodClient is used inside `async with`")
        address = str(pod["status"]["podIP"])
        host = f"[{address}]" if ":" in address else address
        try:
            # A pod may not send the operator elsewhere.
            async with (
                self._places,
                self._session.get(f"http://{host}:{port}{path}", allow_redirects=False) as response,
            ):
                return await self._read(response) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = b""
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > self._maximum_bytes:
                raise InvalidValue(f"the answer of a pod is larger than {self._maximum_bytes:,} bytes.")
        return content
