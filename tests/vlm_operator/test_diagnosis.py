"""What is found wrong: recorded logs, the words of scheduler and kubelet, agents' verdicts; and what never gets out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator import names, proxy
from vlm_operator.diagnosis import condition_of, diagnose
from vlm_operator.download import job_name
from vlm_operator.reasons import AvailableReason, BenchmarkReason, ModelReason
from vlm_operator.records import Finding, Observed
from vlm_operator.results import Problem, Stage

from tests.vlm_operator.children import CACHED, NAME, revision
from tests.vlm_operator.worlds import (
    CRASHED,
    CREATING,
    OTHER,
    REVISION,
    RUNNING,
    SERVING,
    UP,
    container,
    download_pod,
    job,
    observed,
    pod,
    terminated,
    told,
    waiting,
)
from vlmctl.api.status import ConditionType

FAILED = {"type": "Failed", "status": "True"}


def found(seen: Observed) -> Finding:
    """What is found wrong with the revision."""
    finding = diagnose(seen, REVISION.digest)
    assert finding is not None
    return finding


FIT = "0/4 nodes are available: "


def test_an_image_that_holds_weights_is_told_from_the_engines() -> None:
    """The kubelet tells it of the engine's container: which image it is, and where the spec names it, is said."""
    reference = "registry.example/weights:1"
    for waits, says in (
        (
            waiting("ImagePullBackOff", f'Back-off pulling image "{reference}": not found'),
            f"The image {reference} cannot",
        ),
        (waiting("CreateContainerError", "ImageVolumeMountFailed: not supported"), "does not mount the image"),
    ):
        failing = pod(container(waits))
        failing["spec"]["volumes"] = [{"name": "model", "image": {"reference": reference}}]
        finding = found(observed(failing))
        assert says in finding.message
        assert "spec.model.source" in finding.remedy
        assert "spec.engine.image" not in finding.remedy


@pytest.mark.parametrize(
    ("name", "field"), [(proxy.NAME, "the chart's proxy.image"), (names.AGENT, "the chart's image")]
)
@pytest.mark.parametrize(("reason", "message"), [("ErrImagePull", "manifest unknown"), ("InvalidImageName", "")])
def test_an_image_of_the_charts_is_corrected_there(name: str, field: str, reason: str, message: str) -> None:
    """No user's spec names it, and a pod takes another one with another plan alone."""
    beside = {**container(waiting(reason, message)), "name": name, "image": "haproxy:none"}
    kind = "initContainerStatuses" if name == proxy.NAME else "containerStatuses"
    finding = found(observed(pod(CREATING, **{kind: [beside]})))
    assert "haproxy:none" in finding.message
    assert f"Correct {field}" in finding.remedy
    assert names.REPLAN in finding.remedy
    assert "spec.engine.image" not in finding.remedy


PULL = 'Back-off pulling image "docker.io/vllm/vllm-openai:v0.32.0": ErrImagePull: '


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (waiting("ErrImagePull", "manifest unknown"), AvailableReason.IMAGE_PULL_FAILED, "no such image"),
        (waiting("ImagePullBackOff", f"{PULL}not found"), AvailableReason.IMAGE_PULL_FAILED, "no such image"),
        (
            waiting("ImagePullBackOff", f"{PULL}failed to authorize: 401 Unauthorized"),
            AvailableReason.IMAGE_PULL_FAILED,
            "no access",
        ),
        (
            waiting("ErrImagePull", "dial tcp: lookup registry.test: no such host"),
            AvailableReason.IMAGE_PULL_FAILED,
            "cannot be reached",
        ),
        (
            waiting("ErrImagePull", f"{PULL}read udp 10.0.0.2:40312->10.96.0.10:429: i/o timeout"),
            AvailableReason.IMAGE_PULL_FAILED,
            "cannot be reached",
        ),
        (waiting("ErrImagePull", '{"errors":[{"status":403}]}'), AvailableReason.IMAGE_PULL_FAILED, "no access"),
        (waiting("ErrImagePull", "no space left on device"), AvailableReason.IMAGE_PULL_FAILED, "disk is full"),
        (waiting("ErrImagePull", "toomanyrequests: limit"), AvailableReason.IMAGE_PULL_FAILED, "too many images"),
        (
            waiting("ErrImagePull", "no match for platform in manifest"),
            AvailableReason.IMAGE_PULL_FAILED,
            "node's processor",
        ),
        (waiting("ImagePullBackOff", "Back-off"), AvailableReason.IMAGE_PULL_FAILED, "cannot be pulled."),
        (waiting("InvalidImageName", "couldn't parse"), AvailableReason.INVALID_IMAGE_NAME, "vllm-openai"),
        (
            waiting("CreateContainerConfigError", 'secret "hf-token" not found'),
            AvailableReason.CONFIGURATION_MISSING,
            'secret "hf-token" not found',
        ),
        (
            waiting("RunContainerError", 'exec: "sh": executable file not found in $PATH'),
            AvailableReason.CONTAINER_NOT_STARTED,
            "executable file not found",
        ),
        (
            waiting("RunContainerError", "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8"),
            AvailableReason.GPU_DRIVER_TOO_OLD,
            "driver",
        ),
        (
            terminated(128, "StartError", message="failed to create shim task"),
            AvailableReason.CONTAINER_NOT_STARTED,
            "shim",
        ),
    ],
)
def test_a_container_that_does_not_start_tells_why(state: dict[str, Any], reason: str, words: str) -> None:
    """The kubelet's reason becomes one of ours, with its cause in plain words and a remedy."""
    finding = found(observed(pod(container(state))))
    assert finding.reason == reason
    assert words in finding.message
    assert finding.remedy


def test_an_engine_that_took_too_much_memory_tells_its_limit() -> None:
    """A container killed by the kernel for its memory is told apart from one that was killed for being slow."""
    limit = REVISION.template["spec"]["containers"][0]["resources"]["limits"]["memory"]
    finding = found(observed(pod(container(RUNNING, last=terminated(137, "OOMKilled", seconds=3000), restarts=1))))
    assert finding.reason == AvailableReason.HOST_OUT_OF_MEMORY
    assert limit in finding.message


TOLD_TO_END = """(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "vllm/entrypoints/launchers/api_server/entry.py", line 172, in _interrupt_init
(APIServer pid=1)     raise KeyboardInterrupt("terminated")
(APIServer pid=1) KeyboardInterrupt: terminated
Exception ignored in: <function Process.__del__ at 0x7f3c1c0b5d00>
"""


@given(seconds=st.integers(0, 59 * 60), how=st.sampled_from([(137, ""), (143, ""), (1, TOLD_TO_END)]))
def test_a_kill_is_the_startup_probes_if_and_only_if_it_came_when_that_gives_up(
    seconds: int, how: tuple[int, str]
) -> None:
    """No field says that a startup probe ended a container; the time it lived does, whatever it makes of the signal."""
    code, log = how
    slow = {"failureThreshold": 120, "periodSeconds": 10, "httpGet": {"path": "/health", "port": 8000}}
    seen = pod(container(waiting("CrashLoopBackOff"), last=terminated(code, seconds=seconds), restarts=1))
    engine = {**seen["spec"]["containers"][0], "startupProbe": slow}
    seen["spec"] = {**seen["spec"], "containers": [engine], "terminationGracePeriodSeconds": 60}
    is_slow = found(observed(seen, logs={"uid-reader-a": log})).reason == AvailableReason.STARTUP_TIMEOUT
    assert is_slow is (1190 <= seconds <= 1285)


def test_an_engine_that_fails_by_itself_is_not_too_slow() -> None:
    """A crash at the moment at which the probe gives up is told by its log."""
    slow = {"failureThreshold": 120, "periodSeconds": 10, "httpGet": {"path": "/health", "port": 8000}}
    seen = pod(container(waiting("CrashLoopBackOff"), last=terminated(1, seconds=1200), restarts=1))
    seen["spec"] = {**seen["spec"], "containers": [{**seen["spec"]["containers"][0], "startupProbe": slow}]}
    assert found(observed(seen, logs={"uid-reader-a": "KeyError: 'x'"})).reason == AvailableReason.CRASH_LOOP


def test_an_engine_that_its_agent_found_stuck_is_told_as_such() -> None:
    """A restart that the liveness probe made for want of tokens is no crash."""
    killed = container(RUNNING, last=terminated(137, seconds=1500), restarts=1)
    results = told(stage=Stage.OPEN, stuck="2026-11-18T10:24:50Z")
    assert found(observed(pod(killed), results=results)).reason == AvailableReason.ENGINE_STUCK
    before = told(stage=Stage.OPEN, stuck="2026-11-18T09:00:00Z")
    assert found(observed(pod(killed), results=before)).reason == AvailableReason.CRASH_LOOP


def test_a_crash_loop_is_told_the_same_while_the_engine_waits_and_while_it_tries_again() -> None:
    """The finding goes by how the engine ended, so it does not come and go with each try."""
    log = {"uid-reader-a": "KeyError: 'vision_config'"}
    first = container(terminated(1))
    trying = container(RUNNING, last=terminated(1), restarts=3)
    findings = {str(found(observed(pod(state), logs=log))) for state in (first, CRASHED, trying)}
    assert len(findings) == 1
    assert "KeyError: 'vision_config'" in findings.pop()


@pytest.mark.parametrize(
    "engine",
    [
        SERVING,
        UP,
        CREATING,
        container(RUNNING),
        container(RUNNING, started=True, last=terminated(1), restarts=2),
        container(waiting("CreateContainerConfigError", "failed to sync secret cache: timed out waiting")),
    ],
    ids=["serving", "benchmarking", "creating", "loading", "recovered", "secret not read yet"],
)
def test_an_engine_on_its_way_has_nothing_wrong(engine: dict[str, Any]) -> None:
    """What is still under way, or came up again, is no failure."""
    assert diagnose(observed(pod(engine), logs={"uid-reader-a": "ValueError: old"}), REVISION.digest) is None


def test_a_failing_replica_tells_more_than_one_without_a_node() -> None:
    """With several things wrong, the one that a user can learn from is told, whatever the order of the pods."""
    waits = pod(unschedulable=f"{FIT}4 Insufficient nvidia.com/gpu.", name="reader-a")
    fails = pod(CRASHED, name="reader-b")
    logs = {"uid-reader-b": "torch.OutOfMemoryError: CUDA out of memory."}
    both = [found(observed(*pods, logs=logs)) for pods in ((waits, fails), (fails, waits))]
    assert [each.reason for each in both] == [AvailableReason.CUDA_OUT_OF_MEMORY] * 2


def test_only_the_asked_revision_and_pods_that_stay_are_judged() -> None:
    """Another revision's failure, or one of a pod that goes, is not this one's; except to tell why it went."""
    logs = {"uid-reader-a": "ValueError: x"}
    assert diagnose(observed(pod(CRASHED, of=OTHER), logs=logs), REVISION.digest) is None
    leaving = observed(pod(CRASHED, deleted=True), logs=logs)
    assert diagnose(leaving, REVISION.digest) is None
    assert diagnose(leaving, REVISION.digest, leaving=True) is not None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
            AvailableReason.EVICTED,
        ),
        (
            {"reason": "UnexpectedAdmissionError", "message": "Allocate failed due to no healthy devices present"},
            AvailableReason.NODE_REFUSED,
        ),
    ],
)
def test_a_pod_that_its_node_gave_up_is_told_until_another_takes_its_place(
    status: dict[str, str], reason: AvailableReason
) -> None:
    """Pods that ended for good stay listed for a long time; they matter while no other pod is there."""
    lost = pod(phase="Failed", **status)
    finding = found(observed(lost))
    assert finding.reason == reason
    assert status["message"].rstrip(".") in finding.message
    assert diagnose(observed(lost, pod(CREATING, name="reader-b")), REVISION.digest) is None


def test_pods_that_may_not_be_made_tell_the_quota() -> None:
    """A quota or an admission policy shows on the Deployment, as there is no pod that could tell."""
    message = 'pods "reader-5d9c-x7k2p" is forbidden: exceeded quota: team, requested: requests.nvidia.com/gpu=1'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    deployment = {"metadata": {"name": NAME}, "status": {"conditions": [failure]}}
    finding = found(observed(children={"Deployment": {NAME: deployment}}))
    assert finding.reason == AvailableReason.POD_REFUSED
    assert "exceeded quota: team" in finding.message
    assert "x7k2p" not in finding.message


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Problem.BELOW_MINIMUM, BenchmarkReason.BELOW_MINIMUM),
        (Problem.WRONG_IMAGE_TOKENS, BenchmarkReason.SMOKE_FAILED),
        (Problem.REQUEST_FAILED, BenchmarkReason.SMOKE_FAILED),
    ],
)
def test_an_agent_that_keeps_traffic_away_tells_why(problem: Problem, reason: BenchmarkReason) -> None:
    """The gate's verdict is a finding of the benchmark, with what the agent said."""
    message = "the engine counts 12 image tokens in a request that was planned with 14."
    finding = found(observed(pod(UP), results=told(stage=Stage.SHUT, problem=problem, message=message)))
    assert finding.reason == reason
    assert condition_of(finding) is ConditionType.BENCHMARKED
    assert (message in finding.message) is (reason is BenchmarkReason.SMOKE_FAILED)


def test_a_refused_first_request_is_explained_as_a_log_would_be() -> None:
    """An image that is larger than the encoder cache fails no start, but the first request."""
    message = (
        "400: The decoder prompt contains a(n) image item with 6042 embedding tokens, which exceeds the pre-allocated "
        "encoder cache size 4800. Please reduce the input size"
    )
    results = told(stage=Stage.SHUT, problem=Problem.REQUEST_FAILED, message=message)
    finding = found(observed(pod(UP), results=results))
    assert "larger than the encoder cache of 4800" in finding.message
    assert "spec.workload" in finding.remedy


def test_a_download_of_another_revision_says_nothing_of_this_one() -> None:
    """One that a later spec needs, or an earlier one did, fails for itself."""
    other = revision(CACHED, number=2)
    name = job_name(NAME, other)
    failed = {"Job": {name: {"metadata": {"name": name}, "status": {"conditions": [FAILED]}}}}
    trying = download_pod(container(waiting("InvalidImageName")), job=name)
    seen = observed(pod(SERVING), trying, children=failed, revisions=(REVISION, other))
    assert diagnose(seen, REVISION.digest) is None
    finding = diagnose(seen, other.digest)
    assert finding is not None
    assert finding.reason == AvailableReason.INVALID_IMAGE_NAME


def test_a_download_that_fails_stands_in_the_way_of_the_model() -> None:
    """The Job's pods are diagnosed as the engine's, also while they try again, until the Job is complete."""
    name = job_name(NAME, REVISION)
    trying = download_pod(container(RUNNING, started=True, last=terminated(1), restarts=1), job=name)
    gated = {"uid-reader-download-a": "Cannot access gated repo for url https://huggingface.co/acme/m/resolve/main/x."}
    finding = found(observed(trying, children=job(), logs=gated))
    assert finding.reason == ModelReason.GATED_REPOSITORY
    assert condition_of(finding) is ConditionType.MODEL_READY
    unknown = found(observed(trying, children=job(), logs={"uid-reader-download-a": "KeyError: 'x'"}))
    assert unknown.reason == ModelReason.DOWNLOAD_FAILED
    assert found(observed(children=job(failed=True))).reason == ModelReason.DOWNLOAD_FAILED
    assert diagnose(observed(trying, children=job(complete=True), logs=gated), REVISION.digest) is None
