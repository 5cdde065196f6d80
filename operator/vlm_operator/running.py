"""All that runs while the process lives, put together: watches, the Lease, the work queue, the endpoints."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from functools import partial
from random import Random

from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.config import OperatorConfig
from vlm_operator.deployment_metrics import DeploymentMetrics
from vlm_operator.endpoints import endpoints, retries
from vlm_operator.informers import Informer
from vlm_operator.kinds import (
    HTTP_SCALED_OBJECT,
    MONITOR,
    NODE,
    SCALED_OBJECT,
    VLMBENCHMARK,
    VLMDEPLOYMENT,
    WATCHED,
    Resource,
)
from vlm_operator.leadership import Leadership
from vlm_operator.load import Scraper
from vlm_operator.metrics import QUEUE_AGE_SECONDS, WATCHING, shown
from vlm_operator.observe import Observer
from vlm_operator.reconcile import Reconciler
from vlm_operator.records import Key, KubernetesObject
from vlm_operator.scaler import Scaler
from vlm_operator.scalers import RETRY_PORT, Means
from vlm_operator.store import Name, Store
from vlm_operator.work_queue import Outcome, WorkQueue
from vlmctl.catalog.load import load_catalog

RESYNC_SECONDS = 600.0  # everything is looked at again, in case an event was missed
SPREAD_SECONDS = 60.0  # over which that is spread
MEASURED_SECONDS = 30.0  # at most, until others of the namespace look at a measurement: many may come one by one
RETOLD_SECONDS = 5.0  # until an event is taken in again that a bug has kept out, and twice as long after each time
MOST_RETOLD_SECONDS = 600.0
STUCK_SECONDS = 300.0  # for which one pass may last: every request in it has a limit far below

log = logging.getLogger(__name__)


class Operator:
    """The operator without kopf, which brings it the VLMDeployments (`take`) and starts and stops it (`run`)."""

    def __init__(self, config: OperatorConfig, cluster: Cluster) -> None:
        self._config = config
        self._cluster = cluster
        self._rng = Random()
        self._store = Store()
        self._retold: dict[Key, asyncio.TimerHandle] = {}  # until what a bug kept out is taken in again
        self._told = ""  # why VLMDeployments could not be listed, the last time
        self._measured_at = 0  # changes of VLMBenchmarks by then
        self._measured: dict[Name, int] = {}  # their versions then
        self._observer = Observer(
            self._store, cluster, monitors=partial(self._serves, MONITOR), slow_passes=max(1, config.workers // 2)
        )
        self._scraper = Scraper()
        self._scaler = Scaler(
            cluster,
            self._store,
            self._scraper,
            changed=lambda key: self._queue.add(key),
            interval_seconds=config.scaling.interval_seconds,
        )
        self._reconciler = Reconciler(
            config, self._store, cluster, self._observer, load_catalog(), self._scaler, self._means
        )
        self._queue = WorkQueue(self._pass, workers=config.workers, rng=self._rng)
        self._informers = [
            Informer(
                cluster, self._store, resource, namespace, changed=self._changed, served=self._served, rng=self._rng
            )
            for namespace in config.namespaces or ("",)
            for resource in (*WATCHED, *(() if config.namespaces else (NODE,)))
        ]

    async def run(self) -> None:
        """Until cancelled; then passes stop and the Lease is given back. Raises what no retry can help."""
        leadership = Leadership(
            self._cluster,
            namespace=self._config.lease_namespace,
            name=self._config.lease.name,
            identity=self._config.pod_name,
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._observer)
            await stack.enter_async_context(self._scraper)
            if self._config.port:
                await stack.enter_async_context(endpoints(self._config.port, problem=self._problem))
            if self._config.scaling.retry_host:
                await stack.enter_async_context(retries(RETRY_PORT))
            group = await stack.enter_async_context(asyncio.TaskGroup())
            for informer in self._informers:
                group.create_task(informer.run())
            self._measure()
            await leadership.run(self._work)

    def take(
        self,
        event: str | None,
        body: KubernetesObject,
        *,
        listed_at: int = 0,
        pause_seconds: float = RETOLD_SECONDS,
    ) -> None:
        """A VLMDeployment as its watch tells it, or a whole list of the version `listed_at`.

        What a bug keeps out is told again after a pause, as kopf would not; what has happened since takes its place.
        """
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        before = self._retold.pop(key, None)
        if before is not None:
            before.cancel()
        try:
            if event == "DELETED":
                self._store.drop(body)
                self._queue.add(key)
            elif self._store.put(body, listed_at=listed_at) or before is not None:
                self._queue.add(key)
        except Exception:
            log.exception("A bug while %s/%s was taken in; it is tried again.", key.namespace, key.name)
            longer = min(MOST_RETOLD_SECONDS, 2 * pause_seconds)
            again = partial(self.take, event, body, pause_seconds=longer)
            self._retold[key] = asyncio.get_running_loop().call_later(pause_seconds, again)

    async def _work(self) -> None:
        """One term as the leader: everything once, then what changes."""
        await asyncio.gather(*(informer.listed.wait() for informer in self._informers))
        for key in self._store.deployments():
            self._queue.add(key)
        statuses = DeploymentMetrics(partial(self._store.all, VLMDEPLOYMENT.kind))
        with shown(statuses):  # by the leader alone, so that sums over operators count each once
            await self._work_on()

    async def _work_on(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            group.create_task(self._resync())
            group.create_task(self._scaler.run())

    async def _pass(self, key: Key) -> Outcome:
        outcome = await self._reconciler(key)
        self._look_at_measurements()  # the watch has no news of what the pass itself has made
        return outcome

    async def _resync(self) -> None:
        """At the start of a term too: for a minute nobody notices that kopf's watch is dead."""
        while True:
            for namespace in self._config.namespaces or ("",):
                await self._logged(self._list(namespace))
            await asyncio.sleep(RESYNC_SECONDS)
            self._reconciler.review()
            for key in self._store.deployments():
                self._queue.add_after(key, self._rng.uniform(0.0, SPREAD_SECONDS))

    async def _logged(self, listing: Awaitable[object]) -> None:
        """No object may end the work on all others. kopf, which has to list too, says nothing of a missing right."""
        try:
            await listing
            self._told = ""
        except ApiError as error:
            if str(error) != self._told:
                log.error("%s cannot be watched: %s", VLMDEPLOYMENT.plural, error)
            self._told = str(error)
        except Unreachable:
            pass  # the client has told it
        except Exception:
            log.exception("A bug while %s were listed.", VLMDEPLOYMENT.plural)

    async def _list(self, namespace: str) -> None:
        """All VLMDeployments anew: kopf does not tell of those that were deleted while it could not watch."""
        listed: set[tuple[str, str]] = set()
        version = "0"
        async for items, at in self._cluster.pages(VLMDEPLOYMENT, namespace):
            version = at
            self._store.listing(VLMDEPLOYMENT, namespace, int(at))
            for body in items:
                key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
                listed.add(key)
                if key not in self._retold:  # by an event that may be newer
                    self.take(None, body, listed_at=int(at))
            items.clear()  # not held until the next page is there
        self._store.replace(VLMDEPLOYMENT, namespace, listed, int(version))

    def _changed(self, resource: Resource, key: Key | None) -> None:
        if key is not None:
            self._queue.add(key)
        elif resource == VLMBENCHMARK:
            self._look_at_measurements()
        elif resource == NODE:
            self._reconciler.plans.nodes_changed()
            for each in self._reconciler.unplanned:
                self._queue.add(each)

    def _served(self, resource: Resource) -> None:
        """The cluster has a kind from now on, or has it no more."""
        if resource in (MONITOR, SCALED_OBJECT, HTTP_SCALED_OBJECT):
            for each in self._store.deployments():
                self._queue.add(each)
        else:
            self._changed(resource, None)

    def _look_at_measurements(self) -> None:
        """Where one is new, or gone, others of the namespace may be of its key. Nobody's pass waits for it."""
        changes = self._store.changes(VLMBENCHMARK.kind)
        if changes == self._measured_at:
            return
        before, now = self._measured, self._store.versions(VLMBENCHMARK.kind)
        self._measured_at, self._measured = changes, now
        places = {namespace for (namespace, _), _ in before.items() ^ now.items()}
        for key in self._store.deployments():
            if key.namespace in places:
                self._queue.add_after(key, self._rng.uniform(0.5, 1.0) * MEASURED_SECONDS)

    def _measure(self) -> None:
        """What is asked for at each scrape."""
        QUEUE_AGE_SECONDS.set_function(lambda: self._queue.oldest_age_seconds)
        for kind in {each.resource.kind for each in self._informers}:
            WATCHING.labels(kind).set_function(partial(self._is_watching, kind))

    def _is_watching(self, kind: str) -> bool:
        """In every namespace; a kind that the cluster does not have, or show, needs no watch."""
        of_kind = [each for each in self._informers if each.resource.kind == kind]
        return all(each.is_watching or (each.resource.optional and not each.is_served) for each in of_kind)

    def _serves(self, resource: Resource) -> bool:
        """Whether the cluster has the kind, and shows it to the operator."""
        return any(each.is_served for each in self._informers if each.resource == resource)

    def _means(self) -> Means:
        return Means(
            keda=self._serves(SCALED_OBJECT),
            http_add_on=self._serves(HTTP_SCALED_OBJECT),
            settings=self._config.scaling,
        )

    def _problem(self) -> str:
        """Why the process is to be restarted, or nothing."""
        begun = min(self._reconciler.begun.values(), default=None)
        if begun is not None and time.monotonic() - begun > STUCK_SECONDS:
            return f"a pass has lasted for more than {STUCK_SECONDS:.0f} s"
        return ""
