"""What the operator answers in `status`. Rates, latencies and money are text, as Kubernetes has no floats."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from vlmctl.api.records import ApiRecord


class ConditionType(StrEnum):
    """The conditions that are always present, in this order."""

    PLANNED = "Planned"
    MODEL_READY = "ModelReady"
    AVAILABLE = "Available"
    BENCHMARKED = "Benchmarked"
    READY = "Ready"
    DEGRADED = "Degraded"


class Condition(ApiRecord, frozen=True, kw_only=True):
    """A metav1.Condition."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int | None = None


class PlanStatus(ApiRecord, frozen=True, kw_only=True):
    """What was planned for the observed generation. Latencies and rates are text, as Kubernetes has no floats."""

    checkpoint: str
    precision: str
    gpu: str
    gpu_count: int
    requests_per_second: str
    ttft: str
    tpot: str
    basis: str
    concurrency: int = 1
    image: str = ""
    arguments: tuple[str, ...] = ()
    error_median: str | None = None  # relative error of the throughput to be expected
    notes: tuple[str, ...] = ()


class BenchmarkStatus(ApiRecord, frozen=True, kw_only=True):
    """What a replica measured, with the width of its 95% interval."""

    requests_per_second: str
    interval: str
    concurrency: int
    ttft: str
    tpot: str
    measured: str  # when, RFC 3339


class Drift(ApiRecord, frozen=True, kw_only=True):
    """Measured over planned."""

    throughput: str


class CostStatus(ApiRecord, frozen=True, kw_only=True):
    """Money in USD as text. `realised` comes from production counters, idle time included."""

    hourly: str = msgspec.field(name="hourlyUSD")
    saturated_per_1k: str | None = msgspec.field(default=None, name="saturatedPer1kUSD")
    realised_per_1k: str | None = msgspec.field(default=None, name="realisedPer1kUSD")
    basis: str | None = None
    price_source: str | None = None
    as_of: str | None = None


class Timeline(ApiRecord, frozen=True, kw_only=True):
    """When the first replica of the revision reached each step, RFC 3339."""

    scheduled: str | None = None
    image_pulled: str | None = None
    weights_ready: str | None = None
    engine_ready: str | None = None
    benchmarked: str | None = None


class VLMDeploymentStatus(ApiRecord, frozen=True, kw_only=True):
    """What is. Written by the operator alone."""

    observed_generation: int | None = None
    phase: str | None = None
    conditions: tuple[Condition, ...] = ()
    replicas: int = 0
    ready_replicas: int = 0
    selector: str | None = None
    url: str | None = None
    current_revision: str | None = None  # the ControllerRevision whose pods serve
    update_revision: str | None = None  # the one that is rolled out, or was given up
    api_key_secret: str | None = None
    plan: PlanStatus | None = None
    benchmark: BenchmarkStatus | None = None
    drift: Drift | None = None
    cost: CostStatus | None = None
    timeline: Timeline | None = None
