"""What keeps a VLMDeployment from serving: pods, Jobs, logs and agents' verdicts -> one Finding that matters most.

The same state gives the same Finding: no counts and times are in it, and a container between two tries is judged by how
it ended, not by whether it waits or runs at the moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum

from vlm_operator import names
from vlm_operator.container_states import container, ended
from vlm_operator.download import job_name
from vlm_operator.engine_logs import explain, quote
from vlm_operator.reasons import AvailableReason, BenchmarkReason, ModelReason
from vlm_operator.records import Finding, KubernetesObject, Observed
from vlm_operator.reported import condition, containers, has_ended, holds, is_of_engine, revision_of
from vlm_operator.results import AgentResult, Problem, Stage
from vlm_operator.scheduling import over_quota, unschedulable
from vlmctl.api.status import ConditionType

GIVEN_UP = "Its Job has given up."
JOB_NAME = "batch.kubernetes.io/job-name"  # label: the Job controller's

_POD_NAME = re.compile(r'^pods "[^"]*" is ')

_MODEL_REASONS = frozenset(reason.value for reason in ModelReason)
_BENCHMARK_REASONS = frozenset(reason.value for reason in BenchmarkReason)


class _Rank(IntEnum):
    """What matters more comes first: a replica that fails tells more than one that waits for a place."""

    DOWNLOAD = 0
    CONTAINER = 1
    AGENT = 2
    SCHEDULING = 3
    LOST = 4
    REFUSED = 5


def diagnose(observed: Observed, digest: str, *, leaving: bool = False) -> Finding | None:
    """What is wrong with the pods of the revision `digest`, or with the download that they wait for.

    `leaving`: with pods that are being deleted too, which then tell why another revision took their place.
    """
    found = sorted(_found(observed, digest, leaving), key=lambda each: each[:2])
    return found[0][2] if found else None


def condition_of(finding: Finding) -> ConditionType:
    """The condition that a Finding stands in the way of."""
    if finding.reason in _MODEL_REASONS:
        return ConditionType.MODEL_READY
    return ConditionType.BENCHMARKED if finding.reason in _BENCHMARK_REASONS else ConditionType.AVAILABLE


def engine_pods(observed: Observed, digest: str | None = None, *, leaving: bool = False) -> list[KubernetesObject]:
    """Pods that serve or are to, of one revision or of all, by name; those that are being deleted only if `leaving`."""
    return sorted(
        (
            pod
            for pod in observed.pods
            if (leaving or "deletionTimestamp" not in pod["metadata"])
            and is_of_engine(pod)
            and digest in (None, revision_of(pod))
        ),
        key=_name,
    )


def is_live(pod: KubernetesObject) -> bool:
    """Whether it has not ended for good."""
    return not has_ended(pod)


def agent_result(observed: Observed, pod: KubernetesObject) -> AgentResult | None:
    """What the pod's agent told last."""
    result = observed.results.get(pod["metadata"].get("uid", ""))
    return result if isinstance(result, AgentResult) else None


def _found(observed: Observed, digest: str, leaving: bool) -> Iterator[tuple[_Rank, str, Finding]]:
    jobs = observed.children.get("Job", {})
    for revision in observed.revisions if jobs else ():
        if revision.digest == digest and (name := job_name(_name(observed.parent), revision)) in jobs:
            yield from _of_download(observed, name, jobs[name])
    pods = engine_pods(observed, digest, leaving=leaving)
    live = [pod for pod in pods if is_live(pod)]
    for pod in live:
        yield from _of_pod(observed, pod)
    if not live:
        for pod in pods:
            yield _Rank.LOST, _name(pod), _lost(pod)
    yield from _of_deployment(observed)


def _of_pod(observed: Observed, pod: KubernetesObject) -> Iterator[tuple[_Rank, str, Finding]]:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        yield _Rank.SCHEDULING, _name(pod), unschedulable(scheduled.get("message", ""))
    result = agent_result(observed, pod)
    log = observed.logs.get(pod["metadata"].get("uid", ""), "")
    for status in containers(pod):
        own_log = log if status["name"] == names.ENGINE else ""
        finding = container(pod, status, own_log, result.stuck if result is not None else None)
        if finding is not None:
            yield _Rank.CONTAINER, _name(pod), finding
    verdict = _verdict(result)
    if verdict is not None:
        yield _Rank.AGENT, _name(pod), verdict


def _of_download(observed: Observed, name: str, job: KubernetesObject) -> Iterator[tuple[_Rank, str, Finding]]:
    if holds(job, "Complete"):
        return
    for pod in sorted(observed.pods, key=_name):
        if pod["metadata"].get("labels", {}).get(JOB_NAME) != name or "deletionTimestamp" in pod["metadata"]:
            continue
        scheduled = condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            yield _Rank.SCHEDULING, _name(pod), unschedulable(scheduled.get("message", ""))
        log = observed.logs.get(pod["metadata"].get("uid", ""), "")
        for status in containers(pod):
            finding = _download_finding(pod, status, log)
            if finding is not None:
                yield _Rank.DOWNLOAD, _name(pod), finding
    if holds(job, "Failed"):
        yield _Rank.REFUSED, name, download_failed(GIVEN_UP)


def _download_finding(pod: KubernetesObject, status: KubernetesObject, log: str) -> Finding | None:
    """As for the engine; a try that runs again after one that failed has proved nothing yet."""
    past = {**status, "started": False} if ended(status).get("exitCode") else status
    finding = container(pod, past, log, None)
    if finding is None or finding.reason != AvailableReason.CRASH_LOOP:
        return finding
    return download_failed(finding.message)


def download_failed(message: str) -> Finding:
    """Of the Job that brings the weights; `message`: how it failed."""
    return Finding(
        reason=ModelReason.DOWNLOAD_FAILED,
        message=f"The download of the weights fails. {message}",
        remedy="See the log of the download's pod; the Job is made again when it is deleted.",
    )


def _of_deployment(observed: Observed) -> Iterator[tuple[_Rank, str, Finding]]:
    """What stands in the way of making pods at all: quotas, admission."""
    for name, deployment in observed.children.get("Deployment", {}).items():
        if not holds(deployment, "ReplicaFailure"):
            continue
        told = condition(deployment, "ReplicaFailure").get("message", "")
        remedy = (
            "Raise the ResourceQuota of the namespace, or ask for less."
            if over_quota(deployment)
            else "Change the policy that refuses them, or what the pods ask for."
        )
        message = f"Pods cannot be made: {quote(_POD_NAME.sub('', told))}."
        yield _Rank.REFUSED, name, Finding(reason=AvailableReason.POD_REFUSED, message=message, remedy=remedy)


def _lost(pod: KubernetesObject) -> Finding:
    status = pod.get("status", {})
    told = quote(status.get("message", ""))
    if status.get("reason") in ("Evicted", "Preempting", "Terminated", "NodeShutdown"):
        return Finding(
            reason=AvailableReason.EVICTED,
            message=f"The node put the pod out: {told or quote(status['reason'])}.",
            remedy="Give the pod what it used up (spec.pod.memory, spec.cache), or look after the node.",
        )
    return Finding(
        reason=AvailableReason.NODE_REFUSED,
        message=f"The node did not keep the pod: {told or quote(status.get('reason', '')) or 'no reason is given'}.",
        remedy="Check the node's device plugin and its kubelet.",
    )


def _verdict(result: AgentResult | None) -> Finding | None:
    if result is None or result.stage is not Stage.SHUT:
        return None
    if result.problem is Problem.BELOW_MINIMUM:
        return Finding(
            reason=BenchmarkReason.BELOW_MINIMUM,
            message="A replica serves less than the minimum of what was measured before, and takes no traffic.",
            remedy="Look after its node (throttled, shared or failing GPU), or lower spec.benchmark.minimumOfMeasured.",
        )
    known = explain(result.message)
    told = known.message if known is not None else quote(result.message) or "no reason is given."
    return Finding(
        reason=BenchmarkReason.SMOKE_FAILED,
        message=f"A replica takes no traffic, as its first request failed: {told}",
        remedy=known.remedy if known is not None else "See the logs of the containers engine and agent.",
    )


def _name(pod: KubernetesObject) -> str:
    return str(pod["metadata"]["name"])
