"""Keeps the store like the cluster: for each kind a list, then a watch from there on, for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

from vlm_operator.cluster import SILENCE_SECONDS, ApiError, Cluster, Unreachable, WatchEvent
from vlm_operator.kinds import Resource
from vlm_operator.records import Key
from vlm_operator.store import Store

FIRST_PAUSE_SECONDS = 0.5
MOST_PAUSE_SECONDS = 15.0
FORBIDDEN_SECONDS = 5.0  # of refusals, until what need not be readable counts as missing: a server that starts refuses
TAKEN_AWAY_SECONDS = 30.0  # the same, of what was read before
REFUSED_PAUSE_SECONDS = 60.0  # until an API that need not be installed, or the right to it, is asked for again
RELIST_SECONDS = 3600.0  # at most, until all is listed again, in case a watch kept something back
EXPIRED = 410  # the version to go on from is too old: list again

log = logging.getLogger(__name__)


class Informer:
    """One kind in one namespace ("" for all). `changed`: called with whose object has changed, with None for nobody's.
    `served`: called when the kind was found, and when it is missing from then on.

    kopf's own watches are not used for children: after a list that had to be read again they do not tell what was
    deleted in between.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        resource: Resource,
        namespace: str,
        *,
        changed: Callable[[Resource, Key | None], None],
        served: Callable[[Resource], None],
        rng: Random,
    ) -> None:
        self.resource = resource
        self._cluster = cluster
        self._store = store
        self._namespace = namespace
        self._changed = changed
        self._served = served
        self._rng = rng
        self._version = ""  # to watch from; "" when everything must be listed
        self._heard = 0.0  # when a list or a watch last told something, in seconds of the event loop
        self._pause = FIRST_PAUSE_SECONDS
        self._has_expired = False  # since a watch told something
        self._refused_seconds = 0.0  # that were waited since the last list
        self._refusal = ""  # the one that was told
        self.listed = asyncio.Event()  # the store has held everything once (or the kind is optional and not there)
        self.is_served = False  # the cluster has the kind
        self.is_watching = False  # what changes is heard of at once

    async def run(self) -> None:
        """List and watch until cancelled; what goes wrong is tried again, later and later."""
        listed = 0.0  # when
        while True:
            try:
                if not self._version:
                    self._version = await self._list()
                    listed = asyncio.get_running_loop().time()
                await self._watch()
                if asyncio.get_running_loop().time() - listed > RELIST_SECONDS * self._rng.uniform(0.5, 1.0):
                    self._version = ""
            except Unreachable as error:
                # After so long a silence the version may be one that the server never had: etcd may be restored from a
                # snapshot, and a watch from there on would tell nothing.
                if asyncio.get_running_loop().time() - self._heard >= SILENCE_SECONDS:
                    self._version = ""
                await self._wait(error.retry_after_seconds or 0.0)
            except ApiError as error:
                is_listed, self._version = bool(self._version), ""
                if error.status == EXPIRED:
                    await self._expired()
                elif is_listed:  # it may be listed, and not watched
                    self._tell(logging.ERROR, error, "%s cannot be watched: %s")
                    await self._wait()
                else:
                    await self._refused(error)
            except Exception:
                log.exception("A bug while %s were watched; they are listed again.", self.resource.plural)
                self._version = ""
                await self._wait()

    async def _wait(self, least_seconds: float = 0.0) -> None:
        """Twice as long each time, until a watch tells something."""
        self._pause = min(MOST_PAUSE_SECONDS, 2 * self._pause)
        await asyncio.sleep(max(least_seconds, self._pause * self._rng.uniform(0.5, 1.0)))

    async def _expired(self) -> None:
        """After an outage that is usual, and the server answers: list soon, but not for ever."""
        if self._has_expired:
            await self._wait()
        else:
            self._has_expired = True
            await asyncio.sleep(FIRST_PAUSE_SECONDS)

    async def _refused(self, error: ApiError) -> None:
        """The right, or the API, is not there. What need not be there counts as read, in the end."""
        patience = self._patience_seconds(error)
        if self._refused_seconds >= patience:
            self._missing(error)
            pause = REFUSED_PAUSE_SECONDS
        else:
            if not self.resource.optional:
                self._tell(logging.ERROR, error, "%s cannot be watched: %s")
            longer = min(MOST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS + self._refused_seconds)
            pause = min(longer, patience - self._refused_seconds)
        self._refused_seconds += pause
        await asyncio.sleep(pause)

    def _patience_seconds(self, error: ApiError) -> float:
        """For how long a refusal is no proof."""
        if not self.resource.optional:
            return inf
        if self.is_served:
            return TAKEN_AWAY_SECONDS
        return 0.0 if error.is_missing else FORBIDDEN_SECONDS

    def _missing(self, error: ApiError) -> None:
        level = logging.WARNING if error.is_forbidden else logging.INFO
        self._tell(level, error, "This cluster has no %s for the operator: %s")
        self.listed.set()
        for owner in self._store.clear(self.resource, self._namespace) if error.is_missing else ():
            self._changed(self.resource, owner)
        if self.is_served:
            self.is_served = False
            self._served(self.resource)

    def _tell(self, level: int, error: ApiError, message: str) -> None:
        """Once, until there is a watch."""
        if str(error) != self._refusal:
            self._refusal = str(error)
            log.log(level, message, self.resource.plural, self._refusal.strip())

    async def _list(self) -> str:
        """Make the store hold what there is; gives the version of that."""
        listed: set[tuple[str, str]] = set()
        changed: set[Key | None] = set()
        version = 0
        try:
            async for items, at in self._cluster.pages(self.resource, self._namespace):
                version = int(at)
                self._store.listing(self.resource, self._namespace, version)
                for body in items:
                    listed.add((body["metadata"].get("namespace", ""), body["metadata"]["name"]))
                    changed |= self._store.put(body, listed_at=version)
                items.clear()  # not held until the next page is there
            changed |= self._store.replace(self.resource, self._namespace, listed, version)
            self._heard = asyncio.get_running_loop().time()
            self._refused_seconds = 0.0
            self.listed.set()
        finally:  # also of a list that broke off: the next one will find nothing new in what was read
            for owner in changed:
                self._changed(self.resource, owner)
        if not self.is_served:
            self.is_served = True
            self._served(self.resource)
        return str(version)

    async def _watch(self) -> None:
        """Follow what happens through one stream, to its end. Only what is told is a sign that all is well: a server,
        or what stands before it, may end each stream right after it began.
        """
        since = self._version
        self.is_watching = True
        try:
            async for event in self._cluster.watch(self.resource, self._namespace, since):
                if event.type == "ERROR":
                    self._version = ""
                    raise _failure(event.object)
                self._take(event)
                self._version = event.object["metadata"]["resourceVersion"]
                self._heard = asyncio.get_running_loop().time()
                self._pause, self._has_expired, self._refusal = FIRST_PAUSE_SECONDS, False, ""
        finally:
            self.is_watching = False
        if self._version == since:
            raise Unreachable("a watch told nothing new")

    def _take(self, event: WatchEvent) -> None:
        body = event.object
        if event.type == "DELETED":
            self._changed(self.resource, self._store.drop(body))
        elif event.type != "BOOKMARK":
            for owner in self._store.put(body):
                self._changed(self.resource, owner)
        self._store.reached(self.resource.kind, self._namespace, int(body["metadata"]["resourceVersion"]))


def _failure(told: dict[str, Any]) -> ApiError | Unreachable:
    message = str(told.get("message", "a watch failed"))
    return ApiError(message, status=EXPIRED) if told.get("code") == EXPIRED else Unreachable(message)
