"""What the operator answers in a VLMDeployment's `status`. Rates, latencies and money are text: there are no floats."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vlmctl.api.records import ApiRecord
from vlmctl.api.values import Length, Number, Timestamp
from vlmctl.specs.estimates import Basis

_CONDITIONS_BY_TYPE = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


class ConditionType(StrEnum):
    """The conditions that are always present, in this order."""

    PLANNED = "Planned"
    MODEL_READY = "ModelReady"
    AVAILABLE = "Available"
    BENCHMARKED = "Benchmarked"
    READY = "Ready"
    DEGRADED = "Degraded"


class Condition(ApiRecord, frozen=True, kw_only=True):
    """One aspect of the state, as a metav1.Condition."""

    type: Annotated[ConditionType, Meta(description="Which aspect.")]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it holds.")]
    reason: Annotated[str, Meta(max_length=1024, description="Why, in one word of a closed list.")]
    message: Annotated[str, Meta(max_length=32_768, description="Why, in a sentence, and what to do about it.")]
    last_transition_time: Annotated[Timestamp, Meta(description="When `status` last changed.")]
    observed_generation: Annotated[
        int | None, Meta(description="Generation of the object that the condition is about.")
    ] = None


class PlanStatus(ApiRecord, frozen=True, kw_only=True):
    """What was planned for the observed generation, per replica."""

    checkpoint: Annotated[str, Meta(description="Repository, volume or image that the weights come from.")]
    precision: Annotated[str, Meta(description="Precision of the weights.")]
    gpu: Annotated[str, Meta(description="Id of the GPU in the catalog.")]
    gpu_count: Annotated[int, Meta(description="GPUs of each replica.")]
    requests_per_second: Annotated[
        Number, Meta(description="Requests per second that a replica is expected to answer.")
    ]
    ttft: Annotated[Length, Meta(description="Time to first token to expect, 95th percentile.")]
    tpot: Annotated[Length, Meta(description="Time per output token to expect, 95th percentile.")]
    basis: Annotated[
        Basis, Meta(description="How the figures were found: measured, calibrated (measured nearby) or estimated.")
    ]
    concurrency: Annotated[int, Meta(description="Requests in flight that the figures are for.")] = 1
    image: Annotated[str, Meta(description="Image of vLLM.")] = ""
    arguments: Annotated[tuple[str, ...], Meta(description="All words after `vllm serve`.")] = ()
    error_median: Annotated[
        Number | None,
        Meta(description="Error of the throughput to be expected, as a share of it, median of past ones."),
    ] = None
    notes: Annotated[tuple[str, ...], Meta(description="What was decided for the user, a sentence each.")] = ()


class BenchmarkStatus(ApiRecord, frozen=True, kw_only=True):
    """What a replica of the current revision measured."""

    requests_per_second: Annotated[Number, Meta(description="Requests answered per second.")]
    interval: Annotated[str, Meta(description="95% confidence interval of the rate, `low-high`, or unknown.")]
    concurrency: Annotated[int, Meta(description="Requests in flight during that step.")]
    ttft: Annotated[Length | None, Meta(description="Time to first token, 95th percentile.")] = None
    tpot: Annotated[Length | None, Meta(description="Time per output token, 95th percentile.")] = None
    measured: Annotated[Timestamp, Meta(description="When the measurement ended.")]


class Drift(ApiRecord, frozen=True, kw_only=True):
    """How far the measurement is from the plan: measured over planned."""

    throughput: Annotated[Number, Meta(description="Requests per second, measured over planned.")]


class CostStatus(ApiRecord, frozen=True, kw_only=True):
    """What the replicas cost, in USD."""

    replicas: Annotated[
        int | None, Meta(description="Replicas that are paid for: pods that hold the GPUs of a node.")
    ] = None
    gpus: Annotated[
        int | None, Meta(description="GPUs that these replicas hold, each as many as its own revision's plan has.")
    ] = None
    hourly: Annotated[Number | None, Meta(description="USD per hour of these replicas.")] = msgspec.field(
        default=None, name="hourlyUSD"
    )
    saturated_per_1k: Annotated[
        Number | None, Meta(description="USD per 1,000 requests where replicas are never idle: the floor.")
    ] = msgspec.field(default=None, name="saturatedPer1kUSD")
    realised_per_1k: Annotated[
        Number | None, Meta(description="USD per 1,000 requests that were answered, idle time included.")
    ] = msgspec.field(default=None, name="realisedPer1kUSD")
    realised_replica_hours_per_1k: Annotated[
        Number | None, Meta(description="Hours of replicas for 1,000 requests that were answered, idle time included.")
    ] = msgspec.field(default=None, name="realisedReplicaHoursPer1k")
    realised_replicas: Annotated[
        Number | None, Meta(description="Replicas that were paid for on average in the time of that figure.")
    ] = None
    idle: Annotated[
        bool,
        Meta(description="Whether replicas were there for an hour that answered no request, and none came since."),
    ] = False
    basis: Annotated[
        str | None, Meta(description="What the throughput in it is: measured, calibrated or estimated.")
    ] = None
    price_source: Annotated[str | None, Meta(description="Where the price is from.")] = None
    as_of: Annotated[str | None, Meta(description="Day the price was read.")] = None


class ScalingStatus(ApiRecord, frozen=True, kw_only=True):
    """Who changes `replicas`, and by what."""

    engine: Annotated[str, Meta(description="Who changes `replicas`: Operator, KEDA, HPA, or None for nobody.")]
    reason: Annotated[str, Meta(max_length=1024, description="Why, in one word of a closed list.")]
    message: Annotated[str, Meta(max_length=32_768, description="Why, in a sentence, and what to do about it.")]
    target_in_flight: Annotated[str | None, Meta(description="Requests in flight to which each replica is loaded.")] = (
        None
    )
    basis: Annotated[
        str | None, Meta(description="Whether the concurrency behind the target was measured or planned.")
    ] = None
    cold_start: Annotated[
        str | None, Meta(description="How long a replica takes from its place on a node to traffic.")
    ] = None
    cold_start_basis: Annotated[
        str | None, Meta(description="Whether a start of this revision took that long (measured), or it is estimated.")
    ] = None
    cold_start_made: Annotated[str | None, Meta(description="When the replica was made that took that long.")] = None
    revision: Annotated[
        str | None, Meta(description="Revision that new replicas are of, and that the cold start is of.")
    ] = None
    asleep: Annotated[
        bool, Meta(description="Whether `replicas` is 0 because KEDA scales to 0, and not because somebody wrote it.")
    ] = False


class Timeline(ApiRecord, frozen=True, kw_only=True):
    """When the first replica of the revision reached each step."""

    scheduled: Annotated[Timestamp | None, Meta(description="The pod had a node.")] = None
    image_pulled: Annotated[Timestamp | None, Meta(description="The engine's container was started.")] = None
    weights_ready: Annotated[Timestamp | None, Meta(description="The weights were on the node.")] = None
    engine_ready: Annotated[Timestamp | None, Meta(description="The engine answered `/health`.")] = None
    benchmarked: Annotated[Timestamp | None, Meta(description="The replica had measured itself.")] = None


class VLMDeploymentStatus(ApiRecord, frozen=True, kw_only=True):
    """What is. Written by the operator alone."""

    observed_generation: Annotated[int | None, Meta(description="Generation that this status is about.")] = None
    phase: Annotated[str | None, Meta(description="The state in a word, for people; programs read conditions.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            description="Planned, ModelReady, Available, Benchmarked, Ready (sums up), Degraded: always all.",
            extra_json_schema=_CONDITIONS_BY_TYPE,
        ),
    ] = ()
    model: Annotated[str | None, Meta(description="Model that is served: its name, else where it is from.")] = None
    replicas: Annotated[int, Meta(description="Pods that there are.")] = 0
    ready_replicas: Annotated[int, Meta(description="Pods that take traffic.")] = 0
    ready: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9]+/[0-9]+$")] | None,
        Meta(description="Replicas that take traffic, of those wanted, such as `1/2`."),
    ] = None
    selector: Annotated[str | None, Meta(description="Label selector of the pods, for autoscalers.")] = None
    url: Annotated[str | None, Meta(description="Where requests go inside the cluster.")] = None
    current_revision: Annotated[str | None, Meta(description="ControllerRevision whose pods serve.")] = None
    update_revision: Annotated[
        str | None, Meta(description="ControllerRevision that is being rolled out, or was given up.")
    ] = None
    api_key_secret: Annotated[str | None, Meta(description="Secret with the key that requests must carry.")] = None
    made_key_secret: Annotated[
        str | None,
        Meta(description="Secret of the operator's making; it stays while spec.apiKey names another."),
    ] = None
    plan: PlanStatus | None = None
    benchmark: BenchmarkStatus | None = None
    drift: Drift | None = None
    cost: CostStatus | None = None
    scaling: ScalingStatus | None = None
    timeline: Timeline | None = None
