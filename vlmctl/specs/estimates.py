"""What planning answers with: frozen records, each with its breakdown, its basis and its error band."""

from enum import StrEnum

from vlmctl.specs.error_bands import Spread
from vlmctl.specs.hardware import Offer
from vlmctl.specs.model import Precision
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives, Workload


class Basis(StrEnum):
    """How a number was found."""

    MEASURED = "measured"  # this model, GPU, engine and workload
    CALIBRATED = "calibrated"  # measured nearby
    ESTIMATED = "estimated"  # from a model of the engine alone


class ImageTokens(Record, frozen=True, kw_only=True):
    """What one image, or a whole video, becomes.

    `resized_*_pixels`: what the image itself was scaled to for the encoder, padding left out. `columns`, `rows`: of
    tiles where there are tiles, else of cells. `views`: images the encoder runs on (tiles and overview); `patches`:
    encoder patches over all views. `image_tokens`: image features that the language model reads in its sequence, or by
    cross-attention where that is how it sees; `marker_tokens`: other tokens around and between them.
    """

    resized_width_pixels: int
    resized_height_pixels: int
    columns: int
    rows: int
    views: int
    patches: int
    image_tokens: int
    marker_tokens: int

    @property
    def total_tokens(self) -> int:
        """Image and marker tokens."""
        return self.image_tokens + self.marker_tokens


class EngineSettings(Record, frozen=True, kw_only=True):
    """The engine's settings, decided once: the estimate and the vLLM arguments both read them here.

    `max_image_pixels`: upper bound enforced through the image processor (None: the model's default).
    """

    max_model_len: int
    gpu_memory_utilization: float
    max_num_batched_tokens: int
    max_num_seqs: int
    max_images: int
    max_videos: int
    max_image_width: int
    max_image_height: int
    max_image_pixels: int | None = None
    renderer_workers: int = 4
    encoder_data_parallel: bool = False
    enforce_eager: bool = False
    kv_element_bytes: int = 2  # of the KV cache: 16 bit, or 1 for fp8


class Placement(Record, frozen=True, kw_only=True):
    """One replica: a model in a precision on `gpu_count` GPUs (tensor parallel)."""

    model: str
    repository: str
    precision: Precision
    gpu: str
    gpu_count: int
    settings: EngineSettings


class LedgerItem(Record, frozen=True, kw_only=True):
    """One line of the memory ledger, per GPU."""

    name: str
    bytes: int
    formula: str
    source: str


class MemoryLedger(Record, frozen=True, kw_only=True):
    """Memory of one GPU as vLLM would divide it. `kv_cache_bytes` is what is left; below 0 it does not fit."""

    items: tuple[LedgerItem, ...]
    gpu_bytes: int
    budget_bytes: int  # gpu_bytes x gpu_memory_utilization
    kv_cache_bytes: int
    kv_bytes_per_sequence: int  # at the planned request, over all GPUs' shares of one
    kv_cache_tokens: int
    maximum_sequences: int  # requests of the planned length that fit at once
    longest_sequence_bytes: int  # KV of one sequence of the planned context, which the engine must have room for
    fits: bool


class HostMemory(Record, frozen=True, kw_only=True):
    """Host memory of one replica, item by item.

    `shared_memory_bytes`: size of /dev/shm, whose use counts as memory of the pod; `memory_bytes`: request and limit of
    the pod, everything included. Weights are no item: they pass through the page cache, which the kernel takes back.
    """

    items: tuple[LedgerItem, ...]
    shared_memory_bytes: int
    memory_bytes: int


class Term(Record, frozen=True, kw_only=True):
    """One term of an estimate: what `vlmctl explain` shows."""

    name: str
    value: float
    unit: str
    formula: str
    source: str


class SpeedEstimate(Record, frozen=True, kw_only=True):
    """One replica at a concurrency. Latencies are seconds, means where not said; percentiles are not measured.

    `goodput`: share of the requests that meet the objectives, None where there are none.
    """

    concurrency: int
    ttft_seconds: float
    ttft_p95_seconds: float
    tpot_seconds: float
    tpot_p95_seconds: float
    e2e_seconds: float
    requests_per_second: float
    bottleneck: str
    ttft_p50_seconds: float | None = None
    tpot_p50_seconds: float | None = None
    e2e_p50_seconds: float | None = None
    e2e_p95_seconds: float | None = None
    goodput: float | None = None
    basis: Basis = Basis.ESTIMATED
    error_median: float | None = None  # relative error of the throughput, median over measured rows
    error_p90: float | None = None
    ttft_error: Spread | None = None
    tpot_error: Spread | None = None
    error_band: str | None = None  # id of the band of the catalog that the errors are from


class CostEstimate(Record, frozen=True, kw_only=True):
    """Money for a load. `utilization`: share of the replicas' capacity that is used; saturation is the floor."""

    offer: Offer
    replicas: int
    gpus: int
    usd_per_hour: float
    utilization: float
    usd_per_1k_requests: float
    saturated_usd_per_1k_requests: float
    usd_per_month: float
    usd_per_1k_images: float | None
    usd_per_million_tokens: float


class Plan(Record, frozen=True, kw_only=True):
    """A placement that was chosen, with everything it was chosen by.

    `image_tokens`, `marker_tokens`: of one request, all its images; None: a plan written before it was kept.
    """

    placement: Placement
    workload: Workload
    objectives: Objectives
    request_tokens: int
    image_tokens: int
    memory: MemoryLedger
    host: HostMemory
    speed: SpeedEstimate
    cost: CostEstimate | None
    warnings: tuple[str, ...] = ()
    marker_tokens: int | None = None
