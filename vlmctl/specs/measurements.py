"""Published or own measurements in one form (`vlmctl.dev/measurements/v1`), read and written alike."""

from typing import Any

from vlmctl.specs.record import Record

SCHEMA = "vlmctl.dev/measurements/v1"


class DescribedModel(Record, frozen=True, kw_only=True):
    """What a file says of a model: its config.json, and its image processor's configuration where that is there."""

    config: dict[str, Any] = {}
    processor: dict[str, Any] = {}


class Parallelism(Record, frozen=True, kw_only=True):
    """GPUs of one replica, by kind of parallelism."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: int = 1


class MeasuredWorkload(Record, frozen=True, kw_only=True):
    """One request: images of one size in pixels, text tokens in, tokens out."""

    prompt_tokens: int
    output_tokens: int
    images: int = 0
    image_width: int | None = None
    image_height: int | None = None


class Load(Record, frozen=True, kw_only=True):
    """`closed`: `concurrency` requests always in flight; `saturating`: as many as the engine takes; `open`: requests
    sent at times of their own, so that their rate is the client's and no estimate is judged by it.
    """

    kind: str
    concurrency: int | None = None
    requests: int | None = None


class Measured(Record, frozen=True, kw_only=True):
    """What was read; milliseconds are means unless the name says otherwise."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    requests_per_second: float | None = None
    ttft_p95_ms: float | None = None
    tpot_p95_ms: float | None = None
    e2e_p50_ms: float | None = None
    e2e_p95_ms: float | None = None


class Measurement(Record, frozen=True, kw_only=True):
    """One measured run of one model on one kind of hardware."""

    id: str
    source: str
    model: str
    weights: str
    gpu: str
    gpu_count: int
    parallelism: Parallelism
    engine: str
    engine_version: str
    workload: MeasuredWorkload
    load: Load
    measured: Measured
    flags: Any = None

    @property
    def requests_per_second(self) -> float | None:
        """Measured throughput, or that of a closed loop from its latencies (Little's law); None if neither is there."""
        read = self.measured
        if read.requests_per_second is not None:
            return read.requests_per_second
        if self.load.concurrency is None:
            return None
        if read.ttft_ms is not None and read.tpot_ms is not None:
            e2e = read.ttft_ms + read.tpot_ms * (self.workload.output_tokens - 1)
            return self.load.concurrency / e2e * 1000
        return self.load.concurrency / read.e2e_ms * 1000 if read.e2e_ms else None
