"""How far the memory ledger is from what vLLM printed at start: predicts a case, and compares. Pure.

A case is predicted from the model, the size of the GPU, the arguments and the engine's version, never from its figures.
What changed between versions is in `start_settings`. Engines other than vLLM's V1 profile otherwise: of them only the
weights are said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from vlmctl.planning.activations import Activations
from vlmctl.planning.architecture import ACTIVATION_BYTES, ModelFigures, model_figures
from vlmctl.planning.kv_cache import (
    BATCHES_IN_FLIGHT,
    BLOCK_TOKENS,
    KvPaging,
    kv_cache_tokens,
    kv_cache_tokens_by_group,
    kv_paging,
    least_cache_bytes,
)
from vlmctl.planning.loading import loaded_language_bytes, loaded_vision_bytes
from vlmctl.planning.memory import (
    CONTEXT_BYTES,
    FRAGMENTATION_BYTES,
    activations,
    context_bytes,
    graph_bytes,
    profiled_batch,
)
from vlmctl.planning.start_settings import (
    Release,
    other_engine,
    precision_of,
    refuse_unmodelled,
    release_of,
    settings_of,
    storage_of,
)
from vlmctl.specs.engine_memory import EngineMemoryCase
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import LanguageModel, ModelSpec
from vlmctl.specs.record import Record
from vlmctl.units import GIB

# Memory of the driver and of the engine's own process before it looks at the GPU: 0.61 GiB of 267.69 in one log.
BEFORE_START_BYTES = int(0.6 * GIB)
LARGEST_CAPTURED_BATCH = 512  # sequences of the largest CUDA graph (vllm/config/vllm.py, _set_cudagraph_sizes)
_PER_HEAD_SCALE_BYTES = 4


class MemoryPrediction(Record, frozen=True, kw_only=True):
    """What the ledger says of a case, per GPU; None where `unanswered` says why.

    `kv_cache_tokens` of the whole instance. `assumed_release`: the version was not stated, the current one was taken;
    `assumed_repository`: the model was named, not its repository. `storage`: formats by part, where they differ or are
    assumed; `weights_bounds_gib`: then the least and the most that published checkpoints would weigh.
    """

    weights_gib: float
    activation_peak_gib: float | None = None
    non_torch_gib: float | None = None
    cuda_graph_gib: float | None = None
    available_kv_gib: float | None = None
    kv_cache_tokens: int | None = None
    encoder_cache_tokens: int | None = None
    out_of_memory: bool | None = None
    unanswered: str = ""
    assumed_release: bool = False
    assumed_repository: bool = False
    storage: str = ""
    weights_bounds_gib: tuple[float, float] | None = None


class MemoryErrors(Record, frozen=True, kw_only=True):
    """One case: relative to what was printed, but for `available_kv_gib` in GiB. None where either side lacks it.

    `oom_right`: whether starting and failing were told apart.
    """

    weights: float | None = None
    available_kv_gib: float | None = None
    available_kv: float | None = None
    tokens: float | None = None
    oom_right: bool | None = None


def predict_memory(case: EngineMemoryCase, model: ModelSpec, *, gpu: GpuSpec | None = None) -> MemoryPrediction:
    """Weights, KV memory and tokens, and whether the engine starts. `gpu`: for what the case does not state.

    Of engines other than vLLM's V1 the weights alone. Raises UnsupportedModel where the model's shape is unknown, and
    for arguments that change memory in a way that no term knows.
    """
    release = release_of(case)
    refuse_unmodelled(case)
    figures = model_figures(model, precision_of(case, model), storage_of(case, model))
    total_gib = case.gpu_total_gib or (gpu.memory_bytes / GIB if gpu is not None else None)
    settings = settings_of(case, model, total_gib, release)
    weights = _weights(case, figures, settings) + (FRAGMENTATION_BYTES if release.counts_free else 0)
    known = MemoryPrediction(
        weights_gib=weights / GIB,
        weights_bounds_gib=_bounds(figures, weights, ranks=case.tensor_parallel * case.pipeline_parallel),
        assumed_release=not release.stated,
        assumed_repository=not case.model_exact,
        storage=figures.storage,
    )
    missing = _missing(case, total_gib)
    if missing or total_gib is None:
        return replace(known, unanswered=missing)
    profile = profiled_batch(figures, settings)
    peak = _peak(case, figures, settings, release)
    graphs = graph_bytes(figures, settings)
    context = context_bytes(gpu if release.multicast else None, case.tensor_parallel) - CONTEXT_BYTES + release.context
    budget = total_gib * GIB * settings.gpu_memory_utilization
    deducted = graphs if release.deducts_graphs else 0.0
    available = case.arguments.kv_cache_memory_bytes or budget - weights - peak.peak - context - deducted
    paging = _paging(case, figures, settings)
    return replace(
        known,
        activation_peak_gib=peak.peak / GIB,
        non_torch_gib=context / GIB,
        cuda_graph_gib=graphs / GIB,
        available_kv_gib=available / GIB,
        kv_cache_tokens=_tokens(case, figures, settings, paging, available, release, peak),
        encoder_cache_tokens=profile.budget_tokens if profile is not None else None,
        out_of_memory=_runs_out(
            settings,
            paging,
            captured=_captured(settings) if release.profiles_graphs else 0,
            available=available,
            resident=weights + context,
            peak=peak.peak,
            graphs=0.0 if release.deducts_graphs else graphs,
            total=total_gib * GIB,
        ),
    )


def memory_errors(case: EngineMemoryCase, prediction: MemoryPrediction) -> MemoryErrors:
    """Predicted against printed."""
    read, said = case.measured, prediction
    difference = right = None
    if said.available_kv_gib is not None and read.available_kv_gib is not None:
        difference = abs(said.available_kv_gib - read.available_kv_gib)
    if said.out_of_memory is not None and read.oom is not None:
        right = said.out_of_memory == read.oom
    return MemoryErrors(
        weights=_relative(said.weights_gib, read.weights_gib),
        available_kv_gib=difference,
        available_kv=_relative(said.available_kv_gib, read.available_kv_gib),
        tokens=_relative(said.kv_cache_tokens, read.kv_cache_tokens),
        oom_right=right,
    )


def case_weights(cases: Sequence[EngineMemoryCase]) -> dict[str, float]:
    """Weight of each case by id: near-duplicates of one run share a weight of 1 with it."""
    group = {case.id: case.near_duplicate_of or case.id for case in cases}
    sizes = Counter(group.values())
    return {name: 1.0 / sizes[leader] for name, leader in group.items()}


def _missing(case: EngineMemoryCase, total_gib: float | None) -> str:
    """Why KV memory cannot be said; empty where it can."""
    if other := other_engine(case):
        return other
    if case.drafter:
        return "a speculative drafter is resident, whose weights and cache are not modelled"
    if not case.engine and not case.version:
        return "neither the engine nor its version is stated"
    if total_gib is None:
        return f"the memory of the GPU is not known ({case.gpu or 'not named'})"
    return ""


def _bounds(figures: ModelFigures, weights: float, *, ranks: int) -> tuple[float, float] | None:
    if figures.language_bounds is None:
        return None
    least, most = ((weights + (bound - figures.language_bytes) / ranks) / GIB for bound in figures.language_bounds)
    return least, most


def _weights(case: EngineMemoryCase, figures: ModelFigures, settings: EngineSettings) -> float:
    """Bytes of the first rank's share. The first stage of a pipeline has the embedding, the last the output head."""
    ranks, stages = case.tensor_parallel, case.pipeline_parallel
    language = loaded_language_bytes(figures, settings, gpu_count=ranks)
    if stages > 1:
        table = figures.language.vocabulary * figures.language.hidden_size * ACTIVATION_BYTES / ranks
        tables = table * (1 if figures.language.tied_embeddings else 2)
        language = (language - tables) / stages + table
    return language + loaded_vision_bytes(figures, settings, gpu_count=ranks) + figures.position_bytes


def _peak(case: EngineMemoryCase, figures: ModelFigures, settings: EngineSettings, release: Release) -> Activations:
    """On the first rank, which is the one that prints; only the last stage of a pipeline samples."""
    return activations(
        figures,
        settings,
        None if case.arguments.skips_encoder_profile else profiled_batch(figures, settings),
        gpu_count=case.tensor_parallel,
        sorting_sampler=release.sorting_sampler,
        samples=case.pipeline_parallel == 1,
    )


def _paging(case: EngineMemoryCase, figures: ModelFigures, settings: EngineSettings) -> KvPaging:
    caching = case.arguments.enable_prefix_caching
    return kv_paging(
        _stage(figures.language, case.pipeline_parallel),
        tensor_parallel=case.tensor_parallel,
        element_bytes=settings.kv_element_bytes,
        scale_bytes=_PER_HEAD_SCALE_BYTES if "per_token_head" in (case.arguments.kv_cache_dtype or "") else 0,
        block_tokens=case.arguments.block_size or BLOCK_TOKENS,
        prefix_caching=caching is not False,
    )


def _stage(language: LanguageModel, stages: int) -> LanguageModel:
    """The layers of one stage of a pipeline."""
    if stages == 1:
        return language
    groups = tuple(replace(group, layers=-(-group.layers // stages)) for group in language.attention)
    return replace(language, layers=-(-language.layers // stages), attention=groups)


def _tokens(
    case: EngineMemoryCase,
    figures: ModelFigures,
    settings: EngineSettings,
    paging: KvPaging,
    available: float,
    release: Release,
    peak: Activations,
) -> int:
    """Of the rank with the least room: in a pipeline the last, which samples."""
    if case.pipeline_parallel > 1:
        last = activations(
            figures, settings, None, gpu_count=case.tensor_parallel, sorting_sampler=release.sorting_sampler
        )
        available -= max(0.0, last.peak - peak.peak)
    if not release.shares_tokens:
        return kv_cache_tokens_by_group(paging, int(available))
    in_flight = BATCHES_IN_FLIGHT * settings.max_num_batched_tokens
    return kv_cache_tokens(paging, int(available), max_model_len=settings.max_model_len, in_flight_tokens=in_flight)


def _runs_out(
    settings: EngineSettings,
    paging: KvPaging,
    *,
    captured: int,
    available: float,
    resident: float,
    peak: float,
    graphs: float,
    total: float,
) -> bool:
    """Whether the start fails: on the profile run, on profiling graphs, for want of KV, or on what comes on top.

    Profiling graphs takes a block for each of the `captured` sequences of the largest one, large beside linear
    attention, whatever the budget (`_init_minimal_kv_cache_for_profiling`).
    """
    free = total - BEFORE_START_BYTES
    in_flight = BATCHES_IN_FLIGHT * settings.max_num_batched_tokens
    if available < least_cache_bytes(paging, settings.max_model_len, in_flight_tokens=in_flight):
        return True
    if resident + max(peak, captured * paging.block_bytes) > free:
        return True
    return resident + available + peak + graphs > free


def _captured(settings: EngineSettings) -> int:
    """Sequences of the largest CUDA graph."""
    return 0 if settings.enforce_eager else min(settings.max_num_seqs, LARGEST_CAPTURED_BATCH)


def _relative(predicted: float | None, printed: float | None) -> float | None:
    return abs(predicted - printed) / abs(printed) if predicted is not None and printed else None
