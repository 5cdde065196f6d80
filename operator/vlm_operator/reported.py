"""What Kubernetes reports of an object: a condition, the state of a container, which pod it is."""

from __future__ import annotations

from typing import Any

from vlm_operator import names
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


def containers(pod: KubernetesObject) -> list[dict[str, Any]]:
    """The statuses of all its containers: those of the proxy, which runs beside the others, are of init containers."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def is_controlled(body: KubernetesObject, uid: str) -> bool:
    """Whether the object of that uid is its controller."""
    owners = body["metadata"].get("ownerReferences") or ()
    return any(each.get("controller") and each["uid"] == uid for each in owners)


def revision_of(pod: KubernetesObject) -> str:
    """The digest in its label."""
    return str(pod["metadata"].get("labels", {}).get(names.REVISION, ""))


def is_of_engine(pod: KubernetesObject) -> bool:
    """Whether it serves or is to: a download's does not."""
    return bool(pod["metadata"].get("labels", {}).get(names.COMPONENT) == names.ENGINE)


def has_ended(pod: KubernetesObject) -> bool:
    """Whether all its containers have ended for good."""
    return pod.get("status", {}).get("phase") in ENDED


def is_cut_off(pod: KubernetesObject) -> bool:
    """Whether its node is not heard of: Kubernetes then takes back that the pod is ready, not that its containers are.

    A kubelet says both or neither of a pod without readiness gates, as all of these are.
    """
    return condition(pod, "Ready").get("status") == "False" and holds(pod, "ContainersReady")


def is_paid(pod: KubernetesObject) -> bool:
    """Whether it holds the GPUs of a node: one that is being deleted does until it has ended.

    Those of a lost node do as long as the node is listed: Kubernetes deletes pods of one that is gone.
    """
    return bool(pod.get("spec", {}).get("nodeName")) and not has_ended(pod)
