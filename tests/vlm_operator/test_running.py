"""The operator put together: what its parts hand each other."""

from __future__ import annotations

import asyncio

import pytest
from vlm_operator.config import OperatorConfig
from vlm_operator.records import Key
from vlm_operator.running import RETOLD_SECONDS, Operator

from tests.support import virtual_time
from tests.support.fake_cluster import FakeCluster
from vlmctl.api import v1alpha1 as api


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
        metadata = {"namespace": "team", "name": "vision", "uid": "u", "resourceVersion": "5"}
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "spec": {}}
        operator.take("ADDED", body)
        await asyncio.sleep(RETOLD_SECONDS + 1)
        assert added == [Key("team", "vision")] * 2
        operator.take("MODIFIED", body)
        assert len(added) == 2

    virtual_time.run(scenario())
