"""What Kubernetes reports in the status of an object: a condition, the state of a container."""

from __future__ import annotations

from typing import Any

from vlm_operator.records import KubernetesObject


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
