"""Carries decisions out: each write once, its answer into the store, so that the next look sees it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from vlm_operator.actions import Action, Verb
from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.events import Event, events
from vlm_operator.kinds import BY_KIND, DEPLOYMENT, EVENT, POD, SECRET, VLMDEPLOYMENT
from vlm_operator.names import FIELD_MANAGER, MANAGED_BY
from vlm_operator.records import Key, KubernetesObject
from vlm_operator.status import previous
from vlm_operator.store import Store
from vlmctl.api import v1alpha1 as api

INVALID = 422  # HTTP status of an object that the API server does not let in as it would be
REPORTER = f"{api.GROUP}/{FIELD_MANAGER}"  # an Event names a domain, as labels do

# A version that no object has: etcd counts from 1 before anything is written. The API server makes an object that is
# applied with it, and answers with a conflict where there is one of the name.
MADE_ANEW = "1"

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """Whether a measurement was written, and which ones the API server did not take."""

    written: bool
    refused: list[tuple[Action, Exception]]


class Writer:
    """Writes for VLMDeployments. Methods raise Unreachable, and ApiError for what is refused. `identity`: in Events."""

    def __init__(self, cluster: Cluster, store: Store, *, identity: str) -> None:
        self._cluster = cluster
        self._store = store
        self._identity = identity

    async def is_alive(self, parent: KubernetesObject) -> bool:
        """Whether the API server itself says that this very VLMDeployment is there and not being deleted.

        Asked before something is made for it: what is known of it may be old, and nobody would clean up.
        """
        metadata = parent["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        try:
            found = await self._cluster.get(VLMDEPLOYMENT, *key)
        except ApiError as error:
            if not error.is_missing:
                raise
            self._store.forget(key)
            return False
        self._store.put(found)
        return found["metadata"]["uid"] == metadata["uid"] and "deletionTimestamp" not in found["metadata"]

    async def keep(self, benchmarks: Iterable[api.VLMBenchmark]) -> Kept:
        """Create measurements, unless they are there. One that is refused (by a quota, a policy, the schema) keeps
        nothing else waiting.
        """
        written, refused = False, list[tuple[Action, Exception]]()
        for each in benchmarks:
            body, name = msgspec.to_builtins(each), each.metadata.name
            try:
                await self._create(body)
            except ApiError as error:
                why = "a replica has measured it"
                refused.append((Action(verb=Verb.CREATE, kind=each.kind, name=name, reason=why, body=body), error))
                continue
            written = True
            log.info("Kept the measurement %s/%s.", each.metadata.namespace, name)
        return Kept(written, refused)

    async def act(self, key: Key, action: Action) -> None:
        """One write to a child."""
        resource = BY_KIND[action.kind]
        place = {"namespace": key.namespace, "deployment": key.name}
        log.info("%s %s %s: %s.", action.verb.value, action.kind, action.name, action.reason, extra=place)
        if action.verb is Verb.APPLY and action.body is not None:
            self._store.written(await self._apply(key, action, action.body))
        elif action.verb is Verb.CREATE and action.body is not None:
            await self._create(action.body)
        elif action.verb is Verb.SCALE:
            scale = {"spec": {"replicas": action.replicas}}
            await self._cluster.merge(DEPLOYMENT, key.namespace, action.name, scale, subresource="scale")
        elif action.verb is Verb.DELETE:
            await self._cluster.delete(resource, key.namespace, action.name, uid=action.uid)

    async def _apply(self, key: Key, action: Action, body: KubernetesObject) -> KubernetesObject:
        resource = BY_KIND[action.kind]
        if not action.forced:
            try:
                return await self._cluster.apply(resource, _made_anew(body), force=False)
            except ApiError as error:
                if not error.is_conflict:
                    raise
            await self._check_free(key, action)
        try:
            return await self._cluster.apply(resource, body, force=action.forced)
        except ApiError as error:
            if action.instead is None or error.status != INVALID:
                raise
            return await self._cluster.merge(resource, key.namespace, action.name, action.instead)

    async def _check_free(self, key: Key, action: Action) -> None:
        """Raise ApiError where somebody else has an object of the name: applied, it would be taken from him."""
        found = await self._cluster.find(BY_KIND[action.kind], key.namespace, action.name)
        if found is not None and found["metadata"].get("labels", {}).get(MANAGED_BY) != FIELD_MANAGER:
            raise ApiError("there is one already that the operator did not make. Rename or delete it.", status=409)

    async def tell(self, key: Key, words: Mapping[str, Mapping[str, str]]) -> bool:
        """Write annotations of pods, by the pod's name; one that is gone by now needs none."""
        for name, notes in words.items():
            patch = {"metadata": {"annotations": dict(notes)}}
            try:
                self._store.written(await self._cluster.merge(POD, key.namespace, name, patch))
            except ApiError as error:
                if not error.is_missing:
                    raise
        return bool(words)

    async def answer(self, parent: KubernetesObject, status: api.VLMDeploymentStatus) -> None:
        """Write the status if it says anything new, and tell it in Events; who is gone needs no answer."""
        told = msgspec.json.decode(msgspec.json.encode(status))  # as it will be read
        if told == parent.get("status"):
            return
        metadata = {name: parent["metadata"][name] for name in ("name", "namespace")}
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "status": told}
        try:
            self._store.written(await self._cluster.apply(VLMDEPLOYMENT, body, status=True))
        except ApiError as error:
            if not error.is_missing:
                raise
            self._store.forget(Key(metadata["namespace"], metadata["name"]))
            return
        for event in events(previous(parent).conditions, status.conditions):
            await self._post(parent, event)

    async def _post(self, parent: KubernetesObject, event: Event) -> None:
        """An Event, if the API server takes it: conditions hold what matters."""
        metadata = parent["metadata"]
        regarding = {name: metadata[name] for name in ("name", "namespace", "uid")}
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"]},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "regarding": {"apiVersion": api.API_VERSION, "kind": api.KIND, **regarding},
            "reportingController": REPORTER,
            "reportingInstance": self._identity,
            "action": "Reconcile",
            "type": event.type,
            "reason": event.reason,
            "note": event.message,
        }
        try:
            await self._cluster.create(EVENT, body)
        except (ApiError, Unreachable) as error:
            log.debug("An Event was not taken: %s", error)

    async def _create(self, body: KubernetesObject) -> None:
        resource = BY_KIND[body["kind"]]
        try:
            made = await self._cluster.create(resource, body)
        except ApiError as error:
            if not error.is_conflict:
                raise
            return
        if resource is not SECRET:  # which is made and never looked at
            self._store.written(made)


def _made_anew(body: KubernetesObject) -> KubernetesObject:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": MADE_ANEW}}
