"""What is written, and what is not: laws over any spec, any foreign change, and the way from any spec to any other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.actions import IMMUTABLE, Verb, actions, owned_paths
from vlm_operator.records import KubernetesObject
from vlm_operator.template import RUN_SIZE

from tests.vlm_operator.children import (
    CACHED,
    NAME,
    PARENT,
    SPEC,
    ApiServer,
    at_rest,
    carry_out,
    fields_of,
    serving,
    wanted,
)
from vlmctl.api import v1alpha1 as api

WORDS = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
TEXTS = WORDS | st.just("")
QUANTITIES = st.one_of(
    st.builds("{}{}".format, st.integers(1, 4096), st.sampled_from(["", "m", "k", "Mi", "Gi"])),
    st.builds("{}m".format, st.integers(1, 8).map(lambda cores: cores * 1000)),
    st.builds("{}Mi".format, st.integers(1, 64).map(lambda gib: gib * 1024)),
)
PODS = st.builds(
    api.PodOverrides,
    labels=st.dictionaries(WORDS, WORDS, max_size=2),
    annotations=st.dictionaries(WORDS, WORDS, max_size=2),
    node_selector=st.dictionaries(WORDS, WORDS, max_size=2),
    image_pull_secrets=st.lists(WORDS, max_size=2, unique=True).map(tuple),
    tolerations=st.lists(st.builds(api.Toleration, key=WORDS, value=TEXTS), max_size=2).map(tuple),
    priority_class_name=st.none() | WORDS,
    cpu=st.none() | QUANTITIES,
    memory=st.none() | QUANTITIES,
)
ENGINES = st.builds(
    api.Engine,
    env=st.lists(st.builds(api.Variable, name=WORDS, value=TEXTS), max_size=3, unique_by=lambda each: each.name).map(
        tuple
    ),
)
SOURCES = st.sampled_from(
    [
        None,
        api.ModelSource(pvc=api.PvcSource(claim_name="weights")),
        api.ModelSource(image=api.ImageSource(reference="ghcr.io/a/weights:1", path="/a")),
    ]
)
CLAIMS = st.builds(
    api.CachePvc,
    size=st.sampled_from(["100Gi", "102400Mi", 107374182400]),
    storage_class_name=st.none() | st.just("fast"),
    retain=st.booleans(),
)
SPECS = st.builds(
    lambda pod, engine, source, claim: replace(
        SPEC,
        pod=pod,
        engine=engine,
        model=api.ModelReference(name="tinyvl-2.5-7b", source=source),
        cache=None if claim is None else api.Cache(pvc=claim),
    ),
    PODS,
    ENGINES,
    SOURCES,
    st.none() | CLAIMS,
)
# The API server keeps no empty text, and a Job's pods stay as they were made.
WITH_EMPTY_VARIABLE = replace(
    SPEC, engine=api.Engine(env=(api.Variable(name="A", value=""),)), cache=api.Cache(pvc=api.CachePvc(size="1Gi"))
)


def places(fields: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of `fieldsV1`, of fields and of items of lists."""
    for path, below in fields.items():
        if path != ".":
            yield (*above, path)
            yield from places(below, (*above, path))


def owned_places(body: KubernetesObject) -> list[tuple[str, ...]]:
    """The paths of an object that somebody could change: not those that the API server lets nobody change or remove."""
    fixed = {f"f:{field}" for field in IMMUTABLE.get(body["kind"], ())}
    if body["kind"] == "PersistentVolumeClaim":
        fixed.add("f:spec")  # what is left of it may grow
    found = (path for path in places(fields_of(body)) if len(path) > 1 or path[0] == "f:automountServiceAccountToken")
    return [path for path in found if path[0] not in fixed]


def spoil(held: Any, path: Sequence[str], remove: bool) -> None:
    """Change or remove what is at the path."""
    *above, last = path
    for part in above:
        held = held[part[2:]] if part.startswith("f:") else _item(held, part)
    if last.startswith("k:"):
        held.remove(_item(held, last))
    elif remove and last[2:] in held:
        del held[last[2:]]
    else:  # or give it a value: an empty one is not kept
        held[last[2:]] = _other(held.get(last[2:], ""))


def _item(held: list[dict[str, Any]], part: str) -> dict[str, Any]:
    return next(each for each in held if json.loads(part[2:]).items() <= each.items())


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}-other"
        case list():
            return value[:-1]
        case _:
            return {"other": "value"}


def verbs(server: ApiServer, objects: Sequence[KubernetesObject]) -> list[tuple[str, str]]:
    return [(each.verb.value, each.kind) for each in actions(objects, server.observed(), replicas=1)]


@given(SPECS)
@example(WITH_EMPTY_VARIABLE)
def test_what_is_right_is_not_written(spec: api.VLMDeploymentSpec) -> None:
    """After everything was done nothing is left to do, whatever defaults and spellings the API server has."""
    assert verbs(at_rest(spec), wanted(spec)) == []


@given(st.data())
def test_a_foreign_change_of_our_fields_is_put_back(data: st.DataObject) -> None:
    """Any field that we apply, changed or removed by somebody, is one write of that object, and then all is right."""
    spec = data.draw(SPECS)
    server, objects = at_rest(spec), wanted(spec)
    body = data.draw(st.sampled_from([each for each in objects if owned_places(each)]))
    path = data.draw(st.sampled_from(owned_places(body)))
    spoil(server.objects[body["kind"], body["metadata"]["name"]], path, data.draw(st.booleans()))
    assert [each.kind for each in carry_out(server, objects)] == [body["kind"]]
    assert verbs(server, objects) == []


def _a_sidecar(held: KubernetesObject) -> None:
    pods = held["spec"]["template"]["spec"]
    pods["containers"].insert(0, {"name": "proxy", "image": "proxy:1"})
    pods["volumes"].append({"name": "proxy", "emptyDir": {}})
    pods["containers"][1]["env"].append({"name": "SEEN_BY", "value": "proxy"})
    pods["containers"][1]["volumeMounts"].insert(0, {"name": "proxy", "mountPath": "/proxy"})


def _other_metadata(held: KubernetesObject) -> None:
    held["metadata"].setdefault("annotations", {})["deployment.kubernetes.io/revision"] = "3"
    held["metadata"]["labels"]["team"] = "vision"


def _its_scale(held: KubernetesObject) -> None:
    held["spec"].update({"minReadySeconds": 5, "paused": True})


@pytest.mark.parametrize("change", [_a_sidecar, _other_metadata, _its_scale])
def test_a_foreign_change_of_other_fields_is_left_alone(change: Any) -> None:
    """What we do not apply is somebody else's: injected containers, annotations of controllers, a person's pause."""
    server = at_rest()
    change(server.objects["Deployment", NAME])
    assert verbs(server, wanted()) == []


@given(SPECS, SPECS)
def test_from_any_spec_to_any_other(before: api.VLMDeploymentSpec, after: api.VLMDeploymentSpec) -> None:
    """Afterwards the Deployment is as if it had been made so: nothing of the earlier spec is left over."""
    server = at_rest(before)
    carry_out(server, wanted(after))
    assert verbs(server, wanted(after)) == []
    template = server.objects["Deployment", NAME]["spec"]["template"]
    fresh = at_rest(after).objects["Deployment", NAME]["spec"]["template"]
    assert _sorted(template) == _sorted(fresh)


def _sorted(value: Any) -> Any:
    """Without the order of items that have names."""
    if isinstance(value, dict):
        return {name: _sorted(part) for name, part in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sorted((_sorted(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Service", "spec.selector"),
        ("PodDisruptionBudget", "spec.selector.matchLabels"),
        ("NetworkPolicy", "spec.podSelector.matchLabels"),
        ("Deployment", "spec.template.spec.nodeSelector"),
    ],
)
def test_a_label_more_selects_something_else(kind: str, path: str) -> None:
    """No traffic, no budget, pods open to anyone or without a node: a selector is ours as a whole."""
    spec = replace(SPEC, pod=api.PodOverrides(node_selector={"zone": "a"}))
    server = at_rest(spec)
    labels = server.objects[kind, NAME]
    for part in path.split("."):
        labels = labels[part]
    labels["nobody"] = "has-this"
    (action,) = actions(wanted(spec), server.observed(), replicas=1)
    assert (action.kind, action.reason.split()[0]) == (kind, path.removesuffix(".matchLabels"))


def test_a_rival_of_ours_goes() -> None:
    """A budget for disruptions has one of its two limits; the patch says that the other is not to be."""
    server = at_rest()
    budget = server.objects["PodDisruptionBudget", NAME]["spec"]
    budget["minAvailable"] = 0
    del budget["maxUnavailable"]
    (action,) = actions(wanted(), server.observed(), replicas=1)
    assert action.instead is not None
    assert (action.instead["spec"]["maxUnavailable"], action.instead["spec"]["minAvailable"]) == (1, None)


def test_what_stands_in_the_place_of_ours_is_replaced() -> None:
    """Another source of our volume, another port of that name: where an apply is refused, a patch has ours alone."""
    server = at_rest()
    pods = server.objects["Deployment", NAME]["spec"]["template"]["spec"]
    _a_sidecar(server.objects["Deployment", NAME])
    run = next(each for each in pods["volumes"] if each["name"] == "run")
    run["hostPath"] = run.pop("emptyDir")
    pods["initContainers"][0]["ports"][0]["containerPort"] = 1
    pods["containers"][1]["livenessProbe"] = {"httpGet": {"path": "/health"}}
    (action,) = actions(wanted(), server.observed(), replicas=1)
    assert action.instead is not None
    there = action.instead["spec"]["template"]["spec"]
    (engine, agent, proxy) = there["containers"]
    assert {"name": "run", "emptyDir": {"sizeLimit": RUN_SIZE}} in there["volumes"]
    assert {"name": "proxy", "emptyDir": {}} in there["volumes"]
    assert [port["containerPort"] for port in there["initContainers"][0]["ports"]] == [8000, 8082]
    assert list(engine["livenessProbe"]).count("httpGet") == 0
    assert {"name": "SEEN_BY", "value": "proxy"} in engine["env"]
    assert (agent["name"], proxy) == ("agent", {"name": "proxy", "image": "proxy:1"})


def test_only_what_fell_short_is_said() -> None:
    """The reason names the first field, and no value, which could be a secret."""
    server = at_rest()
    server.objects["Deployment", NAME]["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    server.objects["Service", NAME]["metadata"]["labels"].clear()
    said = {each.kind: each.reason for each in actions(wanted(), server.observed(), replicas=1)}
    assert said == {
        "Deployment": "spec.template.spec.containers[engine].image is not as wanted",
        "Service": "metadata.labels.app.kubernetes.io/name is not as wanted",
    }


def test_things_are_made_before_what_needs_them() -> None:
    """Owners come before what they own, and all that a pod mounts or runs as before the Deployment."""
    parent = {**PARENT, "status": {}}
    done = actions(wanted(CACHED, parent=parent), ApiServer().observed(parent), replicas=3)
    order = [each.kind for each in done]
    before = ["ServiceAccount", "Secret", "PersistentVolumeClaim", "ControllerRevision", "ConfigMap", "Job"]
    assert [kind for kind in order if kind in before] == before
    assert order[-2:] == ["Deployment", "Deployment"]
    assert (done[-1].verb, done[-1].replicas) == (Verb.SCALE, 3)
    assert [each.kind for each in done if each.verb is Verb.CREATE] == ["Secret"]


def test_a_name_that_was_not_seen_is_not_taken_over() -> None:
    """The first write of an object is one that conflicts with somebody else's of the same name; later ones do not."""
    assert not any(each.forced for each in actions(wanted(), ApiServer().observed(), replicas=1))
    server = at_rest()
    server.objects["Service", NAME]["spec"]["ports"] = []
    (action,) = actions(wanted(), server.observed(), replicas=1)
    assert action.forced


@pytest.mark.parametrize("parent", [{"spec": {"paused": True}}, {"metadata": {"deletionTimestamp": "2026-01-01"}}])
def test_paused_and_deleted_ones_are_left_as_they_are(parent: dict[str, Any]) -> None:
    """No write, be it ever so much out of order."""
    held = {**PARENT, **{field: {**PARENT[field], **value} for field, value in parent.items()}}
    assert actions(wanted(), ApiServer().observed(held), replicas=5) == ()


@pytest.mark.parametrize(("has", "asked", "scaled"), [(1, 3, [3]), (3, 3, []), (2, 0, [0])])
def test_replicas_go_through_the_scale(has: int, asked: int, scaled: list[int]) -> None:
    """They are in no applied object."""
    server = at_rest()
    server.objects["Deployment", NAME]["spec"]["replicas"] = has
    done = actions(wanted(), server.observed(), replicas=asked)
    assert [(each.verb, each.replicas) for each in done] == [(Verb.SCALE, count) for count in scaled]


def test_no_deployment_before_a_replica_is_wanted() -> None:
    """It would be made with one pod, for a moment."""
    done = actions(wanted(), ApiServer().observed(), replicas=0)
    assert "Deployment" not in {each.kind for each in done}
    assert "Service" in {each.kind for each in done}


def test_what_cannot_change_is_not_tried() -> None:
    """The API server refuses other values for these, so an apply for another reason carries the present ones."""
    server, other = at_rest(CACHED), serving(CACHED)
    assert other.wanted is not None
    newer = replace(other.wanted, planned=replace(other.wanted.planned, notes=("newer",)), config={"agent.json": "{}"})
    objects = wanted(CACHED, replace(other, wanted=newer, carried=newer, revisions=(newer,)))
    assert verbs(server, objects) == []
    for kind in ("ControllerRevision", "ConfigMap"):
        held = next(each for (found, _), each in server.objects.items() if found == kind)
        data = deepcopy(held["data"])
        held["metadata"]["labels"].clear()
        carry_out(server, objects)
        assert held["data"] == data
        assert held["metadata"]["labels"]


def test_owned_fields_are_ours_alone() -> None:
    """Fields of others, and those written through a subresource or by an update, are not reasons to write."""
    fields = {"f:spec": {"f:replicas": {}, "f:template": {".": {}, "f:metadata": {}}}}
    ours = {"manager": "vlm-operator", "operation": "Apply", "fieldsV1": fields}
    others = [{**ours, "manager": "kubectl"}, {**ours, "operation": "Update"}, {**ours, "subresource": "scale"}]
    assert owned_paths(others) == frozenset()
    assert owned_paths([*others, ours]) == {"f:spec\nf:replicas", "f:spec\nf:template\nf:metadata"}
    assert owned_paths([ours]) is owned_paths([deepcopy(ours)])
