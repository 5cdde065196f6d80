"""How an engine was started: its release, the format of its weights, and its settings, given or chosen by itself.

Source of the defaults: vllm-project/vllm@v0.32.0 vllm/engine/arg_utils.py (`get_batch_defaults`), vllm/config/cache.py.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from vlmctl.errors import UnsupportedModel
from vlmctl.planning.encoder_profile import UNLIMITED
from vlmctl.planning.memory import CONTEXT_BYTES
from vlmctl.planning.stored_weights import EIGHT_BIT_ATTENTION, Storage, storage
from vlmctl.specs.engine_memory import EngineMemoryCase
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.model import ModelSpec, Precision
from vlmctl.specs.record import Record
from vlmctl.units import GIB

OLDER_CONTEXT_BYTES = int(0.13 * GIB)  # "non-torch" of one GPU up to 0.17 (8 runs of 0.11 to 0.17 on H100)
# Memory that vLLM asks for by itself, and batches by memory of the GPU (vllm/engine/arg_utils.py, get_batch_defaults).
UTILIZATION, OLDER_UTILIZATION = 0.92, 0.9
LARGE_GPU_GIB, LARGE_BATCH, LARGE_SEQUENCES = 70.0, 8192, 1024
SMALL_BATCH, SMALL_SEQUENCES = 2048, 256
_SMALL_BATCH_GPUS = ("a100",)  # large, but kept on the small defaults
_VERSION = re.compile(r"(\d+)\.(\d+)")
_MODELLED_ENGINE = re.compile(r"(?:vllm\b(?!.*\bv0(?![.\d]))|v1\b|$)", re.IGNORECASE)
_V1_SINCE = (0, 8)
_QUANTIZED = re.compile(r"quanti[sz]|checkpoint", re.IGNORECASE)
_MIX = re.compile(r"fp4\b.*fp8\b.*\bmix", re.IGNORECASE)  # feed-forward in 4 bit, attention in 8
_BYTE_CACHES = ("fp8", "int8")
_WIDE_CACHES = ("auto", "bfloat16", "float16", "half", "bf16", "fp16")
# Words by which cases name formats, the first that fits counts.
_FORMATS = (
    ("mxfp4", Precision.MXFP4),
    ("fp4", Precision.NVFP4),
    ("w8a8", Precision.INT8),
    ("int8", Precision.INT8),
    ("fp8", Precision.FP8),
    ("w4a16", Precision.W4A16),
    ("awq", Precision.AWQ),
    ("gptq", Precision.GPTQ),
    ("int4", Precision.W4A16),
    ("4-bit", Precision.W4A16),
    ("4bit", Precision.W4A16),
    ("bitsandbytes", Precision.W4A16),  # vLLM's quantization while loading is to 4 bit
    ("gguf", Precision.GGUF),
)


class Release(Record, frozen=True, kw_only=True):
    """What a version of vLLM does otherwise.

    `multicast`: symmetric memory over NVLink. `profiles_graphs`: captures a few CUDA graphs on a small KV cache first.
    `deducts_graphs`: graphs come off before the KV cache is sized, else they lie on top of the budget. `counts_free`:
    weights and activations are read off the driver's free memory, with fragmentation. `shares_tokens`: KV tokens are
    printed as longest sequences x their length, else as blocks shared out among groups of layers.
    """

    stated: bool
    sorting_sampler: bool = False
    context: int = CONTEXT_BYTES
    multicast: bool = True
    profiles_graphs: bool = True
    deducts_graphs: bool = True
    counts_free: bool = True
    shares_tokens: bool = True
    utilization: float = UTILIZATION


def other_engine(case: EngineMemoryCase) -> str:
    """Why nothing but the weights is known of another engine, or of vLLM's first one; empty for its V1."""
    if not _MODELLED_ENGINE.match(case.engine):
        return f"{case.engine} divides memory otherwise; only vLLM's V1 engine is modelled"
    number = _number(case)
    if number is not None and number < _V1_SINCE:
        return f"vLLM {case.version} is of the first engine, which divides memory otherwise"
    return ""


def release_of(case: EngineMemoryCase) -> Release:
    """What is known of the version; an unknown one is taken as the current one."""
    number = _number(case)
    if number is None:
        return Release(stated=False, counts_free=not other_engine(case))
    return Release(
        stated=True,
        sorting_sampler=number < (0, 17),
        context=CONTEXT_BYTES if number >= (0, 18) else OLDER_CONTEXT_BYTES,
        multicast=number >= (0, 18),
        profiles_graphs=number >= (0, 19),
        deducts_graphs=number >= (0, 21),
        counts_free=number >= (0, 21),
        shares_tokens=number >= (0, 20),
        utilization=UTILIZATION if number >= (0, 20) else OLDER_UTILIZATION,
    )


def _number(case: EngineMemoryCase) -> tuple[int, int] | None:
    version = _VERSION.search(case.version) or _VERSION.search(case.engine)
    return (int(version[1]), int(version[2])) if version is not None else None


def precision_of(case: EngineMemoryCase, model: ModelSpec) -> Precision:
    """The format of the weights, as the case or its repository's name says, else the model's own."""
    if case.dtype in ("float32", "fp32") and not case.quantization:
        return Precision.FP32
    return _named_format(case) or model.precision


def named_model(case: EngineMemoryCase) -> str:
    """The model's name, where the source does not state the repository; what stands in brackets is about its format.

    Raises UnsupportedModel where the words speak of a quantised checkpoint and no format, which decides its size.
    """
    if case.model_exact:
        return case.model
    if _QUANTIZED.search(case.model) and _named_format(case) is None:
        raise UnsupportedModel(f"{case.model}: the source states neither the repository nor the format of its weights.")
    return case.model.partition(" (")[0]


def storage_of(case: EngineMemoryCase, model: ModelSpec) -> Storage:
    """Formats by part as the checkpoint's configuration says, the words of the case, the catalog, or else the usual."""
    mixed = replace(EIGHT_BIT_ATTENTION, source=f"{case.quantization}, as such mixes mostly are")
    stored = case.stored or (mixed if _MIX.search(case.quantization) else None)
    return storage(model, precision_of(case, model), stored, repository=case.model)


def _named_format(case: EngineMemoryCase) -> Precision | None:
    for words in (case.model.lower(), case.quantization.lower()):
        for word, precision in _FORMATS:
            if word in words:
                return precision
    return None


def settings_of(case: EngineMemoryCase, model: ModelSpec, total_gib: float | None, release: Release) -> EngineSettings:
    """The engine's settings: as given, else as vLLM chooses them on a GPU of this size."""
    given = case.arguments
    large = (total_gib or 0.0) >= LARGE_GPU_GIB and not any(name in case.gpu.lower() for name in _SMALL_BATCH_GPUS)
    batch = given.max_num_batched_tokens or (LARGE_BATCH if large else SMALL_BATCH)
    sees = model.image_tokens is not None and not given.language_model_only
    images = UNLIMITED if given.images is None else given.images
    videos = UNLIMITED if given.videos is None else given.videos
    return EngineSettings(
        max_model_len=given.max_model_len or model.context.tokens,
        gpu_memory_utilization=given.gpu_memory_utilization or release.utilization,
        max_num_batched_tokens=batch,
        max_num_seqs=given.max_num_seqs or min(LARGE_SEQUENCES if large else SMALL_SEQUENCES, batch),
        max_images=images if sees else 0,
        max_videos=videos if sees else 0,
        max_image_width=0,
        max_image_height=0,
        max_image_pixels=given.max_pixels,
        encoder_data_parallel=given.encoder_data_parallel,
        enforce_eager=bool(given.enforce_eager),
        kv_element_bytes=_element_bytes(case, model),
    )


def refuse_unmodelled(case: EngineMemoryCase) -> None:
    """Raise UnsupportedModel for arguments that change memory in a way that no term knows."""
    given = case.arguments
    if given.unmodelled:
        raise UnsupportedModel(
            f"{case.id}: {', '.join(given.unmodelled)} changes memory in a way that is not modelled."
        )
    if given.data_parallel > 1:
        raise UnsupportedModel(f"{case.id}: experts may be spread over {given.data_parallel} data-parallel ranks.")


def _element_bytes(case: EngineMemoryCase, model: ModelSpec) -> int:
    """Of a KV cache entry; raises UnsupportedModel for formats without a fixed size."""
    stated = (case.arguments.kv_cache_dtype or "auto").lower()
    if stated.startswith(_BYTE_CACHES):
        return 1
    if stated not in _WIDE_CACHES:
        raise UnsupportedModel(f"{case.id}: a KV cache of {stated!r} is not modelled.")
    stored = storage_of(case, model).stored
    if stated == "auto" and stored is not None and stored.byte_cache:  # resolve_kv_cache_dtype_string
        return 1
    return 4 if stated == "auto" and case.dtype in ("float32", "fp32") else 2
