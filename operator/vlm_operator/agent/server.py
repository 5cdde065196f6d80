"""What the agent answers over HTTP: its result, and that it lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from vlm_operator.agent.journal import Journal
from vlm_operator.results import encode

JSON = "application/json"


@asynccontextmanager
async def serving(journal: Journal, port: int) -> AsyncIterator[None]:
    """Answer on a port of all addresses of the pod."""

    async def result(_request: web.Request) -> web.Response:
        return web.Response(body=encode(journal.result), content_type=JSON)

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    application = web.Application()
    application.router.add_get("/result", result)
    application.router.add_get("/healthz", alive)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()
