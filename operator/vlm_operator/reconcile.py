"""One pass over one VLMDeployment: observe, decide, write, ask its pods, answer in its status."""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from vlm_operator.actions import OF_ALL_REVISIONS, Action, Verb, adds_pods
from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.config import OperatorConfig
from vlm_operator.decisions import Decision, Setup, decide, measured
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.metrics import RECONCILE_SECONDS, RECONCILES
from vlm_operator.observe import Asked, Observer
from vlm_operator.plans import ClusterPlans
from vlm_operator.records import Finding, Findings, Key, KubernetesObject, Observed
from vlm_operator.rollout import Rollout
from vlm_operator.scaled import scaling_status
from vlm_operator.scaler import Scaler
from vlm_operator.scalers import Means
from vlm_operator.spec import InvalidSpec, parse
from vlm_operator.status import build
from vlm_operator.store import Store
from vlm_operator.trouble import failure, last_resort, write_changed, write_refused
from vlm_operator.work_queue import Outcome
from vlm_operator.writes import Refusal, Writer
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import VlmctlError
from vlmctl.specs.hardware import Catalog

ROUNDS = 6  # looks and writes in one pass: a revision, what it owns, its Deployment, and one to see that all is right
KEY_BYTES = 32  # of randomness in an API key
ONCE = frozenset({Verb.CREATE, Verb.SCALE, Verb.DELETE})  # in a pass: their answers do not show in the next look
STALE_SECONDS = 1.0  # until the watch has told what the API server knows already

Asks = tuple[Any, Any, Any]  # what a pass depends on of the VLMDeployment: its uid, generation and annotations

log = logging.getLogger(__name__)


@dataclass
class _Tried:
    """What a pass has written so far, what was refused or did not stay so, and whether the parent was asked for.

    `asks`: what the pass is for.
    """

    asks: Asks
    done: list[Action] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    changed: list[Action] = field(default_factory=list)
    fought: list[Action] = field(default_factory=list)
    is_checked: bool = False

    @property
    def unsteady(self) -> list[Action]:
        """What does not stay as it is written, in this pass or over many."""
        found = {(each.verb, each.kind, each.name): each for each in (*self.fought, *self.changed)}
        return list(found.values())

    @property
    def came_to_nothing(self) -> list[Action]:
        """What is to be written again."""
        return [*(each for each, _ in self.refused), *self.unsteady]

    def left(self, decision: Decision, observed: Observed) -> list[Action]:
        """Those of use in this pass. An object that was applied, and is to be applied the same again, was changed."""
        actions = decision.actions
        self.changed = [each for each in actions if each.verb is Verb.APPLY and _is_among(each, self.done, whole=True)]
        over = [*(each for each in self.done if each.verb in ONCE), *(each for each, _ in self.refused), *self.unsteady]
        return [each for each in actions if not _is_among(each, over) and not self.is_held(each, observed)]

    def is_held(self, action: Action, observed: Observed) -> bool:
        """Whether it would make pods, and something that they need was refused."""
        missing = {each.kind for each, _ in self.refused if each.makes_what_pods_need}
        if action.verb is Verb.SCALE:
            missing &= OF_ALL_REVISIONS
        return bool(missing) and adds_pods(action, observed)


class Reconciler:
    """Brings VLMDeployments and their children to where they should be; called by the work queue.

    `unplanned`: those that no plan could be made for, to be looked at when nodes change. `begun`: passes under way, by
    when they began. `plans`: for the cluster as it is. `scaler`: is told who scales what; `means`: what there is to
    scale by.
    """

    def __init__(
        self,
        config: OperatorConfig,
        store: Store,
        cluster: Cluster,
        observer: Observer,
        catalog: Catalog,
        scaler: Scaler,
        means: Callable[[], Means],
    ) -> None:
        self.unplanned: set[Key] = set()
        self.begun: dict[Key, float] = {}
        self.plans = ClusterPlans(config, store, catalog)
        self._config = config
        self._store = store
        self._observer = observer
        self._scaler = scaler
        self._means = means
        self._writer = Writer(cluster, store, identity=config.pod_name)
        self._setup = Setup(
            agent_image=config.agent_image,
            proxy_image=config.proxy_image,
            hub_endpoint=config.hub_endpoint,
            prometheus=config.prometheus,
            monitors=config.monitors,
            pod_defaults=config.pod_defaults,
        )
        self._told: dict[Key, str] = {}
        self._reviewed: set[Key] = set()  # those whose plan is to be compared with a new one

    async def __call__(self, key: Key) -> Outcome:
        """One pass; what goes wrong is told here, and tried again by the queue."""
        self.begun[key] = time.monotonic()
        outcome = Outcome(failed=True)
        try:
            with RECONCILE_SECONDS.time():
                outcome = await self._pass(key)
            if not outcome.failed:
                self._told.pop(key, None)
        except Unreachable as error:
            outcome = Outcome(failed=True, after_seconds=error.retry_after_seconds)
            if error.answered:  # else the client has told it
                self._tell(key, logging.WARNING, str(error))
        except Exception as error:
            await self._fail(key, error)
        finally:
            del self.begun[key]
            RECONCILES.labels("failed" if outcome.failed else "done").inc()
        return outcome

    def review(self) -> None:
        """Compare each plan with one made now, in its next pass; and forget VLMDeployments that are gone."""
        there = set(self._store.deployments())
        self._writer.tries.keep(there)
        for key in {*self._told, *self.unplanned} - there:
            self._forget(key)
        self.plans.keep(there)
        self._observer.keep(there)
        self._reviewed = there

    def _forget(self, key: Key) -> None:
        self.unplanned.discard(key)
        self._told.pop(key, None)
        self._reviewed.discard(key)
        self._scaler.plan(key, None)

    async def _pass(self, key: Key) -> Outcome:
        observed = self._observer.snapshot(key)
        if observed is None or "deletionTimestamp" in observed.parent["metadata"]:
            self._forget(key)  # its children go with it: they are owned
            return Outcome()
        try:
            spec = parse(observed.parent).spec
        except InvalidSpec as error:
            return await self._answer_invalid(key, observed, error)
        tried = _Tried(_asks(observed.parent))
        # What is to be changed does not wait for pods to answer.
        settled = await self._settle(key, observed, spec, tried)
        if settled is None:
            return self._again(key, tried)
        asked = await self._observer.ask(key)
        looked = self._look(key, tried)
        if looked is None:
            return self._again(key, tried)
        kept = await self._writer.keep(key, measured(looked, self._observer.node_label))
        tried.refused += kept.refused
        if kept.written or asked.news:
            looked = self._look(key, tried)  # what is kept by now is noted on its pod at once
            settled = None if looked is None else await self._settle(key, looked, spec, tried)
            if settled is None:
                return self._again(key, tried)
        observed, decision = settled
        told = await self._writer.tell(key, decision.words)
        tried.refused += told.refused
        await self._answer(key, observed, spec, decision, tried)
        outcome = self._ended(key, asked, tried)
        # Answers to writes may have told before the watch what is different by now, so that it tells nothing new.
        is_old = told.written or self._is_edited(key, tried)
        return outcome._replace(after_seconds=0.0) if is_old else outcome

    def _again(self, key: Key, tried: _Tried) -> Outcome:
        """At once where something else is asked for by now."""
        return Outcome(after_seconds=0.0 if self._is_edited(key, tried) else STALE_SECONDS)

    def _is_edited(self, key: Key, tried: _Tried) -> bool:
        """Whether the VLMDeployment is gone, or asks for something else than the pass is for."""
        now = self._store.get(VLMDEPLOYMENT.kind, *key)
        return now is None or _asks(now) != tried.asks

    def _look(self, key: Key, tried: _Tried) -> Observed | None:
        """Everything as it is now; None where the VLMDeployment has been edited."""
        return None if self._is_edited(key, tried) else self._observer.snapshot(key)

    def _ended(self, key: Key, asked: Asked, tried: _Tried) -> Outcome:
        """Come again when agents are to be asked, or what came to nothing can be tried again."""
        due = self._writer.tries.due_seconds(key, tried.came_to_nothing)
        pauses = [each for each in (asked.again_seconds, due) if each is not None]
        return Outcome(failed=bool(tried.came_to_nothing), after_seconds=min(pauses, default=None), paced=True)

    async def _settle(
        self, key: Key, observed: Observed, spec: api.VLMDeploymentSpec, tried: _Tried
    ) -> tuple[Observed, Decision] | None:
        """Write until everything is right, or what is left is of no use to try; None where the parent is not there, or
        asks for something else by now.
        """
        decision = self._decide(observed, spec)
        tries = self._writer.tries
        for _ in range(ROUNDS):
            by = decision.scaled
            if by is None or not by.by_operator:
                self._scaler.plan(key, by)  # before there is an autoscaler, whatever comes of this pass
            tried.fought += [each for each in decision.actions if tries.is_fought(key, each)]
            left = tried.left(decision, observed)
            for each in tried.changed:
                tries.changed(key, each)
            if not left:
                break
            if not tried.is_checked:  # what is known of it may be old
                tried.is_checked = True
                if not await self._writer.is_alive(observed.parent) or self._is_edited(key, tried):
                    return None
            for action in left:
                if tried.is_held(action, observed):
                    continue
                try:
                    await self._writer.act(key, action)
                    tried.done.append(action)
                except ApiError as error:
                    tried.refused.append((action, error))
                tried.fought += [action] if tries.is_fought(key, action) else []
            looked = self._look(key, tried)
            if looked is None:
                return None
            observed, decision = looked, self._decide(looked, spec)
        return observed, decision

    async def _answer(
        self, key: Key, observed: Observed, spec: api.VLMDeploymentSpec, decision: Decision, tried: _Tried
    ) -> None:
        """Write the status, and what was refused into the log."""
        found = decision.findings
        (self.unplanned.discard if found.refused is None else self.unplanned.add)(key)
        found = replace(
            found,
            lesser=write_changed(tried.unsteady) or found.lesser,
            problem=write_refused(tried.refused),
            better=self._better(key, observed, spec, decision),
        )
        by = decision.scaled
        self._scaler.plan(key, by)
        status = build(
            observed,
            spec,
            decision.rollout,
            found,
            api_key=next((each.name for each in tried.done if each.kind == "Secret"), None),
            scaling=None if by is None else scaling_status(by, spec, blind=self._scaler.is_blind(key)),
            realised=self._scaler.realised(key, observed.parent["metadata"]["uid"]),
            priced=self.plans.priced,
        )
        await self._writer.answer(observed.parent, status)
        told = [f"{action.kind} {action.name}: {error}" for action, error in tried.refused]
        told += [f"{each.kind} {each.name}: {each.reason} after it was written" for each in tried.unsteady]
        if told:
            self._tell(key, logging.WARNING, "; ".join(told))

    async def _answer_invalid(self, key: Key, observed: Observed, error: InvalidSpec) -> Outcome:
        """Say so; what pods measure meanwhile is kept, and nobody scales."""
        self._scaler.plan(key, None)
        asked = await self._observer.ask(key)
        observed = self._observer.snapshot(key) or observed
        kept = await self._writer.keep(key, measured(observed, self._observer.node_label))
        refused = Finding(reason=error.reason, message=error.message)
        found = Findings(refused=refused, problem=write_refused(kept.refused))
        status = build(observed, None, Rollout(), found, priced=self.plans.priced)
        await self._writer.answer(observed.parent, status)
        return self._ended(key, asked, _Tried(_asks(observed.parent), refused=kept.refused))

    def _decide(self, observed: Observed, spec: api.VLMDeploymentSpec) -> Decision:
        return decide(
            observed,
            spec,
            plans=self.plans.over(observed.benchmarks),
            node_label=self._observer.node_label,
            new_api_key=secrets.token_urlsafe(KEY_BYTES),
            setup=self._setup,
            means=self._means(),
        )

    def _better(self, key: Key, observed: Observed, spec: api.VLMDeploymentSpec, decision: Decision) -> str | None:
        """What a plan made now would save; None where nobody has looked, and what was said before holds."""
        wanted = decision.rollout.wanted
        if key not in self._reviewed or wanted is None:
            return None
        self._reviewed.discard(key)
        return self.plans.better(key, wanted.digest, spec, wanted.planned, observed.benchmarks)

    async def _fail(self, key: Key, error: Exception) -> None:
        """Tell it in the log, with a traceback where it is a bug, and in the status as far as that can be."""
        self._tell(key, logging.ERROR, str(error), None if isinstance(error, VlmctlError) else error)
        parent = self._store.get(VLMDEPLOYMENT.kind, *key)
        if parent is not None:
            try:
                await self._writer.answer(parent, last_resort(parent, failure(error), now=time.time()))
            except (ApiError, Unreachable) as second:
                log.warning("Its status cannot be written either: %s", second)

    def _tell(self, key: Key, level: int, told: str, bug: Exception | None = None) -> None:
        """Log why a pass was not done, once for as long as it is the same."""
        said = told if bug is None else "".join(traceback.format_exception(bug))
        if self._told.get(key) != said:
            log.log(level, "A pass over %s/%s failed: %s", key.namespace, key.name, told, exc_info=bug)
        self._told[key] = said


def _asks(parent: KubernetesObject) -> Asks:
    metadata = parent["metadata"]
    return metadata["uid"], metadata.get("generation"), metadata.get("annotations")


def _is_among(action: Action, others: Collection[Action], *, whole: bool = False) -> bool:
    """Whether one of them does the same; `whole`: to the same content."""
    return any(
        (each.verb, each.kind, each.name) == (action.verb, action.kind, action.name)
        and (not whole or each.body == action.body)
        for each in others
    )
