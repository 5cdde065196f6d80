"""The two CustomResourceDefinitions, made of the records."""

from __future__ import annotations

from typing import Any

from vlmctl.api.records import GROUP, VERSION, ApiRecord
from vlmctl.api.structural_schema import Schema, structural_schema
from vlmctl.api.v1alpha1 import BENCHMARK_KIND, KIND, VLMBenchmark, VLMDeployment

CATEGORIES = ["all", "vlm"]
_STANDARD: Schema = {
    "apiVersion": {"description": f"{GROUP}/{VERSION}.", "type": "string"},
    "kind": {"description": "Kind of the object.", "type": "string"},
    "metadata": {"type": "object"},
}
_WIDE = {"priority": 1}  # shown by `kubectl get -o wide`


def vlmdeployment_crd() -> dict[str, Any]:
    """The definition of VLMDeployment, with subresources status and scale."""
    schema = _schema(VLMDeployment)
    schema["properties"]["status"] = _schema(VLMDeployment, defaults=False)["properties"]["status"]
    columns = [
        _column("Model", ".status.model"),
        _column("GPU", ".status.plan.gpu"),
        _column("Ready", ".status.ready"),
        _column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        _column("Req/s", ".status.benchmark.requestsPerSecond"),
        _column("$/1k", ".status.cost.saturatedPer1kUSD"),
        _column("Age", ".metadata.creationTimestamp", "date"),
        _column("GPUs", ".status.plan.gpuCount", "integer") | _WIDE,
        _column("Precision", ".status.plan.precision") | _WIDE,
        _column("Concurrency", ".status.benchmark.concurrency", "integer") | _WIDE,
        _column("Basis", ".status.cost.basis") | _WIDE,
        _column("Drift", ".status.drift.throughput") | _WIDE,
        _column("$/hour", ".status.cost.hourlyUSD") | _WIDE,
        _column("URL", ".status.url") | _WIDE,
    ]
    subresources = {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    return _definition(KIND, "vlmd", schema, columns, subresources)


def vlmbenchmark_crd() -> dict[str, Any]:
    """The definition of VLMBenchmark, which has no status: it is one itself."""
    columns = [
        _column("Model", ".spec.key.model"),
        _column("GPU", ".spec.gpu"),
        _column("GPUs", ".spec.key.gpuCount", "integer"),
        _column("Req/s", ".spec.requestsPerSecond"),
        _column("Concurrency", ".spec.concurrency", "integer"),
        _column("Age", ".metadata.creationTimestamp", "date"),
        _column("Precision", ".spec.key.precision") | _WIDE,
        _column("Interval", ".spec.interval") | _WIDE,
        _column("Engine", ".spec.engineVersion") | _WIDE,
        _column("Measured", ".spec.measured", "date") | _WIDE,
    ]
    return _definition(BENCHMARK_KIND, "vlmb", _schema(VLMBenchmark), columns, {})


def _schema(record: type[ApiRecord], *, defaults: bool = True) -> Schema:
    """A whole object's, of which the API server itself knows the first three fields."""
    schema = structural_schema(record, defaults=defaults)
    return {**schema, "properties": {**schema["properties"], **_STANDARD}, "required": ["spec"]}


def _definition(
    kind: str, short: str, schema: Schema, columns: list[dict[str, Any]], subresources: dict[str, Any]
) -> dict[str, Any]:
    singular = kind.lower()
    plural = f"{singular}s"
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        **({"subresources": subresources} if subresources else {}),
        "additionalPrinterColumns": columns,
    }
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": singular, "shortNames": [short]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "vlmctl"}},
        "spec": {
            "group": GROUP,
            "names": {**names, "categories": CATEGORIES},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _column(name: str, path: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path}
