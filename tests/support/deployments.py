"""VLMDeployments as an API server holds them: a small cluster with L4, L40S and H100, each in a state of its own."""

from __future__ import annotations

from typing import Any

from tests.support.gpu_nodes import node
from vlmctl.api import v1alpha1 as api

NAMESPACE = "documents"
SCAN = {"images": [{"size": "1680x2240", "count": 1}], "promptTokens": 64, "outputTokens": 256}
OBJECTIVES = {"ttft": "5s", "tpot": "100ms"}
USD_PER_GPU_HOUR = {"L4": 0.8, "L40S": 1.86, "H100-SXM": 4.2}
NODES = {
    "items": [
        *(node("NVIDIA-L4", 4) for _ in range(3)),
        *(node("NVIDIA-L40S", 4) for _ in range(2)),
        node("NVIDIA-H100-80GB-HBM3", 8),
    ]
}

Body = dict[str, Any]


def condition(kind: str, status: str, reason: str, message: str) -> Body:
    """A condition since noon."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-20T12:00:00Z",
        "observedGeneration": 1,
    }


CONDITIONS = [
    condition("Planned", "True", "Planned", "The spec is planned for."),
    condition("ModelReady", "True", "Loaded", "An engine has the weights in memory."),
    condition("Available", "True", "Available", "At least one replica takes requests."),
    condition("Benchmarked", "True", "Measured", "A replica of this revision was measured."),
    condition("Ready", "True", "Ready", "Replicas of what was planned take requests."),
    condition("Degraded", "False", "AsPlanned", "Nothing is known to be wrong."),
]


def body(name: str, named: str, status: Body, **spec: Any) -> Body:
    """An object of the model `named`, with metadata of the API server's own."""
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-20T11:50:00Z",
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {"model": {"name": named}, "workload": SCAN, "objectives": OBJECTIVES, "replicas": 1, **spec},
        "status": status,
    }


def ready(
    name: str,
    model: str,
    gpu: str,
    *,
    gpu_count: int = 1,
    replicas: int = 1,
    planned: float,
    measured: float | None = None,
    realised: float | None = None,
    **spec: Any,
) -> Body:
    """One that serves. Rates are of one replica, `realised` dollars per 1,000 requests."""
    hourly = USD_PER_GPU_HOUR[gpu] * gpu_count * replicas
    per_1k = hourly / replicas / (measured or planned) / 3.6
    status: Body = {
        "phase": "Ready",
        "conditions": CONDITIONS,
        "model": model,
        "replicas": replicas,
        "readyReplicas": replicas,
        "ready": f"{replicas}/{replicas}",
        "url": f"http://{name}.{NAMESPACE}.svc/v1",
        "apiKeySecret": f"{name}-api-key",
        "currentRevision": f"{name}-73e029ea35",
        "plan": {
            "checkpoint": f"hub/{model}",
            "precision": "bf16",
            "gpu": gpu,
            "gpuCount": gpu_count,
            "requestsPerSecond": f"{planned:g}",
            "ttft": "3.14s",
            "tpot": "98ms",
            "basis": "estimated",
            "errorMedian": "0.158",
            "concurrency": 9,
            "arguments": ["serve", f"hub/{model}", f"--served-model-name={model}"],
            "notes": ["Images of up to 1680x2240 pixels are taken whole."],
        },
        "cost": {
            "hourlyUSD": f"{hourly:.4g}",
            "saturatedPer1kUSD": f"{per_1k:.4g}",
            "basis": "estimated" if measured is None else "measured",
            "priceSource": "declared in the chart's values",
            "asOf": "2026-11-01",
        },
        "timeline": {
            "scheduled": "2026-11-20T11:52:00Z",
            "imagePulled": "2026-11-20T11:54:10Z",
            "weightsReady": "2026-11-20T11:51:30Z",
            "engineReady": "2026-11-20T11:57:40Z",
        },
    }
    if measured is not None:
        status["benchmark"] = {
            "requestsPerSecond": f"{measured:g}",
            "interval": f"{measured * 0.95:.3g}-{measured * 1.05:.3g}",
            "concurrency": 9,
            "ttft": "2.9s",
            "tpot": "97ms",
            "measured": "2026-11-20T11:59:30Z",
        }
        status["drift"] = {"throughput": f"{measured / planned:.2g}"}
        status["timeline"]["benchmarked"] = "2026-11-20T11:59:30Z"
    if realised is not None:
        status["cost"]["realisedPer1kUSD"] = f"{realised:g}"
        status["cost"]["realisedReplicaHoursPer1k"] = f"{realised * replicas / hourly:.6g}"
        status["cost"]["realisedReplicas"] = f"{replicas}"
    return body(name, model, status, **{"replicas": replicas, **spec})


RECEIPTS = ready(
    "receipts",
    "qwen3-vl-8b-instruct",
    "L4",
    gpu_count=4,
    planned=0.638,
    measured=0.61,
    realised=2.1,
    scaling={"min": 1, "max": 4, "engine": "Auto"},
)
RECEIPTS["status"]["scaling"] = {
    "engine": "Operator",
    "reason": "Scaling",
    "message": "The operator scales between 1 and 4 replicas.",
    "targetInFlight": "7.2",
    "basis": "measured",
    "coldStart": "340s",
    "coldStartBasis": "measured",
}
CAPTIONS = ready("captions", "internvl3-8b", "H100-SXM", replicas=2, planned=5.41, measured=4.9, realised=1.9)
CHARTS = ready("charts", "qwen2.5-vl-7b", "L40S", planned=0.797)
FORMS = body(
    "forms",
    "qwen2.5-vl-72b",
    {
        "phase": "Refused",
        "model": "qwen2.5-vl-72b",
        "ready": "0/1",
        "conditions": [
            condition("Planned", "False", "OverBudget", "It costs $9,198 per month, above $5,000. Raise the budget."),
            condition("Ready", "False", "OverBudget", "It costs $9,198 per month, above $5,000. Raise the budget."),
        ],
    },
)
ALL = (CAPTIONS, CHARTS, FORMS, RECEIPTS)


def benchmark_spec(model: str) -> api.VLMBenchmarkSpec:
    """What a replica of the model measured on one L40S; its rows are for a test to add."""
    key = api.BenchmarkKey(
        model=model,
        checkpoint=f"hub/{model}",
        precision="bf16",
        gpu_product="NVIDIA-L40S",
        gpu_count=1,
        engine_image="vllm/vllm-openai:v0.32.0",
        arguments=(),
        workload=api.Workload(),
    )
    return api.VLMBenchmarkSpec(
        key=key,
        gpu="L40S",
        engine_version="0.32.0",
        concurrency=10,
        requests_per_second="0.9",
        interval="0.88-0.92",
        measured="2026-11-20T11:59:30Z",
    )


def listed(*bodies: Body) -> Body:
    """As the API server lists them: without the kind of each."""
    return {"kind": f"{api.KIND}List", "items": [{k: v for k, v in each.items() if k != "kind"} for each in bodies]}


def paths(*bodies: Body) -> dict[str, Any]:
    """What an API server with these objects, nodes and no measurements answers, by path."""
    group, plural = f"/apis/{api.API_VERSION}", "vlmdeployments"
    own = f"{group}/namespaces/{NAMESPACE}"
    return {
        f"{own}/{plural}": listed(*bodies),
        f"{group}/{plural}": listed(*bodies),
        **{f"{own}/{plural}/{each['metadata']['name']}": each for each in bodies},
        f"{group}/vlmbenchmarks": {"items": []},
        f"{own}/vlmbenchmarks": {"items": []},
        "/api/v1/nodes": NODES,
    }
