"""Pods in the states that a kubelet reports, and what the operator sees of a VLMDeployment with such pods."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.download import job_name
from vlm_operator.records import KubernetesObject, Observed, Revision
from vlm_operator.results import AgentResult, Figures, Ladder, Stage
from vlm_operator.rollout import Rollout

from tests.vlm_operator.children import NAME, PARENT, PLANNED, revision
from vlmctl.api import v1alpha1 as api

NOW = 1_795_000_000.0  # 2026-11-18T11:06:40Z
STARTED = "2026-11-18T10:00:00Z"
PRICED = replace(PLANNED, usd_per_gpu_hour=0.8, price_source="aws list", price_as_of="2026-01-01")
REVISION = revision(planned=PRICED)
OTHER = replace(REVISION, name=f"{NAME}-0000000000", digest="0000000000", number=2, uid="uid-of-0000000000")
BEST = Figures(
    concurrency=8, requests_per_second=0.85, measured="2026-11-18T10:05:00Z", low=0.8, high=0.9, ttft_p95_seconds=1.5
)

State = dict[str, Any]
RUNNING: State = {"running": {"startedAt": STARTED}}


def waiting(reason: str, message: str = "") -> State:
    """A container that is not started."""
    return {"waiting": {"reason": reason, "message": message}}


def terminated(code: int, reason: str = "Error", *, seconds: int = 30, message: str = "") -> State:
    """A container that ended `seconds` after it was started."""
    end = f"2026-11-18T10:{seconds // 60:02}:{seconds % 60:02}Z"
    return {
        "terminated": {"exitCode": code, "reason": reason, "startedAt": STARTED, "finishedAt": end, "message": message}
    }


def container(
    state: State | None, *, last: State | None = None, started: bool = False, ready: bool = False, restarts: int = 0
) -> KubernetesObject:
    """The status of the engine's container."""
    return {
        "name": names.ENGINE,
        "image": "docker.io/vllm/vllm-openai:v0.32.0",
        "state": state or waiting("ContainerCreating"),
        "lastState": last or {},
        "started": started,
        "ready": ready,
        "restartCount": restarts,
    }


UP = container(RUNNING, started=True)
SERVING = container(RUNNING, started=True, ready=True)
CREATING = container(None)
CRASHED = container(waiting("CrashLoopBackOff"), last=terminated(1), restarts=1)


def pod(
    engine: KubernetesObject | None = None,
    *,
    name: str = "reader-a",
    of: Revision = REVISION,
    unschedulable: str = "",
    phase: str = "Running",
    deleted: bool = False,
    **status: Any,
) -> KubernetesObject:
    """A pod of the engine; `unschedulable`: the scheduler's message."""
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-18T09:59:00Z"}
    if unschedulable:
        placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": unschedulable}
    ready = {"type": "Ready", "status": "True" if engine is not None and engine["ready"] else "False"}
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "team",
        "uid": f"uid-{name}",
        "labels": {**names.labels(NAME, names.Component.ENGINE), names.REVISION: of.digest},
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-18T11:00:00Z"
    return {
        "metadata": metadata,
        "spec": {**of.template["spec"], **({} if unschedulable else {"nodeName": "gpu-1"})},
        "status": {
            "phase": "Pending" if unschedulable else phase,
            "conditions": [placed, ready],
            **({} if unschedulable or engine is None else {"containerStatuses": [engine]}),
            **status,
        },
    }


def download_pod(engine: KubernetesObject, *, job: str, name: str = "reader-download-a") -> KubernetesObject:
    """A pod of the download Job."""
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "labels": {**names.labels(NAME, names.Component.CACHE), "batch.kubernetes.io/job-name": job},
        },
        "spec": {"containers": [{"name": names.DOWNLOAD}], "nodeName": "gpu-1"},
        "status": {"phase": "Running", "containerStatuses": [{**engine, "name": names.DOWNLOAD}]},
    }


def job(*, complete: bool = False, failed: bool = False) -> dict[str, dict[str, KubernetesObject]]:
    """The children of a VLMDeployment whose weights are downloaded."""
    kind = "Complete" if complete else "Failed" if failed else ""
    name = job_name(NAME, REVISION)
    status: dict[str, Any] = {"conditions": [{"type": kind, "status": "True"}] if kind else []}
    if complete:
        status["completionTime"] = "2026-11-18T09:58:00Z"
    return {"Job": {name: {"metadata": {"name": name}, "status": status}}}


def observed(*pods: KubernetesObject, **changes: Any) -> Observed:
    """What the operator sees."""
    return replace(Observed(now=NOW, parent=PARENT, pods=pods, revisions=(REVISION,)), **changes)


def told(name: str = "reader-a", **fields: Any) -> dict[str, AgentResult]:
    """What the agent of one pod told."""
    return {f"uid-{name}": AgentResult(**fields)}


def measured(name: str = "reader-a") -> dict[str, AgentResult]:
    """A pod that has measured itself and takes traffic."""
    opened = {"engine_ready": "2026-11-18T10:03:00Z", "opened": "2026-11-18T10:05:01Z"}
    return told(name, stage=Stage.OPEN, ladder=Ladder(attempts=1, best=BEST), **opened)


def rollout(wanted: Revision | None = REVISION, carried: Revision | None = REVISION) -> Rollout:
    """Where it goes; by default nothing is to be changed."""
    return Rollout(wanted=wanted, carried=carried)


def answered(seen: Observed, status: api.VLMDeploymentStatus) -> Observed:
    """The same world once the status is written."""
    return replace(seen, parent={**seen.parent, "status": msgspec.to_builtins(status)})
