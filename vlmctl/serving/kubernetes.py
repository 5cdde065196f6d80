"""Plan -> a Deployment and a Service for clusters without the operator, fit for the restricted security standard.

The operator's pods start from the same `pod_frame` and `engine_container`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlmctl.serving import host
from vlmctl.serving.summary import ANNOTATION, as_json, summary
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec

# What each vendor's device plugin offers, and the label its discovery puts on nodes.
GPU_RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
PRODUCT_LABELS = {"nvidia": "nvidia.com/gpu.product", "amd": "amd.com/gpu.product-name"}
ENGINE_UID = 2000  # the image's own unprivileged user, group 0 (docker/Dockerfile of vllm-project/vllm)
ENGINE_GID = 0
PROBE_SECONDS = 10
DEAD_PROBES = 6
TOKEN_SECRET = "hugging-face"
TOKEN_KEY = "token"
HTTP = "http"
SHARED_MEMORY = "shared-memory"
CACHE = "cache"
UNPRIVILEGED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def deployment(plan: Plan, model: ModelSpec, gpu: GpuSpec, command: list[str]) -> dict[str, Any]:
    """One Deployment: a replica per pod, each with its own GPUs, replaced one by one as GPUs are scarce."""
    figures = summary(plan)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": host.object_name(model),
            "labels": _labels(model),
            "annotations": {ANNOTATION: as_json(figures)},
        },
        "spec": {
            "replicas": figures.replicas,
            "selector": {"matchLabels": _labels(model)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "progressDeadlineSeconds": host.START_SECONDS + host.stop_seconds(plan),
            "template": {"metadata": {"labels": _labels(model)}, "spec": _pod(plan, model, gpu, command)},
        },
    }


def service(model: ModelSpec) -> dict[str, Any]:
    """One address for all replicas, inside the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": host.object_name(model), "labels": _labels(model)},
        "spec": service_spec(_labels(model)),
    }


def service_spec(selector: dict[str, str]) -> dict[str, Any]:
    """Port 80 of a cluster address, to the engines of the pods that `selector` finds."""
    return {
        "type": "ClusterIP",
        "selector": selector,
        "ports": [{"name": HTTP, "port": 80, "targetPort": HTTP, "protocol": "TCP"}],
    }


def pod_frame(plan: Plan, *, resource: str, label: str, products: Sequence[str]) -> dict[str, Any]:
    """A pod's spec without containers and volumes: nodes of the products by their label, stop, rights.

    `resource`: what the device plugin offers. No `products`: any node that has it.
    """
    frame: dict[str, Any] = {
        "tolerations": [{"key": resource, "operator": "Exists", "effect": "NoSchedule"}],
        "terminationGracePeriodSeconds": host.stop_seconds(plan),
        "automountServiceAccountToken": False,
        # A Service named vllm would otherwise set VLLM_PORT, which the engine reads as its own.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": ENGINE_UID,
            "runAsGroup": ENGINE_GID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if products:
        terms = [{"matchExpressions": [{"key": label, "operator": "In", "values": list(products)}]}]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        frame["affinity"] = {"nodeAffinity": required}
    return frame


def engine_container(plan: Plan, *, image: str, resource: str, command: list[str]) -> dict[str, Any]:
    """The container `vllm` with its resources, probes on /health, pause before a stop, and cache."""
    gpus = str(plan.placement.gpu_count)
    memory = f"{host.memory_gib(plan)}Gi"
    return {
        "name": "vllm",
        "image": image,
        "command": command[:2],
        "args": command[2:],
        "env": [{"name": key, "value": value} for key, value in host.CACHE_VARIABLES.items()],
        "ports": [{"name": HTTP, "containerPort": host.PORT, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": str(host.cores(plan)), "memory": memory, resource: gpus},
            "limits": {"memory": memory, resource: gpus},
        },
        "startupProbe": _probe(failures=host.START_SECONDS // PROBE_SECONDS),
        "readinessProbe": _probe(failures=1),
        "livenessProbe": _probe(failures=DEAD_PROBES),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(host.BEFORE_STOP_SECONDS)]}}},
        "securityContext": UNPRIVILEGED,
        "volumeMounts": [
            {"name": CACHE, "mountPath": host.CACHE_FOLDER},
            {"name": SHARED_MEMORY, "mountPath": "/dev/shm"},
        ],
    }


def shared_memory_volume(plan: Plan) -> dict[str, Any]:
    """/dev/shm of the planned size; the container runtime's own is 64 MiB."""
    return {"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory", "sizeLimit": f"{host.shared_memory_gib(plan)}Gi"}}


def token_variable(secret: str, key: str, *, optional: bool) -> dict[str, Any]:
    """The hub's token from a Secret, which may be missing where `optional`."""
    return {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": optional}}}


def _labels(model: ModelSpec) -> dict[str, str]:
    return {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": host.object_name(model)}


def _pod(plan: Plan, model: ModelSpec, gpu: GpuSpec, command: list[str]) -> dict[str, Any]:
    resource = GPU_RESOURCES.get(gpu.vendor, GPU_RESOURCES["nvidia"])
    label = PRODUCT_LABELS.get(gpu.vendor, PRODUCT_LABELS["nvidia"])
    container = engine_container(plan, image=host.engine_image(gpu), resource=resource, command=command)
    if model.license.gated is not False:
        container["env"].append(token_variable(TOKEN_SECRET, TOKEN_KEY, optional=model.license.gated is None))
    return {
        **pod_frame(plan, resource=resource, label=label, products=gpu.kubernetes_labels),
        "containers": [container],
        "volumes": [{"name": CACHE, "emptyDir": {}}, shared_memory_volume(plan)],
    }


def _probe(*, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/health", "port": HTTP},
        "periodSeconds": PROBE_SECONDS,
        "timeoutSeconds": PROBE_SECONDS // 2,
        "failureThreshold": failures,
    }
