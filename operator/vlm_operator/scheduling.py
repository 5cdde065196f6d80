"""The scheduler's message about a pod that no node takes: which resource or rule is short, without its counts of nodes.

The counts change whenever a node or another pod does, and would make a new status of the same state each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlm_operator.engine_logs import quote
from vlm_operator.reasons import AvailableReason
from vlm_operator.records import Finding, KubernetesObject
from vlm_operator.reported import condition, holds

_COUNTS = re.compile(r"^\d+/\d+ nodes are available: *")
# The scheduler goes on about preemption and resource claims; what they say follows from what came before.
_AFTER = re.compile(r"\.? *(?:preemption: |no new claims to deallocate)")
_EACH = re.compile(r"(?:^|, )\d+ (?=\S)")
_INSUFFICIENT = re.compile(r"^Insufficient (?P<resource>\S+?)\.?$")
_TOO_MANY_PODS = re.compile(r"Too many pods")
_QUOTA = re.compile(r"exceeded quota")
_GPU = re.compile(r"gpu|nvidia\.com/|amd\.com/|habana\.ai/")

_RESOURCES = {
    "cpu": (AvailableReason.INSUFFICIENT_CPU, "CPU", "Free CPU on those nodes, add a node, or lower spec.pod.cpu."),
    "memory": (
        AvailableReason.INSUFFICIENT_MEMORY,
        "memory",
        "Free memory on those nodes, add a node with more, or lower spec.pod.memory.",
    ),
    "ephemeral-storage": (
        AvailableReason.INSUFFICIENT_STORAGE,
        "ephemeral storage",
        "Set spec.cache, so that checkpoints lie on a volume, or add a node with a larger disk.",
    ),
}
_GPU_REMEDY = "Free GPUs on those nodes, add a node of that product, or choose another spec.hardware.gpu or count."
# In the order of precedence after resources: a node that lacks only resources is nearer than one that breaks a rule.
_RULES: tuple[tuple[AvailableReason, re.Pattern[str], str, str], ...] = (
    (
        AvailableReason.TOO_MANY_PODS,
        _TOO_MANY_PODS,
        "The nodes run as many pods as they may.",
        "Add a node, or raise the kubelet's maximum of pods.",
    ),
    (
        AvailableReason.UNTOLERATED_TAINT,
        re.compile(r"untolerated taint"),
        "The nodes have a taint that the pod does not tolerate: {detail}.",
        "Add it to spec.pod.tolerations, or remove the taint.",
    ),
    (
        AvailableReason.NODE_UNSCHEDULABLE,
        re.compile(r"were unschedulable"),
        "The nodes are cordoned.",
        "Uncordon a node, or add one.",
    ),
    (
        AvailableReason.NO_MATCHING_NODE,
        re.compile(r"didn't match (?:the )?[Pp]od'?s? ?(?:'s )?(?:node affinity|node selector)"),
        "No node has the labels that the pod asks for (GPU product, spec.pod.nodeSelector).",
        "Add a node of the planned GPU product, choose another spec.hardware.gpu, or correct spec.pod.nodeSelector.",
    ),
)
_VOLUMES = re.compile(
    r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim \"|volume node affinity conflict"
    r"|find available persistent volumes|max volume count|unbound PersistentVolume|bound to non-existent"
)


def unschedulable(message: str) -> Finding:
    """What keeps a pod from being scheduled, from its condition PodScheduled."""
    return _volume(message) or _resource(message) or _rule(message) or _other(message)


def lacks_room(message: str) -> bool:
    """Whether the scheduler's message names a node that would do but for what other pods take of it."""
    return any(_INSUFFICIENT.match(cause) or _TOO_MANY_PODS.search(cause) for cause in _causes(message))


def over_quota(deployment: KubernetesObject) -> bool:
    """Whether a pod of the Deployment could not be made for lack of the namespace's quota."""
    return holds(deployment, "ReplicaFailure") and bool(
        _QUOTA.search(condition(deployment, "ReplicaFailure").get("message", ""))
    )


def _causes(message: str) -> Iterator[str]:
    before = _AFTER.split(_COUNTS.sub("", message), maxsplit=1)[0]
    yield from (cause.strip(" ,.") for cause in _EACH.split(before) if cause.strip(" ,."))


def _volume(message: str) -> Finding | None:
    found = [cause for cause in _causes(message) if _VOLUMES.search(cause)]
    if not found:
        return None
    return Finding(
        reason=AvailableReason.VOLUME_UNAVAILABLE,
        message=f"A volume of the pod is not there: {quote(found[0])}.",
        remedy="Check the PersistentVolumeClaim (spec.cache.pvc, spec.model.source.pvc): its storage class, size and "
        "access mode.",
    )


def _resource(message: str) -> Finding | None:
    short = {match["resource"] for cause in _causes(message) if (match := _INSUFFICIENT.match(cause))}
    gpus = sorted(resource for resource in short if _GPU.search(resource))
    if gpus:
        text = f"The nodes that the pod may run on have too few {quote(gpus[0])} free."
        return Finding(reason=AvailableReason.INSUFFICIENT_GPU, message=text, remedy=_GPU_REMEDY)
    for resource, (reason, name, remedy) in _RESOURCES.items():
        if resource in short:
            text = f"The nodes that the pod may run on have too little {name} free."
            return Finding(reason=reason, message=text, remedy=remedy)
    return None


def _rule(message: str) -> Finding | None:
    causes = sorted(_causes(message))
    for reason, pattern, text, remedy in _RULES:
        for cause in causes:
            if pattern.search(cause):
                detail = quote(cause.partition("{")[2].rstrip("}") or cause)
                return Finding(reason=reason, message=text.format(detail=detail), remedy=remedy)
    return None


def _other(message: str) -> Finding:
    causes = sorted(set(_causes(message)))
    return Finding(
        reason=AvailableReason.UNSCHEDULABLE,
        message=f"No node takes the pod: {quote('; '.join(causes) or 'the scheduler gives no reason')}.",
        remedy="See `kubectl describe pod`, and the nodes' labels, taints and free resources.",
    )
