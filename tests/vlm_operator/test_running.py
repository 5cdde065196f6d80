"""The operator put together: what its parts hand each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from vlm_operator.cluster import ApiError, Unreachable
from vlm_operator.config import OperatorConfig
from vlm_operator.kinds import HTTP_SCALED_OBJECT, MONITOR, SCALED_OBJECT, VLMBENCHMARK, Resource
from vlm_operator.records import Key, KubernetesObject
from vlm_operator.running import (
    MEASURED_SECONDS,
    MOST_RETOLD_SECONDS,
    RESYNC_SECONDS,
    RETOLD_SECONDS,
    Operator,
)
from vlm_operator.store import Store
from vlm_operator.work_queue import Outcome

from tests.support import virtual_time
from tests.support.fake_cluster import FakeCluster
from vlmctl.api import v1alpha1 as api


def deployment(name: str, version: int = 5, *, namespace: str = "team") -> KubernetesObject:
    metadata = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": str(version)}
    return {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "spec": {}}


def test_an_event_that_a_bug_keeps_out_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the store holds the object by then, its VLMDeployment is looked at."""
    added = list[Key]()

    def add(key: Key) -> None:
        added.append(key)
        if len(added) == 1:
            raise ValueError("a bug")

    async def scenario() -> None:
        operator = Operator(OperatorConfig(), FakeCluster())
        monkeypatch.setattr(operator._queue, "add", add)
        body = deployment("vision")
        operator.take("ADDED", body)
        await asyncio.sleep(RETOLD_SECONDS + 1)
        assert added == [Key("team", "vision")] * 2
        operator.take("MODIFIED", body)
        assert len(added) == 2

    virtual_time.run(scenario())


@pytest.mark.parametrize("resource", [MONITOR, SCALED_OBJECT, HTTP_SCALED_OBJECT], ids=lambda each: each.kind)
def test_all_are_looked_at_when_a_kind_comes_or_goes(resource: Resource, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object of that kind that belongs to none of them is no such sign."""
    added = list[Key]()

    async def scenario() -> None:
        operator = Operator(OperatorConfig(), FakeCluster())
        for name in ("a", "b"):
            operator.take("ADDED", deployment(name))
        monkeypatch.setattr(operator._queue, "add", added.append)
        operator._changed(resource, None)
        assert added == []
        operator._served(resource)
        assert added == [Key("team", "a"), Key("team", "b")]

    virtual_time.run(scenario())


def test_a_list_after_etcd_was_restored_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its version is lower than that of the list before, or has come past what is known of an object."""
    lists = [(["a", "gone"], 9, "12"), (["a"], 5, "7"), (["a"], 6, "20")]

    async def pages(*_: object) -> AsyncIterator[tuple[list[KubernetesObject], str]]:
        names, version, at = lists.pop(0)
        yield [deployment(name, version) for name in names], at

    async def scenario() -> None:
        cluster = FakeCluster()
        operator = Operator(OperatorConfig(), cluster)
        monkeypatch.setattr(cluster, "pages", pages, raising=False)
        await operator._list("")
        await operator._list("")
        assert operator._store.versions(api.KIND) == {("team", "a"): 5}
        operator.take("MODIFIED", deployment("a", 15))
        await operator._list("")
        assert operator._store.versions(api.KIND) == {("team", "a"): 6}

    virtual_time.run(scenario())


def test_an_object_that_cannot_be_taken_in_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried ever more seldom, once however many events there were, and not at all once it is gone; the others are
    taken in, from a list too.
    """
    tried = list[str]()
    put = Store.put

    def broken(self: Store, body: KubernetesObject, *, listed_at: int = 0) -> set[Key | None]:
        tried.append(body["metadata"]["name"])
        if body["metadata"]["name"] == "bad":
            raise RecursionError
        return put(self, body, listed_at=listed_at)

    async def scenario() -> None:
        monkeypatch.setattr(Store, "put", broken)
        cluster = FakeCluster()
        operator = Operator(OperatorConfig(), cluster)
        for _ in range(100):
            operator.take("MODIFIED", deployment("bad"))
        tried.clear()
        await asyncio.sleep(10 * MOST_RETOLD_SECONDS)
        assert 10 < len(tried) < 20
        monkeypatch.setattr(cluster, "pages", pages, raising=False)
        await operator._list("")
        assert operator._store.deployments() == [Key("team", "good")]
        operator.take("DELETED", deployment("bad"))
        tried.clear()
        await asyncio.sleep(10 * MOST_RETOLD_SECONDS)
        assert tried == []

    async def pages(*_: object) -> AsyncIterator[tuple[list[KubernetesObject], str]]:
        yield [deployment("bad"), deployment("good")], "5"

    virtual_time.run(scenario())


@pytest.mark.parametrize("refusal", [None, Unreachable("no answer"), ApiError("no right", status=403)])
def test_a_term_begins_with_what_is_asked_for_by_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refusal: Exception | None
) -> None:
    """A watch may have been dead for a minute without a sign: what was scaled, made or deleted since is read. A right
    that is missing is told once, and keeps nothing else waiting.
    """
    refusals = [refusal] * 2 if refusal is not None else []

    async def pages(*_: object) -> AsyncIterator[tuple[list[KubernetesObject], str]]:
        if refusals:
            raise refusals.pop()
        yield [{**deployment("vision", 8), "spec": {"replicas": 8}}, deployment("new", 7)], "9"

    async def scenario() -> None:
        cluster = FakeCluster()
        operator = Operator(OperatorConfig(), cluster)
        monkeypatch.setattr(cluster, "pages", pages, raising=False)
        for name in ("vision", "gone"):
            operator.take("ADDED", deployment(name))
        looks = asyncio.create_task(operator._resync())
        await asyncio.sleep(1 + RESYNC_SECONDS * len(refusals))
        found = {body["metadata"]["name"]: body["spec"] for body in operator._store.all(api.KIND)}
        assert found == {"new": {}, "vision": {"replicas": 8}}
        looks.cancel()

    virtual_time.run(scenario())
    assert sum("cannot be watched" in each for each in caplog.messages) == isinstance(refusal, ApiError)


@pytest.mark.parametrize("by_pass", [True, False], ids=["a pass", "a watch"])
def test_a_measurement_is_looked_at_by_all_of_its_namespace(monkeypatch: pytest.MonkeyPatch, by_pass: bool) -> None:
    """Whoever made it, once for many that come together; nothing else makes anybody look."""
    added, versions = list[Key](), iter(range(10, 20))
    metadata = {"namespace": "team", "name": "b", "uid": "b"}

    async def scenario() -> None:
        operator = Operator(OperatorConfig(), FakeCluster())
        for name in ("vision", "reader"):
            operator.take("ADDED", deployment(name))
        operator.take("ADDED", deployment("other", namespace="elsewhere"))
        operator._queue._waiting.clear()
        monkeypatch.setattr(operator._queue, "add", added.append)

        async def measure(_: Key) -> Outcome:
            known = {**metadata, "resourceVersion": str(next(versions))}
            operator._store.written({"apiVersion": api.API_VERSION, "kind": api.BENCHMARK_KIND, "metadata": known})
            return Outcome()

        async def rest(_: Key) -> Outcome:
            return Outcome()

        async def turn(work: Callable[[Key], Awaitable[Outcome]]) -> None:
            monkeypatch.setattr(operator, "_reconciler", work)
            if by_pass:
                await operator._pass(Key("team", "vision"))
            else:
                await work(Key("team", "vision"))
                operator._changed(VLMBENCHMARK, None)

        for _ in range(5):
            await turn(measure)
            await asyncio.sleep(0.1)
        await asyncio.sleep(MEASURED_SECONDS)
        assert sorted(added) == [Key("team", "reader"), Key("team", "vision")]
        await turn(rest)
        await asyncio.sleep(10 * MEASURED_SECONDS)
        assert len(added) == 2

    virtual_time.run(scenario())


def test_a_list_that_cannot_be_read_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one comes."""
    tried = list[float]()

    async def pages(*_: object) -> AsyncIterator[tuple[list[KubernetesObject], str]]:
        tried.append(asyncio.get_running_loop().time())
        raise RecursionError
        yield [], ""

    async def scenario() -> None:
        cluster = FakeCluster()
        operator = Operator(OperatorConfig(), cluster)
        monkeypatch.setattr(cluster, "pages", pages, raising=False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(operator._resync(), 3.5 * RESYNC_SECONDS)
        assert len(tried) == 4

    virtual_time.run(scenario())
