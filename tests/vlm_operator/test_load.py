"""The load of replicas, scraped from a real HAProxy where there is one and from whatever else may answer."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator import load as module
from vlm_operator.load import MAXIMUM_BYTES, Load, Reading, Scraper, load, read_metrics, takes_traffic
from vlm_operator.proxy import METRICS_PORT

from tests.vlm_operator.worlds import SERVING, UP, pod
from vlmctl.errors import InvalidValue

TEXT = """# HELP haproxy_backend_current_sessions Current number of active sessions on the frontend, backend or server.
# TYPE haproxy_backend_current_sessions gauge
haproxy_backend_current_sessions{proxy="inference"} 7
haproxy_backend_current_sessions{proxy="engine"} 2
# TYPE haproxy_backend_http_responses_total counter
haproxy_backend_http_responses_total{proxy="inference",code="1xx"} 0
haproxy_backend_http_responses_total{proxy="inference",code="2xx"} 1234
haproxy_backend_http_responses_total{proxy="engine",code="2xx"} 99
"""
CONFIG = """
global
  maxconn 200
defaults
  mode http
  timeout connect 1s
  timeout client 20s
  timeout server 20s
frontend requests
  bind {address}:8000
  use_backend inference if {{ path_beg /v1/chat }}
  default_backend engine
frontend metrics
  bind {address}:8082
  http-request use-service prometheus-exporter if {{ path /proxy/metrics }}
backend inference
  server engine 127.0.0.1:{port}
backend engine
  server engine 127.0.0.1:{port}
"""
COUNTED_SECONDS = 20.0
NETWORK = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"  # of this process: ports are fixed
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def at(address: str, name: str = "reader-a", **more: Any) -> dict[str, Any]:
    """A pod that takes traffic at an address."""
    return pod(SERVING, name=name, podIP=address, **more)


@asynccontextmanager
async def server(handler: Handler, port: int, *addresses: str) -> AsyncIterator[int]:
    """A server at addresses of this machine; gives its port."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    for address in addresses:
        await web.TCPSite(runner, address, port).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@contextmanager
def haproxy(folder: Path, address: str, port: int) -> Iterator[None]:
    """The proxy of one pod, before an engine at `port`."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("HAProxy is not installed")
    config = folder / "haproxy.cfg"
    config.write_text(CONFIG.format(address=address, port=port))
    with subprocess.Popen([program, "-db", "-f", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def test_a_proxy_counts_requests_from_the_moment_they_are_accepted(tmp_path: Path) -> None:
    """Requests that the engine has not begun to answer are in flight, those of other paths are not, answers add up."""
    release = asyncio.Event()

    async def engine(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/chat/slow":
            await release.wait()
        return web.Response(text="ok")

    async def scenario() -> None:
        async with server(engine, 0, "127.0.0.1") as port, Scraper() as scraper, aiohttp.ClientSession() as client:
            with haproxy(tmp_path, f"{NETWORK}.41", port):
                pods = [at(f"{NETWORK}.41")]
                while not await scraper.read(pods):
                    await asyncio.sleep(0.02)
                base = f"http://{NETWORK}.41:8000"
                for path in ("/v1/chat/a", "/health"):
                    await (await client.get(f"{base}{path}")).read()
                held = [asyncio.create_task(client.get(f"{base}/v1/chat/slow")) for _ in range(5)]
                await counted(scraper, pods, in_flight=5, answered=1)
                release.set()
                for each in held:
                    await (await each).read()
                await counted(scraper, pods, in_flight=0, answered=6)

    async def counted(scraper: Scraper, pods: list[Any], *, in_flight: int, answered: int) -> None:
        """Returns when the proxy, which counts in its own time, says so."""
        async with asyncio.timeout(COUNTED_SECONDS):
            while True:
                (told,) = (await scraper.read(pods)).values()
                if (told.in_flight, told.answered) == (in_flight, answered):
                    return
                await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_whoever_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs, leads elsewhere, floods, fails or talks of something else is missing; others are read at once."""
    monkeypatch.setattr(module, "SCRAPE_SECONDS", 3.0)
    asked: list[str] = []
    places = [f"{NETWORK}.{number}" for number in range(50, 57)]

    async def answer(request: web.Request) -> web.StreamResponse:
        place = request.host.partition(":")[0].rpartition(".")[2]
        asked.append(place)
        match place:
            case "51":
                await asyncio.sleep(30)
            case "52":
                raise web.HTTPFound(f"http://{NETWORK}.50:{METRICS_PORT}/proxy/metrics")
            case "53":
                return web.Response(text=TEXT + "#" * MAXIMUM_BYTES)
            case "54":
                return web.Response(status=503, text=TEXT)
            case "55":
                return web.Response(text="<html>")
        return web.Response(text=TEXT)

    async def scenario() -> tuple[dict[str, Reading], float]:
        async with server(answer, METRICS_PORT, *places), Scraper() as scraper:
            pods = [at(place, name=f"reader-{place.rpartition('.')[2]}") for place in places]
            pods.append(pod(UP, name="reader-without-an-address"))
            began = time.monotonic()
            return await scraper.read(pods), time.monotonic() - began

    told, seconds = asyncio.run(scenario())
    assert {uid: each.in_flight for uid, each in told.items()} == {"uid-reader-50": 7, "uid-reader-56": 7}
    assert seconds < 15
    assert sorted(asked) == [str(number) for number in range(50, 57)]


def test_a_figure_that_is_not_there_is_no_zero() -> None:
    """Metrics of the backend `inference` alone count; without one of them, or with two, nothing is known."""
    assert read_metrics(TEXT) == Reading(in_flight=7, answered=1234)
    mixed = TEXT.replace('proxy="inference",code="2xx"', 'code="2xx",proxy="inference"')
    assert read_metrics(mixed).answered == 1234
    lines = TEXT.splitlines()
    for gone in (line for line in lines if line.endswith((" 7", " 1234"))):
        with pytest.raises(InvalidValue, match="is missing"):
            read_metrics("\n".join(line for line in lines if line != gone))
        with pytest.raises(InvalidValue, match="twice"):
            read_metrics(f"{TEXT}{gone}\n")


@given(text=st.text(max_size=300) | st.from_regex(r'haproxy_backend_current_sessions\{proxy="inference"\} .{0,9}'))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever answers is read, or refused; a number that is none is refused too."""
    try:
        found = read_metrics(f"{TEXT.replace(' 7', ' x')}{text}")
    except InvalidValue:
        return
    assert found.in_flight >= 0


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "1e999", "seven"])
def test_impossible_counts_are_refused(value: str) -> None:
    """A count is a number from 0 on."""
    with pytest.raises(InvalidValue):
        read_metrics(TEXT.replace(" 7\n", f" {value}\n"))


def test_missing_and_partial_are_told_apart() -> None:
    """Nothing known is no load of 0; replicas that do not take traffic are nobody's."""
    pods = [at(f"10.0.0.{number}", name=str(number)) for number in range(3)]
    pods.append(pod(UP, name="starting", podIP="10.0.0.9"))
    told = Reading(in_flight=4, answered=0)
    assert load(pods, {}) == Load(in_flight=None, silent=3)
    assert load(pods, {"uid-0": told, "uid-starting": told}) == Load(in_flight=4, reported=1, silent=2)
    assert not takes_traffic(at("10.0.0.1", deleted=True))
