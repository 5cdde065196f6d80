"""What the conditions are judged by, from what is observed: which revision runs, how far it is, what was measured."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from vlm_operator import names
from vlm_operator.benchmarks import benchmark_key, decimal, find_benchmark, interval
from vlm_operator.conditions import Facts, Measurement, plan_text
from vlm_operator.container_states import is_up
from vlm_operator.diagnosis import agent_result, diagnose, engine_pods, is_live
from vlm_operator.download import current, job_name
from vlm_operator.engine_logs import quote
from vlm_operator.model_source import is_commit
from vlm_operator.reasons import AvailableReason, BenchmarkReason, DegradedReason
from vlm_operator.records import Findings, KubernetesObject, Observed, Revision
from vlm_operator.reported import condition, container, containers, holds, is_cut_off, revision_of
from vlm_operator.results import AgentResult, Figures, Problem, Stage
from vlm_operator.rollout import Rollout, carried_digest
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType

NOTHING_SAID = api.VLMDeploymentStatus()
_BENCHMARK_OVER = frozenset({BenchmarkReason.PROBED, BenchmarkReason.NOT_MEASURED})
_AT_WORK = frozenset({Stage.SMOKE, Stage.PROBE, Stage.LADDER})
_FURTHEST_FIRST = (
    AvailableReason.NOT_READY,
    AvailableReason.BENCHMARKING,
    AvailableReason.STARTING,
    AvailableReason.PULLING_IMAGE,
    AvailableReason.SCHEDULING,
)


def facts(
    observed: Observed,
    spec: api.VLMDeploymentSpec | None,
    rollout: Rollout,
    before: api.VLMDeploymentStatus,
    found: Findings,
) -> Facts:
    """Everything in one record. `before`: the status as it is; arguments else as of `status.build`."""
    runs = subject(observed, rollout)
    pods = live_pods(observed, runs)
    serving = {revision_of(pod) for pod in live_pods(observed) if is_serving(pod)}
    job = download_job(observed, runs)
    present = {revision_of(pod) for pod in live_pods(observed)}
    steps = [_step(observed, pod) for pod in pods]
    lost = [_unready(pod) for pod, step in zip(pods, steps, strict=True) if step is AvailableReason.NOT_READY]
    return Facts(
        wanted=rollout.wanted,
        went_back=_went_back(observed, rollout, before),
        replicas=spec.replicas if spec is not None else len(pods),
        serves=bool(serving),
        rolled_out=runs is not None and runs.digest in serving and present == {runs.digest},
        loaded=any(is_up(container(pod, names.ENGINE)) for pod in pods),
        downloading=job is not None and not holds(job, "Complete"),
        downloaded=job is not None and holds(job, "Complete"),
        progress=next((step for step in _FURTHEST_FIRST if step in steps), AvailableReason.PENDING),
        lost=min(filter(None, lost), default=""),
        measurement=_measurement(observed, spec, runs, before),
        found=found if found.better is not None else replace(found, better=_better(rollout.wanted, before)),
    )


def subject(observed: Observed, rollout: Rollout) -> Revision | None:
    """The revision whose replicas the status is about: what is wanted, unless another one runs in its place."""
    if rollout.wanted is not None and not rollout.went_back:
        return rollout.wanted
    deployment = observed.children.get("Deployment", {}).get(observed.parent["metadata"]["name"])
    there = next((each for each in observed.revisions if each.digest == carried_digest(deployment)), None)
    return rollout.carried or there


def live_pods(observed: Observed, revision: Revision | None = None) -> list[KubernetesObject]:
    """Pods of the engine that have not ended and are not being deleted, of one revision or of all."""
    return [
        pod
        for pod in engine_pods(observed)
        if is_live(pod) and (revision is None or revision_of(pod) == revision.digest)
    ]


def download_job(observed: Observed, revision: Revision | None) -> KubernetesObject | None:
    """The Job that brings the revision's weights."""
    if revision is None:
        return None
    name = observed.parent["metadata"]["name"]
    return current(observed.children, name).get(job_name(name, revision))


def measured(
    observed: Observed, revision: Revision | None, before: api.VLMDeploymentStatus = NOTHING_SAID
) -> api.BenchmarkStatus | None:
    """What is known of a replica's speed: what is kept of the same, else what a replica has told.

    `before`: the status as it is, which holds while replicas that may know more have not answered since a restart.
    """
    if revision is None:
        return None
    planned = revision.planned
    products = dict.fromkeys((*planned.node_products, planned.plan.placement.gpu))
    kept = [find_benchmark(observed.benchmarks, benchmark_key(planned, product)) for product in products]
    known = max((each for each in kept if each is not None), key=lambda each: each.spec.measured, default=None)
    if known is not None:
        return api.BenchmarkStatus(
            requests_per_second=decimal(float(known.spec.requests_per_second)),
            interval=known.spec.interval,
            concurrency=known.spec.concurrency,
            ttft=known.spec.ttft,
            tpot=known.spec.tpot,
            measured=known.spec.measured,
        )
    best = next((result.ladder.best for result in _results(observed, revision) if result.ladder.best), None)
    if best is None:
        return before.benchmark if _is_of(before, revision) and _silent(observed, revision) else None
    return _told(best)


def is_serving(pod: KubernetesObject) -> bool:
    """Whether the Service sends it requests."""
    return holds(pod, "Ready")


def _told(best: Figures) -> api.BenchmarkStatus:
    return api.BenchmarkStatus(
        requests_per_second=decimal(best.requests_per_second),
        interval=interval(best),
        concurrency=best.concurrency,
        ttft=None if best.ttft_p95_seconds is None else api.duration(best.ttft_p95_seconds),
        tpot=None if best.tpot_p95_seconds is None else api.duration(best.tpot_p95_seconds),
        measured=best.measured,
    )


def _results(observed: Observed, revision: Revision) -> list[AgentResult]:
    told = (agent_result(observed, pod) for pod in live_pods(observed, revision))
    return [result for result in told if result is not None]


def _measurement(
    observed: Observed, spec: api.VLMDeploymentSpec | None, revision: Revision | None, before: api.VLMDeploymentStatus
) -> Measurement:
    known = measured(observed, revision, before)
    if revision is None:
        return _unmeasured(spec, [])
    doubted = [observed.doubted.get(pod["metadata"].get("uid", "")) for pod in live_pods(observed, revision)]
    if known is None and any(doubted):
        return Measurement(reason=BenchmarkReason.NOT_MEASURED, shown=quote(min(filter(None, doubted))))
    if known is None:
        found = _unmeasured(spec, _results(observed, revision))
        return _as_told(observed, revision, before, found) or found
    rate = f"{known.requests_per_second} requests/s at {known.concurrency} in flight (95% interval {known.interval})"
    here = any(result.measured for result in _results(observed, revision)) or _was_measured(before, revision)
    return Measurement(
        reason=BenchmarkReason.MEASURED if here else BenchmarkReason.REUSED,
        shown=rate if here or is_commit(revision.planned.revision) else f"{rate}, by a checkpoint that no commit pins",
        below_plan=_below_plan(revision, known),
    )


def _unmeasured(spec: api.VLMDeploymentSpec | None, results: Iterable[AgentResult]) -> Measurement:
    told = list(results)
    if spec is not None and spec.benchmark.policy is api.BenchmarkPolicy.NONE:
        return Measurement(reason=BenchmarkReason.DISABLED)
    # Where one could not be measured, each further replica tries, which takes nothing back.
    gave_up = any(result.stage is Stage.OPEN and result.problem is Problem.NOT_MEASURED for result in told)
    if any(result.stage in _AT_WORK for result in told) and not gave_up:
        return Measurement(reason=BenchmarkReason.RUNNING)
    if any(result.probe is not None for result in told):
        return Measurement(reason=BenchmarkReason.PROBED)
    tried = [result for result in told if result.stage is Stage.OPEN]
    if not tried:
        return Measurement(reason=BenchmarkReason.PENDING)
    why = sorted(result.message for result in tried if result.problem is Problem.NOT_MEASURED)
    return Measurement(reason=BenchmarkReason.NOT_MEASURED, shown=why[0] if why else "")


def _as_told(
    observed: Observed, revision: Revision, before: api.VLMDeploymentStatus, found: Measurement
) -> Measurement | None:
    """What the status said of the same revision, where replicas that may know it have not answered since a restart."""
    said = _said(before, ConditionType.BENCHMARKED)
    if said is None or not _is_of(before, revision) or not _silent(observed, revision):
        return None
    over = said.reason in _BENCHMARK_OVER and found.reason not in (BenchmarkReason.PROBED, BenchmarkReason.DISABLED)
    begun = said.reason == BenchmarkReason.RUNNING and found.reason is BenchmarkReason.PENDING
    return Measurement(reason=BenchmarkReason(said.reason), message=said.message) if over or begun else None


def _silent(observed: Observed, revision: Revision) -> list[KubernetesObject]:
    """Replicas whose agents have told nothing since the operator was started."""
    return [pod for pod in live_pods(observed, revision) if agent_result(observed, pod) is None]


def _was_measured(before: api.VLMDeploymentStatus, revision: Revision) -> bool:
    """Whether the status said so already, when the replica that did it was still there."""
    said = _said(before, ConditionType.BENCHMARKED)
    return said is not None and said.reason == BenchmarkReason.MEASURED and _is_of(before, revision)


def _better(wanted: Revision | None, before: api.VLMDeploymentStatus) -> str:
    """What the status said of another plan than this revision's."""
    said = _said(before, ConditionType.PLANNED)
    if wanted is None or said is None or said.status != "True" or not _is_of(before, wanted):
        return ""
    plan = plan_text(wanted.planned)
    return said.message.removeprefix(plan).strip() if said.message.startswith(plan) else ""


def _said(before: api.VLMDeploymentStatus, kind: ConditionType) -> api.Condition | None:
    return next((each for each in before.conditions if each.type is kind), None)


def _is_of(before: api.VLMDeploymentStatus, revision: Revision) -> bool:
    return revision.name in (before.current_revision, before.update_revision)


def _below_plan(revision: Revision, known: api.BenchmarkStatus) -> str:
    """A sentence where the plan's own error does not explain the difference: |plan - measured| / measured above it."""
    speed = revision.planned.plan.speed
    error = speed.error_p90 if speed.error_p90 is not None else speed.error_median or 0.0
    rate, planned = float(known.requests_per_second), speed.requests_per_second
    if rate * (1 + error) >= planned:
        return ""
    return (
        f"A replica measured {known.requests_per_second} requests/s of the planned {decimal(planned)}, less than the "
        f"plan's error of {error:.0%} explains. Look after its node, or plan with what was measured: change the "
        f"annotation {names.REPLAN}."
    )


def _went_back(observed: Observed, rollout: Rollout, before: api.VLMDeploymentStatus) -> str:
    """Why another revision runs than the one that is wanted: as it was said first, while its pods could tell."""
    if not rollout.went_back or rollout.wanted is None or rollout.carried is None:
        return ""
    said = next((each for each in before.conditions if each.reason == DegradedReason.ROLLED_BACK), None)
    if said is not None and before.update_revision == rollout.wanted.name:
        return said.message
    found = diagnose(observed, rollout.wanted.digest, leaving=True)
    if found is not None:
        why = found.text
    elif engine_pods(observed, rollout.wanted.digest, leaving=True):
        why = "It took no requests in time."
    else:  # asked for again: its verdict is kept, and no pod of it is made
        why = f"It had failed before. To have it tried again, change the annotation {names.REPLAN}."
    return f"{rollout.wanted.name} failed, and {rollout.carried.name} runs instead. {why}".strip()


def _step(observed: Observed, pod: KubernetesObject) -> AvailableReason:
    status = container(pod, names.ENGINE)
    if is_up(status):
        return AvailableReason.NOT_READY if _took_requests(observed, pod) else AvailableReason.BENCHMARKING
    if "running" in status.get("state", {}) or status.get("restartCount"):
        return AvailableReason.STARTING
    return AvailableReason.PULLING_IMAGE if pod.get("spec", {}).get("nodeName") else AvailableReason.SCHEDULING


def _took_requests(observed: Observed, pod: KubernetesObject) -> bool:
    """Whether a replica that takes none now did: its engine is ready still, or the pod was after it had been opened."""
    if is_serving(pod):
        return False
    result = agent_result(observed, pod)
    opened = "" if result is None else result.opened or ""
    lost = condition(pod, "Ready").get("lastTransitionTime", "")
    return bool(container(pod, names.ENGINE).get("ready")) or bool(opened and lost > opened)


def _unready(pod: KubernetesObject) -> str:
    """Why a replica that took requests takes none any more; empty where nothing says it."""
    if is_cut_off(pod):
        node = pod.get("spec", {}).get("nodeName", "unknown")
        return f"A replica took requests, and its node {node} is not ready, or does not answer."
    unready = next((each["name"] for each in containers(pod) if not each.get("ready")), None)
    return "" if unready is None else f"A replica took requests, and its container {unready} is not ready any more."
