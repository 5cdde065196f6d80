"""The store: whatever order watches, lists and answers to writes come in, what is newest holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator import names
from vlm_operator.kinds import DEPLOYMENT, NODE, POD, VLMDEPLOYMENT
from vlm_operator.records import Key
from vlm_operator.store import LAST_APPLIED, Store

KEY = Key("team", "vision")


def child(
    version: int, *, name: str = "vision", uid: str = "u1", kind: str = "Deployment", **more: Any
) -> dict[str, Any]:
    metadata = {
        "namespace": "team",
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "labels": names.labels("vision", names.Component.ENGINE),
    }
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, **more}


def parent(version: int, uid: str = "p1") -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "vision", "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": "vlmctl.dev/v1alpha1", "kind": "VLMDeployment", "metadata": metadata, "spec": {}}


def test_children_are_found_by_their_owner() -> None:
    """A child belongs to the VLMDeployment that its label names, in its namespace."""
    store = Store()
    assert store.put(child(3)) == {KEY}
    store.put(child(4, name="other", kind="Service"))
    store.put(parent(1))
    assert [(each["kind"], each["metadata"]["name"]) for each, _ in store.owned(KEY)] == [
        ("Deployment", "vision"),
        ("Service", "other"),
    ]
    assert store.deployments() == [KEY]


@pytest.mark.parametrize(("label", "owner"), [("other", Key("team", "other")), (None, None)])
def test_a_child_that_changes_hands_is_told_of_both_owners(label: str | None, owner: Key | None) -> None:
    """The one that has lost it makes it anew."""
    store, moved = Store(), child(4)
    store.put(child(3))
    moved["metadata"]["labels"] = {} if label is None else {names.DEPLOYMENT: label}
    assert store.put(moved) == {KEY, owner}
    assert list(store.owned(KEY)) == []
    assert store.drop(moved) == owner


def test_the_answer_to_a_write_is_seen_and_its_late_event_is_no_news() -> None:
    """Read your writes: the next pass sees what was written, and the watch's own word of it changes nothing."""
    store = Store()
    store.put(child(3, spec={"paused": False}))
    store.reached("Deployment", "", 3)
    store.written(child(8, spec={"paused": True}))
    assert store.put(child(5, spec={"paused": False})) == set()
    assert store.put(child(8, spec={"paused": True})) == set()
    assert store.get("Deployment", "team", "vision")["spec"] == {"paused": True}  # type: ignore[index]


def test_a_late_answer_does_not_bring_back_what_was_deleted() -> None:
    """An answer older than what the watch has told is dropped."""
    store = Store()
    store.put(child(3))
    store.drop(child(9))
    store.reached("Deployment", "", 9)
    store.written(child(8))
    assert store.get("Deployment", "team", "vision") is None
    assert list(store.owned(KEY)) == []


def test_the_end_of_an_object_does_not_take_its_successor() -> None:
    """A deletion that is told late leaves the object that has taken the name since."""
    store = Store()
    store.put(child(3))
    store.written(child(9, uid="u2"))
    assert store.drop(child(7)) is None
    assert store.get("Deployment", "team", "vision")["metadata"]["uid"] == "u2"  # type: ignore[index]
    assert store.drop(child(12, uid="u2")) == KEY


def test_a_list_is_the_whole_truth_up_to_its_version() -> None:
    """What a list does not hold is forgotten, unless it was written after the list was read."""
    store = Store()
    store.put(child(3, name="old"))
    store.put(child(4, name="kept"))
    store.written(child(20, name="new"))
    assert store.replace(DEPLOYMENT, "", {("team", "kept")}, 10) == {KEY}
    assert [each["metadata"]["name"] for each in store.all("Deployment")] == ["kept", "new"]


def test_what_came_after_a_list_is_newer_than_the_list() -> None:
    """A watch may tell of an object while the pages of a list are still read."""
    store = Store()
    store.put(child(3))
    store.listing(DEPLOYMENT, "", 10)
    store.put(child(12))
    assert store.put(child(8), listed_at=10) == set()
    assert store.replace(DEPLOYMENT, "", {("team", "vision")}, 10) == set()
    assert store.versions("Deployment") == {("team", "vision"): 12}


def test_a_list_that_breaks_off_after_etcd_was_restored_is_made_up_for() -> None:
    """What was not listed stays as it was until the next list, whose version is no step back any more."""
    store = Store()
    for at, name in enumerate(("a", "b", "gone"), 20):
        store.put(child(at, name=name))
    store.reached("Deployment", "", 30)
    store.listing(DEPLOYMENT, "", 10)
    assert store.put(child(5, name="a"), listed_at=10) == {KEY}
    assert [each["metadata"]["name"] for each in store.all("Deployment")] == ["a", "b", "gone"]
    store.listing(DEPLOYMENT, "", 11)
    assert store.put(child(5, name="a"), listed_at=11) == set()
    assert store.put(child(6, name="b"), listed_at=11) == {KEY}
    assert store.replace(DEPLOYMENT, "", {("team", "a"), ("team", "b")}, 11) == {KEY}
    assert store.versions("Deployment") == {("team", "a"): 5, ("team", "b"): 6}
    store.written(child(12, name="a"))
    assert store.versions("Deployment")["team", "a"] == 12


def test_a_step_back_in_one_namespace_leaves_the_others() -> None:
    """A list speaks for the kind and the namespace that it is of."""
    store = Store()
    store.put(child(20))
    store.put(child(20, kind="Service"))
    store.reached("Deployment", "elsewhere", 30)
    store.listing(DEPLOYMENT, "elsewhere", 10)
    assert store.put(child(5)) == set()
    store.reached("Deployment", "team", 30)
    store.listing(DEPLOYMENT, "team", 10)
    assert store.put(child(5, kind="Service")) == set()
    assert store.put(child(5)) == {KEY}


def test_a_list_of_one_namespace_leaves_the_others() -> None:
    """Where namespaces are watched one by one, each list speaks for its own."""
    store = Store()
    store.put(child(3))
    assert store.replace(DEPLOYMENT, "elsewhere", set(), 10) == set()
    assert store.get("Deployment", "team", "vision") is not None


def test_a_status_write_does_not_bring_back_a_parent() -> None:
    """A VLMDeployment comes from its watch alone."""
    store = Store()
    store.written(parent(5))
    assert store.deployments() == []
    store.put(parent(4))
    store.written(parent(5))
    store.forget(KEY)
    store.forget(KEY)
    assert store.get(VLMDEPLOYMENT.kind, *KEY) is None


def test_noise_is_not_kept() -> None:
    """Of `managedFields` only what we own is kept, apart from the object, and no second copy of the manifest."""
    body = child(3)
    body["metadata"]["annotations"] = {LAST_APPLIED: "{}", "a": "b"}
    ours = {"manager": "vlm-operator", "operation": "Apply", "fieldsV1": {"f:spec": {}}}
    body["metadata"]["managedFields"] = [ours, {"manager": "kubectl", "operation": "Apply"}]
    store = Store()
    store.put(body)
    ((kept, fields),) = store.owned(KEY)
    assert "managedFields" not in kept["metadata"]
    assert fields == {"f:spec"}
    assert kept["metadata"]["annotations"] == {"a": "b"}
    assert LAST_APPLIED in body["metadata"]["annotations"]  # the body itself is not touched


def test_what_can_be_of_any_length_is_not_kept() -> None:
    """Of a VLMDeployment its writer's metadata, whoever he says that it is from; of pods what its spec says of them."""
    store, body = Store(), parent(3)
    fields = dict[str, Any]()
    for _ in range(5000):
        fields = {"f:a": fields}
    body["metadata"] |= {
        "annotations": {names.REPLAN: "1", "a": "b"},
        "finalizers": ["a/b"],
        "labels": {"a": "b"},
        "managedFields": [{"manager": names.FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}],
        "ownerReferences": [{"uid": "1"}],
    }
    store.put(body)
    kept = store.get(VLMDEPLOYMENT.kind, *KEY)
    assert kept is not None
    assert kept["metadata"] == {**parent(3)["metadata"], "annotations": {names.REPLAN: "1"}}
    engine = {"name": "engine", "resources": {"limits": {"memory": "1Gi"}}, "startupProbe": {"periodSeconds": 5}}
    image = {"reference": "registry.corp/a:1"}
    spec = {
        "nodeName": "n",
        "nodeSelector": {"a": "b"},
        "terminationGracePeriodSeconds": 60,
        "containers": [{**engine, "args": ["a"], "env": [{"name": "a", "value": "b"}]}],
        "volumes": [{"name": "model", "image": image}, {"name": "run", "emptyDir": {}}],
    }
    pod = child(4, kind=POD.kind, spec=spec, status={"phase": "Running"})
    pod["metadata"]["annotations"] = {names.MEASURED: "now", "a": "b"}
    store.put(pod)
    ((kept, _),) = store.owned(KEY)
    assert kept["spec"] == {
        "nodeName": "n",
        "terminationGracePeriodSeconds": 60,
        "containers": [engine],
        "volumes": [{"image": image}],
    }
    assert kept["metadata"] == {**pod["metadata"], "annotations": {names.MEASURED: "now"}}
    assert kept["status"] == pod["status"]


def test_the_heartbeat_of_a_node_is_no_change() -> None:
    """Of a node only labels, taints, schedulability and what it can give count."""

    def node(version: int, gpus: str, beat: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": NODE.kind,
            "metadata": {"name": "n", "uid": "n1", "resourceVersion": str(version), "labels": {"a": "b"}},
            "spec": {"unschedulable": True, "podCIDR": "10.0.0.0/24"},
            "status": {"allocatable": {"nvidia.com/gpu": gpus}, "conditions": [{"lastHeartbeatTime": beat}]},
        }

    store = Store()
    assert store.put(node(1, "8", "12:00")) == {None}
    assert store.put(node(2, "8", "12:01")) == set()
    assert store.put(node(3, "7", "12:02")) == {None}
    (kept,) = store.all(NODE.kind)
    assert kept["spec"] == {"unschedulable": True}


def test_changes_count_deletions_too() -> None:
    """Whoever has read all of a kind can tell that it must be read again."""
    store = Store()
    store.put(child(3))
    before = store.changes("Deployment")
    store.drop(child(3))
    assert store.changes("Deployment") > before


@given(st.data())
def test_any_order_ends_with_the_newest(data: st.DataObject) -> None:
    """However events, answers to writes and lists are mixed, the last version of the stream is what is kept."""
    last = data.draw(st.integers(1, 12))
    answers = data.draw(st.lists(st.integers(1, last), max_size=6))
    deleted = data.draw(st.booleans())
    store, stream = Store(), list(range(1, last + 1))
    while stream or answers:
        if answers and data.draw(st.booleans() if stream else st.just(True)):
            store.written(child(answers.pop(0), generation=0))
            continue
        version = stream.pop(0)
        if deleted and version == last:
            store.drop(child(version))
        else:
            store.put(child(version, generation=0))
        store.reached("Deployment", "", version)
    kept = store.get("Deployment", "team", "vision")
    if deleted:
        assert kept is None
        assert list(store.owned(KEY)) == []
    else:
        assert kept is not None
        assert kept["metadata"]["resourceVersion"] == str(last)


@given(st.data())
def test_a_list_after_etcd_was_restored_is_all_there_is(data: st.DataObject) -> None:
    """Whatever was known of a history that is no more, and however far the new one has come."""
    store, before = Store(), dict[str, int]()
    name = st.sampled_from("abc")
    snapshot = data.draw(st.integers(0, 8))
    for version in range(1, data.draw(st.integers(snapshot, 16)) + 1):
        changed = data.draw(name)
        store.put(child(version, name=changed))
        store.reached("Deployment", "", version)
        if version <= snapshot:
            before[changed] = version
    last = data.draw(st.integers(snapshot, 20))
    now = {**before, **{data.draw(name): version for version in range(snapshot + 1, last + 1)}}
    for lost in data.draw(st.sets(name)):
        now.pop(lost, None)
    store.listing(DEPLOYMENT, "", last)
    for each, version in now.items():
        store.put(child(version, name=each), listed_at=last)
    store.replace(DEPLOYMENT, "", {("team", each) for each in now}, last)
    assert store.versions("Deployment") == {("team", each): version for each, version in now.items()}
    store.put(child(last + 1, name="a"))
    assert store.versions("Deployment")["team", "a"] == last + 1
