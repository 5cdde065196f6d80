"""What the kubelet says of one container: why it does not start, or how it ended, and what to do about it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from vlm_operator import names, proxy
from vlm_operator.engine_logs import explain, last_words, quote, tells_of_interrupt
from vlm_operator.reasons import AvailableReason
from vlm_operator.records import Finding, KubernetesObject

KILLED = 137  # exit code: 128 + SIGKILL
TERMINATED = 143  # exit code: 128 + SIGTERM
# No field says that a startup probe ended a container: it is told by how long the container lived. These seconds are
# for the kubelet's own pace on a busy node.
PACE_SECONDS = 15
ENGINE_IMAGE, MODEL_IMAGE = "spec.engine.image", "spec.model.source.image"
CHART_IMAGES = {proxy.NAME: "the chart's proxy.image", names.AGENT: "the chart's image"}  # by container
ANOTHER_PLAN = f"A pod keeps the images that it was planned with: after a change, set the annotation {names.REPLAN}."
NOT_SYNCED = "failed to sync"  # the kubelet has not read the Secret or ConfigMap yet, and tries again
NOT_MOUNTED = "ImageVolumeMountFailed"  # kubernetes/cri-api pkg/errors/errors.go
DEFAULT_GRACE_SECONDS = 30  # terminationGracePeriodSeconds, where a pod does not say (Kubernetes API reference)

_PORT = re.compile(r"(?<=[\w\]]):\d+\b")  # of a host: a number that is no HTTP status

_IMAGE_WAITS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError"}
)
_START_FAILS = frozenset(
    {
        "CreateContainerError",
        "RunContainerError",
        "PreStartHookError",
        "PostStartHookError",
        "PreCreateHookError",
        "CreatePodSandboxError",
        "StartError",
        "ContainerCannotRun",
    }
)
_PULL_CAUSES = (  # of the container runtime's message
    (re.compile(r"(?i)no space left"), "the node's disk is full", "Free disk on the node, or use nodes with more."),
    (
        re.compile(r"(?i)toomanyrequests|rate limit|\b429\b"),
        "the registry answers that too many images were pulled",
        "Name a Secret with an account in spec.pod.imagePullSecrets, or mirror the image.",
    ),
    (
        re.compile(r"(?i)unauthorized|authentication required|authorization failed|denied|forbidden|\b40[13]\b"),
        "the registry gives no access to it",
        "Name a Secret with an account in spec.pod.imagePullSecrets, or correct spec.engine.image.",
    ),
    (
        re.compile(r"(?i)not found|manifest unknown|does not exist|ErrImageNeverPull|is not present"),
        "there is no such image",
        "Correct spec.engine.image, or push the image.",
    ),
    (
        re.compile(r"(?i)no match for platform|exec format"),
        "the image is not built for the node's processor",
        "Name an image for that processor in spec.engine.image.",
    ),
    (
        re.compile(r"(?i)dial tcp|no such host|i/o timeout|connection (?:refused|reset)|deadline exceeded|unavailable"),
        "the registry cannot be reached",
        "Check the node's way to the registry (DNS, proxy, firewall), or mirror the image.",
    ),
)


def ended(status: KubernetesObject) -> dict[str, Any]:
    """How the container ended when it last did: the present state, else the one before it; empty if it never did."""
    for state in ("state", "lastState"):
        terminated: dict[str, Any] = status.get(state, {}).get("terminated") or {}
        if terminated:
            return terminated
    return {}


def is_up(status: KubernetesObject) -> bool:
    """Whether it runs and has passed its startup probe."""
    return bool(status.get("started")) and "running" in status.get("state", {})


def container(pod: KubernetesObject, status: KubernetesObject, log: str, stuck: str | None) -> Finding | None:
    """What is wrong with a container of the pod; None where nothing is known to be.

    `log`: its last lines before it ended. `stuck`: when its agent last asked for a restart, RFC 3339.
    """
    if is_up(status):
        return None
    waiting = status.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason == "InvalidImageName":
        return Finding(
            reason=AvailableReason.INVALID_IMAGE_NAME,
            message=f"{quote(status.get('image', ''))} is not the name of an image.",
            remedy=_remedy("Correct spec.engine.image.", CHART_IMAGES.get(status["name"], ENGINE_IMAGE)),
        )
    if reason in _IMAGE_WAITS:
        return _not_pulled(pod, status, f"{reason} {message}")
    if reason == "CreateContainerConfigError" and NOT_SYNCED not in message:
        return Finding(
            reason=AvailableReason.CONFIGURATION_MISSING,
            message=f"The container {status['name']} lacks something that it is configured with: {quote(message)}.",
            remedy="Create the Secret or ConfigMap with that key, or correct the name in the spec.",
        )
    last = ended(status)
    if reason in _START_FAILS or last.get("reason") in _START_FAILS:
        return _not_started(pod, status, message or last.get("message", ""))
    if not last or (status["name"] != names.ENGINE and last.get("exitCode") == 0):
        return None
    return _ended(pod, status, last, log or last.get("message", ""), stuck)


def _not_pulled(pod: KubernetesObject, status: KubernetesObject, message: str) -> Finding:
    image, field = quote(status.get("image", "")), CHART_IMAGES.get(status["name"], ENGINE_IMAGE)
    mounted = next((quote(each) for each in _mounted_images(pod) if each in message), None)
    if mounted is not None and image not in message:  # the kubelet tells it of the containers that mount it
        image, field = mounted, MODEL_IMAGE
    told = _PORT.sub("", message.replace(image, ""))
    for pattern, cause, remedy in _PULL_CAUSES:
        if pattern.search(told):
            text = f"The image {image} cannot be pulled: {cause}."
            return Finding(reason=AvailableReason.IMAGE_PULL_FAILED, message=text, remedy=_remedy(remedy, field))
    return Finding(
        reason=AvailableReason.IMAGE_PULL_FAILED,
        message=f"The image {image} cannot be pulled.",
        remedy="See the pod's events with `kubectl describe pod`.",
    )


def _remedy(text: str, field: str) -> str:
    """With the field that names the image: of the spec, or of the chart."""
    more = f" {ANOTHER_PLAN}" if ENGINE_IMAGE in text and field in CHART_IMAGES.values() else ""
    return text.replace(ENGINE_IMAGE, field) + more


def _mounted_images(pod: KubernetesObject) -> list[str]:
    volumes = pod.get("spec", {}).get("volumes") or ()
    return [each["image"].get("reference", "") for each in volumes if "image" in each]


def _not_started(pod: KubernetesObject, status: KubernetesObject, message: str) -> Finding:
    if NOT_MOUNTED in message and _mounted_images(pod):
        return Finding(
            reason=AvailableReason.CONTAINER_NOT_STARTED,
            message="The node's container runtime does not mount the image of spec.model.source.image as a volume.",
            remedy="Image volumes need containerd 2.1 or CRI-O 1.31; or put the weights on a claim: "
            "spec.model.source.pvc.",
        )
    known = explain(message)
    return known or Finding(
        reason=AvailableReason.CONTAINER_NOT_STARTED,
        message=f"The container {status['name']} cannot be started: {quote(message) or 'no reason is given'}.",
        remedy="Check the image, and the node's container runtime.",
    )


def _ended(
    pod: KubernetesObject, status: KubernetesObject, last: dict[str, Any], log: str, stuck: str | None
) -> Finding:
    name, code = status["name"], last.get("exitCode", 0)
    if last.get("reason") == "OOMKilled":
        return _out_of_memory(pod, name)
    if name == names.ENGINE and (code in (KILLED, TERMINATED) or tells_of_interrupt(log)):
        if stuck is not None and stuck >= last.get("startedAt", ""):
            return Finding(
                reason=AvailableReason.ENGINE_STUCK,
                message="The engine answered /health and gave no tokens, and is started again.",
                remedy="If it comes again, look at its log from before, and try another spec.engine.image.",
            )
        waits, period = _startup_probe(pod, name)
        if waits and _lived_as_long(pod, last, waits, period):
            return _too_slow(waits)
    known = explain(log)
    if known is not None:
        return known
    said = last_words(log)
    how = "was killed (SIGKILL)" if code == KILLED else f"ends with exit code {code}"
    return Finding(
        reason=AvailableReason.CRASH_LOOP,
        message=f"The container {name} {how}" + (f": {said}" if said else ", and its log does not tell why."),
        remedy=f"See its log with `kubectl logs --previous -c {name}`.",
    )


def _out_of_memory(pod: KubernetesObject, name: str) -> Finding:
    limit = _spec(pod, name).get("resources", {}).get("limits", {}).get("memory")
    of = f" of {limit}" if limit else ""
    remedy = "Raise spec.pod.memory." if name == names.ENGINE else "Report it: the operator sets that limit."
    return Finding(
        reason=AvailableReason.HOST_OUT_OF_MEMORY,
        message=f"The container {name} was killed, as it took more than its limit{of} of the node's memory.",
        remedy=remedy,
    )


def _too_slow(waits: int) -> Finding:
    return Finding(
        reason=AvailableReason.STARTUP_TIMEOUT,
        message=f"The engine did not answer within {waits} s of its start, and was killed.",
        remedy="Set spec.cache, so that weights are read from a volume and not downloaded at each start, or use a "
        "faster storage class.",
    )


def _startup_probe(pod: KubernetesObject, name: str) -> tuple[int, int]:
    """Seconds that the startup probe waits, and its period; the Kubernetes API's defaults where it leaves out a field.

    (0, 0): there is none.
    """
    probe = _spec(pod, name).get("startupProbe")
    if probe is None:
        return 0, 0
    period = int(probe.get("periodSeconds", 10))
    return int(probe.get("initialDelaySeconds", 0)) + int(probe.get("failureThreshold", 3)) * period, period


def _lived_as_long(pod: KubernetesObject, last: dict[str, Any], waits: int, period: int) -> bool:
    """The last probe comes a period before the wait is over, at the earliest; then the container has its grace."""
    try:
        lived = (datetime.fromisoformat(last["finishedAt"]) - datetime.fromisoformat(last["startedAt"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return False
    grace = pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    return bool(waits - period <= lived <= waits + period + grace + PACE_SECONDS)


def _spec(pod: KubernetesObject, name: str) -> dict[str, Any]:
    return next((each for each in pod["spec"].get("containers", ()) if each["name"] == name), {})
