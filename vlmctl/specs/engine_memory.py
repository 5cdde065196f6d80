"""What an engine printed of its memory at start, in one form (`vlmctl.dev/engine-memory/v1`)."""

from vlmctl.specs.model import StoredWeights
from vlmctl.specs.record import Record

SCHEMA = "vlmctl.dev/engine-memory/v1"


class StartArguments(Record, frozen=True, kw_only=True):
    """The arguments that decide memory; None: not given.

    `images`, `videos`: the limits per request. `max_pixels`: of --mm-processor-kwargs. `language_model_only`: the
    encoder is not loaded. `skips_encoder_profile`: --skip-mm-profiling, the encoder first runs in service.
    `unmodelled`: names of given arguments that change memory in a way no term here knows.
    """

    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    enforce_eager: bool | None = None
    enable_prefix_caching: bool | None = None
    kv_cache_dtype: str | None = None
    kv_cache_memory_bytes: int | None = None
    block_size: int | None = None
    images: int | None = None
    videos: int | None = None
    max_pixels: int | None = None
    language_model_only: bool = False
    encoder_data_parallel: bool = False
    skips_encoder_profile: bool = False
    data_parallel: int = 1
    unmodelled: tuple[str, ...] = ()


class StartFigures(Record, frozen=True, kw_only=True):
    """As the engine printed them, per GPU in GiB; `kv_cache_tokens` of the whole instance. None: not printed."""

    weights_gib: float | None = None
    activation_peak_gib: float | None = None
    non_torch_gib: float | None = None
    available_kv_gib: float | None = None
    kv_cache_tokens: int | None = None
    cuda_graph_gib: float | None = None
    cuda_graph_estimated_gib: float | None = None
    encoder_cache_tokens: int | None = None
    encoder_profile_items: int | None = None
    encoder_profile_modality: str | None = None
    oom: bool | None = None


class EngineMemoryCase(Record, frozen=True, kw_only=True):
    """One start of an engine. `near_duplicate_of`: a run of the same sweep; both share the weight of one.

    `model_exact`: False where the source names the model, not the repository. `stored`: formats by part, where known.
    `drafter`: a speculative drafter is resident. `gpu_total_gib`: what the driver shows the engine.
    """

    id: str
    source: str
    model: str
    is_vlm: bool
    arguments: StartArguments
    measured: StartFigures
    engine: str = ""
    version: str = ""
    dtype: str = ""
    quantization: str = ""
    gpu: str = ""
    gpu_total_gib: float | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    model_exact: bool = True
    drafter: bool = False
    near_duplicate_of: str | None = None
    stored: StoredWeights | None = None
