"""Informers against an API server of the tests' own, whose watches end as scripted, on a clock of their own."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from aiohttp import web
from vlm_operator import names
from vlm_operator.cluster import SILENCE_SECONDS, Cluster, Connection
from vlm_operator.informers import (
    FORBIDDEN_SECONDS,
    MOST_PAUSE_SECONDS,
    REFUSED_PAUSE_SECONDS,
    RELIST_SECONDS,
    Informer,
)
from vlm_operator.kinds import DEPLOYMENT, MONITOR, Resource
from vlm_operator.records import Key
from vlm_operator.store import Store

from tests.support import virtual_time

KEY = Key("team", "vision")
ERRORS = {"expired": 410, "failed": 500}
BROKEN = ("cut", "ended", "busy")  # ways of a watch to end after which another can go on from the same version


class Server:
    """Deployments by name, and watches that tell what `change` and `remove` have done since the version they begin at.

    `refusal`: the status of all answers. `ends`: how the next watches end right after they began: with an error, cut
    off, in good order, or refused. `pages_until_cut`: of lists, before the next page is refused, once. `begun`: when
    watches began.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 10
        self.refusal: int | None = None
        self.ends: list[str] = []
        self.pages_until_cut = -1
        self.lists = 0
        self.begun: list[float] = []
        self._history: list[dict[str, Any]] = []
        self._watches: set[asyncio.Queue[dict[str, Any]]] = set()

    def change(self, name: str, owner: str = KEY.name) -> None:
        self.version += 1
        known = name in self.objects
        labels = names.labels(owner, names.Component.ENGINE)
        metadata = {"name": name, "namespace": KEY.namespace, "uid": f"uid-{name}", "labels": labels}
        self.objects[name] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "resourceVersion": str(self.version)},
        }
        self._happened("MODIFIED" if known else "ADDED", self.objects[name])

    def remove(self, name: str) -> None:
        self.version += 1
        body = self.objects.pop(name)
        self._happened("DELETED", {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}})

    def restore(self, objects: dict[str, dict[str, Any]], version: int) -> None:
        """Go back to what was there at a version, as etcd does from a snapshot; API servers start anew then."""
        self.objects, self.version, self._history = dict(objects), version, []
        self.restart()

    def restart(self) -> None:
        """End the watches that there are."""
        for watch in self._watches:
            watch.put_nowait({})

    def _happened(self, kind: str, body: dict[str, Any]) -> None:
        self._history.append({"type": kind, "object": body})
        self.tell(kind, body)

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
        self.begun.append(asyncio.get_running_loop().time())
        how = self.ends.pop() if self.ends else ""
        if how == "busy":
            return web.json_response({"message": "too many requests"}, status=429)
        if how == "refused":
            return web.json_response({"message": "no right to watch"}, status=403)
        response = web.StreamResponse()
        await response.prepare(request)
        if how in ERRORS:
            await response.write(b'{"type":"ERROR","object":{"code":%d,"message":"no"}}\n' % ERRORS[how])
            return response
        if how == "cut" and request.transport is not None:
            await response.write(b'{"type":"ADD')
            request.transport.close()
        if how:
            return response
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for event in self._history:
            if int(event["object"]["metadata"]["resourceVersion"]) > int(request.query["resourceVersion"]):
                told.put_nowait(event)
        self._watches.add(told)
        try:
            while event := await told.get():
                await response.write(json.dumps(event).encode() + b"\n")
            return response
        finally:
            self._watches.discard(told)


@asynccontextmanager
async def watching(
    server: Server, resource: Resource = DEPLOYMENT
) -> AsyncIterator[tuple[Informer, Store, list[Key | Resource | None]]]:
    """An informer that runs, its store, and what it has told: owners of what has changed, and that a kind has come or
    gone.
    """
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    store, changed = Store(), list[Key | Resource | None]()
    async with Cluster(Connection(f"http://{host}:{port}", ssl.create_default_context(), dict)) as cluster:
        informer = Informer(
            cluster,
            store,
            resource,
            "",
            changed=lambda _, key: changed.append(key),
            served=changed.append,
            rng=Random(1),
        )
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
            assert (held(store), set(changed)) == (["a"], {KEY, DEPLOYMENT})
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


@pytest.mark.parametrize("how", [*ERRORS, *BROKEN])
def test_nothing_is_missed_between_two_watches(how: str) -> None:
    """After a watch that broke off the next goes on from there, and after an error everything is listed again: what was
    deleted meanwhile is told.
    """

    async def scenario() -> None:
        server = Server()
        server.change("a")
        server.change("b")
        server.ends = [how]
        async with watching(server) as (informer, store, changed):
            await informer.listed.wait()
            changed.clear()
            await asyncio.sleep(0.1)
            if how in BROKEN:
                server.remove("a")
            else:
                del server.objects["a"]  # and no watch knows
                server.version += 5
            await asyncio.sleep(5)
            assert (held(store), changed) == (["b"], [KEY])
            assert server.lists == (1 if how in BROKEN else 2)
            server.change("c")
            await asyncio.sleep(1)
            assert held(store) == ["b", "c"]

    virtual_time.run(scenario())


@pytest.mark.parametrize("how", [*ERRORS, *BROKEN])
def test_watches_that_end_soon_cost_little(how: str) -> None:
    """Where something ends each stream right after it began, watches are begun ever more seldom, and what is there is
    listed where it must be, and else about once in the time after which a connection counts as dead.
    """

    async def scenario() -> None:
        server = Server()
        server.change("a")
        server.ends = [how] * 1000
        async with watching(server) as (informer, store, _):
            await asyncio.sleep(SILENCE_SECONDS - 1)
            assert server.lists == (1 if how in BROKEN else len(server.begun))
            await asyncio.sleep(300)
            assert not informer.is_watching
            pauses = [after - before for before, after in pairwise(server.begun)]
            assert all(pause >= MOST_PAUSE_SECONDS / 2 for pause in pauses[5:])
            if how in BROKEN:
                assert 3 <= server.lists <= 1 + 375 / SILENCE_SECONDS
            server.ends.clear()
            server.change("b")
            await asyncio.sleep(MOST_PAUSE_SECONDS + 1)
            assert held(store) == ["a", "b"]
            server.ends = [how]
            server.tell("BOOKMARK", server.objects["b"])
            server.restart()
            await asyncio.sleep(3)  # a watch has told something since
            assert informer.is_watching

    virtual_time.run(scenario())


@pytest.mark.parametrize("resource", [DEPLOYMENT, MONITOR], ids=["needed", "optional"])
def test_what_may_be_listed_and_not_watched_is_listed_seldom(
    caplog: pytest.LogCaptureFixture, resource: Resource
) -> None:
    """And told once: a role may lack the verb."""

    async def scenario() -> None:
        server = Server()
        server.change("a")
        server.ends = ["refused"] * 1000
        async with watching(server, resource) as (informer, _, _):
            await asyncio.sleep(300)
            assert informer.listed.is_set()
            assert 300 / MOST_PAUSE_SECONDS <= server.lists <= 10 + 300 / (MOST_PAUSE_SECONDS / 2)

    virtual_time.run(scenario())
    assert sum("no right to watch" in each for each in caplog.messages) == 1


def test_what_a_watch_kept_back_is_found_within_the_hour() -> None:
    """Whatever the reason: once in a while everything is listed again though each watch ends well."""

    async def scenario() -> None:
        server = Server()
        server.change("a")
        async with watching(server) as (informer, store, _):
            await informer.listed.wait()
            server.objects["lost"] = {
                **server.objects["a"],
                "metadata": {**server.objects["a"]["metadata"], "name": "lost", "uid": "uid-lost"},
            }
            for minute in range(int(RELIST_SECONDS / 60) + 6):
                await asyncio.sleep(60)
                server.version += 1
                server.tell("BOOKMARK", {"metadata": {"resourceVersion": str(server.version)}})
                if minute % 5 == 0:
                    await asyncio.sleep(0.1)
                    server.restart()
            assert held(store) == ["a", "lost"]
            assert server.lists <= 3

    virtual_time.run(scenario())


def test_after_an_outage_everything_is_listed_soon() -> None:
    """An API server that comes back does not know the version to go on from, and the pauses are long by then."""

    async def scenario() -> None:
        server = Server()
        server.change("a")
        async with watching(server) as (informer, store, _):
            await informer.listed.wait()
            await asyncio.sleep(1)
            server.refusal = 503
            server.restart()
            await asyncio.sleep(30)
            server.objects["b"] = {**server.objects["a"], "metadata": {**server.objects["a"]["metadata"], "name": "b"}}
            server.ends = ["expired"]
            server.refusal = None
            while server.ends:
                await asyncio.sleep(0.1)
            await asyncio.sleep(1)
            assert held(store) == ["a", "b"]

    virtual_time.run(scenario())


def test_what_etcd_was_restored_to_is_found() -> None:
    """A watch from a version that is no more tells nothing; a list does, though its versions are lower."""

    async def scenario() -> None:
        server = Server()
        for name in ("a", "b"):
            server.change(name)
        objects, version = dict(server.objects), server.version
        async with watching(server) as (informer, store, changed):
            await informer.listed.wait()
            await asyncio.sleep(1)
            server.change("a")
            server.remove("b")
            server.change("c")
            await asyncio.sleep(1)
            assert held(store) == ["a", "c"]
            changed.clear()
            server.restore(objects, version)
            await asyncio.sleep(3 * SILENCE_SECONDS)
            assert held(store) == ["a", "b"]
            assert set(store.versions("Deployment").values()) == {version - 1, version}
            assert set(changed) == {KEY}
            server.remove("a")
            await asyncio.sleep(1)
            assert held(store) == ["b"]

    virtual_time.run(scenario())


def test_a_child_that_changes_hands_is_told_of_both_owners() -> None:
    """The one that has lost it too."""

    async def scenario() -> None:
        server = Server()
        server.change("a")
        async with watching(server) as (informer, _, changed):
            await informer.listed.wait()
            await asyncio.sleep(1)
            changed.clear()
            server.change("a", owner="other")
            await asyncio.sleep(1)
            assert set(changed) == {KEY, Key(KEY.namespace, "other")}

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


@pytest.mark.parametrize(("refusal", "level", "seconds"), [(404, "INFO", 0.0), (403, "WARNING", FORBIDDEN_SECONDS)])
def test_what_may_be_missing_counts_as_read(
    refusal: int, level: str, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    """An API that is not installed holds nobody up; it is looked for again, and found once it is. Where it is the right
    that is missing, that is a warning, after some more tries.
    """

    async def scenario() -> None:
        server = Server()
        server.refusal = refusal
        async with watching(server, MONITOR) as (informer, _, changed):
            await asyncio.wait_for(informer.listed.wait(), seconds + 1)
            assert asyncio.get_running_loop().time() >= seconds
            await asyncio.sleep(2.5 * REFUSED_PAUSE_SECONDS)
            assert (informer.is_served, changed) == (False, [])
            server.refusal = None
            await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            assert server.lists == 1
            assert (informer.is_served, changed) == (True, [MONITOR])

    with caplog.at_level("INFO"):
        virtual_time.run(scenario())
    assert [record.levelname for record in caplog.records if "podmonitors" in record.message] == [level]


def test_an_api_server_that_starts_hides_no_kind(caplog: pytest.LogCaptureFixture) -> None:
    """It refuses for a moment what it will allow: nobody goes by what was not read yet."""

    async def scenario() -> None:
        server = Server()
        server.refusal = 403
        async with watching(server, MONITOR) as (informer, _, told):
            await asyncio.sleep(FORBIDDEN_SECONDS - 2)
            assert not informer.listed.is_set()
            server.refusal = None
            await asyncio.wait_for(informer.listed.wait(), FORBIDDEN_SECONDS)
            await asyncio.sleep(1)
            server.refusal = 503
            server.restart()
            await asyncio.sleep(120)
            server.refusal = 403
            await asyncio.sleep(MOST_PAUSE_SECONDS + 1)
            server.refusal = None
            await asyncio.sleep(MOST_PAUSE_SECONDS)
            assert informer.is_watching
            assert told == [MONITOR]  # once, when it was found

    virtual_time.run(scenario())
    assert [record.message for record in caplog.records if "podmonitors" in record.message] == []


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


@pytest.mark.parametrize("status", [403, 410])
@pytest.mark.parametrize("resource", [DEPLOYMENT, MONITOR], ids=["always there", "optional"])
def test_what_was_read_once_is_soon_read_again(status: int, resource: Resource) -> None:
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
            await asyncio.sleep(4)
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
            assert (list(store.all(MONITOR.kind)), changed) == ([], [KEY, MONITOR])

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
