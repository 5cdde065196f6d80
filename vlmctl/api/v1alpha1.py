"""The API `vlmctl.dev/v1alpha1`: VLMDeployment and VLMBenchmark as typed records, from which the CRDs are generated."""

from __future__ import annotations

from vlmctl.api.benchmark import (
    BenchmarkKey,
    VLMBenchmark,
    VLMBenchmarkSpec,
)
from vlmctl.api.records import (
    API_VERSION,
    GROUP,
    VERSION,
    ApiRecord,
    Metadata,
    duration,
)
from vlmctl.api.spec import (
    AUTO,
    BenchmarkPolicy,
    BenchmarkSpec,
    Budget,
    Cache,
    CachePvc,
    Engine,
    Hardware,
    HuggingFaceSource,
    Images,
    ImageSource,
    ModelFacts,
    ModelReference,
    ModelSource,
    Objectives,
    PodOverrides,
    PvcSource,
    Scaling,
    ScalingEngine,
    SecretKey,
    Variable,
    Video,
    VLMDeploymentSpec,
    Workload,
)
from vlmctl.api.status import (
    BenchmarkStatus,
    Condition,
    ConditionType,
    CostStatus,
    Drift,
    PlanStatus,
    Timeline,
    VLMDeploymentStatus,
)

KIND = "VLMDeployment"
BENCHMARK_KIND = "VLMBenchmark"


class VLMDeployment(ApiRecord, frozen=True, kw_only=True):
    """The whole object. `api_version` and `kind` have no default, so that they are always written."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: VLMDeploymentSpec
    status: VLMDeploymentStatus | None = None


__all__ = [
    "API_VERSION",
    "AUTO",
    "BENCHMARK_KIND",
    "GROUP",
    "KIND",
    "VERSION",
    "ApiRecord",
    "BenchmarkKey",
    "BenchmarkPolicy",
    "BenchmarkSpec",
    "BenchmarkStatus",
    "Budget",
    "Cache",
    "CachePvc",
    "Condition",
    "ConditionType",
    "CostStatus",
    "Drift",
    "Engine",
    "Hardware",
    "HuggingFaceSource",
    "ImageSource",
    "Images",
    "Metadata",
    "ModelFacts",
    "ModelReference",
    "ModelSource",
    "Objectives",
    "PlanStatus",
    "PodOverrides",
    "PvcSource",
    "Scaling",
    "ScalingEngine",
    "SecretKey",
    "Timeline",
    "VLMBenchmark",
    "VLMBenchmarkSpec",
    "VLMDeployment",
    "VLMDeploymentSpec",
    "VLMDeploymentStatus",
    "Variable",
    "Video",
    "Workload",
    "duration",
]
