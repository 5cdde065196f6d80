"""The operator put together: what its parts hand each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from vlm_operator.config import OperatorConfig
from vlm_operator.records import Key, KubernetesObject
from vlm_operator.running import MOST_RETOLD_SECONDS, RESYNC_SECONDS, RETOLD_SECONDS, Operator
from vlm_operator.store import Store

from tests.support import virtual_time
from tests.support.fake_cluster import FakeCluster
from vlmctl.api import v1alpha1 as api


def deployment(name: str) -> KubernetesObject:
    metadata = {"namespace": "team", "name": name, "uid": name, "resourceVersion": "5"}
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


def test_an_object_that_cannot_be_taken_in_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried ever more seldom, once however many events there were, and not at all once it is gone; the others are
    taken in, from a list too.
    """
    tried = list[str]()
    put = Store.put

    def broken(self: Store, body: KubernetesObject) -> tuple[bool, Key | None]:
        tried.append(body["metadata"]["name"])
        if body["metadata"]["name"] == "bad":
            raise RecursionError
        return put(self, body)

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
        assert len(tried) == 3

    virtual_time.run(scenario())
