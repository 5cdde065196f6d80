"""The client of the API server against one that answers as scripted, over real connections."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from vlm_operator.cluster import (
    LOG_BYTES,
    LOG_KEPT_BYTES,
    LOG_LINES,
    MOST_RETRY_AFTER_SECONDS,
    ApiError,
    Cluster,
    Connection,
    Unreachable,
)
from vlm_operator.kinds import DEPLOYMENT, POD, VLMDEPLOYMENT
from vlm_operator.login import RotatedToken

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "team"}, "spec": {}}


@asynccontextmanager
async def api_server(answer: Answer, headers: Callable[[], dict[str, str]] = dict) -> AsyncIterator[Cluster]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    try:
        async with Cluster(Connection(f"http://{host}:{port}", ssl.create_default_context(), headers)) as cluster:
            yield cluster
    finally:
        await runner.cleanup()


def refuses(status: int, message: str = "no", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"message": message, "reason": "Because"}, status=status, headers=headers)

    return answer


def test_an_apply_is_forced_and_in_our_name() -> None:
    """What is applied goes to the object's own address, as server-side apply wants it."""
    seen: list[tuple[str, str, str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, request.query_string, request.content_type))
        return web.json_response(await request.json())

    async def scenario() -> None:
        async with api_server(answer) as cluster:
            assert await cluster.apply(DEPLOYMENT, BODY) == BODY
            await cluster.apply(VLMDEPLOYMENT, BODY, status=True)

    asyncio.run(scenario())
    form = "application/apply-patch+yaml"
    query = "fieldManager=vlm-operator&force=true"
    assert seen == [
        ("PATCH", "/apis/apps/v1/namespaces/team/deployments/a", query, form),
        ("PATCH", "/apis/vlmctl.dev/v1alpha1/namespaces/team/vlmdeployments/a/status", query, form),
    ]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 500])
def test_a_refusal_says_why(status: int) -> None:
    """The API server's own sentence and status are in the error."""

    async def scenario() -> None:
        async with api_server(refuses(status, "the quota is used up")) as cluster:
            with pytest.raises(ApiError, match="the quota is used up") as caught:
                await cluster.apply(DEPLOYMENT, BODY)
            assert (caught.value.status, caught.value.reason) == (status, "Because")
            assert (caught.value.is_missing, caught.value.is_conflict) == (status == 404, status == 409)

    asyncio.run(scenario())


def test_no_server_is_waited_for_by_the_hour() -> None:
    """What stands before it may say so while it is away."""

    async def scenario() -> None:
        async with api_server(refuses(503, **{"Retry-After": "3600"})) as cluster:
            with pytest.raises(Unreachable) as caught:
                await cluster.get(DEPLOYMENT, "team", "a")
            assert caught.value.retry_after_seconds == MOST_RETRY_AFTER_SECONDS

    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "after"), [(429, "7"), (429, ""), (500, ""), (503, "3"), (504, "soon"), (429, "²")])
def test_a_busy_server_is_told_apart_from_a_refusal(status: int, after: str) -> None:
    """Too many requests and failures of the server are hiccups, with the pause that the server asks for."""

    async def scenario() -> None:
        async with api_server(refuses(status, **({"Retry-After": after} if after else {}))) as cluster:
            with pytest.raises(Unreachable) as caught:
                await cluster.get(DEPLOYMENT, "team", "a")
            assert caught.value.retry_after_seconds == (float(after) if after.isdecimal() else None)
            assert caught.value.answered

    asyncio.run(scenario())


def test_a_server_that_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Of an outage there is one line when it begins and one when it is over."""

    async def scenario() -> None:
        gone = True

        async def answer(request: web.Request) -> web.Response:
            if gone and request.transport is not None:
                request.transport.close()
            return web.json_response(BODY)

        async with api_server(answer) as cluster:
            for _ in range(3):
                with pytest.raises(Unreachable):
                    await cluster.get(DEPLOYMENT, "team", "a")
            gone = False
            await cluster.get(DEPLOYMENT, "team", "a")
            await cluster.get(DEPLOYMENT, "team", "a")

    with caplog.at_level("WARNING"):
        asyncio.run(scenario())
    assert [message.split(":")[0] for message in caplog.messages] == [
        "The API server does not answer",
        "The API server answers again.",
    ]


def test_a_list_is_read_page_by_page() -> None:
    """Pages follow each other by the server's token, and items say what they are. No version is asked for, or an API
    server that lags behind the others could tell an older one than is known.
    """

    async def answer(request: web.Request) -> web.Response:
        assert request.query["labelSelector"] == "app.kubernetes.io/managed-by=vlm-operator"
        assert not {"resourceVersion", "resourceVersionMatch"} & request.query.keys()
        page = int(request.query.get("continue", "0"))
        metadata = {"resourceVersion": "9", **({"continue": str(page + 1)} if page < 2 else {})}
        return web.json_response({"metadata": metadata, "items": [{"metadata": {"name": f"a{page}"}}]})

    async def scenario() -> None:
        async with api_server(answer) as cluster:
            found = [(items, version) async for items, version in cluster.pages(DEPLOYMENT, "")]
        assert [items[0]["metadata"]["name"] for items, _ in found] == ["a0", "a1", "a2"]
        assert {items[0]["kind"] for items, _ in found} == {"Deployment"}
        assert {version for _, version in found} == {"9"}

    asyncio.run(scenario())


def test_a_watch_puts_lines_together() -> None:
    """Events come whole however the network cuts them, and of half a line at the end nothing comes."""
    lines = b'{"type":"ADDED","object":{"a":1}}\n{"type":"BOOKMARK","object":{"b":"' + b"x" * 300_000 + b'"}}\n{"type":'

    async def answer(request: web.Request) -> web.StreamResponse:
        assert (request.query["resourceVersion"], request.query["watch"]) == ("5", "1")
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(lines), 70_001):
            await response.write(lines[at : at + 70_001])
        return response

    async def scenario() -> None:
        async with api_server(answer) as cluster:
            found = [event async for event in cluster.watch(DEPLOYMENT, "", "5")]
        assert [event.type for event in found] == ["ADDED", "BOOKMARK"]
        assert len(found[1].object["b"]) == 300_000

    asyncio.run(scenario())


def test_deleting_what_is_gone_is_fine() -> None:
    """An object that is gone, or whose name another has taken, needs no deletion; anything else is told."""

    async def scenario(status: int) -> None:
        async with api_server(refuses(status)) as cluster:
            await cluster.delete(DEPLOYMENT, "team", "a", uid="u1")

    asyncio.run(scenario(404))
    asyncio.run(scenario(409))
    with pytest.raises(ApiError):
        asyncio.run(scenario(403))


def test_log_tails_are_short() -> None:
    """Of a log the last lines are asked for, and some kilobytes from the end are kept."""

    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/api/v1/namespaces/team/pods/p/log"
        return web.Response(body=b"x" * LOG_BYTES + f"{sorted(request.query.items())}".encode() + b"\xff")

    async def scenario() -> None:
        async with api_server(answer) as cluster:
            text = await cluster.log_tail("team", "p", container="engine", previous=True)
        query = {"container": "engine", "limitBytes": LOG_BYTES, "previous": "true", "tailLines": LOG_LINES}
        assert text.endswith(f"x{[(name, str(value)) for name, value in query.items()]}\N{REPLACEMENT CHARACTER}")
        assert len(text) == LOG_KEPT_BYTES

    asyncio.run(scenario())


def test_the_token_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    """The kubelet writes a new token before the old one ends; the next request bears it."""
    token, seen = tmp_path / "token", []
    token.write_text("first\n")

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response(BODY)

    async def scenario() -> None:
        async with api_server(answer, RotatedToken(token)) as cluster:
            await cluster.get(POD, "team", "a")
            token.write_text("second\n")
            os.utime(token, ns=(1, 1))
            await cluster.get(POD, "team", "a")

    asyncio.run(scenario())
    assert seen == ["Bearer first", "Bearer second"]
