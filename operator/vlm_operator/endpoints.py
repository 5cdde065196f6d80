"""What the operator itself answers: /healthz and /metrics for the kubelet and Prometheus, and, on a port of its own,
requests that waited for too long for a replica that sleeps.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from vlm_operator import metrics

RETRY_AFTER_SECONDS = 60
HEADER_BYTES = 1 << 20  # as much as Go's servers take, the interceptor among them
# As vLLM writes an error, so that clients show the message.
RETRY = {
    "error": {
        "message": f"No replica started in time. Ask again in {RETRY_AFTER_SECONDS} s.",
        "type": "ServiceUnavailableError",
        "param": None,
        "code": 503,
    }
}


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
    async with _on(port, web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)):
        yield


@asynccontextmanager
async def retries(port: int) -> AsyncIterator[None]:
    """Answer whatever is asked with 503 and Retry-After while in the context, on every address.

    KEDA's interceptor passes on what any client asks for: nothing of it is kept, unpacked or logged, and nothing else
    is served there.
    """

    async def retry(_: web.BaseRequest) -> web.Response:
        return web.json_response(RETRY, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})

    server = web.Server(
        retry,
        access_log=None,
        auto_decompress=False,
        logger=_silent(),
        max_field_size=HEADER_BYTES,
        max_headers=HEADER_BYTES,
        max_line_size=HEADER_BYTES,
    )
    async with _on(port, web.ServerRunner(server, handle_signals=False, shutdown_timeout=1.0)):
        yield


def _silent() -> logging.Logger:
    """What aiohttp cannot read it would quote in the log."""
    logger = logging.Logger("retries")
    logger.addHandler(logging.NullHandler())
    return logger


@asynccontextmanager
async def _on(port: int, runner: web.BaseRunner) -> AsyncIterator[None]:
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()
