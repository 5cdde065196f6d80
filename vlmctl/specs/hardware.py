"""GPUs, the offers to rent them, hosted APIs, and benchmarks: what the catalog knows besides models."""

from collections.abc import Collection
from enum import StrEnum

from vlmctl.specs.error_bands import ErrorBand
from vlmctl.specs.measurements import DescribedModel, Measurement
from vlmctl.specs.model import Misnomer, ModelSpec, Precision, Score
from vlmctl.specs.record import Fact, Record
from vlmctl.units import GIB


class Interconnect(Record, frozen=True, kw_only=True):
    """The link between GPUs of one node. `gb_per_second`: 10^9 bytes per second, each direction, per GPU."""

    name: str
    gb_per_second: float | None = None


class GpuSpec(Fact, frozen=True, kw_only=True):
    """An accelerator. TFLOP/s are dense, without sparsity; None means the precision is not supported.

    `memory_gib_reported`: what CUDA or ROCm shows an engine (nvidia-smi counts a little more); None: not known.
    `memory_type`: hbm2e, gddr6 ...; "unknown" where no source says.
    `achievable_compute`: share of the peak that vendors' own dense matrix benchmarks reach, where a source says so.
    """

    id: str
    name: str
    vendor: str
    architecture: str
    memory_gib_nominal: float
    memory_bandwidth_gb_per_second: float
    interconnect: Interconnect
    memory_type: str = "unknown"
    compute_capability: str | None = None
    memory_gib_reported: float | None = None
    fp16_tflops: float | None = None
    bf16_tflops: float | None = None
    fp8_tflops: float | None = None
    int8_tflops: float | None = None
    fp4_tflops: float | None = None
    tdp_watts: float | None = None
    purchase_usd: float | None = None
    aliases: tuple[str, ...] = ()
    kubernetes_labels: tuple[str, ...] = ()
    served_by: tuple[str, ...] = ()  # engines that run on it: "vllm" on NVIDIA CUDA 7.5+ and ROCm
    achievable_compute: float | None = None
    note: str = ""

    @property
    def memory_bytes(self) -> int:
        """Memory that the driver reports, else the nominal size, in bytes."""
        return int((self.memory_gib_reported or self.memory_gib_nominal) * GIB)

    def tflops(self, precision: Precision) -> float | None:
        """Dense matrix TFLOP/s at the precision that the multiplications run in; weight-only formats run in 16 bit."""
        if precision is Precision.FP8 and self.fp8_tflops:
            return self.fp8_tflops
        if precision is Precision.INT8 and self.int8_tflops:
            return self.int8_tflops
        if precision is Precision.NVFP4 and self.fp4_tflops:
            return self.fp4_tflops
        if precision is Precision.MXFP4 and self.fp4_tflops and self.fp8_tflops:
            return self.fp8_tflops  # activations are 8 bit wide
        return self.sixteen_bit_tflops

    @property
    def sixteen_bit_tflops(self) -> float | None:
        """Dense TFLOP/s in bf16, or in fp16 where there is no bf16."""
        return self.bf16_tflops or self.fp16_tflops


class OfferKind(StrEnum):
    """How a machine is paid for."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    OWNED = "owned"
    COMMITTED = "committed"


class Offer(Record, frozen=True, kw_only=True):
    """A priced instance type. `usd_per_hour` is for the whole instance, every part of it included.

    `as_of`: the day the price was read, or "unknown" where the source does not say.
    """

    provider: str
    region: str
    instance_type: str
    gpu: str
    gpu_count: int
    kind: OfferKind
    usd_per_hour: float
    as_of: str
    source: str
    note: str = ""

    @property
    def regions(self) -> tuple[str, ...]:
        """Every name the region goes by: one valid in several, such as `us-east1/us-east5`, by each of them."""
        return (self.region, *self.region.split("/"))

    def covers(self, regions: Collection[str]) -> bool:
        """Whether the machine stands in one of the regions, in lower case; one in "any" region stands in all."""
        here = {name.lower() for name in self.regions}
        return "any" in here or not here.isdisjoint(regions)

    @property
    def usd_per_gpu_hour(self) -> float:
        """Price of one GPU's share of the instance."""
        return self.usd_per_hour / self.gpu_count


class ApiImageRuleKind(StrEnum):
    """How a hosted API counts an image."""

    OPENAI_TILE = "openai-tile"
    OPENAI_PATCH = "openai-patch"
    ANTHROPIC_PATCH = "anthropic-patch"
    GEMINI_TILE = "gemini-tile"
    GEMINI_FIXED = "gemini-fixed"
    UNKNOWN = "unknown"


class ApiImageRule(Fact, frozen=True, kw_only=True):
    """Parameters of a hosted API's image-token rule; which of them are used depends on `kind`."""

    kind: ApiImageRuleKind
    base_tokens: int | None = None
    tile_tokens: int | None = None
    multiplier: float | None = None
    maximum_patches: int | None = None
    maximum_side_pixels: int | None = None
    tokens: int | None = None


class HostedApi(Fact, frozen=True, kw_only=True):
    """A hosted model with its prices in USD per million tokens.

    `retired`: the day its maker stopped or stops serving it, where a source says so; its last prices are kept.
    """

    id: str
    provider: str
    input_usd_per_million: float
    output_usd_per_million: float
    image_rule: ApiImageRule
    as_of: str
    cached_input_usd_per_million: float | None = None
    retired: str | None = None
    scores: tuple[Score, ...] = ()
    note: str = ""


class Benchmark(Fact, frozen=True, kw_only=True):
    """What a benchmark measures. `tasks`: the tasks it is evidence for, with its weight in each (0 to 1)."""

    id: str
    name: str
    measures: str
    scale_maximum: float = 100.0
    higher_is_better: bool = True
    tasks: dict[str, float] = {}
    languages: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


class Catalog(Record, frozen=True, kw_only=True):
    """Everything that was read, in a fixed order: by id, offers by price.

    `measurements`: the user's own; `described`: by repository, models of theirs that are no catalog entries.
    """

    models: tuple[ModelSpec, ...] = ()
    misnomers: tuple[Misnomer, ...] = ()
    gpus: tuple[GpuSpec, ...] = ()
    offers: tuple[Offer, ...] = ()
    apis: tuple[HostedApi, ...] = ()
    benchmarks: tuple[Benchmark, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    described: dict[str, DescribedModel] = {}
    error_bands: tuple[ErrorBand, ...] = ()
