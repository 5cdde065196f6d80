"""What watches have brought and writes have answered: the newest known version of each object, in little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import msgspec

from vlm_operator import names
from vlm_operator.actions import owned_paths
from vlm_operator.kinds import NODE, POD, VLMDEPLOYMENT, Resource
from vlm_operator.records import Key, KubernetesObject

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # annotation: the whole manifest once more
UNBOUNDED = frozenset({"annotations", "finalizers", "labels", "managedFields", "ownerReferences"})
Name = tuple[str, str]  # namespace ("" for kinds without) and name


class Entry(NamedTuple):
    """One object. `content`: what is kept of it, as msgpack; `fields`: those that our field manager owns."""

    uid: str
    version: int
    owner: Key | None
    content: bytes
    fields: frozenset[str]


class Store:
    """Objects by kind and name, and by the VLMDeployment that they belong to.

    Versions are compared as numbers, so what is older never takes the place of what is newer, whichever way it came.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, dict[Name, Entry]] = {}
        self._owned: dict[Key, set[tuple[str, Name]]] = {}
        self._reached: dict[tuple[str, str], int] = {}
        self._changes: Counter[str] = Counter()

    def get(self, kind: str, namespace: str, name: str) -> KubernetesObject | None:
        """A fresh copy of the object, or None."""
        entry = self._kinds.get(kind, {}).get((namespace, name))
        return None if entry is None else _decoded(entry)

    def all(self, kind: str) -> Iterator[KubernetesObject]:
        """Fresh copies of all objects of a kind, by namespace and name."""
        for _, entry in sorted(self._kinds.get(kind, {}).items()):
            yield _decoded(entry)

    def owned(self, key: Key, only: str | None = None) -> Iterator[tuple[KubernetesObject, frozenset[str]]]:
        """Fresh copies of what belongs to a VLMDeployment, by kind and name, each with the fields that we own of it.

        `only`: of one kind.
        """
        for kind, name in sorted(each for each in self._owned.get(key, ()) if only in (None, each[0])):
            entry = self._kinds[kind][name]
            yield _decoded(entry), entry.fields

    def deployments(self) -> list[Key]:
        """All VLMDeployments."""
        return [Key(*name) for name in sorted(self._kinds.get(VLMDEPLOYMENT.kind, {}))]

    def versions(self, kind: str) -> dict[Name, int]:
        """The version of each object of a kind, by namespace and name, in their order."""
        return {name: entry.version for name, entry in sorted(self._kinds.get(kind, {}).items())}

    def changes(self, kind: str) -> int:
        """How often anything of the kind has changed."""
        return self._changes[kind]

    def put(self, body: KubernetesObject, *, listed_at: int = 0) -> set[Key | None]:
        """Take in an object unless a newer version is known; gives whose it is, and whose it was, if anything changed.

        None stands for nobody. `listed_at`: the version of the whole list that tells of it. What such a list tells of
        an older version than is known up to its own: etcd was restored from a snapshot, and the list is right.
        """
        kind, metadata = body["kind"], body["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        version = int(metadata["resourceVersion"])
        known = self._kinds.get(kind, {}).get(name)
        if known is not None and (version == known.version or known.version > max(version, listed_at)):
            return set()
        # Of a VLMDeployment nobody asks, and whoever writes it says under whose name.
        fields = frozenset() if kind == VLMDEPLOYMENT.kind else owned_paths(metadata.get("managedFields", ()))
        content = _ENCODER.encode(_kept(body))
        entry = Entry(metadata["uid"], version, _owner(kind, name, metadata), content, fields)
        self._set(kind, name, entry)
        if known is None:
            return {entry.owner}
        return set() if known.content == entry.content else {known.owner, entry.owner}

    def written(self, body: KubernetesObject) -> None:
        """Take in what a write answered, so that the next pass sees it, unless the watch has come further already."""
        kind, namespace = body["kind"], body["metadata"].get("namespace", "")
        come = max(self._reached.get((kind, place), 0) for place in ("", namespace))
        known = (namespace, body["metadata"]["name"]) in self._kinds.get(kind, {})
        if int(body["metadata"]["resourceVersion"]) > come and (known or kind != VLMDEPLOYMENT.kind):
            self.put(body)

    def drop(self, body: KubernetesObject) -> Key | None:
        """Forget an object that is gone, unless another has taken its name since; gives whose it was."""
        kind, metadata = body["kind"], body["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        known = self._kinds.get(kind, {}).get(name)
        if known is None or (known.uid != metadata["uid"] and known.version > int(metadata["resourceVersion"])):
            return None
        return self._unset(kind, name)

    def reached(self, kind: str, watched: str, version: int) -> None:
        """A watch over the namespace `watched` ("" for all) has told everything up to this version."""
        self._reached[kind, watched] = max(version, self._reached.get((kind, watched), 0))

    def listing(self, resource: Resource, watched: str, version: int) -> None:
        """A list of all there is, read at `version`, has begun, and its objects follow.

        Such a list is never older than what was told before, unless etcd was restored from a snapshot. Then versions of
        before say nothing: whatever the list tells, or does not hold, is taken from it.
        """
        if version >= self._reached.get((resource.kind, watched), 0):
            return
        self._reached[resource.kind, watched] = version
        objects = self._kinds.get(resource.kind, {})
        for name, entry in objects.items():
            if watched in ("", name[0]):
                objects[name] = entry._replace(version=0)

    def replace(self, resource: Resource, watched: str, listed: Collection[Name], version: int) -> set[Key]:
        """Forget what a whole list, read at `version`, does not hold; gives whose it was.

        What was written since then stays.
        """
        self.reached(resource.kind, watched, version)
        return self._clear(resource.kind, watched, lambda name, at: name not in listed and at <= version)

    def clear(self, resource: Resource, watched: str) -> set[Key]:
        """Forget a kind that the cluster has no more; gives whose it was."""
        return self._clear(resource.kind, watched, lambda *_: True)

    def _clear(self, kind: str, watched: str, is_gone: Callable[[Name, int], bool]) -> set[Key]:
        gone = [
            name
            for name, entry in self._kinds.get(kind, {}).items()
            if watched in ("", name[0]) and is_gone(name, entry.version)
        ]
        return {owner for name in gone if (owner := self._unset(kind, name)) is not None}

    def forget(self, key: Key) -> None:
        """Drop a VLMDeployment that the API server said is not there."""
        name = (key.namespace, key.name)
        if name in self._kinds.get(VLMDEPLOYMENT.kind, {}):
            self._unset(VLMDEPLOYMENT.kind, name)

    def _set(self, kind: str, name: Name, entry: Entry) -> None:
        objects = self._kinds.setdefault(kind, {})
        if name in objects:
            self._unset(kind, name)
        objects[name] = entry
        self._changes[kind] += 1
        if entry.owner is not None and kind != VLMDEPLOYMENT.kind:
            self._owned.setdefault(entry.owner, set()).add((kind, name))

    def _unset(self, kind: str, name: Name) -> Key | None:
        owner = self._kinds[kind].pop(name).owner
        self._changes[kind] += 1
        if owner is not None and owner in self._owned:
            self._owned[owner].discard((kind, name))
            if not self._owned[owner]:
                del self._owned[owner]
        return owner


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def _decoded(entry: Entry) -> KubernetesObject:
    body: KubernetesObject = msgspec.msgpack.decode(entry.content)
    return body


def _owner(kind: str, name: Name, metadata: dict[str, Any]) -> Key | None:
    if kind == VLMDEPLOYMENT.kind:
        return Key(*name)
    label = metadata.get("labels", {}).get(names.DEPLOYMENT)
    return None if label is None else Key(name[0], label)


def _kept(body: KubernetesObject) -> KubernetesObject:
    """The part that anything here reads."""
    metadata = body["metadata"]
    if body["kind"] == NODE.kind:
        return _node(body)
    if body["kind"] == POD.kind:
        return _pod(body)
    if body["kind"] == VLMDEPLOYMENT.kind:
        return {**body, "metadata": _bounded(metadata)}
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    if LAST_APPLIED in metadata.get("annotations", {}):
        kept["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != LAST_APPLIED}
    return {**body, "metadata": kept}


def _bounded(metadata: dict[str, Any]) -> dict[str, Any]:
    """Without what may be as long as its writer likes, but for annotations of ours."""
    kept = {name: value for name, value in metadata.items() if name not in UNBOUNDED}
    ours = {key: text for key, text in metadata.get("annotations", {}).items() if key.startswith(names.DOMAIN)}
    return {**kept, "annotations": ours} if ours else kept


def _pod(body: KubernetesObject) -> KubernetesObject:
    """Without what a spec says of pods, which each of many replicas has once more."""
    spec = body.get("spec", {})
    kept = {name: spec[name] for name in ("nodeName", "terminationGracePeriodSeconds") if name in spec}
    kept["containers"] = [
        {name: each[name] for name in ("name", "resources", "startupProbe") if name in each}
        for each in spec.get("containers", ())
    ]
    kept["volumes"] = [{"image": each["image"]} for each in spec.get("volumes", ()) if "image" in each]
    metadata = {**_bounded(body["metadata"]), "labels": body["metadata"].get("labels", {})}
    return {**body, "metadata": metadata, "spec": kept}


def _node(body: KubernetesObject) -> KubernetesObject:
    """Without what changes with each heartbeat."""
    metadata = {name: body["metadata"][name] for name in ("name", "uid", "labels") if name in body["metadata"]}
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata,
        "spec": {name: body["spec"][name] for name in ("unschedulable", "taints") if name in body.get("spec", {})},
        "status": {"allocatable": body.get("status", {}).get("allocatable", {})},
    }
