"""Carries decisions out: each write once, its answer into the store, so that the next look sees it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from vlm_operator.actions import Action, Verb
from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.events import Event, events
from vlm_operator.kinds import BY_KIND, DEPLOYMENT, EVENT, POD, SECRET, VLMDEPLOYMENT
from vlm_operator.names import DEPLOYMENT as LABEL
from vlm_operator.names import FIELD_MANAGER, MANAGED_BY
from vlm_operator.records import Key, KubernetesObject
from vlm_operator.reported import is_controlled
from vlm_operator.status import made_key_secret, previous
from vlm_operator.store import Store
from vlm_operator.tries import Tries
from vlmctl.api import v1alpha1 as api

INVALID = 422  # HTTP status of an object that the API server does not let in as it would be
STATUS_TRIES = 4  # beyond the first, where the VLMDeployment was changed meanwhile
TAKEN = "there is one already that the operator"
NOT_OURS = "there is one already that was not made for this VLMDeployment. Delete it, and one with a new key is made."
REPORTER = f"{api.GROUP}/{FIELD_MANAGER}"  # an Event names a domain, as labels do

# A version that no object has: etcd counts from 1 before anything is written. The API server makes an object that is
# applied with it, and answers with a conflict where there is one of the name.
MADE_ANEW = "1"

log = logging.getLogger(__name__)


Refusal = tuple[Action, Exception]


class Written(NamedTuple):
    """Whether anything was written, and what the API server did not take."""

    written: bool
    refused: list[Refusal]


class Writer:
    """Writes for VLMDeployments. Methods raise Unreachable, and ApiError for what is refused. `identity`: in Events.

    `tries`: what came to nothing.
    """

    def __init__(self, cluster: Cluster, store: Store, *, identity: str) -> None:
        self._cluster = cluster
        self._store = store
        self._identity = identity
        self._is_told_events = False  # that they may not be written
        self.tries = Tries()

    async def is_alive(self, parent: KubernetesObject, *, deleted: bool = False) -> bool:
        """Whether the API server itself says that this very VLMDeployment is there and not being deleted.

        Asked before anything is written for it, as what is known of it may be old: nobody would clean up what is made
        for one that is gone, and replicas that an older spec asks for would end others. What it says now is taken in
        even where that is of an older version: etcd may have been restored from a snapshot. `deleted`: one that is
        being deleted counts too.
        """
        metadata = parent["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        try:
            found = await self._cluster.get(VLMDEPLOYMENT, *key)
        except ApiError as error:
            if not _is_gone(error, key.name):
                raise
            self._store.forget(key)
            return False
        self._store.put(found, listed_at=int(metadata["resourceVersion"]))
        is_same = found["metadata"]["uid"] == metadata["uid"]
        return bool(is_same and (deleted or "deletionTimestamp" not in found["metadata"]))

    async def keep(self, key: Key, benchmarks: Iterable[api.VLMBenchmark]) -> Written:
        """Create measurements, unless they are there. One that is refused (by a quota, a policy, the schema) keeps
        nothing else waiting.
        """
        written, refused = False, list[Refusal]()
        for each in benchmarks:
            body, why = msgspec.to_builtins(each), "a replica has measured it"
            action = Action(verb=Verb.CREATE, kind=each.kind, name=each.metadata.name, reason=why, body=body)
            try:
                await self.act(key, action)
                written = True
            except ApiError as error:
                refused.append((action, error))
        return Written(written, refused)

    async def act(self, key: Key, action: Action) -> None:
        """One write; what was refused a moment ago is refused without another request."""
        self.tries.check(key, action)
        log.info("%s %s %s: %s.", action.verb.value, action.kind, action.name, action.reason)
        try:
            await self._act(key, action)
        except ApiError as error:
            self.tries.refused(key, action, error)
            raise
        self.tries.done(key, action)

    async def _act(self, key: Key, action: Action) -> None:
        resource = BY_KIND[action.kind]
        if action.verb is Verb.APPLY and action.body is not None:
            self._store.written(await self._apply(key, action, action.body))
        elif action.verb is Verb.CREATE and action.body is not None:
            await (self._make_secret(key, action.body) if resource is SECRET else self._create(action.body))
        elif action.verb is Verb.ANNOTATE and action.body is not None:
            self._store.written(await self._cluster.merge(resource, key.namespace, action.name, action.body))
        elif action.verb is Verb.SCALE:
            await self._scale(key, action)
        elif action.verb is Verb.DELETE:
            await self._cluster.delete(resource, key.namespace, action.name, uid=action.uid)

    async def _scale(self, key: Key, action: Action) -> None:
        """And look at the Deployment, which the answer does not hold: as long as the watch is behind, each pass would
        write the same again.
        """
        scale = {"spec": {"replicas": action.replicas}}
        await self._cluster.merge(DEPLOYMENT, key.namespace, action.name, scale, subresource="scale")
        with suppress(ApiError, Unreachable):  # the watch will tell
            found = await self._cluster.find(DEPLOYMENT, key.namespace, action.name)
            if found is not None:
                self._store.written(found)

    async def _apply(self, key: Key, action: Action, body: KubernetesObject) -> KubernetesObject:
        resource = BY_KIND[action.kind]
        if not action.forced:
            try:
                return await self._cluster.apply(resource, _made_anew(body), force=False)
            except ApiError as error:
                if not error.is_conflict:
                    raise
        is_ours = action.forced or await self._is_ours(key, action, body)
        try:
            return await self._cluster.apply(resource, body, force=is_ours)
        except ApiError as error:
            if action.instead is None or error.status != INVALID:
                raise
            return await self._cluster.merge(resource, key.namespace, action.name, action.instead)

    async def _is_ours(self, key: Key, action: Action, body: KubernetesObject) -> bool:
        """Whether the VLMDeployment owns the object of the name, whose labels somebody has changed then.

        Raises ApiError where somebody else has it: applied, it would be taken from him.
        """
        found = await self._cluster.find(BY_KIND[action.kind], key.namespace, action.name)
        if found is None or _is_of_same_owner(found, body):
            return found is not None
        labels = found["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) != FIELD_MANAGER:
            raise ApiError(f"{TAKEN} did not make. Rename or delete it.", status=409)
        if labels.get(LABEL) != key.name:
            raise ApiError(
                f"{TAKEN} made for {labels.get(LABEL, 'something else')}. Delete one of the two.", status=409
            )
        return False

    async def tell(self, key: Key, words: Mapping[str, Mapping[str, str]]) -> Written:
        """Write annotations of pods, by the pod's name. A pod that is gone needs none."""
        written, refused = False, list[Refusal]()
        for name, notes in words.items():
            patch, why = {"metadata": {"annotations": dict(notes)}}, "its agent is to know"
            action = Action(verb=Verb.ANNOTATE, kind=POD.kind, name=name, reason=why, body=patch)
            try:
                await self.act(key, action)
                pod = self._store.get(POD.kind, key.namespace, name) or {"metadata": {}}
                written |= notes.items() <= pod["metadata"].get("annotations", {}).items()  # a webhook may drop them
            except ApiError as error:
                if not error.is_missing:
                    refused.append((action, error))
        return Written(written, refused)

    async def answer(self, parent: KubernetesObject, status: api.VLMDeploymentStatus) -> None:
        """Write the status if it says anything new, and tell it in Events; who is gone needs no answer."""
        told = msgspec.json.decode(msgspec.json.encode(status))  # as it will be read
        if told == parent.get("status") or not await self._write_status(parent, told):
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
            is_news = isinstance(error, ApiError) and error.is_forbidden and not self._is_told_events
            self._is_told_events |= is_news
            log.log(logging.WARNING if is_news else logging.DEBUG, "An Event was not taken: %s", error)

    async def _write_status(self, parent: KubernetesObject, told: KubernetesObject) -> bool:
        """Whether it was written: never to another VLMDeployment that has taken the name since.

        The API server passes over a uid in what is applied to a status, so that it is the version that must fit.
        """
        key = Key(parent["metadata"]["namespace"], parent["metadata"]["name"])
        version = parent["metadata"].get("resourceVersion")
        for is_last in (*(False,) * STATUS_TRIES, True):
            metadata = {"name": key.name, "namespace": key.namespace, "resourceVersion": version}
            body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "status": told}
            try:
                self._store.written(await self._cluster.apply(VLMDEPLOYMENT, body, status=True))
                return True
            except ApiError as error:
                if _is_gone(error, key.name):
                    self._store.forget(key)
                    return False
                if is_last or not error.is_conflict:
                    raise
            if not await self.is_alive(parent, deleted=True):
                return False
            version = (self._store.get(VLMDEPLOYMENT.kind, *key) or parent)["metadata"]["resourceVersion"]
        return False

    async def _make_secret(self, key: Key, body: KubernetesObject) -> None:
        """The Secret with the API key. Nobody may look whose one of the name is, so the status says that it is ours
        before it is made: one that is there without that is somebody else's, or goes with a VLMDeployment that had the
        name. That it is there (apiKeySecret) is said only then, so that whoever is killed in between is followed up.
        """
        parent = self._store.get(VLMDEPLOYMENT.kind, *key)
        if parent is None:
            return
        before, name = previous(parent), body["metadata"]["name"]
        if made_key_secret(parent) != name:
            try:
                await self._cluster.create(SECRET, body, dry_run=True)
            except ApiError as error:
                raise ApiError(NOT_OURS, status=error.status) if error.is_taken else error from error
            await self.answer(parent, msgspec.structs.replace(before, made_key_secret=name))
        await self._create(body)

    async def _create(self, body: KubernetesObject) -> None:
        resource = BY_KIND[body["kind"]]
        try:
            made = await self._cluster.create(resource, body)
        except ApiError as error:
            if not error.is_taken:
                raise
            return
        if resource is not SECRET:  # which is made and never looked at
            self._store.written(made)


def _is_gone(error: ApiError, name: str) -> bool:
    """Whether this very object is not there. An API server that is starting, or a proxy before it, finds nothing."""
    return error.is_missing and error.about == name


def _is_of_same_owner(found: KubernetesObject, body: KubernetesObject) -> bool:
    return any(is_controlled(found, each["uid"]) for each in body["metadata"].get("ownerReferences", ()))


def _made_anew(body: KubernetesObject) -> KubernetesObject:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": MADE_ANEW}}
