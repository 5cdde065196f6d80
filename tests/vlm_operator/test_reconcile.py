"""Passes against an API server in memory: what it refuses, gives to others or changes keeps nothing else waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from vlm_operator import names
from vlm_operator.cluster import ApiError, Unreachable
from vlm_operator.config import OperatorConfig
from vlm_operator.kinds import VLMDEPLOYMENT, Resource
from vlm_operator.load import Scraper
from vlm_operator.observe import Observer
from vlm_operator.reconcile import Reconciler
from vlm_operator.records import Key
from vlm_operator.scaler import Scaler
from vlm_operator.scalers import Means
from vlm_operator.store import Store
from vlm_operator.tries import FIGHT_WRITES, MOST_PAUSE_SECONDS
from vlm_operator.work_queue import MOST_BACKOFF_SECONDS

from tests.support.fake_cluster import Body, FakeCluster
from vlmctl.api import v1alpha1 as api
from vlmctl.catalog.load import load_catalog
from vlmctl.specs.inventory import DeclaredPool

NAME = "vision"
KEY = Key("team", NAME)
SECRET = names.api_key(NAME)


class World:
    """An operator whose watches tell everything at once."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.store = Store()
        self.observer = Observer(self.store, self.cluster, monitors=lambda: False)
        scaler = Scaler(self.cluster, self.store, Scraper(), changed=lambda _: None, interval_seconds=5.0)
        config = OperatorConfig(inventory=(DeclaredPool(gpu="l4", nodes=4, gpus_per_node=4, usd_per_gpu_hour=0.7),))
        self.reconciler = Reconciler(
            config, self.store, self.cluster, self.observer, load_catalog(), scaler, lambda: Means()
        )

    def make(self, **spec: Any) -> Body:
        fields = {"model": {"name": "qwen2.5-vl-3b-instruct"}, **spec}
        return self.hold({"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": NAME}, "spec": fields})

    def hold(self, body: Body) -> Body:
        held = self.cluster.hold(body)
        self.store.put(held)
        return held

    def status(self) -> str:
        return str(self.cluster.objects[VLMDEPLOYMENT.kind, NAME].get("status"))

    async def settle(self, passes: int = 3) -> None:
        for _ in range(passes):
            await self.reconciler(KEY)


@contextmanager
def on_a_clock(world: World) -> Iterator[Callable[[float], None]]:
    """Moves the clock of what came to nothing."""
    moment = [0.0]
    world.reconciler._writer.tries._clock = lambda: moment[0]

    def later(seconds: float) -> None:
        moment[0] += seconds

    yield later


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        world = World()
        async with world.observer:
            await scenario(world)

    asyncio.run(whole())


def refusing(kind: str, status: int = 403) -> Callable[[str, str, str], ApiError | None]:
    return lambda _, asked, __: ApiError("a policy says no", status=status) if asked == kind else None


def test_a_new_deployment_gets_all_that_it_needs() -> None:
    """And then nothing is written."""

    async def scenario(world: World) -> None:
        world.make()
        await world.settle()
        for kind in ("Deployment", "Service", "NetworkPolicy", "ServiceAccount", "ConfigMap", "ControllerRevision"):
            assert world.cluster.there(kind), kind
        assert world.cluster.there("Secret") == [SECRET]
        world.cluster.writes.clear()
        await world.settle()
        assert world.cluster.writes == []

    run(scenario)


@pytest.mark.parametrize("kind", ["NetworkPolicy", "ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "Secret"])
def test_no_pods_are_made_without_what_they_need(kind: str) -> None:
    """Refused by a webhook or a quota: pods would run open to anyone, or as somebody else. Nothing else waits."""

    async def scenario(world: World) -> None:
        world.make(cache={"pvc": {"size": "50Gi"}})
        world.cluster.refuse = refusing(kind)
        await world.settle()
        assert not world.cluster.there("Deployment")
        assert not world.cluster.there("Job")
        assert world.cluster.there("Service")
        assert f"{kind} " in world.status()
        assert "No pods are made before that" in world.status()
        world.cluster.refuse = lambda *_: None
        with on_a_clock(world) as later:
            later(1e9)
            await world.settle()
        assert world.cluster.there("Job")
        assert "No pods" not in world.status()

    run(scenario)


def test_pods_that_run_are_kept_going_while_something_is_refused() -> None:
    """What they need is there already: a policy that refuses changes of it does not stop a new revision."""

    async def scenario(world: World) -> None:
        body = world.make()
        await world.settle()
        policy = world.cluster.objects["NetworkPolicy", NAME]
        world.hold({**policy, "spec": {"podSelector": {}}})
        world.cluster.refuse = refusing("NetworkPolicy")
        world.hold({**world.cluster.objects[api.KIND, NAME], "spec": {**body["spec"], "replicas": 2}})
        await world.settle()
        assert world.cluster.objects["Deployment", NAME]["spec"]["replicas"] == 2

    run(scenario)


def test_replicas_are_added_while_what_another_revision_needs_is_refused() -> None:
    """A claim that a quota refuses stops what would mount it, and none of what serves without it."""

    async def scenario(world: World) -> None:
        body = world.make()
        await world.settle()
        world.cluster.refuse = refusing("PersistentVolumeClaim")
        more = {"cache": {"pvc": {"size": "50Gi"}}, "replicas": 2}
        world.hold({**world.cluster.objects[api.KIND, NAME], "spec": {**body["spec"], **more}})
        await world.settle()
        assert world.cluster.objects["Deployment", NAME]["spec"]["replicas"] == 2
        assert not world.cluster.there("Job")

    run(scenario)


@pytest.mark.parametrize("kind", ["NetworkPolicy", "ServiceAccount", "Deployment", "Service"])
@pytest.mark.parametrize("labels", [{}, names.labels("other", names.Component.ACCESS)], ids=["somebody", "another"])
def test_objects_of_others_are_left_alone(kind: str, labels: dict[str, str]) -> None:
    """Somebody else's, and another VLMDeployment's: two that take one from each other would do so for ever."""

    async def scenario(world: World) -> None:
        taken = world.cluster.hold({"apiVersion": "v1", "kind": kind, "metadata": {"name": NAME, "labels": labels}})
        world.make()
        await world.settle()
        assert world.cluster.objects[kind, NAME] == taken
        assert "there is one already that the operator" in world.status()
        assert (kind == "Service") == bool(("Deployment", NAME) in world.cluster.objects and kind != "Deployment")

    run(scenario)


def test_a_child_whose_labels_were_changed_is_taken_back() -> None:
    """As by a Helm release that adopted it: the watch no longer tells of it, but it has the VLMDeployment as owner."""

    async def scenario(world: World) -> None:
        world.make()
        await world.settle()
        held = world.cluster.objects["NetworkPolicy", NAME]
        labels = {**held["metadata"]["labels"], names.MANAGED_BY: "Helm"}
        changed = world.cluster.hold({**held, "metadata": {**held["metadata"], "labels": labels}})
        world.store.drop(changed)
        await world.settle()
        assert world.cluster.objects["NetworkPolicy", NAME]["metadata"]["labels"][names.MANAGED_BY] != "Helm"
        assert "there is one already" not in world.status()

    run(scenario)


def test_a_secret_of_somebody_else_is_not_taken_for_the_key() -> None:
    """Its content would open the proxy. Once it is gone, another one is made; the operator never looks into any."""

    async def scenario(world: World) -> None:
        world.cluster.hold({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}})
        world.make()
        with on_a_clock(world) as later:
            await world.settle()
            assert not world.cluster.there("Deployment")
            assert "was not made for this VLMDeployment" in world.status()
            assert "apiKeySecret" not in world.status()
            del world.cluster.objects["Secret", SECRET]
            later(120)
            await world.settle()
        assert world.cluster.there("Secret") == [SECRET]
        assert world.cluster.there("Deployment") == [NAME]
        assert f"'apiKeySecret': '{SECRET}'" in world.status()

    run(scenario)


@pytest.mark.parametrize("made", [True, False])
def test_a_secret_is_made_whenever_the_operator_ended(made: bool) -> None:
    """Right before or right after: the status says first whose it is, so that the next process makes or knows it."""

    async def scenario(world: World) -> None:
        world.make()

        def end(verb: str, kind: str, _: str) -> None:
            if (verb, kind) == ("create", "Secret"):
                if made:
                    world.cluster.hold({"apiVersion": "v1", "kind": kind, "metadata": {"name": SECRET}})
                raise KeyboardInterrupt(verb)

        world.cluster.refuse = end
        with pytest.raises(KeyboardInterrupt):
            await world.settle()
        assert f"'madeKeySecret': '{SECRET}'" in world.status()
        assert "apiKeySecret" not in world.status()
        world.cluster.refuse = lambda *_: None
        await world.settle()
        assert world.cluster.there("Secret") == [SECRET]
        assert world.cluster.there("Deployment") == [NAME]
        assert f"'apiKeySecret': '{SECRET}'" in world.status()
        assert "was not made" not in world.status()

    run(scenario)


@pytest.mark.parametrize("dry", [True, False])
def test_a_conflict_of_a_quota_made_no_secret(dry: bool) -> None:
    """Where several are made at once, the API server answers so instead of counting again: nothing is there."""

    async def scenario(world: World) -> None:
        world.make()
        refused = ("dry run" if dry else "create", "Secret")
        answer = ApiError("Operation cannot be fulfilled on resourcequotas", status=409, reason="Conflict")
        world.cluster.refuse = lambda verb, kind, _: answer if (verb, kind) == refused else None
        with on_a_clock(world) as later:
            await world.settle()
            assert not world.cluster.there("Deployment")
            assert "resourcequotas" in world.status()
            assert "apiKeySecret" not in world.status()
            world.cluster.refuse = lambda *_: None
            later(120)
            await world.settle()
        assert world.cluster.there("Secret") == [SECRET]
        assert world.cluster.there("Deployment") == [NAME]

    run(scenario)


@pytest.mark.parametrize("kind", ["ServiceAccount", "ConfigMap", "status"])
def test_an_edit_during_a_pass_is_answered_by_the_next_one(kind: str) -> None:
    """The answer to a write told of it before the watch, which then tells nothing new."""

    async def scenario(world: World) -> None:
        body = world.make()

        def edit(verb: str, of: str, _: str) -> None:
            held = world.cluster.objects[api.KIND, NAME]
            if (verb, of) == ("apply", kind) and held["metadata"]["generation"] == 1:
                metadata = {**held["metadata"], "generation": 2}
                world.hold({**held, "metadata": metadata, "spec": {**body["spec"], "replicas": 3}})

        world.cluster.refuse = edit
        while (outcome := await world.reconciler(KEY)).after_seconds is not None:
            assert "'observedGeneration': 2" not in world.status()
            assert not outcome.failed
        assert "'observedGeneration': 2" in world.status()
        assert world.cluster.objects["Deployment", NAME]["spec"]["replicas"] == 3

    run(scenario)


@pytest.mark.parametrize("unreadable", [False, True])
def test_the_key_that_was_made_is_known_after_one_of_the_users(unreadable: bool) -> None:
    """Nobody may delete it meanwhile, as clients hold it; also where a later version wrote the status."""

    async def scenario(world: World) -> None:
        body = world.make()
        await world.settle()
        own = {**body["spec"], "apiKey": {"name": "vlm-keys", "key": "key"}}
        world.hold({**world.cluster.objects[api.KIND, NAME], "spec": own})
        await world.settle()
        assert "'apiKeySecret': 'vlm-keys'" in world.status()
        held = world.cluster.objects[api.KIND, NAME]
        status = held["status"] | ({"conditions": [{"type": "Unheard"}]} if unreadable else {})
        world.hold({**held, "spec": body["spec"], "status": status})
        await world.settle()
        assert "was not made" not in world.status()
        assert f"'apiKeySecret': '{SECRET}'" in world.status()

    run(scenario)


def test_a_spec_that_a_later_version_refuses_changes_nothing() -> None:
    """What runs was made for it and serves on, also while somebody asks for other replicas: only the status tells."""

    async def scenario(world: World) -> None:
        body = world.make()
        await world.settle()
        spec = {**body["spec"], "apiKey": {"name": "team-keys", "key": "key"}, "replicas": 3}
        world.hold({**world.cluster.objects[api.KIND, NAME], "spec": spec})
        world.cluster.writes.clear()
        await world.settle()
        assert {kind for _, kind, _ in world.cluster.writes} == {"status", "Event"}
        assert "InvalidSpec" in world.status()
        assert "team-keys" in world.status()

    run(scenario)


def test_an_edit_during_a_pass_is_looked_at_at_once() -> None:
    """The answer to a write told it before the watch, which then has no news."""

    async def scenario(world: World) -> None:
        body = world.make()
        await world.settle()
        snapshot = world.observer.snapshot

        def edited(key: Key) -> Any:
            found = snapshot(key)
            held = world.cluster.objects[api.KIND, NAME]
            metadata = {**held["metadata"], "generation": 2}
            world.hold({**held, "metadata": metadata, "spec": {**body["spec"], "paused": True}})
            world.observer.snapshot = snapshot  # type: ignore[method-assign]
            return found

        world.observer.snapshot = edited  # type: ignore[method-assign]
        assert (await world.reconciler(KEY)).after_seconds == 0.0
        assert (await world.reconciler(KEY)).after_seconds != 0.0

    run(scenario)


def test_what_was_refused_long_ago_is_forgotten() -> None:
    """Pods come and go, and each that could not be told anything would stay in memory."""

    async def scenario(world: World) -> None:
        world.make()
        world.cluster.refuse = refusing("PodDisruptionBudget")
        with on_a_clock(world) as later:
            await world.settle()
            tries = world.reconciler._writer.tries
            (refused,) = tries._refused[KEY].values()
            assert refused.error.__traceback__ is None  # else with it all that the pass knew
            world.reconciler.review()
            assert tries._refused
            later(600)
            world.reconciler.review()
            assert not tries._refused

    run(scenario)


def test_a_status_is_never_written_to_a_successor() -> None:
    """Deleted and made again during a pass: the new one would inherit a key, a timeline and measurements."""

    async def scenario(world: World) -> None:
        world.make()
        await world.settle()
        before = dict(world.cluster.objects[api.KIND, NAME])
        del before["status"]
        again = {**before, "metadata": {"name": NAME, "uid": "another"}}
        world.cluster.hold(again)  # the watch has not told yet
        parent = world.store.get(api.KIND, *KEY)
        assert parent is not None
        await world.reconciler._writer.answer(parent, api.VLMDeploymentStatus(api_key_secret="old"))
        assert "status" not in world.cluster.objects[api.KIND, NAME]

    run(scenario)


def test_a_status_is_written_though_the_spec_changed_meanwhile() -> None:
    """Somebody scaled during the pass."""

    async def scenario(world: World) -> None:
        body = world.make()
        world.cluster.hold({**body, "spec": {**body["spec"], "replicas": 3}})
        await world.reconciler._writer.answer(body, api.VLMDeploymentStatus(ready="1/1"))
        assert "1/1" in world.status()

    run(scenario)


def test_a_page_that_is_not_found_is_no_deployment_that_is_gone() -> None:
    """As of an API server that is starting: one that lives would be forgotten until something happens to it."""

    async def scenario(world: World) -> None:
        body = world.make()
        world.cluster.refuse = lambda *_: ApiError("404 page not found", status=404)
        with pytest.raises(ApiError):
            await world.reconciler._writer.answer(body, api.VLMDeploymentStatus(ready="1/1"))
        assert world.store.deployments() == [KEY]

    run(scenario)


def test_what_is_refused_is_tried_less_and_less_and_passes_go_on() -> None:
    """Agents are heard as often as ever, a write that a policy refuses for good is asked for some times a minute."""

    async def scenario(world: World) -> None:
        world.make()
        world.cluster.refuse = refusing("PodDisruptionBudget")
        with on_a_clock(world) as later:
            for _ in range(240):  # ten minutes
                outcome = await world.reconciler(KEY)
                assert outcome.paced
                assert "PodDisruptionBudget" in world.status()
                later(2.5)
        asked = [each for each in world.cluster.writes if each[1] == "PodDisruptionBudget"]
        assert 600 / MOST_PAUSE_SECONDS < len(asked) < 50

    run(scenario)


def test_what_fails_is_tried_again_well_within_a_minute() -> None:
    """However long an outage was: a minute after its end all is to be right."""
    assert max(MOST_PAUSE_SECONDS, MOST_BACKOFF_SECONDS) <= 30


def _scaled_by_another(world: World) -> None:
    deployment = world.cluster.objects["Deployment", NAME]
    world.hold({**deployment, "spec": {**deployment["spec"], "replicas": 8}})


def _changed_by_another(world: World) -> None:
    deployment = world.cluster.objects["Deployment", NAME]
    world.hold({**deployment, "spec": {**deployment["spec"], "progressDeadlineSeconds": 1}})


def _left_over(world: World) -> None:
    budget = world.cluster.objects["PodDisruptionBudget", NAME]
    world.hold({**budget, "metadata": {**budget["metadata"], "name": "old", "uid": "old"}})


def test_what_etcd_was_restored_to_is_what_is_asked_for() -> None:
    """Before a watch or a list tells of it: the answer of an older version is the newer one."""

    async def scenario(world: World) -> None:
        body = world.make(replicas=2)
        await world.settle()
        before = world.cluster.objects[api.KIND, NAME]
        metadata = {**before["metadata"], "generation": 2, "resourceVersion": "1000000"}
        world.hold({**before, "metadata": metadata, "spec": {**body["spec"], "replicas": 8}})
        world.cluster.objects[api.KIND, NAME] = before
        world.cluster.writes.clear()
        await world.reconciler(KEY)
        assert world.cluster.objects["Deployment", NAME]["spec"]["replicas"] == 2
        await world.settle()
        assert world.cluster.writes == []

    run(scenario)


@pytest.mark.parametrize("differs", [_scaled_by_another, _changed_by_another, _left_over])
@pytest.mark.parametrize("news", ["edited", "deleted", "gone"])
def test_nothing_that_runs_is_changed_by_an_older_spec(differs: Callable[[World], None], news: str) -> None:
    """The watch of VLMDeployments may be behind: replicas that were asked for since would be taken away. It is asked
    once in a pass.
    """

    async def scenario(world: World) -> None:
        body = world.make(replicas=2)
        await world.settle()
        differs(world)
        held = world.cluster.objects[api.KIND, NAME]
        if news == "edited":
            metadata, spec = {**held["metadata"], "generation": 2}, {**body["spec"], "replicas": 8}
            world.cluster.hold({**held, "metadata": metadata, "spec": spec})
        elif news == "deleted":
            world.cluster.hold({**held, "metadata": {**held["metadata"], "deletionTimestamp": "2026-11-21T12:00:00Z"}})
        else:
            del world.cluster.objects[api.KIND, NAME]
        world.cluster.writes.clear()
        asked = _noting_reads(world)
        outcome = await world.reconciler(KEY)
        assert world.cluster.writes == []
        assert asked == [api.KIND]
        assert outcome.after_seconds is not None
        await world.settle()
        if news == "edited":
            assert world.cluster.objects["Deployment", NAME]["spec"]["replicas"] == 8
        else:
            assert world.cluster.writes == []

    run(scenario)


def _noting_reads(world: World) -> list[str]:
    """The kinds that are read from now on, one by one."""
    asked, get = list[str](), world.cluster.get

    async def noting(resource: Resource, namespace: str | None, name: str) -> Body:
        asked.append(resource.kind)
        return await get(resource, namespace, name)

    world.cluster.get = noting  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize("readable", [True, False])
def test_replicas_are_written_once_while_the_watch_is_behind(readable: bool) -> None:
    """Each pass would write the same again, as if somebody else changed it back."""

    async def scenario(world: World) -> None:
        body = world.make()
        await world.settle()
        metadata = {**world.cluster.objects[api.KIND, NAME]["metadata"], "generation": 2}
        edited = {
            **world.cluster.objects[api.KIND, NAME],
            "metadata": metadata,
            "spec": {**body["spec"], "replicas": 3},
        }
        world.hold(edited)
        world.cluster.writes.clear()
        if not readable:
            world.cluster.find = _unreachable  # type: ignore[method-assign]
        await world.settle(2 * FIGHT_WRITES if readable else 1)
        assert world.cluster.writes.count(("merge", "Deployment", NAME)) == 1
        assert "does not stay" not in world.status()
        assert "'observedGeneration': 2" in world.status()

    run(scenario)


async def _unreachable(resource: Resource, namespace: str, name: str) -> Body | None:
    del resource, namespace, name
    raise Unreachable("no answer")


def test_a_fight_over_an_object_ends() -> None:
    """Another controller that changes a field back after each pass: some writes, a condition, and then few."""

    async def scenario(world: World) -> None:
        world.make()
        await world.settle()
        world.cluster.writes.clear()
        with on_a_clock(world) as later:
            for passes in range(1, 120):  # half a minute
                world.hold({**world.cluster.objects["Service", NAME], "spec": {"type": "LoadBalancer"}})
                await world.reconciler(KEY)
                later(0.25)
                fought = len([each for each in world.cluster.writes if each[1] == "Service"])
                assert fought == min(passes, FIGHT_WRITES)
                assert ("does not stay as it is written" in world.status()) == (passes >= FIGHT_WRITES)
            later(120)
            await world.settle()
            assert "does not stay" not in world.status()

    run(scenario)


def test_what_a_webhook_changes_is_told_for_as_long_as_it_does() -> None:
    """Without a break in what the status says, and without a write in each pass."""

    async def scenario(world: World) -> None:
        world.make()

        def change(body: Body) -> None:
            if body["kind"] == "Service":
                body["spec"] = {**body["spec"], "type": "LoadBalancer"}

        world.cluster.changed = change
        with on_a_clock(world) as later:
            for _ in range(60):
                await world.reconciler(KEY)
                assert "does not stay as it is written" in world.status()
                later(10)
        assert len([each for each in world.cluster.writes if each[1] == "Service"]) < 40

    run(scenario)


def test_a_pod_that_cannot_be_told_keeps_no_status_back() -> None:
    """A webhook may refuse annotations."""

    async def scenario(world: World) -> None:
        world.make()
        await world.settle()
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "vision-a",
                "labels": {
                    **names.labels(NAME, names.Component.ENGINE),
                    names.REVISION: world.cluster.objects["Deployment", NAME]["spec"]["template"]["metadata"]["labels"][
                        names.REVISION
                    ],
                },
            },
            "spec": {"nodeName": "n", "containers": []},
            "status": {"phase": "Pending"},
        }
        world.hold(pod)
        world.cluster.refuse = refusing("Pod")
        with on_a_clock(world) as later:
            outcome = await world.reconciler(KEY)
            assert outcome.failed
            assert outcome.after_seconds != 0.0
            assert "Pod vision-a cannot be written" in world.status()
            assert "'replicas': 1" in world.status()
            world.cluster.refuse = lambda *_: None
            later(120)
            assert (await world.reconciler(KEY)).after_seconds == 0.0  # what the pod is now may be in the answer alone
            assert (await world.reconciler(KEY)).after_seconds != 0.0
            world.hold(pod)
            world.cluster.changed = lambda body: body["metadata"].pop("annotations", None)  # as a webhook may
            assert (await world.reconciler(KEY)).after_seconds != 0.0
            del world.cluster.objects["Pod", "vision-a"]  # which the watch has not told yet
            later(120)
            assert (await world.reconciler(KEY)).after_seconds != 0.0

    run(scenario)
