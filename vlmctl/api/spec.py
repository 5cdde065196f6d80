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


class RateType(StrEnum):
    """What a rate limit counts, in the words of autoscaling/v2."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several rate limits holds, in the words of autoscaling/v2."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingRate(ApiRecord, frozen=True, kw_only=True):
    """At most so many replicas, or percent of them, may come or go within a period."""

    type: Annotated[RateType, Meta(description="Pods, or Percent of those at the period's start.")]
    value: Annotated[int, Meta(ge=1, le=MAXIMUM_REPLICAS, description="How many.")]
    period_seconds: Annotated[int, Meta(ge=1, le=1800, description="Length of the period.")]


class ScalingRules(ApiRecord, frozen=True, kw_only=True):
    """One direction of `behavior`. What is left out is as the HorizontalPodAutoscaler has it."""

    stabilization_window_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=3600)] | None,
        Meta(
            description="How long back recommendations count, so that a short peak or lull moves nothing. "
            "Left out: 0 up, 300 down."
        ),
    ] = None
    select_policy: Annotated[
        SelectPolicy,
        Meta(description="Of several policies the one that allows most or least; Disabled: none in this direction."),
    ] = SelectPolicy.MAX
    policies: Annotated[
        tuple[ScalingRate, ...],
        Meta(max_length=8, description="Rate limits. Left out: up 4 Pods or 100 Percent, down 100 Percent, in 15 s."),
    ] = ()
    tolerance: Annotated[
        Share | None,
        Meta(description="Relative distance from the target that is no reason to scale. Left out: 0.1."),
    ] = None


class ScalingBehavior(ApiRecord, frozen=True, kw_only=True):
    """How fast replicas come and go: `behavior` of autoscaling/v2, for every engine."""

    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


class Scaling(ApiRecord, frozen=True, kw_only=True):
    """Between how many replicas, how and by whom the deployment is scaled. Nobody scales where both are 1."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.min <= self.max", "min must not be above max"),
        Rule("double(self.targetUtilization) >= 0.05", "targetUtilization must be 0.05 to 1"),
        Rule("duration(self.idle) <= duration('24h')", "idle must be at most 24h"),
    )

    min: Annotated[
        int,
        Meta(
            ge=0,
            le=MAXIMUM_REPLICAS,
            description="Fewest replicas. 0 where the KEDA HTTP add-on holds requests meanwhile; elsewhere 1 stays.",
        ),
    ] = 1
    max: Annotated[int, Meta(ge=1, le=MAXIMUM_REPLICAS, description="Most replicas.")] = 1
    engine: Annotated[
        ScalingEngine,
        Meta(
            description="Who changes `replicas`. Auto: KEDA where it is installed and can read metrics, else the "
            "operator. None: nobody but whoever uses `kubectl scale`."
        ),
    ] = ScalingEngine.AUTO
    target_utilization: Annotated[
        Share,
        Meta(
            description="Share of the requests in flight that a replica was measured to serve within the objectives, "
            "to which each replica is loaded."
        ),
    ] = "0.8"
    idle: Annotated[
        Duration, Meta(description="How long no request must have been in flight before the last replica goes.")
    ] = "5m"
    behavior: ScalingBehavior | None = None


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
            description="FirstOfRevision: one replica climbs a ladder of loads, those beside it send one image, those "
            "after it probe. None: all send one image."
        ),
    ] = BenchmarkPolicy.FIRST_OF_REVISION
    minimum_of_measured: Annotated[
        Share,
        Meta(description="Share of an earlier measurement of the same that a replica must reach to take traffic."),
    ] = "0.7"
    budget: Annotated[Duration, Meta(description="Longest time that the ladder may take.")] = "90s"


class Budget(ApiRecord, frozen=True, kw_only=True):
    """Limits on money, beside the cluster's: the lower counts. A plan above them is refused, not shrunk; replicas
    beyond the month's are not made, whoever scales.
    """

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
