"""Who of several operators works: the holder of a Lease, as other Kubernetes controllers agree on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.kinds import LEASE
from vlm_operator.metrics import LEADS
from vlm_operator.records import KubernetesObject

# About half of client-go's LeaseDuration, RenewDeadline and RetryPeriod: a leader that was killed is followed within
# LEASE_SECONDS + RETRY_SECONDS and a request, where theirs takes 17 s.
LEASE_SECONDS = 8  # for so long nobody else takes a Lease that is not renewed
DEADLINE_SECONDS = 6.0  # without a renewal for so long, work stops
RENEWAL_SECONDS = 2.0
RETRY_SECONDS = 1.0
RELEASE_SECONDS = 3.0  # for giving it back at the end

log = logging.getLogger(__name__)


class Leadership:
    """Runs work only while it holds the Lease `name` as `identity`. `clock`: seconds that never go back."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._seen: tuple[str, str] | None = None  # the other's identity and renewal
        self._seen_at = 0.0
        self._seen_seconds = 0.0  # for which it holds
        self._written: KubernetesObject | None = None  # our last renewal, as it was answered

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work in every term of ours, for ever; cancelled, it stops working and then gives the Lease back.

        What `work` raises ends this too.
        """
        while True:
            renewed_at = await self._acquire()
            LEADS.set(1)
            log.info("Leading as %s.", self._identity)
            term = asyncio.create_task(work())
            held = asyncio.create_task(self._hold(renewed_at))
            try:
                await asyncio.wait((term, held), return_when=asyncio.FIRST_COMPLETED)
            finally:
                LEADS.set(0)
                for task in (term, held):
                    task.cancel()
                ended = await asyncio.gather(term, held, return_exceptions=True)
                with suppress(ApiError, Unreachable, TimeoutError):
                    await asyncio.wait_for(self._release(), RELEASE_SECONDS)
            for error in ended:
                if isinstance(error, Exception):
                    raise error
            log.warning("No longer leading: the Lease %s/%s could not be renewed.", self._namespace, self._name)

    async def _acquire(self) -> float:
        """Wait until the Lease is ours; gives when it was asked for."""
        told = ""
        while True:
            asked_at, level, now = self._clock(), logging.INFO, told
            try:
                if await self._take():
                    return asked_at
                now = f"Waiting: {self._seen[0] if self._seen else 'another operator'} leads."
            except ApiError as error:
                level, now = logging.WARNING, f"The Lease {self._namespace}/{self._name} cannot be written: {error}"
            except Unreachable:
                pass  # the client has told it
            if now != told:
                log.log(level, now)
            told = now
            await asyncio.sleep(min(RETRY_SECONDS, self._held_seconds()))

    def _held_seconds(self) -> float:
        """How long the other may go on without a renewal; RETRY_SECONDS where that has passed, or there is no other."""
        left = self._seen_at + self._seen_seconds - self._clock()
        return left if left > 0 else RETRY_SECONDS

    async def _hold(self, renewed_at: float) -> None:
        """Renew until that has not been possible for too long, or another has taken the Lease."""
        pause = RENEWAL_SECONDS
        while (left := renewed_at + DEADLINE_SECONDS - self._clock()) > 0:
            await asyncio.sleep(min(pause, left))
            asked_at = self._clock()
            try:
                async with asyncio.timeout(max(0.0, renewed_at + DEADLINE_SECONDS - asked_at)):
                    if not await self._take():
                        return
                renewed_at, pause = asked_at, RENEWAL_SECONDS
            except (ApiError, Unreachable, TimeoutError):
                pause = RETRY_SECONDS

    async def _take(self) -> bool:
        """Write the Lease as ours; False where another holds it, or was faster."""
        known, self._written = self._written, None
        if known is not None:  # nothing is asked for as long as nobody else writes it
            try:
                self._written = await self._cluster.replace(LEASE, self._ours(known))
                return True
            except ApiError as error:
                if not (error.is_conflict or error.is_missing):
                    raise
        try:
            lease = await self._cluster.get(LEASE, self._namespace, self._name)
        except ApiError as error:
            if not error.is_missing:
                raise
            lease = None
        if lease is not None and not self._is_free(lease):
            return False
        try:
            if lease is None:
                self._written = await self._cluster.create(LEASE, self._ours({}))
            else:
                self._written = await self._cluster.replace(LEASE, self._ours(lease))
        except ApiError as error:
            if error.is_conflict:
                return False
            raise
        return True

    def _is_free(self, lease: KubernetesObject) -> bool:
        """Whether nobody holds it, we do, or its holder has not renewed it for its time, by our own clock."""
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        seen = (holder, spec.get("renewTime") or "")
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
            self._seen_seconds = spec.get("leaseDurationSeconds") or LEASE_SECONDS
        return self._clock() >= self._seen_at + self._seen_seconds

    def _ours(self, lease: KubernetesObject) -> KubernetesObject:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = lease.get("spec", {})
        spec = {**before, "holderIdentity": self._identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        if before.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = before.get("leaseTransitions", -1) + 1
        metadata = lease.get("metadata", {"name": self._name, "namespace": self._namespace})
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}

    async def _release(self) -> None:
        """Let another take it at once."""
        self._written = None
        lease = await self._cluster.get(LEASE, self._namespace, self._name)
        if lease.get("spec", {}).get("holderIdentity") == self._identity:
            lease["spec"]["holderIdentity"] = ""
            await self._cluster.replace(LEASE, lease)
