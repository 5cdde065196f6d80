"""The operator's own autoscaling, sweep by sweep, against scripted proxies and a scripted API server."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator import load as load_module
from vlm_operator.cluster import Cluster, Connection
from vlm_operator.load import Load, Scraper
from vlm_operator.proxy import METRICS_PORT
from vlm_operator.realised import Realised
from vlm_operator.records import Key, KubernetesObject
from vlm_operator.scaled import Scaled
from vlm_operator.scaler import BLIND_SECONDS, METER_SECONDS, Scaler, observation
from vlm_operator.scalers import Means, choose
from vlm_operator.scaling_policy import scale
from vlm_operator.store import Store

from tests.vlm_operator.children import NAME, PARENT, PLANNED
from tests.vlm_operator.worlds import REVISION, SERVING, UP, pod
from vlmctl.api import v1alpha1 as api
from vlmctl.planning.scaling import State, decide

KEY = Key("team", NAME)
NETWORK = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"  # of this process: the port is fixed
ADDRESSES = tuple(f"{NETWORK}.{number}" for number in range(60, 68))
EXPOSED = (
    'haproxy_backend_current_sessions{{proxy="inference"}} {in_flight}\n'
    'haproxy_backend_http_responses_total{{proxy="inference",code="2xx"}} {answered}\n'
)
INTERVAL = 15.0
BENCHMARK = api.BenchmarkStatus(requests_per_second="2", interval="unknown", concurrency=10, measured="2026-01-01")
SPEC = api.Scaling(min=1, max=8, target_utilization="1")  # 10 in flight each


class World:
    """A VLMDeployment, its pods, and what is written to its scale. `told`: what each proxy tells, None for nothing.

    `answer`: the status with which writes are answered. `now`: the scaler's clock.
    """

    def __init__(self) -> None:
        self.told: dict[str, float | None] = {}
        self.answered = 0
        self.answer = 200
        self.now = 1000.0
        self.writes: list[dict[str, Any]] = []
        self.scrapes: list[str] = []
        self.changed: list[Key] = []
        self.store = Store()
        self.version = 10
        self.scaler: Scaler
        self.planned: Scaled

    def plan(self, spec: api.Scaling = SPEC, **changes: Any) -> None:
        """A pass has decided for the VLMDeployment as it is."""
        made_of = scale(spec, PLANNED, BENCHMARK, None, minimum=choose(spec, Means()).minimum)
        generation, choice = self.parent["metadata"]["generation"], choose(spec, Means())
        found = Scaled(generation=generation, revision=REVISION.name, choice=choice, scale=made_of)
        self.planned = replace(found, **changes)
        self.scaler.plan(KEY, self.planned)

    @property
    def parent(self) -> KubernetesObject:
        found = self.store.get("VLMDeployment", *KEY)
        assert found is not None
        return found

    def put(self, replicas: int, *, generation: int = 1, **metadata: Any) -> None:
        """The VLMDeployment, as somebody left it."""
        self.version += 1
        own = {**PARENT["metadata"], "generation": generation, "resourceVersion": str(self.version), **metadata}
        self.store.put({**PARENT, "metadata": own, "spec": {**PARENT["spec"], "replicas": replicas}})

    @property
    def cost(self) -> Realised:
        """What is known of what requests cost."""
        found = self.scaler.realised(KEY, self.parent["metadata"]["uid"])
        assert found is not None
        return found

    async def meter(self, times: int = 1, *, answers: int = 0) -> None:
        """As many looks at what requests cost, each after so many more answers of each replica."""
        for _ in range(times):
            self.answered += answers
            await self.sweep(int(METER_SECONDS / INTERVAL))

    def pods(self, count: int, *, starting: int = 0, **more: Any) -> None:
        """So many pods, of which the last ones take no traffic yet."""
        for number in range(len(ADDRESSES)):
            self.version += 1
            ready = SERVING if number < count - starting else UP
            body = pod(ready, name=f"reader-{number}", podIP=ADDRESSES[number], **more)
            body = {**body, "apiVersion": "v1", "kind": "Pod"}
            body["metadata"]["resourceVersion"] = str(self.version)
            self.store.put(body) if number < count else self.store.drop(body)

    def load(self, total: float | None, count: int) -> None:
        """The same on each of so many replicas."""
        self.told = dict.fromkeys(ADDRESSES[:count], None if total is None else total / count)

    async def sweep(self, times: int = 1) -> list[int]:
        """Sweeps at the interval; gives the replicas written, which are there at once."""
        written = []
        for _ in range(times):
            before = len(self.writes)
            await self.scaler.sweep()
            for each in self.writes[before:]:
                written.append(each["spec"]["replicas"])
                if self.answer == 200:
                    generation = self.parent["metadata"]["generation"] + 1
                    self.put(each["spec"]["replicas"], generation=generation)
                    self.pods(each["spec"]["replicas"])
                    self.scaler.plan(KEY, replace(self.planned, generation=generation))
            self.now += INTERVAL
        return written

    async def proxy(self, request: web.Request) -> web.StreamResponse:
        address = request.host.partition(":")[0]
        self.scrapes.append(address)
        told = self.told.get(address)
        if told is None:
            return web.Response(status=503)
        return web.Response(text=EXPOSED.format(in_flight=told, answered=self.answered))

    async def api(self, request: web.Request) -> web.StreamResponse:
        assert (request.method, request.path) == (
            "PATCH",
            f"/apis/vlmctl.dev/v1alpha1/namespaces/team/vlmdeployments/{NAME}/scale",
        )
        assert request.query["fieldManager"] == "vlm-operator"
        self.writes.append(json.loads(await request.read()))
        return web.json_response({"kind": "Scale"}, status=self.answer)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    async with AsyncExitStack() as stack:
        places = [("127.0.0.1", 0, made.api), *((address, METRICS_PORT, made.proxy) for address in ADDRESSES)]
        ports = []
        for address, port, answer in places:
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", answer)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, address, port).start()
            ports.append(runner.addresses[0][1])
        connection = Connection(f"http://127.0.0.1:{ports[0]}", ssl.create_default_context(), dict)
        cluster = await stack.enter_async_context(Cluster(connection))
        scraper = await stack.enter_async_context(Scraper())
        made.scaler = Scaler(cluster, made.store, scraper, changed=made.changed.append, clock=lambda: made.now)
        yield made


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a scripted proxy may take long to answer."""
    monkeypatch.setattr(load_module, "SCRAPE_SECONDS", 60.0)


def in_world(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Run it in a world with one replica that takes traffic."""

    async def run() -> None:
        async with world() as made:
            made.put(1)
            made.pods(1)
            made.plan()
            await scenario(made)

    asyncio.run(run())


def test_replicas_follow_a_step_of_the_load_and_go_back() -> None:
    """Up by the rates of the HPA as soon as there is load, down after the window, each write for one version."""

    async def scenario(world: World) -> None:
        world.load(0, 1)
        assert await world.sweep(2) == []
        world.load(60, 1)
        assert await world.sweep() == [5]  # four at once at most
        world.load(60, 5)
        assert await world.sweep() == [6]
        versions = [each["metadata"]["resourceVersion"] for each in world.writes]
        assert len(set(versions)) == 2
        world.load(0, 6)
        assert await world.sweep(19) == []
        assert await world.sweep(3) == [1]

    in_world(scenario)


def test_the_first_look_moves_nothing() -> None:
    """After a restart a load is seen twice before anything is written, and a lull takes nothing at once."""

    async def scenario(world: World) -> None:
        world.load(80, 1)
        assert await world.sweep() == []
        assert await world.sweep() == [5]

    in_world(scenario)


async def _unknown(world: World) -> None:
    world.load(None, 1)


async def _not_ready(world: World) -> None:
    world.pods(1, starting=1)


async def _paused(world: World) -> None:
    parent = world.parent
    world.version += 1
    parent["metadata"]["resourceVersion"] = str(world.version)
    world.store.put({**parent, "spec": {**parent["spec"], "paused": True}})


async def _deleted(world: World) -> None:
    world.put(1, deletionTimestamp="2026-11-21T12:00:00Z")


async def _newer_spec(world: World) -> None:
    world.put(1, generation=2)


async def _to_zero(world: World) -> None:
    world.put(0)


async def _gone(world: World) -> None:
    world.store.drop(world.parent)


async def _other_engine(world: World) -> None:
    world.plan(replace(SPEC, engine=api.ScalingEngine.NONE))


async def _other_still_there(world: World) -> None:
    world.plan(in_the_way=(f"HorizontalPodAutoscaler {NAME}",))


@pytest.mark.parametrize(
    "change",
    [
        _unknown,
        _not_ready,
        _paused,
        _deleted,
        _newer_spec,
        _to_zero,
        _gone,
        _other_engine,
        _other_still_there,
    ],
)
def test_nothing_is_written_without_knowing_or_being_asked(
    change: Callable[[World], Coroutine[Any, Any, None]],
) -> None:
    """Not on ignorance, not what is paused, deleted, stopped or scaled by another, not by an older spec."""

    async def scenario(world: World) -> None:
        world.load(80, 1)
        await world.sweep()
        await change(world)
        assert await world.sweep(4) == []

    in_world(scenario)


def test_a_part_of_the_load_shrinks_nothing() -> None:
    """While one replica of four does not tell, its load is taken to be full."""

    async def scenario(world: World) -> None:
        world.put(4)
        world.pods(4)
        world.load(32, 4)
        await world.sweep(2)
        world.told[ADDRESSES[3]] = None
        for each in ADDRESSES[:3]:
            world.told[each] = 9
        assert await world.sweep(40) == []
        world.told[ADDRESSES[3]] = 0
        assert await world.sweep(25) == [3]

    in_world(scenario)


@given(
    replicas=st.integers(1, 8),
    reported=st.integers(0, 8),
    silent=st.integers(0, 8),
    in_flight=st.floats(0, 500),
)
def test_silence_never_shrinks_below_what_it_may_hold(
    replicas: int, reported: int, silent: int, in_flight: float
) -> None:
    """As many replicas stay as do not take traffic or do not tell, whatever the others say."""
    seen = Load(in_flight=in_flight if reported else None, reported=reported, silent=silent)
    policy = replace(scale(SPEC, PLANNED, BENCHMARK, None, minimum=1).policy, maximum_replicas=100)
    later = decide(policy, State(), observation(seen, replicas), 0.0)
    found = decide(policy, replace(later.state, recommendations=()), observation(seen, replicas), 1e4)
    if not reported:
        assert found.replicas == replicas
    assert found.replicas >= min(replicas - reported, replicas)


def test_who_changes_something_meanwhile_wins() -> None:
    """A conflict is no write: nothing counts against the rates, and the next look decides anew."""

    async def scenario(world: World) -> None:
        world.load(60, 1)
        await world.sweep()
        world.answer = 409
        assert await world.sweep(3) == [5, 5, 5]
        world.answer = 200
        assert await world.sweep() == [5]

    in_world(scenario)


def test_blindness_is_told_once_and_ends() -> None:
    """When no proxy has told its load for a minute the status says so, and says when one does again."""

    async def scenario(world: World) -> None:
        world.load(5, 1)
        await world.sweep()
        world.load(None, 1)
        await world.sweep(int(BLIND_SECONDS / INTERVAL) - 1)
        assert not world.scaler.is_blind(KEY)
        await world.sweep(3)
        assert world.scaler.is_blind(KEY)
        world.load(5, 1)
        await world.sweep(2)
        assert not world.scaler.is_blind(KEY)
        assert world.changed == [KEY, KEY]

    in_world(scenario)


def test_a_replica_that_does_not_tell_at_once_after_a_long_start_is_not_blindness() -> None:
    """While no replica takes traffic nobody is silent: the minute counts from when one did."""

    async def scenario(world: World) -> None:
        world.pods(1, starting=1)
        world.load(None, 1)
        await world.sweep(40)
        world.pods(1)
        await world.sweep(2)
        assert not world.scaler.is_blind(KEY)
        await world.sweep(4)
        assert world.scaler.is_blind(KEY)

    in_world(scenario)


def test_what_requests_cost_is_known_of_those_that_nobody_scales_too() -> None:
    """60 requests in five minutes take 1.4 hours a thousand; the pass is asked to say so once."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1))
        world.load(1, 1)
        for _ in range(7):
            await world.sweep(int(METER_SECONDS / INTERVAL))
            world.answered = min(world.answered + 30, 60)
        assert world.cost.replica_hours_per_1k == pytest.approx(1.4)
        assert world.changed == [KEY]
        assert world.writes == []

    in_world(scenario)


def test_what_another_operator_counted_holds_until_there_is_an_hour() -> None:
    """A lull of minutes after a restart is not what the day was like."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1))
        cost = {"realisedReplicaHoursPer1k": "0.5", "realisedReplicas": "4"}
        world.load(1, 1)
        world.version += 1
        metadata = {**world.parent["metadata"], "resourceVersion": str(world.version)}
        status = {"currentRevision": REVISION.name, "cost": cost}
        world.store.put({**world.parent, "metadata": metadata, "status": status})
        await world.meter(7, answers=30)
        assert (world.cost.replica_hours_per_1k, world.cost.replicas) == (0.5, 4.0)
        await world.meter(60, answers=30)
        assert world.cost.replica_hours_per_1k == pytest.approx(0.56)  # one for an hour, which answered 1,800

    in_world(scenario)


def test_an_hour_without_requests_is_told_once() -> None:
    """The pass is asked to say so when the hour is over, and not again while it lasts."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1))
        world.load(0, 1)
        await world.meter(200)
        assert world.cost.idle
        assert world.changed == [KEY]

    in_world(scenario)


def test_answers_of_a_replica_that_leaves_are_counted() -> None:
    """It gets no new requests, and answers those that it has: it is paid for as long."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1))
        world.load(1, 1)
        await world.meter(2)
        body = next(world.store.all("Pod"))
        world.version += 1
        body["metadata"] |= {"deletionTimestamp": "2026-11-21T12:00:00Z", "resourceVersion": str(world.version)}
        world.store.put(body)
        await world.meter(answers=30)
        assert (world.cost.answered, world.cost.replica_seconds) == (30, 2 * METER_SECONDS)

    in_world(scenario)


@pytest.mark.parametrize("change", ["revision", "uid"])
def test_what_another_one_cost_says_nothing_of_this_one(change: str) -> None:
    """Another revision, or an object that was made anew under the same name begins from nothing."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1))
        world.load(1, 1)
        await world.meter(7, answers=30)
        assert world.cost.replica_hours_per_1k is not None
        if change == "uid":
            world.put(1, uid="another")
            assert world.scaler.realised(KEY, "another") is None
        else:
            world.plan(replace(SPEC, max=1), revision="reader-2")
            assert world.scaler.realised(KEY, world.parent["metadata"]["uid"]) is None  # before anything was counted
        await world.meter()
        assert world.cost.replica_hours_per_1k is None

    in_world(scenario)


def test_replicas_of_another_revision_are_not_counted_with_this_one() -> None:
    """While one is rolled out, those of the other are paid at another price, and answer for it."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1), revision="reader-2")
        world.load(1, 1)
        await world.meter(7, answers=30)
        assert not any(each.answered or each.replica_seconds for each in world.cost.windows)
        assert (world.cost.answered, world.cost.replica_seconds) == (0, 0)

    in_world(scenario)


def test_what_requests_cost_survives_a_spec_that_cannot_be_read() -> None:
    """A typo that is mended within minutes loses nothing but the time between; what is gone is forgotten."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1))
        world.load(1, 1)
        await world.meter(7, answers=30)
        said = world.cost.replica_hours_per_1k
        world.scaler.plan(KEY, None)
        await world.meter(2, answers=30)
        world.plan(replace(SPEC, max=1))
        await world.meter()
        assert world.cost.replica_hours_per_1k == said is not None
        uid = world.parent["metadata"]["uid"]
        world.store.drop(world.parent)
        await world.meter()
        assert world.scaler.realised(KEY, uid) is None

    in_world(scenario)


def test_a_replica_on_a_lost_node_is_paid_for_and_not_asked() -> None:
    """Its pod stays as long as the node does: asking it each time would keep all others waiting."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1))
        world.load(1, 1)
        await world.meter(2)
        assert len(world.scrapes) == 2
        body = next(world.store.all("Pod"))
        told = {"Ready": "False", "ContainersReady": "True"}
        body["status"]["conditions"] = [{"type": kind, "status": said} for kind, said in told.items()]
        world.version += 1
        body["metadata"] |= {"deletionTimestamp": "2026-11-21T12:00:00Z", "resourceVersion": str(world.version)}
        world.store.put(body)
        await world.meter(2)
        assert len(world.scrapes) == 2
        assert world.cost.replica_seconds == 3 * METER_SECONDS

    in_world(scenario)


def test_what_nobody_scales_is_asked_once_a_minute() -> None:
    """Deployments of fixed replicas are asked for what requests cost alone; those that are gone are forgotten."""

    async def scenario(world: World) -> None:
        world.plan(replace(SPEC, max=1))
        world.load(1, 1)
        await world.sweep(int(2 * METER_SECONDS / INTERVAL))
        assert len(world.scrapes) == 2
        world.plan()
        await world.sweep(3)
        assert len(world.scrapes) == 5
        world.scaler.plan(KEY, None)
        await world.sweep(8)
        assert len(world.scrapes) == 5

    in_world(scenario)


@pytest.mark.parametrize("engine", ["None", "HPA", "KEDA", "Operator"])
def test_what_kedas_zero_left_is_woken_once(engine: str) -> None:
    """Whoever scales it now, to what the pass said, for the version that was seen; then nobody wakes it any more."""

    async def scenario(world: World) -> None:
        world.put(0)
        world.plan(replace(SPEC, engine=api.ScalingEngine(engine)), wakes_to=2, asleep=True)
        version = world.parent["metadata"]["resourceVersion"]
        assert await world.sweep() == [2]
        assert world.writes[-1]["metadata"]["resourceVersion"] == version
        assert await world.sweep(3) == []

    in_world(scenario)


@pytest.mark.parametrize(
    "change",
    [{"deletionTimestamp": "2026-11-21T12:00:00Z"}, {"generation": 2}, None],
    ids=("deleted", "edited", "paused"),
)
def test_what_changed_meanwhile_is_not_woken(change: dict[str, Any] | None) -> None:
    """Paused, on its way out, or of another spec than the pass was about."""

    async def scenario(world: World) -> None:
        world.put(0)
        world.plan(wakes_to=1, asleep=True)
        if change is None:
            await _paused(world)
        else:
            world.put(0, **change)
        assert await world.sweep(2) == []

    in_world(scenario)
