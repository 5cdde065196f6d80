"""`helm test`: what it takes for an operator that works."""

from __future__ import annotations

import asyncio
from itertools import cycle

import pytest
from aiohttp import web
from vlm_operator import installed

from vlmctl.errors import NotReachable


def check_with(*leaders: float) -> None:
    """With operators behind one address, who say in turn whether they lead."""

    async def test() -> None:
        told = cycle(leaders)

        async def metrics(_: web.Request) -> web.Response:
            text = f"# TYPE vlmctl_leader gauge\nvlmctl_leader {next(told)}\nvlmctl_watch_up 1.0\n"
            return web.Response(text=text)

        async def healthz(_: web.Request) -> web.Response:
            return web.Response(text="ok")

        app = web.Application()
        app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            await installed.check(f"http://127.0.0.1:{runner.addresses[0][1]}/healthz", None)
        finally:
            await runner.cleanup()

    asyncio.run(test())


@pytest.mark.parametrize("leaders", [(1.0,), (0.0, 0.0, 1.0)], ids=["the only one", "one of three"])
def test_one_that_leads_is_enough(leaders: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several, whichever is asked first."""
    monkeypatch.setattr(installed, "LEADER_PAUSE_SECONDS", 0.0)
    check_with(*leaders)


def test_operators_of_whom_none_leads_do_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """They answer /healthz all the same: who waits for the Lease is well."""
    monkeypatch.setattr(installed, "LEADER_PAUSE_SECONDS", 0.0)
    with pytest.raises(NotReachable, match="no operator leads"):
        check_with(0.0, 0.0)
