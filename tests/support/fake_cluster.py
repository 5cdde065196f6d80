"""An API server in memory, as far as the operator's passes ask it: versions, conflicts, and refusals as scripted."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from vlm_operator.cluster import ApiError, Cluster
from vlm_operator.kinds import Resource

Body = dict[str, Any]
Refusal = Callable[[str, str, str], ApiError | None]  # of a verb, a kind and a name


def missing(name: str) -> ApiError:
    return ApiError(f'"{name}" not found', status=404, about=name)


class FakeCluster(Cluster):
    """`writes`: verb, kind and name of each request that would change something, refused or not, in order.

    `changed`: called with what a write made of an object before it is answered, as a webhook or a controller would be.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Body] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.refuse: Refusal = lambda *_: None
        self.changed: Callable[[Body], None] = lambda _: None
        self._version = 1

    def hold(self, body: Body) -> Body:
        """Let it be there."""
        self._version += 1
        metadata = {"uid": f"uid-{self._version}", "namespace": "team", "generation": 1, **body["metadata"]}
        held = {**deepcopy(body), "metadata": {**metadata, "resourceVersion": str(self._version)}}
        self.objects[body["kind"], body["metadata"]["name"]] = held
        return deepcopy(held)

    def there(self, kind: str) -> list[str]:
        """Names of the objects of a kind."""
        return sorted(name for of, name in self.objects if of == kind)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        del namespace
        if (resource.kind, name) not in self.objects:
            raise missing(name)
        return deepcopy(self.objects[resource.kind, name])

    async def find(self, resource: Resource, namespace: str, name: str) -> Body | None:
        del namespace
        return deepcopy(self.objects.get((resource.kind, name)))

    async def apply(self, resource: Resource, body: Body, *, status: bool = False, force: bool = True) -> Body:
        name, version = body["metadata"]["name"], body["metadata"].get("resourceVersion")
        self._write("apply", "status" if status else resource.kind, name)
        held = self.objects.get((resource.kind, name))
        if status and held is None:
            raise missing(name)
        if held is not None and version is not None and version != held["metadata"]["resourceVersion"]:
            raise ApiError("the object has been modified", status=409, reason="Conflict", about=name)
        if status and held is not None:  # whatever else is told, a uid too, is passed over
            return self.hold({**held, "status": body["status"]})
        before = {} if held is None else held
        labels, given = before.get("metadata", {}).get("labels", {}), body["metadata"].get("labels", {})
        if not force and any(labels.get(label, text) != text for label, text in given.items()):
            raise ApiError("Apply failed with 1 conflict", status=409, reason="Conflict", about=name)
        metadata = {**before.get("metadata", {}), **body["metadata"]}
        made = deepcopy({**before, **body, "metadata": metadata})
        self.changed(made)
        return self.hold(made)

    async def create(self, resource: Resource, body: Body, *, dry_run: bool = False) -> Body:
        name = body["metadata"].get("name", "")
        if not dry_run:
            self._write("create", resource.kind, name)
        elif (error := self.refuse("dry run", resource.kind, name)) is not None:
            raise error
        if (resource.kind, name) in self.objects:
            raise ApiError(f'"{name}" already exists', status=409, reason="AlreadyExists", about=name)
        return body if dry_run or not name else self.hold(body)

    async def merge(
        self, resource: Resource, namespace: str, name: str, patch: Body, *, subresource: str | None = None
    ) -> Body:
        del namespace, subresource
        self._write("merge", resource.kind, name)
        held = await self.get(resource, None, name)
        for part, fields in patch.items():
            held[part] = {**held.get(part, {}), **fields}
        self.changed(held)
        return self.hold(held)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        del namespace, uid
        self._write("delete", resource.kind, name)
        self.objects.pop((resource.kind, name), None)

    def _write(self, verb: str, kind: str, name: str) -> None:
        self.writes.append((verb, kind, name))
        error = self.refuse(verb, kind, name)
        if error is not None:
            raise error
