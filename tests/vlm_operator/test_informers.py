"""Informers against an API server of the tests' own, whose watches end as scripted, on a clock of their own."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aiohttp import web
from vlm_operator import names
from vlm_operator.cluster import Cluster, Connection
from vlm_operator.informers import REFUSED_PAUSE_SECONDS, Informer
from vlm_operator.kinds import DEPLOYMENT, MONITOR, Resource
from vlm_operator.records import Key
from vlm_operator.store import Store

from tests.support import virtual_time

KEY = Key("team", "vision")


class Server:
    """Deployments by name, and a watch that tells what `change` and `remove` do. `refusal`: the status of all answers.

    `ends`: how the next watch ends right after it began: with an expired version, or cut off. `pages_until_cut`: of
    lists, before the next page is refused, once.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 10
        self.refusal: int | None = None
        self.ends: list[str] = []
        self.pages_until_cut = -1
        self.lists = 0
        self._watches: set[asyncio.Queue[dict[str, Any]]] = set()

    def change(self, name: str) -> None:
        self.version += 1
        known = name in self.objects
        labels = names.labels(KEY.name, names.Component.ENGINE)
        metadata = {"name": name, "namespace": KEY.namespace, "uid": f"uid-{name}", "labels": labels}
        self.objects[name] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "resourceVersion": str(self.version)},
        }
        self.tell("MODIFIED" if known else "ADDED", self.objects[name])

    def remove(self, name: str) -> None:
        self.version += 1
        body = self.objects.pop(name)
        self.tell("DELETED", {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}})

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        for watch in self._watches:
            watch.put_nowait({"type": kind, "object": body})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.refusal is not None:
            return web.json_response({"message": "no"}, status=self.refusal)
        if "watch" in request.query:
            return await self._watch(request)
        self.pages_until_cut -= 1
        if self.pages_until_cut == -1:
            return web.json_response({"message": "away"}, status=503)
        begin, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        self.lists += begin == 0
        items = [{"metadata": body["metadata"]} for body in self.objects.values()]
        metadata = {"resourceVersion": str(self.version)}
        if begin + limit < len(items):
            metadata["continue"] = str(begin + limit)
        return web.json_response({"metadata": metadata, "items": items[begin : begin + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        how = self.ends.pop() if self.ends else ""
        if how == "expired":
            await response.write(b'{"type":"ERROR","object":{"code":410,"message":"too old"}}\n')
            return response
        if how == "cut" and request.transport is not None:
            await response.write(b'{"type":"ADD')
            request.transport.close()
            return response
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._watches.add(told)
        try:
            while True:
                await response.write(json.dumps(await told.get()).encode() + b"\n")
        finally:
            self._watches.discard(told)


@asynccontextmanager
async def watching(
    server: Server, resource: Resource = DEPLOYMENT
) -> AsyncIterator[tuple[Informer, Store, list[Key | None]]]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    store, changed = Store(), list[Key | None]()
    async with Cluster(Connection(f"http://{host}:{port}", ssl.create_default_context(), dict)) as cluster:
        informer = Informer(cluster, store, resource, "", changed=lambda _, key: changed.append(key), rng=Random(1))
        task = asyncio.create_task(informer.run())
        yield informer, store, changed
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await runner.cleanup()


def held(store: Store) -> list[str]:
    return [body["metadata"]["name"] for body in store.all("Deployment")]


def test_a_list_and_then_what_happens() -> None:
    """What is there is read once, and what changes is told with whose it is."""

    async def scenario() -> None:
        server = Server()
        server.change("a")
        async with watching(server) as (informer, store, changed):
            await informer.listed.wait()
            assert (held(store), set(changed)) == (["a"], {KEY, None})
            assert informer.is_served
            changed.clear()
            await asyncio.sleep(1)
            server.change("b")
            server.remove("a")
            await asyncio.sleep(1)
            assert (held(store), changed) == (["b"], [KEY] * 2)
            assert server.lists == 1

    virtual_time.run(scenario())


def test_what_was_read_of_a_list_that_broke_off_is_told() -> None:
    """The next list finds nothing new in it."""

    async def scenario() -> None:
        server = Server()
        for number in range(DEPLOYMENT.page + 1):
            server.change(f"a{number:03}")
        server.pages_until_cut = 1
        async with watching(server) as (informer, store, changed):
            await asyncio.sleep(0.1)
            assert (len(held(store)), changed) == (DEPLOYMENT.page, [KEY])
            await informer.listed.wait()
            assert len(held(store)) == DEPLOYMENT.page + 1

    virtual_time.run(scenario())


@pytest.mark.parametrize("how", ["expired", "cut"])
def test_nothing_is_missed_between_two_watches(how: str) -> None:
    """After a watch that cannot go on everything is listed again, and what was deleted meanwhile is told."""

    async def scenario() -> None:
        server = Server()
        server.change("a")
        server.change("b")
        server.ends = [how]
        async with watching(server) as (informer, store, changed):
            await informer.listed.wait()
            del server.objects["a"]  # while nobody watches
            server.version += 5
            changed.clear()
            await asyncio.sleep(5)
            assert (held(store), changed) == (["b"], [KEY])
            server.change("c")
            await asyncio.sleep(1)
            assert held(store) == ["b", "c"]

    virtual_time.run(scenario())


def test_a_server_that_is_away_is_asked_less_and_less() -> None:
    """Tries are up to 15 seconds apart, and the first that succeeds is enough."""

    async def scenario() -> None:
        server = Server()
        server.refusal = 503
        async with watching(server) as (informer, store, _):
            await asyncio.sleep(120)
            assert not informer.listed.is_set()
            server.change("a")
            server.refusal = None
            await asyncio.wait_for(informer.listed.wait(), 16)
            assert held(store) == ["a"]

    virtual_time.run(scenario())


@pytest.mark.parametrize(("refusal", "level"), [(404, "INFO"), (403, "WARNING")])
def test_what_may_be_missing_counts_as_read(refusal: int, level: str, caplog: pytest.LogCaptureFixture) -> None:
    """An API that is not installed holds nobody up; it is looked for again, and found once it is. Where it is the right
    that is missing, that is a warning.
    """

    async def scenario() -> None:
        server = Server()
        server.refusal = refusal
        async with watching(server, MONITOR) as (informer, _, changed):
            await asyncio.wait_for(informer.listed.wait(), 1)
            await asyncio.sleep(2.5 * REFUSED_PAUSE_SECONDS)
            assert (informer.is_served, changed) == (False, [])
            server.refusal = None
            await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            assert server.lists == 1
            assert (informer.is_served, changed) == (True, [None])

    with caplog.at_level("INFO"):
        virtual_time.run(scenario())
    assert [record.levelname for record in caplog.records if "podmonitors" in record.message] == [level]


def test_a_right_that_is_missing_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """What the operator must read and may not is an error, told once, and read as soon as it may be."""

    async def scenario() -> None:
        server = Server()
        server.refusal = 403
        async with watching(server) as (informer, _, __):
            await asyncio.sleep(30)
            assert not informer.listed.is_set()
            server.refusal = None
            await asyncio.wait_for(informer.listed.wait(), 16)

    virtual_time.run(scenario())
    assert [record.levelname for record in caplog.records if "deployments" in record.message] == ["ERROR"]


@pytest.mark.parametrize(("status", "seconds"), [(403, 2), (410, 1)])
@pytest.mark.parametrize("resource", [DEPLOYMENT, MONITOR], ids=["always there", "optional"])
def test_what_was_read_once_is_soon_read_again(status: int, seconds: int, resource: Resource) -> None:
    """An API server that starts refuses all until it knows its roles, and a list may expire half-way: nobody is blind
    for a minute, and an API that was there does not count as gone.
    """

    async def scenario() -> None:
        server = Server()
        server.ends = ["cut"]
        async with watching(server, resource) as (informer, _, __):
            await informer.listed.wait()
            server.refusal = status
            await asyncio.sleep(2)
            lists = server.lists
            server.refusal = None
            await asyncio.sleep(2 * seconds)
            assert server.lists > lists
            assert informer.is_served

    virtual_time.run(scenario())


def test_an_api_that_is_taken_away_is_gone_after_a_while() -> None:
    """What it is used for is then done without."""

    async def scenario() -> None:
        server = Server()
        server.ends = ["cut"]
        server.change("a")
        async with watching(server, MONITOR) as (informer, store, changed):
            await informer.listed.wait()
            assert list(store.all(MONITOR.kind))
            changed.clear()
            server.refusal = 404
            await asyncio.sleep(60)
            assert not informer.is_served
            assert (list(store.all(MONITOR.kind)), changed) == ([], [KEY])

    virtual_time.run(scenario())


def test_a_bug_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    """An error while an event is taken in is told with its traceback, and everything is read again."""

    async def scenario() -> None:
        server = Server()
        server.change("a")
        async with watching(server) as (informer, store, _):
            await informer.listed.wait()
            await asyncio.sleep(1)
            server.tell("ADDED", {"kind": "Deployment", "metadata": {"name": "half"}})
            server.objects["b"] = {**server.objects["a"], "metadata": {**server.objects["a"]["metadata"], "name": "b"}}
            await asyncio.sleep(10)
            assert held(store) == ["a", "b"]

    virtual_time.run(scenario())
    assert "Traceback" in caplog.text
