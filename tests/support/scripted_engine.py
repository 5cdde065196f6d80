"""A scripted server as the engine of a pod: with health and load, on a port of its own, ended and started at will."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.servers import ScriptedServer

SETTLE_SECONDS = 0.02  # in which a connection that was being accepted when listening stopped is made, and would be left


@dataclass
class ScriptedEngine(ScriptedServer):
    """`labelled`: requests that said that they are of a benchmark. `frozen`: tokens do not come, counters stand still.

    `accepted`: what ``/load`` tells, where it is not the requests in flight.
    """

    labelled: int = 0
    frozen: bool = False
    accepted: int | None = None
    port: int = field(default_factory=lambda: free_port())
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def application(self) -> web.Application:
        application = super().application()
        application.router.add_get("/health", self.health)
        application.router.add_get("/load", self.load)
        return application

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def load(self, _request: web.Request) -> web.Response:
        return web.json_response({"server_load": self.in_flight if self.accepted is None else self.accepted})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.labelled += "X-Vlmctl-Benchmark" in request.headers
        return await super().chat(request)

    async def until(self, at: float) -> None:
        while self.frozen:
            await asyncio.sleep(0.02)
        await super().until(at)

    async def start(self) -> None:
        """Listen, with the counters of a new process."""
        self.completed = self.prompt_total = self.output_total = 0
        self._runner = web.AppRunner(
            self.application(), access_log=None, shutdown_timeout=0.05, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def end(self) -> None:
        """Be gone, as a process that ends."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        server = runner.server
        await runner.cleanup()
        await asyncio.sleep(SETTLE_SECONDS)
        if server is not None:
            await server.shutdown(0)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
