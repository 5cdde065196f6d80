"""VLMBenchmark: what a replica measured, kept for later starts and for the planner. The operator alone writes it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from vlmctl.api.records import ApiRecord, Metadata, Rule
from vlmctl.api.values import (
    Decimal,
    Duration,
    GpuName,
    Gpus,
    ImageName,
    Timestamp,
    Word,
)
from vlmctl.api.workload import Workload

_Name = Annotated[str, Meta(max_length=512)]


class BenchmarkKey(ApiRecord, frozen=True, kw_only=True):
    """What the measurement holds for: with another value of any field it is another measurement."""

    model: Annotated[_Name, Meta(description="Id in the catalog, or where the checkpoint is from.")]
    checkpoint: Annotated[_Name, Meta(description="Repository, volume or image of the weights.")]
    precision: Annotated[_Name, Meta(description="Precision of the weights.")]
    gpu_product: Annotated[_Name, Meta(description="GPU as the node's label tells it.")]
    gpu_count: Annotated[Gpus, Meta(description="GPUs of the replica.")]
    engine_image: Annotated[ImageName, Meta(description="Image of vLLM.")]
    arguments: Annotated[tuple[Word, ...], Meta(max_length=256, description="All words after `vllm serve`.")]
    workload: Workload
    revision: Annotated[
        _Name | None, Meta(description="Revision that is asked for; `unpinned`: whatever is there at a start.")
    ] = None


class VLMBenchmarkSpec(ApiRecord, frozen=True, kw_only=True):
    """A measurement: the figures of the step with the highest throughput within the objectives. Immutable."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self == oldSelf", "a measurement does not change: delete it instead"),)

    key: BenchmarkKey
    gpu: Annotated[GpuName, Meta(description="Id of the GPU in the catalog.")]
    engine_version: Annotated[_Name, Meta(description="Version that the engine told.")]
    concurrency: Annotated[int, Meta(ge=1, description="Requests in flight during the step.")]
    requests_per_second: Annotated[Decimal, Meta(description="Requests answered per second.")]
    interval: Annotated[_Name, Meta(description="95% confidence interval of the rate, `low-high`.")]
    measured: Annotated[Timestamp, Meta(description="When the measurement ended.")]
    ttft: Annotated[Duration | None, Meta(description="Time to first token, 95th percentile.")] = None
    tpot: Annotated[Duration | None, Meta(description="Time per output token, 95th percentile.")] = None
    image_tokens: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Image tokens of a request, as the engine counted them.")
    ] = None
    rows: Annotated[
        tuple[dict[str, Any], ...],
        Meta(max_length=64, description="Every step, as a row of `vlmctl.dev/measurements/v1`."),
    ] = ()


class VLMBenchmark(ApiRecord, frozen=True, kw_only=True):
    """What a replica measured of itself, for one model, GPU, engine and workload. Written by the operator alone."""

    # Neither has a default, so that both are always written.
    api_version: str
    kind: str
    metadata: Metadata
    spec: VLMBenchmarkSpec
