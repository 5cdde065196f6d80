"""The operator's own autoscaling: at each interval the load is read, the policy asked, and VLMDeployments are scaled.

Only what a reconcile pass has decided for the very spec that is there is acted on, and every write names the version
that it was decided for: who changed anything meanwhile wins.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from vlm_operator import names
from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.kinds import POD, VLMDEPLOYMENT
from vlm_operator.load import Load, Reading, Scraper, load, takes_traffic
from vlm_operator.log_lines import about
from vlm_operator.realised import Realised, look
from vlm_operator.records import Key, KubernetesObject
from vlm_operator.reported import has_ended, is_cut_off, is_of_engine, is_paid, revision_of
from vlm_operator.scaled import Scaled
from vlm_operator.scaling_policy import INTERVAL_SECONDS
from vlm_operator.status import previous, was_about
from vlm_operator.store import Store
from vlmctl.planning.scaling import Observation, Reason, State, decide
from vlmctl.specs.record import Record

METER_SECONDS = 60.0  # between looks at what requests cost, of all
BLIND_SECONDS = 60.0  # without a word from any replica, until the status says so
BLIND_LOOKS = 3  # and no fewer than so many of them

log = logging.getLogger(__name__)


class _Known(Record, frozen=True, kw_only=True):
    """What is remembered of one VLMDeployment. `told_at`: when its load was last known."""

    uid: str
    state: State
    told_at: float


class _Cost(Record, frozen=True, kw_only=True):
    """What requests cost of one VLMDeployment. `subject`: its uid and the revision: of another one it says nothing."""

    subject: tuple[str, str]
    realised: Realised


class Scaler:
    """Scales those that `plan` named the operator for. `changed`: called where a status has something new to tell.

    `clock`: seconds that only go forward.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        scraper: Scraper,
        *,
        changed: Callable[[Key], None],
        interval_seconds: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._scraper = scraper
        self._changed = changed
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._plans: dict[Key, Scaled] = {}
        self._known: dict[Key, _Known] = {}
        self._blind: set[Key] = set()
        self._costs: dict[Key, _Cost] = {}
        self._metered_at: float | None = None

    def plan(self, key: Key, scaled: Scaled | None) -> None:
        """What the last pass decided; None for what is not scaled, or gone. What requests cost is remembered: a spec
        that cannot be read may be mended.
        """
        if scaled is None:
            self._plans.pop(key, None)
            self._forget(key)
        else:
            self._plans[key] = scaled

    def is_blind(self, key: Key) -> bool:
        """Whether no replica has told its load for a while."""
        return key in self._blind

    def realised(self, key: Key, uid: str) -> Realised | None:
        """What requests answered of late cost, idle time included; None as long as nothing is known of it."""
        cost, plan = self._costs.get(key), self._plans.get(key)
        if cost is None or cost.subject[0] != uid or (plan is not None and cost.subject[1] != plan.revision):
            return None
        return cost.realised

    async def run(self) -> None:
        """Until cancelled. What was remembered of an earlier term is forgotten: others may have led since."""
        self._plans.clear()
        self._known.clear()
        self._blind.clear()
        self._costs.clear()
        while True:
            began = self._clock()
            await self.sweep()
            await asyncio.sleep(max(self._interval_seconds - (self._clock() - began), 0.0))

    async def sweep(self) -> None:
        """One look at all; a bug with one of them is told, and the others go on."""
        now = self._clock()
        metering = self._metered_at is None or now - self._metered_at >= METER_SECONDS
        self._metered_at = now if metering else self._metered_at
        keys = [key for key, plan in self._plans.items() if plan.by_operator or plan.wakes_to or metering]
        if metering:
            for key in self._costs.keys() - set(self._store.deployments()):
                del self._costs[key]
        for key in [each for each in self._known if each not in self._plans or not self._plans[each].by_operator]:
            self._forget(key)
        await asyncio.gather(*(self._look(key, metering=metering) for key in keys))

    async def _look(self, key: Key, *, metering: bool) -> None:
        with about(key):
            try:
                await self._scale_and_meter(key, metering=metering)
            except Exception:
                log.exception("A bug while %s/%s was scaled; it is tried again.", *key)

    async def _scale_and_meter(self, key: Key, *, metering: bool) -> None:
        pods = [pod for pod in self._pods(key) if is_of_engine(pod)]
        # Who is on the way out still answers, and is paid for.
        asked = [pod for pod in pods if takes_traffic(pod) or (metering and not has_ended(pod) and not is_cut_off(pod))]
        readings = await self._scraper.read(asked)
        plan, parent = self._plans.get(key), self._store.get(VLMDEPLOYMENT.kind, *key)  # as they are by now
        if plan is None or parent is None:
            return
        if metering:
            self._meter(key, parent, plan, pods, readings)
        if plan.wakes_to:
            await self._wake(key, plan, parent)
        elif plan.by_operator:
            await self._scale(key, plan, parent, load(pods, readings))

    async def _wake(self, key: Key, plan: Scaled, parent: KubernetesObject) -> None:
        """Bring back what KEDA took away and does not bring back any more."""
        metadata, spec = parent["metadata"], parent["spec"]
        is_changed = metadata.get("generation", 0) != plan.generation or spec.get("replicas", 1) != 0
        if not is_changed and "deletionTimestamp" not in metadata and not spec.get("paused"):
            why = f"KEDA scales it to 0 no more ({Reason.BOUNDED.value})"
            await self._write(key, parent, plan.wakes_to, why)

    def _pods(self, key: Key) -> Iterable[KubernetesObject]:
        return (body for body, _ in self._store.owned(key, POD.kind))

    async def _scale(self, key: Key, plan: Scaled, parent: KubernetesObject, seen: Load) -> None:
        metadata, spec = parent["metadata"], parent["spec"]
        replicas, now = int(spec.get("replicas", 1)), self._clock()
        if "deletionTimestamp" in metadata or spec.get("paused") or replicas == 0:
            self._forget(key)
            return
        if metadata.get("generation", 0) != plan.generation:
            return  # a pass over the new spec comes first
        known = self._known.get(key)
        if known is None or known.uid != metadata["uid"]:
            known = _Known(uid=metadata["uid"], state=State(), told_at=now)
            is_new = True
        else:
            is_new = False
        self._look_blind(key, known, seen, now)
        decision = decide(plan.scale.policy, known.state, observation(seen, replicas), now)
        told_at = known.told_at if seen.in_flight is None and seen.silent > 0 else now
        state = decision.state
        # The first look only takes in how things are: after a restart nothing jumps.
        why = f"{decision.message} ({decision.reason.value})"
        if decision.replicas != replicas and (is_new or not await self._write(key, parent, decision.replicas, why)):
            state = replace(state, changes=known.state.changes)  # nothing has come of it
        self._known[key] = _Known(uid=known.uid, state=state, told_at=told_at)

    async def _write(self, key: Key, parent: KubernetesObject, replicas: int, why: str) -> bool:
        """Scale the VLMDeployment if it is still as it was seen; whether that was done."""
        metadata, before = parent["metadata"], parent["spec"].get("replicas", 1)
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"replicas": replicas},
        }
        try:
            await self._cluster.merge(VLMDEPLOYMENT, key.namespace, key.name, patch, subresource="scale")
        except Unreachable as error:
            log.warning("%s/%s cannot be scaled now: %s", *key, error)
            return False
        except ApiError as error:
            if not (error.is_conflict or error.is_missing):  # else it has changed, or is gone: look again
                log.warning("%s/%s cannot be scaled: %s", *key, error)
            return False
        log.info("Scaled %s/%s from %d to %d: %s.", *key, before, replicas, why)
        return True

    def _look_blind(self, key: Key, known: _Known, seen: Load, now: float) -> None:
        """Whether replicas take traffic and none has told its load for too long; told when it changes."""
        patience = max(BLIND_SECONDS, BLIND_LOOKS * self._interval_seconds)
        is_blind = seen.in_flight is None and seen.silent > 0 and now - known.told_at >= patience
        if is_blind is not (key in self._blind):
            (self._blind.add if is_blind else self._blind.discard)(key)
            self._changed(key)

    def _meter(
        self,
        key: Key,
        parent: KubernetesObject,
        plan: Scaled,
        pods: list[KubernetesObject],
        readings: Mapping[str, Reading],
    ) -> None:
        cost, subject = self._costs.get(key), (parent["metadata"]["uid"], plan.revision)
        pods = [pod for pod in pods if names.of_revision(key.name, revision_of(pod)) == plan.revision]
        own = {str(pod["metadata"]["uid"]) for pod in pods}
        before = cost.realised if cost is not None and cost.subject == subject else None
        after = look(
            before,
            {pod: each.answered for pod, each in readings.items() if pod in own},
            replicas=sum(is_paid(pod) for pod in pods),
            alive=frozenset(str(pod["metadata"]["uid"]) for pod in pods if not has_ended(pod)),
            now=self._clock(),
        )
        after = after if before is not None else _as_said(after, parent, plan.revision)
        self._costs[key] = _Cost(subject=subject, realised=after)
        if before is not None and _figures(before) != _figures(after):
            self._changed(key)

    def _forget(self, key: Key) -> None:
        self._known.pop(key, None)
        self._blind.discard(key)


def _figures(counted: Realised) -> tuple[float | None, float | None, bool | None]:
    return counted.replica_hours_per_1k, counted.replicas, counted.idle


def _as_said(counted: Realised, parent: KubernetesObject, revision: str) -> Realised:
    """With what the status says of the revision, which an operator counted before: an hour of ours takes its place."""
    status = previous(parent)
    if status.cost is None or status.cost.realised_replica_hours_per_1k is None or was_about(status) != revision:
        return counted
    hours, replicas = status.cost.realised_replica_hours_per_1k, status.cost.realised_replicas
    return replace(
        counted,
        replica_hours_per_1k=float(hours),
        replicas=None if replicas is None else float(replicas),
        whole=True,
    )


def observation(seen: Load, replicas: int) -> Observation:
    """The load as the policy takes it. Replicas that are asked for and do not take traffic count as missing too: what
    would be theirs may not show on the others.
    """
    missing = max(replicas - seen.reported, seen.silent)
    return Observation(replicas=replicas, in_flight=seen.in_flight, missing=missing, silent=seen.silent)
