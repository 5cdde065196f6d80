"""What is observed: the store's objects in one snapshot, agents that answer over real connections, tails of logs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from vlm_operator import names, revisions
from vlm_operator.cluster import Cluster, Connection
from vlm_operator.observe import Observer
from vlm_operator.records import Key
from vlm_operator.results import MAXIMUM_BYTES, AgentResult, Stage, encode
from vlm_operator.store import Store
from vlm_operator.template import AGENT_PORT

from tests.vlm_operator.children import NAME, PARENT, revision

KEY = Key("team", NAME)
AGENT_ADDRESS = "127.0.1.7"
RUNNING = {"running": {"startedAt": "2026-11-21T12:00:00Z"}}


class World:
    """A store, an agent that says `result`, and an API server with logs. `asked`: what they were asked for."""

    def __init__(self) -> None:
        self.store = Store()
        self.version = 0
        self.result = encode(AgentResult())
        self.log_status = 200
        self.words = "last words"
        self.asked: list[str] = []

    def put(self, body: dict[str, Any], **metadata: Any) -> None:
        self.version += 1
        own = {**body["metadata"], **metadata, "resourceVersion": str(self.version)}
        self.store.put({**body, "metadata": own})

    def pod(self, name: str = "p", **status: Any) -> None:
        labels = {**names.labels(NAME, names.Component.ENGINE)}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team", "labels": labels}}
        containers = {names.ENGINE: {"state": RUNNING}, names.AGENT: {"state": RUNNING}, **status.pop("containers", {})}
        listed = [{"name": container, **state} for container, state in containers.items()]
        told = {"phase": "Running", "podIP": AGENT_ADDRESS, "containerStatuses": listed, **status}
        self.put({**body, "status": told}, uid=f"uid-{name}")

    async def agent(self, _: web.Request) -> web.Response:
        self.asked.append("agent")
        return web.Response(body=self.result)

    async def logs(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.query['container']} {request.query.get('previous', 'false')}")
        if self.log_status != 200:
            return web.json_response({"message": "no"}, status=self.log_status)
        return web.Response(text=self.words)


@asynccontextmanager
async def observing() -> AsyncIterator[tuple[World, Observer]]:
    world, runners = World(), []
    for address, port, answer in ((AGENT_ADDRESS, AGENT_PORT, world.agent), ("127.0.0.1", 0, world.logs)):
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, address, port).start()
        runners.append(runner)
    host, port = runners[1].addresses[0]
    connection = Connection(f"http://{host}:{port}", ssl.create_default_context(), dict)
    async with (
        Cluster(connection) as cluster,
        Observer(world.store, cluster, monitors=lambda: True, clock=lambda: 5.0) as observer,
    ):
        yield world, observer
    for runner in runners:
        await runner.cleanup()


def test_a_snapshot_holds_everything() -> None:
    """Children by kind and name, pods apart, revisions of this very object, and when it was."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            assert observer.snapshot(KEY) is None
            world.put(PARENT)
            world.put(revisions.write(revision(), PARENT), uid="r1")
            other = {**PARENT, "metadata": {**PARENT["metadata"], "uid": "another life"}}
            world.put(revisions.write(revision(number=2, name="reader-old"), other), uid="r2")
            world.pod()
            found = observer.snapshot(KEY)
            assert found is not None
            assert set(found.children["ControllerRevision"]) == {revision().name, "reader-old"}
            assert [each.uid for each in found.revisions] == ["r1"]
            assert [pod["metadata"]["name"] for pod in found.pods] == ["p"]
            assert (found.now, found.monitors) == (5.0, True)

    asyncio.run(scenario())


def test_agents_are_asked_until_their_pods_take_traffic() -> None:
    """An agent at work is asked each time; one whose pod takes traffic is not asked again."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod()
            assert await observer.ask(KEY)
            world.result = encode(AgentResult(stage=Stage.OPEN))
            assert await observer.ask(KEY)  # the kubelet has not seen it yet
            world.pod(containers={names.ENGINE: {"state": RUNNING, "ready": True}})
            assert not await observer.ask(KEY)
            assert world.asked == ["agent"] * 2
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.results["uid-p"].stage is Stage.OPEN

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Pending"},
        {"podIP": None},
        {"containers": {names.AGENT: {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}}},
    ],
)
def test_agents_that_do_not_run_are_not_asked(status: dict[str, Any]) -> None:
    """A pod without an address or without its agent is waited for without asking."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod(**status)
            assert not await observer.ask(KEY)
            assert world.asked == []

    asyncio.run(scenario())


@pytest.mark.parametrize("content", [b"nonsense", b" " * (MAXIMUM_BYTES + 1)])
def test_what_an_agent_says_is_not_trusted(content: bytes) -> None:
    """A result that cannot be read, or has no end, counts as none, and the one before stays."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod()
            world.result = encode(AgentResult(stage=Stage.SMOKE))
            await observer.ask(KEY)
            world.result = content
            assert await observer.ask(KEY)
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.results["uid-p"].stage is Stage.SMOKE

    asyncio.run(scenario())


def ended(run: str, state: str = "lastState") -> dict[str, Any]:
    """An engine that ended; in `lastState`, another run follows."""
    told: dict[str, Any] = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    return {names.ENGINE: {**told, state: {"terminated": {"exitCode": 1, "containerID": run}}}}


def test_the_last_words_are_read_once_for_each_end() -> None:
    """A run's log is asked for when it has ended, and again only after another end."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod(phase="Pending", containers=ended("1", "state"))
            for _ in range(3):
                assert not await observer.ask(KEY)
            world.pod(phase="Pending", containers=ended("2"))
            await observer.ask(KEY)
            assert world.asked == ["engine false", "engine true"]
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.logs == {"uid-p": "last words"}

    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "words"), [(200, "last words"), (404, "next words")])
def test_the_log_of_a_run_is_read_again_once_another_follows(status: int, words: str) -> None:
    """What is read before may be of the next run already, and is kept only where the kubelet has nothing else."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.words = "next words"
            world.pod(phase="Pending", containers=ended("1", "state"))
            await observer.ask(KEY)
            world.words, world.log_status = "last words", status
            world.pod(phase="Pending", containers=ended("1"))
            for _ in range(3):
                await observer.ask(KEY)
            assert world.asked == ["engine false", "engine true"]
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.logs == {"uid-p": words}

    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "again"), [(404, False), (503, True)])
def test_a_log_that_cannot_be_read(status: int, again: bool) -> None:
    """A log that is gone is not asked for again; a kubelet that does not answer is."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.log_status = status
            world.pod(phase="Pending", containers=ended("1"))
            assert await observer.ask(KEY) is again
            world.log_status = 200
            await observer.ask(KEY)
            assert len(world.asked) == (2 if again else 1)

    asyncio.run(scenario())


def test_nothing_is_remembered_of_what_is_gone() -> None:
    """Results go with their pod, and with the VLMDeployment."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod()
            await observer.ask(KEY)
            (pod,) = world.store.all("Pod")
            world.store.drop(pod)
            await observer.ask(KEY)
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.results == {}

    asyncio.run(scenario())


def test_a_measurement_of_another_version_is_left_out() -> None:
    """A VLMBenchmark that cannot be read counts as not there, and stops nobody."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            unreadable = {"apiVersion": "vlmctl.dev/v1alpha1", "kind": "VLMBenchmark", "spec": {"key": 1}}
            world.put({**unreadable, "metadata": {"name": "b", "namespace": "team", "uid": "b1"}})
            assert observer.benchmarks("team") == ()

    asyncio.run(scenario())
