"""The API `vlmctl.dev/v1alpha1`: VLMDeployment and VLMBenchmark as typed records, from which the CRDs are generated."""

from __future__ import annotations

from typing import ClassVar

from vlmctl.api.benchmark import BenchmarkKey, VLMBenchmark, VLMBenchmarkSpec
from vlmctl.api.model import (
    AUTO,
    Hardware,
    HuggingFaceSource,
    ImageSource,
    LicensePolicy,
    ModelFacts,
    ModelReference,
    ModelSource,
    PvcSource,
    Quantization,
    SecretKey,
)
from vlmctl.api.pods import (
    AccessMode,
    Cache,
    CachePvc,
    Engine,
    Need,
    PodOverrides,
    TaintEffect,
    Toleration,
    TolerationOperator,
    Variable,
)
from vlmctl.api.records import API_VERSION, GROUP, VERSION, ApiRecord, Metadata, Rule, duration
from vlmctl.api.spec import (
    BenchmarkPolicy,
    BenchmarkSpec,
    Budget,
    RateType,
    Scaling,
    ScalingBehavior,
    ScalingEngine,
    ScalingRate,
    ScalingRules,
    SelectPolicy,
    VLMDeploymentSpec,
)
from vlmctl.api.status import (
    BenchmarkStatus,
    Condition,
    ConditionType,
    CostStatus,
    Drift,
    PlanStatus,
    ScalingStatus,
    Timeline,
    VLMDeploymentStatus,
)
from vlmctl.api.workload import Images, Objectives, Video, Workload

KIND = "VLMDeployment"
BENCHMARK_KIND = "VLMBenchmark"
RESERVED_NAME = "kubernetes"  # with more behind a dash too: by variables named like Services, pods find the API server
NAME_LENGTH = 52  # leaves 11 of a DNS label's 63 characters to what is added in the children's names


class VLMDeployment(ApiRecord, frozen=True, kw_only=True):
    """A vision-language model served by vLLM on this cluster's GPUs: planned, measured and priced."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(f"self.metadata.name.size() <= {NAME_LENGTH}", f"the name must have at most {NAME_LENGTH} characters"),
        Rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "the name must start with a letter and hold only small letters, digits and dashes: a Service gets it too",
        ),
        Rule(
            f"!self.metadata.name.matches('^{RESERVED_NAME}(-|$)')",
            f"the name must not be {RESERVED_NAME} or begin with {RESERVED_NAME}-: pods of the namespace would take "
            "its Service for the API server",
        ),
    )

    # Neither has a default, so that both are always written.
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
    "NAME_LENGTH",
    "RESERVED_NAME",
    "VERSION",
    "AccessMode",
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
    "LicensePolicy",
    "Metadata",
    "ModelFacts",
    "ModelReference",
    "ModelSource",
    "Need",
    "Objectives",
    "PlanStatus",
    "PodOverrides",
    "PvcSource",
    "Quantization",
    "RateType",
    "Rule",
    "Scaling",
    "ScalingBehavior",
    "ScalingEngine",
    "ScalingRate",
    "ScalingRules",
    "ScalingStatus",
    "SecretKey",
    "SelectPolicy",
    "TaintEffect",
    "Timeline",
    "Toleration",
    "TolerationOperator",
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
