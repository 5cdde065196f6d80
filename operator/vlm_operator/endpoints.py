"""What the kubelet and Prometheus ask the operator itself: /healthz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from vlm_operator import metrics


@asynccontextmanager
async def endpoints(port: int, *, problem: Callable[[], str]) -> AsyncIterator[None]:
    """Serve both while in the context, on every address. `problem`: why the operator is to be restarted, or empty."""

    async def health(_: web.Request) -> web.Response:
        told = problem()
        return web.Response(text=told or "ok", status=500 if told else 200)

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", health), web.get("/metrics", exposition)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()
