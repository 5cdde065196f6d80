"""One pass over one VLMDeployment: observe, decide, write, look again, answer in its status."""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from dataclasses import dataclass, field
from functools import partial

from vlm_operator.actions import Action, Verb
from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.config import OperatorConfig
from vlm_operator.decisions import Decision, decide, measured
from vlm_operator.inventory import inventory
from vlm_operator.kinds import NODE, VLMDEPLOYMENT
from vlm_operator.metrics import RECONCILE_SECONDS, RECONCILES
from vlm_operator.observe import POLL_SECONDS, Observer
from vlm_operator.planner import Planner
from vlm_operator.records import Finding, Key, Observed, Planned
from vlm_operator.rollout import Rollout
from vlm_operator.spec import InvalidSpec, parse
from vlm_operator.status import build
from vlm_operator.store import Store
from vlm_operator.trouble import failure, last_resort, write_refused
from vlm_operator.work_queue import Outcome
from vlm_operator.writes import Writer
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import VlmctlError
from vlmctl.specs.hardware import Catalog

ROUNDS = 6  # looks and writes in one pass: a revision, what it owns, its Deployment, and one to see that all is right
KEY_BYTES = 32  # of randomness in an API key
ONCE = frozenset({Verb.CREATE, Verb.SCALE, Verb.DELETE})  # in a pass: their answers do not show in the next look
STALE_SECONDS = 1.0  # until the watch has told what the API server knows already

log = logging.getLogger(__name__)


@dataclass
class _Tried:
    """What a pass has written so far, what was refused, and whether the parent was asked for."""

    done: list[Action] = field(default_factory=list)
    refused: list[tuple[Action, Exception]] = field(default_factory=list)
    is_checked: bool = False

    def settles(self, action: Action) -> bool:
        """Whether it was tried, and trying it again in this pass is no use."""
        alike = [each for each in self.done if each.verb in ONCE] + [each for each, _ in self.refused]
        return any((each.verb, each.kind, each.name) == (action.verb, action.kind, action.name) for each in alike)


class Reconciler:
    """Brings VLMDeployments and their children to where they should be; called by the work queue.

    `unplanned`: those that no plan could be made for, to be looked at when nodes change. `begun`: passes under way, by
    when they began.
    """

    def __init__(
        self, config: OperatorConfig, store: Store, cluster: Cluster, observer: Observer, catalog: Catalog
    ) -> None:
        self.unplanned: set[Key] = set()
        self.begun: dict[Key, float] = {}
        self._config = config
        self._store = store
        self._observer = observer
        self._writer = Writer(cluster, store, identity=config.pod_name)
        self._catalog = catalog
        self._planner = Planner(catalog)
        self._told: dict[Key, str] = {}

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

    async def _pass(self, key: Key) -> Outcome:
        observed = self._observer.snapshot(key)
        if observed is None or "deletionTimestamp" in observed.parent["metadata"]:
            self.unplanned.discard(key)  # its children go with it: they are owned
            self._told.pop(key, None)
            return Outcome()
        working = await self._observer.ask(key)
        observed = self._observer.snapshot(key) or observed
        if await self._writer.keep(measured(observed, self._observer.node_label)):
            observed = self._observer.snapshot(key) or observed
        try:
            spec = parse(observed.parent).spec
        except InvalidSpec as error:
            refused = Finding(reason=error.reason, message=error.message)
            await self._writer.answer(observed.parent, build(observed, None, Rollout(), refused=refused))
            return Outcome()
        outcome = await self._settle(key, observed, spec)
        return outcome if outcome.failed or not working else Outcome(after_seconds=POLL_SECONDS)

    async def _settle(self, key: Key, observed: Observed, spec: api.VLMDeploymentSpec) -> Outcome:
        """Write until everything is right, or what is left is refused; then answer."""
        tried = _Tried()
        for _ in range(ROUNDS):
            decision = self._decide(observed, spec)
            left = [each for each in decision.actions if not tried.settles(each)]
            if not tried.is_checked and any(_makes(each, observed) for each in left):
                tried.is_checked = True
                if not await self._writer.is_alive(observed.parent):
                    return Outcome(after_seconds=STALE_SECONDS)
            for action in left:
                try:
                    await self._writer.act(key, action)
                    tried.done.append(action)
                except ApiError as error:
                    tried.refused.append((action, error))
            if not await self._writer.tell(key, decision.words) and not left:
                break
            observed = self._observer.snapshot(key) or observed
        (self.unplanned.discard if decision.refused is None else self.unplanned.add)(key)
        status = build(
            observed,
            spec,
            decision.rollout,
            refused=decision.refused,
            finding=decision.finding,
            problem=write_refused(tried.refused),
            api_key=next((each.name for each in tried.done if each.kind == "Secret"), None),
        )
        await self._writer.answer(observed.parent, status)
        if tried.refused:
            told = "; ".join(f"{action.kind} {action.name}: {error}" for action, error in tried.refused)
            self._tell(key, logging.WARNING, told)
        return Outcome(failed=bool(tried.refused))

    def _decide(self, observed: Observed, spec: api.VLMDeploymentSpec) -> Decision:
        return decide(
            observed,
            spec,
            plan=partial(self._plan, observed.benchmarks),
            node_label=self._observer.node_label,
            new_api_key=secrets.token_urlsafe(KEY_BYTES),
            agent_image=self._config.agent_image,
            hub_endpoint=self._config.hub_endpoint,
        )

    def _plan(self, benchmarks: tuple[api.VLMBenchmark, ...], spec: api.VLMDeploymentSpec) -> Planned:
        found = inventory(self._store.all(NODE.kind), self._config.inventory, self._catalog)
        return self._planner.plan(spec, found, self._config.policy, benchmarks, engine_image=self._config.engine_image)

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
            extra = {"namespace": key.namespace, "deployment": key.name}
            log.log(level, "A pass over %s/%s failed: %s", key.namespace, key.name, told, exc_info=bug, extra=extra)
        self._told[key] = said


def _makes(action: Action, observed: Observed) -> bool:
    """Whether it makes something that is not there."""
    is_there = action.name in observed.children.get(action.kind, {})
    return action.verb in (Verb.APPLY, Verb.CREATE) and not is_there
