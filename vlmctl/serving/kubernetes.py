"""Plan -> a Deployment and a Service for clusters without the operator, fit for the restricted security standard."""

from __future__ import annotations

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
HTTP = "http"


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
        "spec": {
            "type": "ClusterIP",
            "selector": _labels(model),
            "ports": [{"name": HTTP, "port": 80, "targetPort": HTTP, "protocol": "TCP"}],
        },
    }


def _labels(model: ModelSpec) -> dict[str, str]:
    return {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": host.object_name(model)}


def _pod(plan: Plan, model: ModelSpec, gpu: GpuSpec, command: list[str]) -> dict[str, Any]:
    resource = GPU_RESOURCES.get(gpu.vendor, GPU_RESOURCES["nvidia"])
    memory = f"{host.shared_memory_gib(plan)}Gi"
    return {
        "affinity": _affinity(gpu),
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
        "containers": [_container(plan, model, gpu, resource, command)],
        "volumes": [
            {"name": "cache", "emptyDir": {}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": memory}},
        ],
    }


def _affinity(gpu: GpuSpec) -> dict[str, Any]:
    """Only nodes whose GPUs carry one of the product's labels; empty where no label is known."""
    if not gpu.kubernetes_labels:
        return {}
    key = PRODUCT_LABELS.get(gpu.vendor, PRODUCT_LABELS["nvidia"])
    terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": list(gpu.kubernetes_labels)}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _container(plan: Plan, model: ModelSpec, gpu: GpuSpec, resource: str, command: list[str]) -> dict[str, Any]:
    gpus = str(plan.placement.gpu_count)
    memory = f"{host.memory_gib(plan)}Gi"
    return {
        "name": "vllm",
        "image": host.engine_image(gpu),
        "command": command[:2],
        "args": command[2:],
        "env": _environment(model),
        "ports": [{"name": HTTP, "containerPort": host.PORT, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": str(host.cores(plan)), "memory": memory, resource: gpus},
            "limits": {"memory": memory, resource: gpus},
        },
        "startupProbe": _probe(failures=host.START_SECONDS // PROBE_SECONDS),
        "readinessProbe": _probe(failures=1),
        "livenessProbe": _probe(failures=DEAD_PROBES),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(host.BEFORE_STOP_SECONDS)]}}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "cache", "mountPath": host.CACHE_FOLDER},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }


def _environment(model: ModelSpec) -> list[dict[str, Any]]:
    variables: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in host.CACHE_VARIABLES.items()]
    if model.license.gated is not False:
        reference = {"name": TOKEN_SECRET, "key": "token", "optional": model.license.gated is None}
        variables.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return variables


def _probe(*, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/health", "port": HTTP},
        "periodSeconds": PROBE_SECONDS,
        "timeoutSeconds": PROBE_SECONDS // 2,
        "failureThreshold": failures,
    }
