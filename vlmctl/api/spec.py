"""What a user asks for in a VLMDeployment's `spec`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from vlmctl.api.model import Hardware, LicensePolicy, ModelReference, Quantization, SecretKey
from vlmctl.api.pods import Cache, Engine, PodOverrides
from vlmctl.api.records import ApiRecord, Rule
from vlmctl.api.values import MAXIMUM_REPLICAS, Decimal, Duration, Replicas, Share
from vlmctl.api.workload import Objectives, Workload


class ScalingEngine(StrEnum):
    """Who changes `replicas`."""

    AUTO = "Auto"
    OPERATOR = "Operator"
    KEDA = "KEDA"
    HPA = "HPA"
    NONE = "None"


class Scaling(ApiRecord, frozen=True, kw_only=True):
    """Between how many replicas, and by whom, the deployment is scaled."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.min <= self.max", "min must not be above max"),)

    min: Annotated[int, Meta(ge=1, le=MAXIMUM_REPLICAS, description="Fewest replicas.")] = 1
    max: Annotated[int, Meta(ge=1, le=MAXIMUM_REPLICAS, description="Most replicas.")] = 1
    engine: Annotated[
        ScalingEngine, Meta(description="Who changes `replicas`. None: nobody but whoever uses `kubectl scale`.")
    ] = ScalingEngine.AUTO


class BenchmarkPolicy(StrEnum):
    """When a replica measures itself before it takes traffic."""

    FIRST_OF_REVISION = "FirstOfRevision"
    NONE = "None"


class BenchmarkSpec(ApiRecord, frozen=True, kw_only=True):
    """How replicas measure themselves before they take traffic."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "duration(self.budget) >= duration('10s') && duration(self.budget) <= duration('1h')",
            "budget must be 10s to 1h",
        ),
    )

    policy: Annotated[
        BenchmarkPolicy,
        Meta(
            description="FirstOfRevision: one replica of each revision climbs a ladder of loads, the others probe. "
            "None: one request with an image, nothing measured."
        ),
    ] = BenchmarkPolicy.FIRST_OF_REVISION
    minimum_of_measured: Annotated[
        Share,
        Meta(description="Share of an earlier measurement of the same that a replica must reach to take traffic."),
    ] = "0.7"
    budget: Annotated[Duration, Meta(description="Longest time that the ladder may take.")] = "90s"


class Budget(ApiRecord, frozen=True, kw_only=True):
    """Limits on money. A plan above them is refused, not shrunk."""

    max_usd_per_1k: Annotated[Decimal | None, Meta(description="Most USD per 1,000 requests, at the planned load.")] = (
        msgspec.field(default=None, name="maxUSDPer1k")
    )
    max_usd_per_month: Annotated[
        Decimal | None,
        Meta(description="Most USD per month of 730 hours, with `scaling.max` replicas (or `replicas`, if more)."),
    ] = msgspec.field(default=None, name="maxUSDPerMonth")


class VLMDeploymentSpec(ApiRecord, frozen=True, kw_only=True):
    """What is wanted. A model's name is enough: everything else is planned from the cluster's GPUs."""

    model: ModelReference
    quantization: Annotated[
        Quantization,
        Meta(description="Precision of the weights. Auto leaves BF16 only for a checkpoint with published quality."),
    ] = Quantization.AUTO
    hardware: Hardware = Hardware()
    workload: Workload = Workload()
    objectives: Objectives = Objectives()
    replicas: Annotated[
        Replicas,
        Meta(description="Replicas wanted: what `kubectl scale` and autoscalers write."),
    ] = 1
    scaling: Scaling = Scaling()
    benchmark: BenchmarkSpec = BenchmarkSpec()
    cache: Cache | None = None
    license_policy: Annotated[
        LicensePolicy | None,
        Meta(description="Which licences are acceptable, beside the cluster's own policy. Left out: that alone."),
    ] = None
    budget: Budget | None = None
    engine: Engine | None = None
    pod: PodOverrides | None = None
    api_key: Annotated[
        SecretKey | None, Meta(description="Secret with the key that requests must carry. Left out: one is made.")
    ] = None
    paused: Annotated[bool, Meta(description="Leave everything as it is until this is false again.")] = False
