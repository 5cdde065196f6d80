"""What is observed: the store's objects in one snapshot, agents that answer over real connections, tails of logs."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace
from vlm_operator import names, revisions
from vlm_operator.cluster import Cluster, Connection
from vlm_operator.observe import AGENT_SECONDS, SLOW_PASSES, Asked, Observer
from vlm_operator.pod_client import CONNECTIONS
from vlm_operator.pod_memory import POLL_SECONDS
from vlm_operator.records import Key
from vlm_operator.results import MAXIMUM_BYTES, AgentResult, Figures, Ladder, Stage, encode
from vlm_operator.store import Store
from vlm_operator.template import AGENT_PORT

from tests.support import virtual_time
from tests.vlm_operator.children import NAME, PARENT, revision
from tests.vlm_operator.test_results import ROW

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
        self.answer_seconds = 0.0
        self.asked: list[str] = []

    def put(self, body: dict[str, Any], **metadata: Any) -> None:
        self.version += 1
        own = {**body["metadata"], **metadata, "resourceVersion": str(self.version)}
        self.store.put({**body, "metadata": own})

    def pod(
        self, name: str = "p", *, deployment: str = NAME, annotations: dict[str, str] | None = None, **status: Any
    ) -> None:
        more = {} if annotations is None else {"annotations": annotations}
        labels = {**names.labels(deployment, names.Component.ENGINE)}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team", "labels": labels}}
        containers = {names.ENGINE: {"state": RUNNING}, names.AGENT: {"state": RUNNING}, **status.pop("containers", {})}
        listed = [{"name": container, **state} for container, state in containers.items()]
        told = {"phase": "Running", "podIP": AGENT_ADDRESS, "containerStatuses": listed, **status}
        self.put({**body, "status": told}, uid=f"uid-{name}", **more)

    async def agent(self, _: web.Request) -> web.Response:
        self.asked.append("agent")
        await asyncio.sleep(self.answer_seconds)
        return web.Response(body=self.result)

    async def logs(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.query['container']} {request.query.get('previous', 'false')}")
        if self.log_status != 200:
            return web.json_response({"message": "no"}, status=self.log_status)
        return web.Response(text=self.words)


@asynccontextmanager
async def observing(
    monotonic: Callable[[], float] = time.monotonic, *, slow_passes: int = SLOW_PASSES
) -> AsyncIterator[tuple[World, Observer]]:
    world, runners = World(), []
    for address, port, answer in ((AGENT_ADDRESS, AGENT_PORT, world.agent), ("127.0.0.1", 0, world.logs)):
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, address, port, backlog=2 * CONNECTIONS).start()
        runners.append(runner)
    host, port = runners[1].addresses[0]
    connection = Connection(f"http://{host}:{port}", ssl.create_default_context(), dict)
    async with (
        Cluster(connection) as cluster,
        Observer(
            world.store,
            cluster,
            monitors=lambda: True,
            slow_passes=slow_passes,
            clock=lambda: 5.0,
            monotonic=monotonic,
        ) as observer,
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
            assert (await observer.ask(KEY)).again_seconds
            world.result = encode(AgentResult(stage=Stage.OPEN))
            assert (await observer.ask(KEY)).again_seconds  # the kubelet has not seen it yet
            world.pod(containers={names.ENGINE: {"state": RUNNING, "ready": True}})
            assert (await observer.ask(KEY)).again_seconds is None
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
        {"conditions": [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]},
    ],
)
def test_agents_that_do_not_run_are_not_asked(status: dict[str, Any]) -> None:
    """A pod without an address or without its agent is waited for without asking, as is one whose node is lost."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod(**status)
            assert (await observer.ask(KEY)).again_seconds is None
            assert world.asked == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"nonsense", "the result of an agent"), (b" " * (MAXIMUM_BYTES + 1), "the answer of a pod is larger")],
)
def test_what_an_agent_says_is_not_trusted(content: bytes, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """A result that cannot be read, or has no end, counts as none, and the one before stays; it is said, once."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod()
            world.result = encode(AgentResult(stage=Stage.SMOKE))
            await observer.ask(KEY)
            world.result = content
            assert (await observer.ask(KEY)).again_seconds
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.results["uid-p"].stage is Stage.SMOKE
            assert why in found.doubted["uid-p"]
            observer._memories[KEY].silent.clear()  # so that it is asked again at once
            await observer.ask(KEY)
            world.result = encode(AgentResult(stage=Stage.OPEN))
            observer._memories[KEY].silent.clear()
            await observer.ask(KEY)
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.doubted == {}

    asyncio.run(scenario())
    assert len(caplog.messages) == 1


def test_a_silent_agent_is_asked_later_and_later() -> None:
    """Each answer that does not come doubles the pause, up to a limit; one that comes ends it."""

    async def scenario() -> None:
        now = 0.0
        async with observing(lambda: now) as (world, observer):
            world.put(PARENT)
            world.pod()
            world.result = b"nonsense"
            pauses = []
            for _ in range(7):
                again = (await observer.ask(KEY)).again_seconds
                assert again is not None
                world.asked.clear()
                assert (await observer.ask(KEY)).again_seconds == again  # too early to ask
                assert world.asked == []
                pauses.append(again)
                now += again
            assert pauses == [2.5, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0]
            world.result = encode(AgentResult(stage=Stage.SMOKE))
            assert await observer.ask(KEY) == Asked(news=True, again_seconds=POLL_SECONDS)
            assert await observer.ask(KEY) == Asked(news=False, again_seconds=POLL_SECONDS)

    asyncio.run(scenario())


def test_agents_that_are_asked_at_once_do_not_cost_each_other_time() -> None:
    """Each has its two seconds from when a connection is its own."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.answer_seconds = 0.7 * AGENT_SECONDS
            pods = [f"p{number}" for number in range(CONNECTIONS + 1)]
            for name in pods:
                world.pod(name)
            await observer.ask(KEY)
            found = observer.snapshot(KEY)
            assert found is not None
            assert found.results.keys() == {f"uid-{name}" for name in pods}

    virtual_time.run(scenario())


def test_who_does_not_answer_keeps_few_passes_waiting() -> None:
    """Of those known for it no more are asked at once than there are places; the others are asked later, and who
    answers is asked all the same.
    """

    async def scenario() -> None:
        now = 0.0
        async with observing(lambda: now, slow_passes=2) as (world, observer):
            keys = [Key("team", f"d{number}") for number in range(5)]
            for key in keys:
                world.pod(f"{key.name}-silent", deployment=key.name)
            world.answer_seconds = 2 * AGENT_SECONDS

            async def look() -> list[float]:
                """The pauses until the next, after one pass over each; they begin together."""
                world.asked.clear()
                told = await asyncio.gather(*(observer.ask(key) for key in keys))
                return [each.again_seconds or 0.0 for each in told]

            assert await look() == [2.5] * 5
            assert world.asked == ["agent"] * 5  # nobody is known for it yet
            now += 2.5
            assert await look() == [5.0] * 5
            assert world.asked == ["agent"] * 2
            now += 5.0
            world.answer_seconds = 0.0
            for key in keys[2:]:
                world.pod(f"{key.name}-new", deployment=key.name)
            await look()
            assert world.asked == ["agent"] * 5
            now += 10.0
            observer._memories.clear()
            await look()
            assert world.asked == ["agent"] * 8

    virtual_time.run(scenario())


def test_a_revision_that_cannot_be_read_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, why is told by its digest, and the log has it once."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.put(revisions.write(revision(), PARENT), uid="r1")
            damaged = replace(revision(), name="reader-0000000000", digest="0000000000", number=2)
            world.put({**revisions.write(damaged, PARENT), "data": {"planned": "?"}}, uid="r2")
            for _ in range(2):
                found = observer.snapshot(KEY)
                assert found is not None
                assert [each.uid for each in found.revisions] == ["r1"]
                assert set(found.unreadable) == {"0000000000"}
                assert "cannot be read by this version" in found.unreadable["0000000000"]

    asyncio.run(scenario())
    assert len([each for each in caplog.messages if "reader-0000000000" in each]) == 1


def test_nothing_is_remembered_of_what_was_deleted_unseen() -> None:
    """What is not among the VLMDeployments that there are is forgotten, the rest is not."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod()
            await observer.ask(KEY)
            observer.keep({KEY})
            assert (await observer.ask(KEY)).news is False
            observer.keep(set())
            assert (await observer.ask(KEY)).news is True

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


def test_rows_that_are_kept_in_the_cluster_are_not_kept_in_memory_too() -> None:
    """Sixty kilobytes for each replica that measured itself; its figures stay."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            world.put(PARENT)
            world.pod()
            best = Figures(concurrency=8, requests_per_second=3.1, measured="2026-11-20T12:30:05Z")
            world.result = encode(AgentResult(stage=Stage.OPEN, ladder=Ladder(best=best, rows=(ROW,))))
            for noted, rows in ((None, (ROW,)), (best.measured, ())):
                world.pod(annotations={} if noted is None else {names.MEASURED: noted})
                await observer.ask(KEY)
                found = observer.snapshot(KEY)
                assert found is not None
                assert found.results["uid-p"].ladder == Ladder(best=best, rows=rows)
            assert (await observer.ask(KEY)).news is False

    asyncio.run(scenario())


def test_a_measurement_of_another_version_is_left_out() -> None:
    """A VLMBenchmark that cannot be read counts as not there, and stops nobody."""

    async def scenario() -> None:
        async with observing() as (world, observer):
            unreadable = {"apiVersion": "vlmctl.dev/v1alpha1", "kind": "VLMBenchmark", "spec": {"key": 1}}
            world.put({**unreadable, "metadata": {"name": "b", "namespace": "team", "uid": "b1"}})
            assert observer.benchmarks("team") == ()

    asyncio.run(scenario())
