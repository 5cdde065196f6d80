"""The six conditions of a VLMDeployment: what is so, why, and what to do about it. Each is judged by the same facts.

A message says what will still be said tomorrow if nothing changes: no times, no counts of tries or of pods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from vlm_operator.diagnosis import condition_of
from vlm_operator.reasons import AvailableReason, BenchmarkReason, DegradedReason, ModelReason, PlanReason, ReadyReason
from vlm_operator.records import Finding, Findings, Planned, Revision
from vlm_operator.results import rfc3339
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType
from vlmctl.specs.record import Record

Status = Literal["True", "False", "Unknown"]
MESSAGE_LIMIT = 32_768  # characters that the API server takes (Kubernetes API reference, Condition v1 meta)


class Measurement(Record, frozen=True, kw_only=True):
    """What is known of the speed of the revision that runs. `shown`: the rate and its interval, for people.

    `below_plan`: by how much it falls short, where the error of the plan does not explain it; else empty. `message`:
    the whole one, where it is kept from before.
    """

    reason: BenchmarkReason
    shown: str = ""
    message: str = ""
    below_plan: str = ""


class Facts(Record, frozen=True, kw_only=True):
    """What the conditions are judged by.

    `wanted`: the revision that the spec asks for; `went_back`: why it is not the one
    that runs, empty where it is or may yet be. `replicas`: that are asked for. `serves`: whether a replica takes
    requests. `rolled_out`: whether replicas of `wanted` do, and no others are left. `loaded`: whether an engine has
    the weights in memory. `downloading`, `downloaded`: of the cache. `progress`: what the furthest replica does;
    `lost`: why one that took requests takes none any more.
    `found`: what stands in the way.
    """

    wanted: Revision | None = None
    went_back: str = ""
    replicas: int = 1
    serves: bool = False
    rolled_out: bool = False
    loaded: bool = False
    downloading: bool = False
    downloaded: bool = False
    progress: AvailableReason = AvailableReason.PENDING
    lost: str = ""
    measurement: Measurement = Measurement(reason=BenchmarkReason.PENDING)
    found: Findings = Findings()


class Judged(NamedTuple):
    """A condition without its times."""

    status: Status
    reason: str
    message: str


def judge(facts: Facts) -> dict[ConditionType, Judged]:
    """All conditions, in their order."""
    found = {kind: judged(facts) for kind, judged in _JUDGES.items()}
    found[ConditionType.READY] = _ready(facts, found)
    return {kind: found[kind] for kind in ConditionType}


def conditions(
    judged: Mapping[ConditionType, Judged], before: tuple[api.Condition, ...], *, generation: int, now: float
) -> tuple[api.Condition, ...]:
    """As the API has them; one whose status is as `before` keeps its time. `now`: seconds since 1970."""
    known = {each.type: each for each in before}
    moment = rfc3339(datetime.fromtimestamp(now, UTC))
    return tuple(
        api.Condition(
            type=kind,
            status=each.status,
            reason=each.reason,
            message=each.message[:MESSAGE_LIMIT],
            last_transition_time=known[kind].last_transition_time
            if kind in known and known[kind].status == each.status
            else moment,
            observed_generation=generation,
        )
        for kind, each in judged.items()
    )


def plan_text(planned: Planned) -> str:
    """A plan in a sentence."""
    placement, speed = planned.plan.placement, planned.plan.speed
    return (
        f"{planned.model} in {placement.precision.value} on {placement.gpu_count}x {placement.gpu}: "
        f"{speed.requests_per_second:.3g} requests/s per replica ({speed.basis.value})."
    )


def _planned(facts: Facts) -> Judged:
    if facts.found.refused is not None:
        return _false(facts.found.refused)
    if facts.wanted is None:
        return Judged("Unknown", PlanReason.PENDING, "The spec has not been planned for yet.")
    message = f"{plan_text(facts.wanted.planned)} {facts.found.better or ''}".strip()
    return Judged("True", PlanReason.PLANNED, message)


def _model_ready(facts: Facts) -> Judged:
    if facts.loaded:
        return Judged("True", ModelReason.LOADED, "An engine has the weights in memory.")
    if _stands_in_the_way(facts, ConditionType.MODEL_READY) and facts.found.finding is not None:
        return _false(facts.found.finding)
    if facts.downloaded:
        return Judged("True", ModelReason.DOWNLOADED, "The weights are in the cache.")
    if facts.downloading:
        return Judged("False", ModelReason.DOWNLOADING, "The weights are being downloaded into the cache.")
    if facts.progress is AvailableReason.STARTING:
        return Judged("False", ModelReason.LOADING, "The engine is loading the weights.")
    return Judged("Unknown", ModelReason.PENDING, "No replica has come as far as the weights.")


def _available(facts: Facts) -> Judged:
    if facts.serves:
        return Judged("True", AvailableReason.AVAILABLE, "At least one replica takes requests.")
    if facts.replicas == 0:
        return Judged("False", AvailableReason.SCALED_TO_ZERO, "No replicas are asked for.")
    if _stands_in_the_way(facts, ConditionType.AVAILABLE) and facts.found.finding is not None:
        return _false(facts.found.finding)
    return Judged("False", facts.progress, facts.lost or _PROGRESS[facts.progress])


def _benchmarked(facts: Facts) -> Judged:
    if _stands_in_the_way(facts, ConditionType.BENCHMARKED) and facts.found.finding is not None and not facts.serves:
        return _false(facts.found.finding)
    known = facts.measurement
    status, message = _BENCHMARK[known.reason]
    return Judged(status, known.reason, known.message or message.format(shown=known.shown).strip())


def _degraded(facts: Facts) -> Judged:
    found = facts.found
    if found.problem is not None:
        return _true(found.problem)
    if facts.went_back:
        return Judged("True", DegradedReason.ROLLED_BACK, facts.went_back)
    wrong = [each for each in (found.finding, found.lesser) if each is not None]
    if wrong:
        return Judged("True", wrong[0].reason, " ".join(each.text for each in wrong))
    if facts.measurement.below_plan:
        return Judged("True", DegradedReason.BELOW_PLAN, facts.measurement.below_plan)
    return Judged("False", DegradedReason.AS_PLANNED, "Nothing is known to be wrong.")


def _ready(facts: Facts, found: Mapping[ConditionType, Judged]) -> Judged:
    """The first that stands in the way, in the order in which a user would have to put it right."""
    planned, available = found[ConditionType.PLANNED], found[ConditionType.AVAILABLE]
    if planned.status != "True":
        return Judged("False", planned.reason, planned.message)
    wrong = facts.found.problem or facts.found.finding
    if not facts.serves and facts.replicas and wrong is not None:
        return _false(wrong)
    if available.status != "True":
        return Judged("False", available.reason, available.message)
    if facts.went_back:
        return Judged("False", ReadyReason.ROLLED_BACK, facts.went_back)
    if not facts.rolled_out:
        return Judged("False", ReadyReason.ROLLING_OUT, "Replicas of an earlier revision are being replaced.")
    benchmarked = found[ConditionType.BENCHMARKED]
    if facts.measurement.reason in (BenchmarkReason.PENDING, BenchmarkReason.RUNNING):
        return Judged("False", benchmarked.reason, benchmarked.message)
    message = f"Replicas of what was planned take requests. {facts.found.scaling}".strip()
    return Judged("True", ReadyReason.READY, message)


def _stands_in_the_way(facts: Facts, kind: ConditionType) -> bool:
    return facts.found.finding is not None and condition_of(facts.found.finding) is kind


def _true(finding: Finding) -> Judged:
    return Judged("True", finding.reason, finding.text)


def _false(finding: Finding) -> Judged:
    return Judged("False", finding.reason, finding.text)


_JUDGES: dict[ConditionType, Callable[[Facts], Judged]] = {
    ConditionType.PLANNED: _planned,
    ConditionType.MODEL_READY: _model_ready,
    ConditionType.AVAILABLE: _available,
    ConditionType.BENCHMARKED: _benchmarked,
    ConditionType.DEGRADED: _degraded,
}
_PROGRESS: dict[AvailableReason, str] = {
    AvailableReason.PENDING: "There are no replicas yet.",
    AvailableReason.SCHEDULING: "Replicas wait for a node.",
    AvailableReason.PULLING_IMAGE: "A node pulls the image, or mounts volumes.",
    AvailableReason.STARTING: "The engine starts and loads the model.",
    AvailableReason.BENCHMARKING: "The engine runs, and its replica is tried before it takes requests.",
    AvailableReason.NOT_READY: "A replica took requests, and takes none any more.",
}
_BENCHMARK: dict[BenchmarkReason, tuple[Status, str]] = {
    BenchmarkReason.PENDING: ("Unknown", "No replica has come as far as its benchmark."),
    BenchmarkReason.RUNNING: ("Unknown", "A replica measures itself."),
    BenchmarkReason.MEASURED: ("True", "A replica of this revision measured {shown}."),
    BenchmarkReason.REUSED: ("True", "The same was measured before: {shown}."),
    BenchmarkReason.PROBED: ("True", "A replica was probed, and none was measured."),
    BenchmarkReason.NOT_MEASURED: ("False", "A replica takes requests and could not be measured. {shown}"),
    BenchmarkReason.SMOKE_FAILED: ("False", "The first request to a replica failed."),
    BenchmarkReason.BELOW_MINIMUM: ("False", "A replica serves less than the minimum of what was measured before."),
    BenchmarkReason.DISABLED: ("False", "The spec asks for no benchmark."),
}
