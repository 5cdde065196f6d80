"""VLMBenchmark: what a replica measured, kept for later starts and for the planner. The operator alone writes it."""

from __future__ import annotations

from typing import Any

from vlmctl.api.records import ApiRecord, Metadata
from vlmctl.api.spec import Workload


class BenchmarkKey(ApiRecord, frozen=True, kw_only=True):
    """What a measurement holds for: another value of any field is another measurement.

    `gpu_product`: the node's label, as a node tells it; `arguments`: all words after `vllm serve`.
    """

    model: str
    checkpoint: str
    precision: str
    gpu_product: str
    gpu_count: int
    engine_image: str
    arguments: tuple[str, ...]
    workload: Workload
    revision: str | None = None


class VLMBenchmarkSpec(ApiRecord, frozen=True, kw_only=True):
    """A measurement. The figures are those of the step with the highest throughput within the objectives.

    `interval`: 95% confidence interval of the rate, ``low-high``; `concurrency`: in flight during that step; latencies
    are 95th percentiles. `gpu`: the catalog's id. `rows`: every step, in the form of all measurements
    (`vlmctl.dev/measurements/v1`).
    """

    key: BenchmarkKey
    gpu: str
    engine_version: str
    concurrency: int
    requests_per_second: str
    interval: str
    measured: str  # when, RFC 3339
    ttft: str | None = None
    tpot: str | None = None
    image_tokens: int | None = None
    rows: tuple[dict[str, Any], ...] = ()


class VLMBenchmark(ApiRecord, frozen=True, kw_only=True):
    """The whole object. `api_version` and `kind` have no default, so that they are always written."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: VLMBenchmarkSpec
