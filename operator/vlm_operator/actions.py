"""What is wanted x what is there -> what to write, and why. An object that is right is not written.

Right means: every field that is wanted has the wanted value, and no field that we own is left over from before. Fields
of other managers and defaults of the API server do not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

from vlm_operator import names
from vlm_operator.download import current
from vlm_operator.quantities import is_same_quantity, larger_quantity
from vlm_operator.records import KubernetesObject, Observed
from vlm_operator.reported import is_controlled
from vlmctl.specs.record import Record

# Lists whose items the API server tells apart by a key, so that others may add to them; every other list is one value.
MERGED_BY = {
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "ports": "name",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
QUANTITIES = frozenset({"requests", "limits", "sizeLimit"})  # fields whose values the API server writes in its own way
NOT_WRITTEN_EMPTY = "value"  # of variables and tolerations: the API server answers no field for an empty text
# Of an autoscaler's rules: clusters that do not know it, or have it switched off, drop it without a word.
NOT_ALWAYS_KEPT = "tolerance"
# Of each of these there is one kind at a time: another source of a volume or variable, another handler of a probe.
WHOLE = frozenset({"env", "volumes", "livenessProbe", "preStop", "readinessProbe", "startupProbe"})
# Fields that cannot be changed once they are there, by kind, and of a claim's spec.
IMMUTABLE = {"ConfigMap": ("data", "immutable"), "ControllerRevision": ("data",), "Job": ("spec",)}
IMMUTABLE_OF_CLAIMS = ("accessModes", "storageClassName")
# What may go before its VLMDeployment does. A claim holds data, a Deployment holds pods that serve, and pods of earlier
# revisions mount their ConfigMaps.
DELETABLE = frozenset(
    {
        "HTTPScaledObject",
        "HorizontalPodAutoscaler",
        "Job",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "ScaledObject",
        "Service",
        "ServiceAccount",
    }
)
# What pods need to be what they are said to be: without one of these, or with somebody else's of its name, they would
# be open to anyone, act with another identity, or mount what is not theirs.
NEEDED_BY_PODS = frozenset({"ConfigMap", "NetworkPolicy", "PersistentVolumeClaim", "Secret", "ServiceAccount"})
# What the pods of any revision need; the others may be of one that does not run yet, which scaling does not add to.
OF_ALL_REVISIONS = frozenset({"NetworkPolicy", "Secret", "ServiceAccount"})
WITH_PODS = frozenset({"Deployment", "Job"})
SHAPES_REMEMBERED = 1024  # sets of owned fields; objects of a kind mostly share one
PATHS_REMEMBERED = 4096  # owned fields, taken apart
# Of the fields that are one owner's as a whole (x-kubernetes-map-type: atomic), those where a label more changes what
# is chosen: nobody is served, pods are open to anyone, or find no node.
SELECTORS = frozenset({"nodeSelector", "podSelector", "selector"})
RIVALS = {"maxUnavailable": "minAvailable"}  # of a field, another that may not stand beside it
BETWEEN = "\n"  # parts of a path: no name of a field holds one


class Verb(StrEnum):
    """What to do with an object."""

    APPLY = "apply"  # server-side, whole
    CREATE = "create"  # unless it is there, which is fine too
    ANNOTATE = "annotate"  # with a JSON merge patch
    SCALE = "scale"
    DELETE = "delete"


class Action(Record, frozen=True, kw_only=True):
    """One write, and why. `body`: to apply or create, or the patch. `replicas`: to scale to. `uid`: of the object to
    delete.

    `forced`: whether fields of other managers are taken over. A name that was not seen before may be somebody else's
    object: a conflict then says so. `instead`: a JSON merge patch for where the API server refuses the apply as
    invalid, because what somebody put in the place of ours would stay beside it.
    """

    verb: Verb
    kind: str
    name: str
    reason: str
    body: KubernetesObject | None = None
    replicas: int | None = None
    uid: str = ""
    forced: bool = True
    instead: KubernetesObject | None = None

    @property
    def makes_what_pods_need(self) -> bool:
        """Whether pods that are made without it would not be safe. An object that is there already serves them, and
        without a standing word (a ConfigMap that they may lack) they try themselves.
        """
        is_word = self.kind == "ConfigMap" and self.name.endswith(names.WORD_SUFFIX)
        return self.kind in NEEDED_BY_PODS and not is_word and (self.verb is Verb.CREATE or not self.forced)


def adds_pods(action: Action, observed: Observed) -> bool:
    """Whether pods may come of it."""
    if action.kind not in WITH_PODS:
        return False
    if action.verb is not Verb.SCALE:
        return action.verb is Verb.APPLY
    there = observed.children.get(action.kind, {}).get(action.name)
    return (action.replicas or 0) > (0 if there is None else there["spec"].get("replicas", 1))


def actions(
    wanted: Sequence[KubernetesObject], observed: Observed, *, replicas: int, pruned: Sequence[str] = ()
) -> tuple[Action, ...]:
    """What makes the children right, in order: what is missing or differs, the Deployment's scale, what is to go.

    `wanted`: from `desired.desired`; `replicas`: that there are to be; `pruned`: names of ControllerRevisions. Nothing
    while it is paused or being deleted; the scale alone where nothing is known of what is wanted.
    """
    parent = observed.parent
    if parent["spec"].get("paused") or "deletionTimestamp" in parent["metadata"]:
        return ()
    seen_deployment = observed.children.get("Deployment", {}).get(parent["metadata"]["name"])
    if not wanted:
        return tuple(_scale(parent["metadata"]["name"], seen_deployment, replicas=replicas, made=False))
    without = {"Deployment"} if seen_deployment is None and replicas == 0 else set()  # it would be made with one
    written = [action for each in wanted if each["kind"] not in without for action in _apply(each, observed)]
    made = any(action.kind == "Deployment" for action in written)
    return (
        *written,
        *_scale(parent["metadata"]["name"], seen_deployment, replicas=replicas, made=made),
        *_delete(wanted, observed, pruned),
    )


def _apply(wanted: KubernetesObject, observed: Observed) -> Iterator[Action]:
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    seen = observed.children.get(kind, {}).get(name)
    if kind == "Secret":
        yield Action(verb=Verb.CREATE, kind=kind, name=name, reason="it is not known to be there", body=wanted)
    elif seen is None:
        yield Action(verb=Verb.APPLY, kind=kind, name=name, reason="it is missing", body=wanted, forced=False)
    elif "deletionTimestamp" not in seen["metadata"]:
        settled = _settled(wanted, seen)
        reason = difference(settled, seen) or left_over(observed.owned.get(kind, {}).get(name, frozenset()), settled)
        if reason is None:
            return
        instead = {"spec": _merged(settled["spec"], seen["spec"])} if "spec" in settled else None
        yield Action(verb=Verb.APPLY, kind=kind, name=name, reason=reason, body=settled, instead=instead)


def _scale(name: str, seen: KubernetesObject | None, *, replicas: int, made: bool) -> Iterator[Action]:
    """Through the subresource, after the Deployment was made (with the API server's default, 1)."""
    if seen is None and not made:
        return
    now = 1 if seen is None else seen["spec"].get("replicas", 1)
    if now != replicas:
        reason = f"it has {now} replicas instead of {replicas}"
        yield Action(verb=Verb.SCALE, kind="Deployment", name=name, reason=reason, replicas=replicas)


def _delete(wanted: Sequence[KubernetesObject], observed: Observed, pruned: Sequence[str]) -> Iterator[Action]:
    """Revisions that are no longer kept, and what the VLMDeployment owns and nobody wants; these take theirs along."""
    needed = {(each["kind"], each["metadata"]["name"]) for each in wanted}
    jobs, uid = current(observed.children, observed.parent["metadata"]["name"]), observed.parent["metadata"]["uid"]
    for kind, children in sorted(observed.children.items()):
        for name, child in sorted(children.items()):
            metadata = child["metadata"]
            is_old = kind == "Job" and name not in jobs
            is_needed = (kind, name) in needed and not is_old
            if is_needed or "deletionTimestamp" in metadata or not is_controlled(child, uid):
                continue
            if is_old:
                reason = "the claim that it filled is gone"
            elif kind == "ControllerRevision" and name in pruned:
                reason = "newer revisions took its place"
            elif kind in DELETABLE:
                reason = "it is no longer wanted"
            else:
                continue
            yield Action(verb=Verb.DELETE, kind=kind, name=name, reason=reason, uid=metadata["uid"])


def difference(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> str | None:
    """The first field that is not as wanted, as a sentence; None where all are."""
    path = next(_differences(wanted, seen, "", ""), None)
    return None if path is None else f"{path} is not as wanted"


def _differences(wanted: Any, seen: Any, path: str, field: str) -> Iterator[str]:
    """Paths where `seen` falls short of `wanted`, or a selector is another. `field`: the last name in the path."""
    if wanted == seen:
        return
    if isinstance(wanted, dict) and isinstance(seen, dict) and field not in SELECTORS:
        for key, value in wanted.items():
            below = f"{path}.{key}".lstrip(".")
            if key in seen:
                yield from _differences(value, seen[key], below, field if field in QUANTITIES else key)
            elif key != NOT_ALWAYS_KEPT and (key != NOT_WRITTEN_EMPTY or value != ""):
                yield below
    elif isinstance(wanted, list) and isinstance(seen, list) and field in MERGED_BY:
        key = MERGED_BY[field]
        found = {item.get(key): item for item in seen}
        for item in wanted:
            below = f"{path}[{item[key]}]"
            if item[key] not in found:
                yield below
            else:
                yield from _differences(item, found[item[key]], below, "")
    elif _without_empty(wanted) != _without_empty(seen) and not (
        field in QUANTITIES and is_same_quantity(wanted, seen)
    ):
        yield path


def _without_empty(value: Any) -> Any:
    """A list that is one value, as the API server answers it; anything else as it is."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return value
    return [{key: part for key, part in item.items() if (key, part) != (NOT_WRITTEN_EMPTY, "")} for item in value]


def _merged(wanted: Any, seen: Any, field: str = "") -> Any:
    """All that is there, with what is wanted in its place."""
    if isinstance(wanted, dict) and isinstance(seen, dict) and field not in WHOLE:
        rivals = {RIVALS[key]: None for key in wanted if RIVALS.get(key) in seen}
        return {**seen, **{key: _merged(value, seen.get(key), key) for key, value in wanted.items()}, **rivals}
    if isinstance(wanted, list) and isinstance(seen, list) and field in MERGED_BY:
        key, below = MERGED_BY[field], field if field in WHOLE else ""
        there = {item.get(key): item for item in seen}
        ours = {item[key]: _merged(item, there.get(item[key]), below) for item in wanted}
        return [*ours.values(), *(item for item in seen if item.get(key) not in ours)]
    return wanted


def _settled(wanted: KubernetesObject, seen: KubernetesObject) -> KubernetesObject:
    """The object as it can still become: with the immutable fields that it has, and no smaller a volume."""
    if wanted["kind"] == "PersistentVolumeClaim":
        asked, has = wanted["spec"]["resources"]["requests"], seen["spec"]["resources"]["requests"]
        storage = larger_quantity(asked["storage"], has["storage"])
        resources = {"requests": {"storage": storage}}
        kept = {field: seen["spec"][field] for field in IMMUTABLE_OF_CLAIMS if field in seen["spec"]}
        return {**wanted, "spec": {**wanted["spec"], "resources": resources, **kept}}
    is_open = wanted["kind"] == "ConfigMap" and not seen.get("immutable")
    fixed = () if is_open else IMMUTABLE.get(wanted["kind"], ())
    return {**wanted, **{field: seen[field] for field in fixed if field in seen}}


def left_over(owned: frozenset[str], wanted: KubernetesObject) -> str | None:
    """The first owned field that is not wanted any more, as a sentence; None where there is none."""
    left = min((path for path in owned if not _holds(wanted, _steps(path))), default=None)
    return None if left is None else f"{left.replace(BETWEEN, '.')} is no longer wanted"


@lru_cache(maxsize=PATHS_REMEMBERED)
def _steps(path: str) -> tuple[tuple[str, Any], ...]:
    """`f` and a field, `k` and what an item of a list has, or `v` and an item itself."""
    parts = path.split(BETWEEN)
    return tuple((part[0], part[2:] if part[0] == "f" else json.loads(part[2:])) for part in parts)


def _holds(value: Any, steps: Sequence[tuple[str, Any]]) -> bool:
    """Whether the path leads anywhere."""
    before = ""
    for form, told in steps:
        if (before, form, told) == ("k", "f", NOT_WRITTEN_EMPTY):
            return True  # an empty text: what is taken over as it was read lacks the field
        before = form
        if form == "f":
            found = [value[told]] if isinstance(value, dict) and told in value else []
        elif not isinstance(value, list):
            return False
        elif form == "k":
            found = [item for item in value if told.items() <= item.items()]
        else:
            found = [item for item in value if item == told]
        if not found:
            return False
        value = found[0]
    return True


def owned_paths(managed_fields: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The fields that our applies own, out of an object's `metadata.managedFields`; equal sets are one in memory.

    A path is what stands in `fieldsV1`, joined by line ends. Of owners only that there are any, as their uids differ
    from object to object.
    """
    paths: set[str] = set()
    for entry in managed_fields:
        ours = entry.get("manager") == names.FIELD_MANAGER and entry.get("operation") == "Apply"
        if ours and not entry.get("subresource"):
            paths.update(_paths(entry.get("fieldsV1", {}), ""))
    return _shared(frozenset(paths))


def _paths(fields: Mapping[str, Any], above: str) -> Iterator[str]:
    for name, below in fields.items():
        if name == ".":
            continue
        path = f"{above}{BETWEEN}{name}" if above else name
        if name == "f:ownerReferences" or not below.keys() - {"."}:
            yield path
        else:
            yield from _paths(below, path)


@lru_cache(maxsize=SHAPES_REMEMBERED)
def _shared(paths: frozenset[str]) -> frozenset[str]:
    return paths
