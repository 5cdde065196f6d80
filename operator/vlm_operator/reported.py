"""What Kubernetes reports in the status of an object: a condition, the state of a container."""

from __future__ import annotations

from typing import Any

from vlm_operator.records import KubernetesObject

ENDED = frozenset({"Succeeded", "Failed"})  # phases of a pod


def condition(body: KubernetesObject, kind: str) -> dict[str, str]:
    """The condition of a type; empty where the status has none."""
    listed = body.get("status", {}).get("conditions") or ()
    return next((each for each in listed if each["type"] == kind), {})


def holds(body: KubernetesObject, kind: str) -> bool:
    """Whether the condition of a type is there and True: of a Job, ``Complete``."""
    return condition(body, kind).get("status") == "True"


def container(pod: KubernetesObject, name: str) -> dict[str, Any]:
    """The status of a container; empty before the kubelet wrote one."""
    listed = pod.get("status", {}).get("containerStatuses") or ()
    return next((each for each in listed if each.get("name") == name), {})


def has_ended(pod: KubernetesObject) -> bool:
    """Whether all its containers have ended for good."""
    return pod.get("status", {}).get("phase") in ENDED


def is_paid(pod: KubernetesObject) -> bool:
    """Whether it holds the GPUs of a node: one that is being deleted does until it has ended."""
    return bool(pod.get("spec", {}).get("nodeName")) and not has_ended(pod)
