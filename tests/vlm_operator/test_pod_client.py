"""Pods that answer more than anybody wants to read; what else they do is in test_load.py and test_observe.py."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from vlm_operator.pod_client import PodClient

from tests.vlm_operator.test_load import NETWORK, server
from vlmctl.errors import InvalidValue

SECONDS = 30.0


async def flood(request: web.Request) -> web.StreamResponse:
    """An answer without an end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"#" * 1024)


def test_an_answer_without_an_end_is_left() -> None:
    """Long before the time is over."""
    pod = {"status": {"podIP": f"{NETWORK}.60"}}

    async def scenario() -> None:
        async with (
            asyncio.timeout(SECONDS / 2),
            server(flood, 0, pod["status"]["podIP"]) as port,
            PodClient(seconds=SECONDS, maximum_bytes=100_000) as client,
        ):
            with pytest.raises(InvalidValue, match="larger than 100,000 bytes"):
                await client.get(pod, port, "/result")

    asyncio.run(scenario())
