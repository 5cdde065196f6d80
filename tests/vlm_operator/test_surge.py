"""How pods follow each other: a new one first, unless there is no room for both."""

from __future__ import annotations

import pytest
from vlm_operator.rollout import CRASHES

from tests.vlm_operator.test_rollout import NEW, OLD, crashed, deployment, go
from tests.vlm_operator.worlds import CREATING, SERVING, UP, pod

SHORT = "0/4 nodes are available: 1 Insufficient nvidia.com/gpu, 3 node(s) didn't match Pod's node affinity/selector."
ELSEWHERE = "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector."


def test_old_pods_give_way_only_where_gpus_are_short() -> None:
    """A new pod comes first; when it finds no GPU, an old one goes, and so on until all are new."""
    old = pod(SERVING, name="a", of=OLD)
    under_way = deployment(NEW, complete=False)
    assert go(OLD, NEW, deployment=deployment(OLD), pods=[old]).surge
    assert go(OLD, NEW, deployment=under_way, pods=[old, pod(CREATING, of=NEW)]).surge
    assert go(OLD, NEW, deployment=under_way, pods=[old, pod(of=NEW, unschedulable=ELSEWHERE)]).surge
    assert not go(OLD, NEW, deployment=under_way, pods=[old, pod(of=NEW, unschedulable=SHORT)]).surge
    scarce = deployment(NEW, surge=0, complete=False)
    assert not go(OLD, NEW, deployment=scarce, pods=[old, pod(UP, of=NEW)]).surge
    assert not go(OLD, NEW, deployment=deployment(NEW, surge=0, seen=False), pods=[]).surge
    assert go(OLD, NEW, deployment=deployment(NEW, surge=0), pods=[pod(SERVING, of=NEW)]).surge


@pytest.mark.parametrize(
    "cause",
    [
        "Insufficient nvidia.com/gpu",
        "Insufficient cpu",
        "Insufficient memory",
        "Insufficient ephemeral-storage",
        "Insufficient rdma/hca",
        "Too many pods",
    ],
)
def test_old_pods_give_way_to_whatever_is_short(cause: str) -> None:
    """A new pod that finds no room of any kind would wait for ever beside an old one that holds it."""
    message = f"0/4 nodes are available: 1 {cause}, 3 node(s) didn't match Pod's node affinity/selector. preemption: x."
    pods = [pod(SERVING, name="a", of=OLD), pod(of=NEW, unschedulable=message)]
    assert not go(OLD, NEW, deployment=deployment(NEW, complete=False), pods=pods).surge


def test_old_pods_give_way_where_the_quota_is_used_up() -> None:
    """A new pod is not even made then; another reason for that is not mended by their going."""
    for told, surge in (('pods "x" is forbidden: exceeded quota: q', False), ('pods "x" is forbidden: policy', True)):
        failure = {"type": "ReplicaFailure", "status": "True", "message": told}
        refused = deployment(NEW, complete=False, conditions=[failure])
        assert go(OLD, NEW, deployment=refused, pods=[pod(SERVING, of=OLD)]).surge is surge


def test_too_few_gpus_for_all_replicas_take_none_away() -> None:
    """With no pod of another revision there is nobody to give way."""
    pods = [pod(SERVING, name="a", of=NEW), pod(name="b", of=NEW, unschedulable=SHORT)]
    assert go(NEW, deployment=deployment(NEW), pods=pods).surge


def test_the_way_back_is_scarce_too() -> None:
    """A failed pod that holds the GPU goes at once, as GPUs were short on the way there."""
    rollout = go(OLD, NEW, deployment=deployment(NEW, surge=0, complete=False), pods=[crashed(CRASHES)])
    assert rollout.carried == OLD
    assert not rollout.surge
