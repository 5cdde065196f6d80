"""Everything that the operator can find wrong with replicas, found once each by its own code in made-up clusters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vlm_operator import names
from vlm_operator.actions import Action, Verb
from vlm_operator.diagnosis import GIVEN_UP, diagnose, download_failed
from vlm_operator.reasons import DegradedReason
from vlm_operator.records import Finding, KubernetesObject, Observed
from vlm_operator.results import AgentResult, Problem, Stage
from vlm_operator.scheduling import unschedulable
from vlm_operator.trouble import failure, write_changed, write_refused

IMAGE = "vllm/vllm-openai:latest"
POD, DIGEST = "NAME-POD", "0000000000"
STARTED = "2026-01-01T00:00:00Z"
WAITED = "2026-01-01T01:00:00Z"  # an hour later, as long as the startup probe below
# The scheduler's words (pkg/scheduler/framework/plugins of Kubernetes 1.37), a cause each.
SCHEDULER = (
    "1 Insufficient nvidia.com/gpu",
    "1 Insufficient cpu",
    "1 Insufficient memory",
    "1 Insufficient ephemeral-storage",
    "1 Too many pods",
    "1 node(s) didn't match Pod's node affinity/selector",
    "1 node(s) had untolerated taint {KEY: VALUE}",
    "1 node(s) were unschedulable",
    "pod has unbound immediate PersistentVolumeClaims",
    "1 node(s) CAUSE",
)
# The kubelet's: reason and message of a container that waits.
WAITING = (
    ("ImagePullBackOff", "no space left on device"),
    ("ImagePullBackOff", "toomanyrequests"),
    ("ImagePullBackOff", "unauthorized"),
    ("ImagePullBackOff", "manifest unknown"),
    ("ImagePullBackOff", "no match for platform"),
    ("ImagePullBackOff", "dial tcp: i/o timeout"),
    ("InvalidImageName", ""),
    ("CreateContainerConfigError", 'secret "SECRET" not found'),
    ("RunContainerError", "MESSAGE"),
)
PROBE = {"failureThreshold": 360, "periodSeconds": 10}
UP: KubernetesObject = {"name": names.ENGINE, "state": {"running": {"startedAt": STARTED}}, "started": True}


def findings() -> Iterator[Finding]:
    """In the order in which a replica could come upon them; what logs tell is not among them."""
    yield _diagnosed({"phase": "Pending"}, replica_failure='pods "X" is forbidden: MESSAGE')
    for cause in SCHEDULER:
        message = cause if cause.startswith("pod ") else f"{cause}. preemption: none"
        yield unschedulable(f"0/1 nodes are available: {message}.".replace("available: pod", "available: 1 pod"))
    yield _diagnosed({"phase": "Failed", "reason": "Evicted", "message": "MESSAGE"})
    yield _diagnosed({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "MESSAGE"})
    for reason, message in WAITING:
        yield _of_container({"state": {"waiting": {"reason": reason, "message": message}}})
    yield _of_container(_ended(137, "OOMKilled"))
    yield _of_container(_ended(137, "Error", WAITED))
    yield _of_container(_ended(137, "Error"), AgentResult(stuck=STARTED))
    yield _of_container(_ended(1, "Error"))
    yield download_failed(GIVEN_UP)
    for problem, message in ((Problem.REQUEST_FAILED, "MESSAGE"), (Problem.BELOW_MINIMUM, "")):
        yield _of_container(UP, AgentResult(stage=Stage.SHUT, problem=problem, message=message))


def troubles() -> Iterator[Finding]:
    """What is wrong with the operator's own work, or with the plan."""
    refused = write_refused([(Action(verb=Verb.APPLY, kind="KIND", name="NAME", reason=""), Exception("MESSAGE"))])
    assert refused is not None
    yield refused
    changed = write_changed([Action(verb=Verb.APPLY, kind="KIND", name="NAME", reason="FIELD is not as wanted")])
    assert changed is not None
    yield changed
    yield failure(RuntimeError())
    yield Finding(
        reason=DegradedReason.OVER_BUDGET,
        message="As many replicas as are asked for cost more a month than `spec.budget` or the chart's policy allows.",
        remedy="No more are made, and those that run stay. Raise the budget, or ask for fewer.",
    )
    yield Finding(
        reason=DegradedReason.NOT_SCALED,
        message="The engine that `spec.scaling` asks for is not installed, or not set up; nobody scales.",
        remedy="Install it, set what is named, or set `spec.scaling.engine` to `Operator`: see scaling.md.",
    )
    yield Finding(
        reason=DegradedReason.BELOW_PLAN,
        message="A replica measured less than the plan's error explains.",
        remedy="Look after its node, or plan with what was measured: change the annotation `vlmctl.dev/replan`.",
    )
    yield Finding(
        reason=DegradedReason.ROLLED_BACK,
        message="The newest revision failed, and an earlier one runs instead; the cause is told with it.",
        remedy="Correct the spec, or apply the one that runs.",
    )


def _ended(code: int, reason: str, finished: str = STARTED) -> KubernetesObject:
    last = {"exitCode": code, "reason": reason, "startedAt": STARTED, "finishedAt": finished}
    return {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": last}}


def _of_container(state: KubernetesObject, result: AgentResult | None = None) -> Finding:
    listed = {"name": names.ENGINE, "image": IMAGE, **state}
    return _diagnosed({"phase": "Running", "containerStatuses": [listed]}, result=result)


def _diagnosed(status: dict[str, Any], *, result: AgentResult | None = None, replica_failure: str = "") -> Finding:
    """What is found in a cluster of one pod with that status."""
    labels = {names.COMPONENT: names.Component.ENGINE.value, names.REVISION: DIGEST}
    container = {"name": names.ENGINE, "startupProbe": PROBE}
    pod = {
        "metadata": {"name": POD, "uid": POD, "labels": labels},
        "spec": {"containers": [container]},
        "status": status,
    }
    condition = {"type": "ReplicaFailure", "status": "True", "message": replica_failure}
    deployment = {"status": {"conditions": [condition] if replica_failure else []}}
    return _found(
        Observed(
            now=0,
            parent={"metadata": {"name": "NAME"}},
            pods=(pod,),
            children={"Deployment": {"NAME": deployment}},
            results={} if result is None else {POD: result},
        )
    )


def _found(observed: Observed) -> Finding:
    finding = diagnose(observed, DIGEST)
    assert finding is not None, observed
    return finding
