"""Keeps the store like the cluster: for each kind a list, then a watch from there on, for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random

from vlm_operator.cluster import ApiError, Cluster, Unreachable, WatchEvent
from vlm_operator.kinds import Resource
from vlm_operator.records import Key
from vlm_operator.store import Store

FIRST_PAUSE_SECONDS = 0.5
MOST_PAUSE_SECONDS = 15.0
REFUSED_PAUSE_SECONDS = 60.0  # until an API that need not be installed, or the right to it, is asked for again
EXPIRED = 410  # the version to watch from is too old: list again

log = logging.getLogger(__name__)


class Informer:
    """One kind in one namespace ("" for all). `changed`: called with whose object has changed, with None for nobody's
    and when the kind was first found.

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
        rng: Random,
    ) -> None:
        self.resource = resource
        self._cluster = cluster
        self._store = store
        self._namespace = namespace
        self._changed = changed
        self._rng = rng
        self.listed = asyncio.Event()  # the store has held everything once (or the kind is optional and not there)
        self.is_served = False  # the cluster has the kind
        self.is_watching = False  # what changes is heard of at once

    async def run(self) -> None:
        """List and watch until cancelled; what goes wrong is tried again, later and later."""
        pause, refused = FIRST_PAUSE_SECONDS, ""
        while True:
            try:
                version = await self._list()
                pause, refused = FIRST_PAUSE_SECONDS, ""
                self.is_watching = True
                try:
                    await self._watch(version)
                finally:
                    self.is_watching = False
            except Unreachable as error:
                pause = min(MOST_PAUSE_SECONDS, 2 * pause)
                await asyncio.sleep(max(error.retry_after_seconds or 0.0, pause * self._rng.uniform(0.5, 1.0)))
            except ApiError as error:
                if error.status == EXPIRED:
                    await asyncio.sleep(FIRST_PAUSE_SECONDS)
                    continue
                # An API server that starts refuses for a moment what it will allow.
                is_missing = self.resource.optional and (not self.is_served or pause >= MOST_PAUSE_SECONDS)
                self._refused(error, is_missing=is_missing, told=str(error) == refused)
                pause, refused = min(MOST_PAUSE_SECONDS, 2 * pause), str(error)
                await asyncio.sleep(REFUSED_PAUSE_SECONDS if is_missing else pause)
            except Exception:
                log.exception("A bug while %s were watched; they are listed again.", self.resource.plural)
                pause = min(MOST_PAUSE_SECONDS, 2 * pause)
                await asyncio.sleep(pause)

    def _refused(self, error: ApiError, *, is_missing: bool, told: bool) -> None:
        """The right, or the API, is not there. `is_missing`: it need not be, and counts as read."""
        if is_missing:
            self.is_served = False
            self.listed.set()
            gone = self._store.clear(self.resource, self._namespace) if error.is_missing else ()
            for owner in gone:
                self._changed(self.resource, owner)
            if not told:
                level = logging.WARNING if error.is_forbidden else logging.INFO
                log.log(level, "This cluster has no %s for the operator: %s", self.resource.plural, str(error).strip())
        elif not told:
            log.error("%s cannot be watched: %s", self.resource.plural, error)

    async def _list(self) -> str:
        """Make the store hold what there is; gives the version of that."""
        listed: set[tuple[str, str]] = set()
        changed: set[Key | None] = set()
        version = ""
        try:
            async for items, at in self._cluster.pages(self.resource, self._namespace):
                version = at
                for body in items:
                    listed.add((body["metadata"].get("namespace", ""), body["metadata"]["name"]))
                    differs, owner = self._store.put(body)
                    if differs:
                        changed.add(owner)
                items.clear()  # not held until the next page is there
            changed |= self._store.replace(self.resource, self._namespace, listed, int(version))
            self.listed.set()
            if not self.is_served:
                self.is_served = True
                changed.add(None)
        finally:  # also of a list that broke off: the next one will find nothing new in what was read
            for owner in changed:
                self._changed(self.resource, owner)
        return version

    async def _watch(self, version: str) -> None:
        """Follow what happens, through streams that end; returns when the list must be read again."""
        while True:
            since = version
            async for event in self._cluster.watch(self.resource, self._namespace, since):
                if event.type == "ERROR":
                    if event.object.get("code") == EXPIRED:
                        return
                    raise Unreachable(str(event.object.get("message", "a watch failed")))
                version = event.object["metadata"]["resourceVersion"]
                self._take(event)
            if version == since:  # a stream that told nothing: do not ask again at once
                await asyncio.sleep(FIRST_PAUSE_SECONDS)

    def _take(self, event: WatchEvent) -> None:
        body = event.object
        if event.type == "DELETED":
            self._changed(self.resource, self._store.drop(body))
        elif event.type != "BOOKMARK":
            differs, owner = self._store.put(body)
            if differs:
                self._changed(self.resource, owner)
        self._store.reached(self.resource.kind, self._namespace, int(body["metadata"]["resourceVersion"]))
