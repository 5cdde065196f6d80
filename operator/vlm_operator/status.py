"""A VLMDeployment's whole status from what is observed and decided: the same world gives the same status.

Written with each pass and only where it says anything new, so nothing in it moves by itself: a condition's time changes
with its status alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from vlm_operator import names, tolerant
from vlm_operator.benchmarks import decimal
from vlm_operator.conditions import Facts, Judged, conditions, judge
from vlm_operator.diagnosis import agent_result, engine_pods
from vlm_operator.facts import NOTHING_SAID, download_job, facts, is_serving, live_pods, measured, subject
from vlm_operator.realised import Realised
from vlm_operator.reasons import AvailableReason, DegradedReason, ModelReason, Phase, PlanReason, ReadyReason
from vlm_operator.records import Findings, KubernetesObject, Observed, Planned, Revision
from vlm_operator.reported import is_paid, revision_of
from vlm_operator.rollout import Rollout
from vlm_operator.timeline import timeline
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType
from vlmctl.planning.cost import usd_per_1k_requests
from vlmctl.specs.estimates import Basis

UNKNOWN = "unknown"
NOTHING_FOUND = Findings()

# What passes when the cluster has room again: the pod is well.
_WAITS = frozenset(
    {
        AvailableReason.POD_REFUSED,
        AvailableReason.INSUFFICIENT_GPU,
        AvailableReason.INSUFFICIENT_CPU,
        AvailableReason.INSUFFICIENT_MEMORY,
        AvailableReason.INSUFFICIENT_STORAGE,
        AvailableReason.TOO_MANY_PODS,
        AvailableReason.NO_MATCHING_NODE,
        AvailableReason.UNTOLERATED_TAINT,
        AvailableReason.NODE_UNSCHEDULABLE,
        AvailableReason.VOLUME_UNAVAILABLE,
        AvailableReason.UNSCHEDULABLE,
    }
)


def build(
    observed: Observed,
    spec: api.VLMDeploymentSpec | None,
    rollout: Rollout,
    found: Findings = NOTHING_FOUND,
    *,
    api_key: str | None = None,
    scaling: api.ScalingStatus | None = None,
    realised: Realised | None = None,
    priced: Callable[[Planned], Planned] = lambda planned: planned,
) -> api.VLMDeploymentStatus:
    """The status of `observed.parent` at `observed.now`.

    `spec`: None where it cannot be read. `found`: what stands in the way. `api_key`: the Secret with the key, once it
    is made; None: as it was said before. `scaling`: who scales. `realised`: what requests really cost; what is not
    known of it is as it was said before. `priced`: a plan at the prices of now.
    """
    metadata, before = observed.parent["metadata"], previous(observed.parent)
    name, generation = metadata["name"], metadata.get("generation", 0)
    known = facts(observed, spec, rollout, before, found)
    judged = judge(known)
    runs, pods = subject(observed, rollout), live_pods(observed)
    serving = [pod for pod in pods if is_serving(pod)]
    current, wanted = _serving_revision(observed, serving), None if rollout.wanted is None else rollout.wanted.name
    status = api.VLMDeploymentStatus(
        observed_generation=generation,
        phase=phase(spec, known, judged),
        conditions=conditions(judged, before.conditions, generation=generation, now=observed.now),
        model=_model(spec, runs),
        replicas=len(pods),
        ready_replicas=len(serving),
        ready=f"{len(serving)}/{known.replicas}",
        selector=",".join(f"{label}={value}" for label, value in names.selector(name).items()),
        url=f"http://{name}.{metadata['namespace']}.svc/v1",
        current_revision=current,
        update_revision=None if wanted == current else wanted,
        api_key_secret=_own_key(spec) or api_key or before.api_key_secret,
        made_key_secret=api_key or made_key_secret(observed.parent),
        plan=None if rollout.wanted is None else plan_status(rollout.wanted.planned),
        scaling=scaling,
    )
    if runs is None:
        return status
    status = _with_figures(status, observed, runs, before, priced)
    # While a revision is rolled out, what is counted may be of the one before it.
    counted = realised if scaling is None or scaling.revision == runs.name else None
    before = before if was_about(before) == runs.name else NOTHING_SAID
    return _with_realised(status, before, counted, priced(runs.planned).usd_per_hour)


def _with_realised(
    status: api.VLMDeploymentStatus,
    before: api.VLMDeploymentStatus,
    realised: Realised | None,
    usd_per_replica_hour: float | None,
) -> api.VLMDeploymentStatus:
    """And what requests really took and, where a price is known, cost. `before`: what was said of the same revision."""
    if status.cost is None:
        return status
    said = before.cost or api.CostStatus()
    idle = said.idle if realised is None or realised.idle is None else realised.idle
    hours, replicas = (None, None) if idle else (said.realised_replica_hours_per_1k, said.realised_replicas)
    if not idle and realised is not None and realised.replica_hours_per_1k is not None:
        hours, replicas = decimal(realised.replica_hours_per_1k), decimal(realised.replicas or 0.0)
    usd = None if hours is None or usd_per_replica_hour is None else float(hours) * usd_per_replica_hour
    cost = msgspec.structs.replace(
        status.cost,
        realised_per_1k=None if usd is None else decimal(usd),
        realised_replica_hours_per_1k=hours,
        realised_replicas=replicas,
        idle=idle,
    )
    return msgspec.structs.replace(status, cost=cost)


def _with_figures(
    status: api.VLMDeploymentStatus,
    observed: Observed,
    runs: Revision,
    before: api.VLMDeploymentStatus,
    priced: Callable[[Planned], Planned],
) -> api.VLMDeploymentStatus:
    """And what is known of the revision that runs: speed, money for the replicas, and when it came how far."""
    benchmark = measured(observed, runs, before)
    plan, plans = priced(runs.planned), {each.digest: priced(each.planned) for each in observed.revisions}
    paid = [plans.get(revision_of(pod), plan) for pod in engine_pods(observed, leaving=True) if is_paid(pod)]
    return msgspec.structs.replace(
        status,
        benchmark=benchmark,
        drift=None if benchmark is None else drift(runs.planned, benchmark),
        cost=cost(plan, paid, benchmark),
        timeline=_timeline(observed, runs, before),
    )


def previous(parent: KubernetesObject) -> api.VLMDeploymentStatus:
    """The status as it is, as far as this version knows its fields; empty where it cannot be read."""
    try:
        return tolerant.convert(parent.get("status") or {}, api.VLMDeploymentStatus)
    except msgspec.ValidationError:
        return api.VLMDeploymentStatus()


def made_key_secret(parent: KubernetesObject) -> str | None:
    """The Secret that was made for it, also where the rest of the status cannot be read: it is never made again."""
    status = parent.get("status") or {}
    own = names.api_key(parent["metadata"]["name"])
    return own if own in (status.get("madeKeySecret"), status.get("apiKeySecret")) else None


def plan_status(planned: Planned) -> api.PlanStatus:
    """What was planned, per replica, with every word that the engine is started with."""
    placement, speed = planned.plan.placement, planned.plan.speed
    return api.PlanStatus(
        checkpoint=planned.checkpoint or planned.repository,
        precision=placement.precision.value,
        gpu=placement.gpu,
        gpu_count=placement.gpu_count,
        requests_per_second=decimal(speed.requests_per_second),
        ttft=api.duration(round(speed.ttft_p95_seconds, 6)),
        tpot=api.duration(round(speed.tpot_p95_seconds, 6)),
        basis=speed.basis,
        concurrency=speed.concurrency,
        image=planned.image,
        arguments=tuple(word for argument in planned.arguments for word in argument.words),
        error_median=None if speed.error_median is None else decimal(speed.error_median),
        notes=planned.notes,
    )


def drift(planned: Planned, benchmark: api.BenchmarkStatus) -> api.Drift | None:
    """Measured over planned, in 2 significant digits; None where nothing was planned to be served."""
    expected = planned.plan.speed.requests_per_second
    if expected <= 0:
        return None
    return api.Drift(throughput=decimal(float(f"{float(benchmark.requests_per_second) / expected:.2g}")))


def cost(planned: Planned, paid: Sequence[Planned], benchmark: api.BenchmarkStatus | None) -> api.CostStatus:
    """Money for replicas, each at the price of its own revision, in USD per hour; per request of `planned`, at the
    measured rate where there is one. Unknown stays unsaid. `paid`: of each replica that is, what it was planned with.
    """
    gpus = sum(each.plan.placement.gpu_count for each in paid)
    of_replica, prices = planned.usd_per_hour, [each.usd_per_hour for each in paid]
    known = [each for each in prices if each is not None]
    if of_replica is None:
        return api.CostStatus(replicas=len(paid), gpus=gpus, price_source=UNKNOWN)
    speed = planned.plan.speed
    rate = float(benchmark.requests_per_second) if benchmark is not None else speed.requests_per_second
    return api.CostStatus(
        replicas=len(paid),
        gpus=gpus,
        hourly=decimal(sum(known)) if len(known) == len(paid) else None,
        saturated_per_1k=decimal(usd_per_1k_requests(of_replica, rate)) if rate > 0 else None,
        basis=Basis.MEASURED.value if benchmark is not None else speed.basis.value,
        price_source=planned.price_source,
        as_of=planned.price_as_of,
    )


def phase(spec: api.VLMDeploymentSpec | None, known: Facts, judged: dict[ConditionType, Judged]) -> Phase:
    """The state in a word, of what matters most to a person."""
    refused = known.found.refused
    if refused is not None:
        return Phase.INVALID if refused.reason == PlanReason.INVALID_SPEC else Phase.REFUSED
    if spec is not None and spec.paused:
        return Phase.PAUSED
    if known.replicas == 0 and not known.serves:
        return Phase.SCALED_TO_ZERO
    if known.serves:
        return _serving_phase(judged)
    wrong = known.found.problem or known.found.finding
    if wrong is not None:
        return Phase.PENDING if wrong.reason in _WAITS else Phase.FAILED
    if judged[ConditionType.MODEL_READY].reason == ModelReason.DOWNLOADING:
        return Phase.DOWNLOADING
    return _PHASES.get(known.progress, Phase.PENDING)


def _serving_phase(judged: dict[ConditionType, Judged]) -> Phase:
    if judged[ConditionType.READY].reason == ReadyReason.ROLLING_OUT:
        return Phase.ROLLING_OUT
    if judged[ConditionType.DEGRADED].reason != DegradedReason.AS_PLANNED:
        return Phase.DEGRADED
    return Phase.READY if judged[ConditionType.READY].status == "True" else Phase.BENCHMARKING


def _own_key(spec: api.VLMDeploymentSpec | None) -> str | None:
    return spec.api_key.name if spec is not None and spec.api_key is not None else None


def _model(spec: api.VLMDeploymentSpec | None, runs: Revision | None) -> str | None:
    if spec is not None and spec.model.name is not None:
        return spec.model.name
    return None if runs is None else runs.planned.model


def _serving_revision(observed: Observed, serving: list[KubernetesObject]) -> str | None:
    """The name of the revision whose replicas take requests, the older where two have some."""
    digests = {revision_of(pod) for pod in serving}
    return next((each.name for each in observed.revisions if each.digest in digests), None)


def _timeline(observed: Observed, runs: Revision, before: api.VLMDeploymentStatus) -> api.Timeline | None:
    told = [(pod, agent_result(observed, pod)) for pod in live_pods(observed, runs)]
    known = before.timeline if was_about(before) == runs.name else None
    return timeline(told, download_job(observed, runs), known)


def was_about(before: api.VLMDeploymentStatus) -> str | None:
    """The revision that an earlier status tells the timeline of."""
    reasons = {each.type: each.reason for each in before.conditions}
    if reasons.get(ConditionType.DEGRADED) == DegradedReason.ROLLED_BACK:
        return before.current_revision
    return before.update_revision or before.current_revision


_PHASES = {
    AvailableReason.PULLING_IMAGE: Phase.STARTING,
    AvailableReason.STARTING: Phase.STARTING,
    AvailableReason.BENCHMARKING: Phase.BENCHMARKING,
    AvailableReason.NOT_READY: Phase.DEGRADED,
}
