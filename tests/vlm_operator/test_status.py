"""The whole status: laws over any world of pods, and what a person reads in each part of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.benchmarks import benchmark, benchmark_key
from vlm_operator.diagnosis import diagnose
from vlm_operator.realised import Realised
from vlm_operator.reasons import (
    AvailableReason,
    BenchmarkReason,
    DegradedReason,
    ModelReason,
    Phase,
    PlanReason,
    ReadyReason,
)
from vlm_operator.records import Finding, Findings, KubernetesObject, Observed, Verdict
from vlm_operator.results import AgentResult, Ladder, Probe, Problem, Stage, Task
from vlm_operator.rollout import Rollout
from vlm_operator.status import build, cost, drift, previous

from tests.vlm_operator.children import CACHED, NAME, PARENT, PLANNED, SPEC
from tests.vlm_operator.worlds import (
    BEST,
    CRASHED,
    CREATING,
    OTHER,
    PRICED,
    REVISION,
    RUNNING,
    SERVING,
    UP,
    answered,
    container,
    job,
    measured,
    observed,
    pod,
    rollout,
    told,
)
from vlmctl.api import v1alpha1 as api
from vlmctl.api.status import ConditionType

BOTH = (REVISION, OTHER)
NO_GPU = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
FAILED = replace(OTHER, verdict=Verdict.FAILED)
BACK = Rollout(wanted=FAILED, carried=REVISION)
RESULTS: dict[str, AgentResult | None] = {
    "none": None,
    "waiting": AgentResult(),
    "measuring": AgentResult(stage=Stage.LADDER, engine_ready="2026-11-18T10:03:00Z"),
    "measured": measured()["uid-reader-a"],
    "probed": AgentResult(stage=Stage.OPEN, probe=Probe(figures=BEST, minimum=0.5)),
    "shut": AgentResult(stage=Stage.SHUT, problem=Problem.EMPTY_ANSWER, message="the answer holds no text."),
    "unmeasured": AgentResult(stage=Stage.OPEN, problem=Problem.NOT_MEASURED, message="Too few requests."),
}
STORED = benchmark(measured()["uid-reader-a"], benchmark_key(PRICED, "NVIDIA-L4"), PRICED, namespace="team")
assert STORED is not None


def said(seen: Observed, where: Rollout | None = None, **given: Any) -> api.VLMDeploymentStatus:
    """The status of a world, with its own finding."""
    where = where or rollout()
    finding = diagnose(seen, where.carried.digest) if where.carried is not None else None
    return build(seen, given.pop("spec", SPEC), where, Findings(**{"finding": finding, **given}))


def of(status: api.VLMDeploymentStatus, kind: ConditionType) -> api.Condition:
    """One condition."""
    return next(each for each in status.conditions if each.type is kind)


@pytest.mark.parametrize("result", ["measured", "probed", "unmeasured"])
def test_a_deployment_without_a_kept_measurement_stays_ready_over_a_restart(result: str) -> None:
    """Its agents may be dead by then; traffic goes on, and Ready says so."""
    told = RESULTS[result]
    assert told is not None
    seen = observed(pod(SERVING), results={"uid-reader-a": told})
    first = said(seen)
    assert of(first, ConditionType.READY).status == "True"
    again = said(replace(answered(seen, first), results={}))
    assert msgspec.to_builtins(again) == msgspec.to_builtins(first)


WAY = {
    "nothing": (observed(), Phase.PENDING, AvailableReason.PENDING),
    "downloading": (observed(children=job()), Phase.DOWNLOADING, AvailableReason.PENDING),
    "no node": (observed(pod(unschedulable=NO_GPU)), Phase.PENDING, AvailableReason.INSUFFICIENT_GPU),
    "image": (observed(pod(CREATING)), Phase.STARTING, AvailableReason.PULLING_IMAGE),
    "loading": (observed(pod(container(RUNNING))), Phase.STARTING, AvailableReason.STARTING),
    "measuring": (
        observed(pod(UP), results={"uid-reader-a": RESULTS["measuring"]}),
        Phase.BENCHMARKING,
        AvailableReason.BENCHMARKING,
    ),
    "crashed": (observed(pod(CRASHED)), Phase.FAILED, AvailableReason.CRASH_LOOP),
    "ready": (observed(pod(SERVING), results=measured()), Phase.READY, ReadyReason.READY),
}


@pytest.mark.parametrize(("seen", "phase", "reason"), WAY.values(), ids=WAY)
def test_the_way_to_ready(seen: Observed, phase: Phase, reason: str) -> None:
    """Each step of a first start has its phase, and Ready's reason tells what it waits for."""
    status = said(seen)
    assert status.phase == phase
    assert of(status, ConditionType.READY).reason == reason


def test_what_a_person_reads_of_a_replica_that_serves() -> None:
    """Plan, measurement, drift, money and address stand in the status, as text where they have a fraction."""
    status = said(observed(pod(SERVING), results=measured()))
    assert (status.ready, status.model, status.current_revision) == ("1/1", PLANNED.model, REVISION.name)
    assert status.url == f"http://{NAME}.team.svc/v1"
    assert status.selector == f"{names.DEPLOYMENT}={NAME},{names.COMPONENT}=engine"
    assert status.benchmark == api.BenchmarkStatus(
        requests_per_second="0.85", interval="0.8-0.9", concurrency=8, ttft="1500ms", measured=BEST.measured
    )
    assert status.drift == api.Drift(throughput="0.94")  # 0.85 measured of 0.9 planned
    assert status.cost == api.CostStatus(
        replicas=1,
        gpus=1,
        hourly="0.8",
        saturated_per_1k="0.2614",
        basis="measured",
        price_source="aws list",
        as_of="2026-01-01",
    )  # 0.8 / (0.85 x 3600) x 1000
    assert status.plan is not None
    assert status.plan.arguments == tuple(word for each in PLANNED.arguments for word in each.words)
    assert (status.plan.ttft, status.plan.tpot, status.plan.basis) == ("1600ms", "40ms", "estimated")
    assert of(status, ConditionType.BENCHMARKED).reason == BenchmarkReason.MEASURED
    assert of(status, ConditionType.MODEL_READY).reason == ModelReason.LOADED


def test_money_is_said_only_as_far_as_it_is_known() -> None:
    """No price gives no figure, and no measurement gives the planned rate's."""
    assert cost(PLANNED, [PLANNED] * 3, None) == api.CostStatus(replicas=3, gpus=3, price_source="unknown")
    assert cost(PRICED, [PRICED] * 3, None) == api.CostStatus(
        replicas=3,
        gpus=3,
        hourly="2.4",
        saturated_per_1k="0.2469",
        basis="estimated",
        price_source="aws list",
        as_of="2026-01-01",
    )  # 0.8 / (0.9 x 3600) x 1000


def test_paid_are_the_replicas_that_hold_gpus() -> None:
    """One that waits for a node costs nothing, however many are asked for; one that leaves does until it has ended."""
    waits = pod(name="reader-b", unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    leaves, ended = pod(SERVING, name="reader-c", deleted=True), pod(SERVING, name="reader-d", phase="Failed")
    found = said(observed(pod(SERVING), waits, leaves, ended), spec=replace(SPEC, replicas=8)).cost
    assert found is not None
    assert (found.replicas, found.hourly) == (2, "1.6")


def test_a_price_of_now_takes_the_place_of_the_plans() -> None:
    """In what replicas cost, in the floor and in what was realised."""
    seen = observed(pod(SERVING), results=measured())
    counted = Realised(began=0.0, at=0.0, replica_hours_per_1k=2.0, replicas=1.0)
    found = build(
        seen, SPEC, rollout(), realised=counted, priced=lambda planned: replace(planned, usd_per_gpu_hour=1.6)
    ).cost
    assert found is not None
    assert (found.hourly, found.saturated_per_1k, found.realised_per_1k) == ("1.6", "0.5229", "3.2")


def test_each_replica_is_paid_at_the_price_of_its_own_revision() -> None:
    """While a rollout goes back some are left of the revision that failed, on dearer GPUs, and more of them."""
    of_two = replace(PRICED.plan, placement=replace(PRICED.plan.placement, gpu_count=2))
    failed = replace(FAILED, planned=replace(PRICED, plan=of_two, usd_per_gpu_hour=1.5))
    seen = observed(pod(SERVING), pod(CRASHED, name="reader-b", of=failed), revisions=(REVISION, failed))
    status = said(seen, rollout(failed))
    assert status.cost is not None
    assert (of(status, ConditionType.READY).reason, status.cost.hourly) == (ReadyReason.ROLLED_BACK, "3.8")
    assert status.cost.gpus == 3


@given(rate=st.floats(0.001, 1e6))
def test_drift_is_measured_over_planned_in_two_digits(rate: float) -> None:
    """Within the rounding of its two digits, and never written with an exponent."""
    text = f"{rate:.6f}"
    known = api.BenchmarkStatus(requests_per_second=text, interval="unknown", concurrency=1, measured="x")
    found = drift(PRICED, known)
    assert found is not None
    assert "e" not in found.throughput
    assert float(found.throughput) == pytest.approx(float(text) / 0.9, rel=0.051)


@pytest.mark.parametrize(("rate", "degraded"), [(0.74, DegradedReason.BELOW_PLAN), (0.76, DegradedReason.AS_PLANNED)])
def test_less_than_the_plans_error_explains_degrades(rate: float, degraded: str) -> None:
    """The plan says 0.9 with an error of 20%, which is 0.75 at the least; below that the figure is told."""
    best = replace(BEST, requests_per_second=rate)
    results = told(stage=Stage.OPEN, ladder=Ladder(best=best))
    status = said(observed(pod(SERVING), results=results))
    condition = of(status, ConditionType.DEGRADED)
    assert condition.reason == degraded
    assert of(status, ConditionType.READY).status == "True"
    if degraded == DegradedReason.BELOW_PLAN:
        assert "0.74 requests/s of the planned 0.9" in condition.message


def test_a_measurement_outlives_the_replica_that_made_it() -> None:
    """Figures come from what is kept; a revision that never measured itself says that they were measured before."""
    kept = (STORED,)
    first = said(observed(pod(SERVING), results=measured(), benchmarks=kept))
    seen = answered(observed(pod(SERVING, name="reader-b"), benchmarks=kept), first)
    later = said(seen)
    assert later.benchmark == first.benchmark
    assert of(later, ConditionType.BENCHMARKED) == of(first, ConditionType.BENCHMARKED)
    fresh = said(observed(pod(SERVING, name="reader-b"), benchmarks=kept))
    assert of(fresh, ConditionType.BENCHMARKED).reason == BenchmarkReason.REUSED


@pytest.mark.parametrize(
    ("result", "reason", "ready"),
    [
        ("none", BenchmarkReason.PENDING, "False"),
        ("probed", BenchmarkReason.PROBED, "True"),
        ("unmeasured", BenchmarkReason.NOT_MEASURED, "True"),
    ],
)
def test_what_is_known_without_a_measurement(result: str, reason: str, ready: str) -> None:
    """A replica that serves is ready once its benchmark is over, whatever came of it."""
    found = RESULTS[result]
    status = said(observed(pod(SERVING), results={} if found is None else {"uid-reader-a": found}))
    assert of(status, ConditionType.BENCHMARKED).reason == reason
    assert of(status, ConditionType.READY).status == ready


def test_what_is_not_believed_is_told_in_a_line() -> None:
    """Why nothing was measured, without what an image of somebody else's may have put into it."""
    why = "the result of an agent cannot be believed:\n\x1b[2Jtoken=abc ladder.best has 1e+06 requests/s"
    status = said(observed(pod(SERVING), doubted={"uid-reader-a": why}))
    told_of = of(status, ConditionType.BENCHMARKED)
    assert told_of.reason == BenchmarkReason.NOT_MEASURED
    assert "cannot be believed: token=*** ladder.best has 1e+06 requests/s" in told_of.message


def test_no_benchmark_is_asked_for() -> None:
    """With the policy None a replica is ready without figures."""
    spec = replace(SPEC, benchmark=api.BenchmarkSpec(policy=api.BenchmarkPolicy.NONE))
    status = said(observed(pod(SERVING), results=told(stage=Stage.OPEN)), spec=spec)
    assert of(status, ConditionType.BENCHMARKED).reason == BenchmarkReason.DISABLED
    assert of(status, ConditionType.READY).status == "True"


def test_a_revision_that_is_rolled_out_names_both() -> None:
    """While the old one serves and the new one starts, Ready waits and Available does not."""
    seen = observed(pod(SERVING), pod(CREATING, name="reader-b", of=OTHER), results=measured(), revisions=BOTH)
    status = said(seen, rollout(OTHER, OTHER))
    assert (status.current_revision, status.update_revision) == (REVISION.name, OTHER.name)
    assert of(status, ConditionType.AVAILABLE).status == "True"
    assert of(status, ConditionType.READY).reason == ReadyReason.ROLLING_OUT
    assert status.phase == Phase.ROLLING_OUT


def test_why_a_revision_was_given_up_is_said_as_long_as_it_is_wanted() -> None:
    """The reason is in the failing pods, which soon are gone; the status keeps it."""
    logs = {"uid-reader-b": "main.py: error: unrecognized arguments: --no-such-flag"}
    failing = pod(CRASHED, name="reader-b", of=FAILED, deleted=True)
    seen = observed(pod(SERVING), failing, logs=logs, results=measured(), revisions=(REVISION, FAILED))
    first = said(seen, BACK)
    condition = of(first, ConditionType.DEGRADED)
    assert condition.reason == DegradedReason.ROLLED_BACK
    assert "--no-such-flag" in condition.message
    assert of(first, ConditionType.READY).reason == ReadyReason.ROLLED_BACK
    assert (first.current_revision, first.update_revision) == (REVISION.name, FAILED.name)
    gone = answered(replace(seen, pods=seen.pods[:1], logs={}), first)
    then = said(gone, BACK)
    assert then.cost is not None
    assert then.cost.replicas == 1  # the replica that left is not paid for any more
    assert msgspec.to_builtins(replace(then, cost=first.cost)) == msgspec.to_builtins(first)


def test_a_revision_that_failed_before_is_not_said_to_be_late() -> None:
    """Asked for again, it gets no pods that could tell why it failed, and the status says how to have it tried."""
    seen = observed(pod(SERVING), results=measured(), revisions=(REVISION, FAILED))
    told = of(said(seen, BACK), ConditionType.DEGRADED).message
    assert "It had failed before." in told
    assert names.REPLAN in told


def test_a_refused_spec_says_so_while_what_runs_goes_on() -> None:
    """An edit that cannot be planned stops nothing: Planned and Ready tell, Available stays."""
    refused = Finding(reason=PlanReason.NOTHING_FITS, message="No GPU of the cluster holds it.")
    running = rollout(None, REVISION)
    status = said(observed(pod(SERVING), results=measured()), running, refused=refused)
    assert status.phase == Phase.REFUSED
    assert of(status, ConditionType.PLANNED).reason == PlanReason.NOTHING_FITS
    assert of(status, ConditionType.READY).reason == PlanReason.NOTHING_FITS
    assert of(status, ConditionType.AVAILABLE).status == "True"
    assert status.plan is None
    assert status.cost is not None


def test_an_invalid_spec_is_not_read() -> None:
    """Nothing but the error and what runs is said of a spec that cannot be read."""
    refused = Finding(reason=PlanReason.INVALID_SPEC, message="spec.workload: no.")
    status = build(observed(), None, Rollout(), Findings(refused=refused))
    assert status.phase == Phase.INVALID
    assert of(status, ConditionType.PLANNED).message == "spec.workload: no."


def test_scaled_to_zero_is_no_failure() -> None:
    """Without replicas nothing serves, and nothing is wrong."""
    status = said(observed(), spec=replace(SPEC, replicas=0))
    assert (status.phase, status.ready) == (Phase.SCALED_TO_ZERO, "0/0")
    assert of(status, ConditionType.READY).reason == AvailableReason.SCALED_TO_ZERO
    assert of(status, ConditionType.DEGRADED).status == "False"


def test_the_download_of_a_cached_model_is_told() -> None:
    """With a cache the model is ready before any engine is."""
    running, done = (said(observed(children=job(complete=each)), spec=CACHED) for each in (False, True))
    assert of(running, ConditionType.MODEL_READY).reason == ModelReason.DOWNLOADING
    assert of(done, ConditionType.MODEL_READY).reason == ModelReason.DOWNLOADED
    assert done.timeline == api.Timeline(weights_ready="2026-11-18T09:58:00Z")


@pytest.mark.parametrize(
    ("own", "made", "expected"),
    [(None, None, "reader-api-key"), (None, "made", "made"), (api.SecretKey(name="mine", key="k"), None, "mine")],
)
def test_the_secret_with_the_key_is_named(own: api.SecretKey | None, made: str | None, expected: str) -> None:
    """The user's own, else the one that was made, which the status remembers as nobody reads it."""
    status = build(observed(), replace(SPEC, api_key=own), rollout(), api_key=made)
    assert status.api_key_secret == expected


def test_a_status_of_another_version_counts_as_none() -> None:
    """What cannot be read is written anew, not an error."""
    parent = {**PARENT, "status": {"conditions": "yes"}}
    assert said(observed(parent=parent)).phase == Phase.PENDING


def unready(engine: KubernetesObject, *, since: str = "", proxy: bool = True) -> KubernetesObject:
    """A replica that is not ready; `proxy`: whether that container of it is, an init container that goes on to run."""
    beside = {"name": "proxy", "ready": proxy, "state": RUNNING, "started": True}
    conditions = [
        {"type": "Ready", "status": "False", "lastTransitionTime": since},
        {"type": "ContainersReady", "status": str(engine["ready"] and proxy)},
    ]
    return pod(engine, initContainerStatuses=[beside], conditions=conditions)


@pytest.mark.parametrize(
    ("seen", "reason", "says"),
    [
        (observed(unready(SERVING)), AvailableReason.NOT_READY, "node gpu-1"),
        (observed(unready(SERVING, proxy=False)), AvailableReason.NOT_READY, "container proxy"),
        (
            observed(unready(UP, since="2026-11-18T10:30:00Z"), results=measured()),
            AvailableReason.NOT_READY,
            "container engine",
        ),
        (
            observed(unready(UP, since="2026-11-18T10:00:00Z"), results=measured()),
            AvailableReason.BENCHMARKING,
            "is tried before it takes requests",
        ),
    ],
    ids=["node", "proxy", "engine", "opened a moment ago"],
)
def test_a_replica_that_served_is_not_said_to_be_tried(seen: Observed, reason: str, says: str) -> None:
    """What became unready after it took requests is named: its node, or a container of it."""
    available = of(said(seen), ConditionType.AVAILABLE)
    assert available.reason == reason
    assert says in available.message


def test_a_further_replica_takes_readiness_back_from_nobody() -> None:
    """Of a revision that could not be measured: each replica that is made tries, and the status stays what it was."""
    first, second = pod(SERVING), pod(UP, name="reader-b")
    gave_up = told(stage=Stage.OPEN, task=Task.LADDER, problem=Problem.NOT_MEASURED, message="No.")
    results = [gave_up | told("reader-b", stage=stage) for stage in (Stage.SMOKE, Stage.LADDER)]
    alone = said(observed(first, results=gave_up))
    for status in (alone, *(said(observed(first, second, results=each)) for each in results)):
        assert of(status, ConditionType.READY).reason == ReadyReason.READY
        assert of(status, ConditionType.BENCHMARKED).reason == BenchmarkReason.NOT_MEASURED


@pytest.mark.parametrize("present", [FAILED.digest, REVISION.digest], ids=["paused", "done"])
def test_a_rollback_is_told_once_it_is_done(present: str) -> None:
    """Where the Deployment is paused, or cannot be written, what failed goes on to run."""
    seen = observed(pod(CRASHED, of=FAILED), revisions=(REVISION, FAILED))
    status = said(seen, replace(BACK, present=present))
    assert (of(status, ConditionType.DEGRADED).reason == DegradedReason.ROLLED_BACK) is (present == REVISION.digest)


def test_a_status_of_a_later_version_is_gone_on_with() -> None:
    """As after the operator was set back: no condition's time changes for a field that this version does not know."""
    status = msgspec.to_builtins(said(observed(pod(SERVING), results=measured())))
    later = {**status, "new": 1, "conditions": [{**each, "new": {}} for each in status["conditions"]]}
    known = previous({"status": later})
    assert msgspec.to_builtins(known) == status
