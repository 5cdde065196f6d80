"""Reads files of start-up memory figures (`vlmctl.dev/engine-memory/v1`) and finds the GPUs that they are about.

A case that cannot be read is set aside with its name and the reason. Fields that decide nothing here are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from vlmctl.catalog.folders import shipped_folder
from vlmctl.catalog.hf_config import text_section
from vlmctl.catalog.hf_quantized import quantization_section, stored_weights_of
from vlmctl.catalog.hf_values import integer
from vlmctl.catalog.measurements import BESIDE, FOLDER, SetAside, models_of, read_document
from vlmctl.catalog.names import normalized
from vlmctl.errors import InvalidFile
from vlmctl.specs.engine_memory import SCHEMA, EngineMemoryCase, StartFigures
from vlmctl.specs.hardware import Catalog, GpuSpec
from vlmctl.specs.measurements import DescribedModel
from vlmctl.specs.model import StoredWeights
from vlmctl.units import GIB

_SUFFIXES = {"k": 1000, "m": 10**6, "g": 10**9, "K": 1024, "M": 1024**2, "G": 1024**3}  # vLLM's human-readable numbers
_HUMAN = re.compile(r"([\d.]+)\s*([kmgKMG])(?:i?B)?")
_NUMBERS = ("max_model_len", "max_num_batched_tokens", "max_num_seqs", "kv_cache_memory_bytes", "block_size")
_PLAIN = ("gpu_memory_utilization", "enforce_eager", "enable_prefix_caching", "kv_cache_dtype")
# Arguments that put more into GPU memory, or less, than the ledger has a term for.
_UNMODELLED = frozenset(
    {
        "cpu_offload_gb",
        "decode_context_parallel_size",
        "enable_lora",
        "enable_sleep_mode",
        "mem_fraction_static",
        "num_speculative_tokens",
        "speculative_config",
        "speculative_model",
    }
)
# What the driver shows of GPUs that the catalog does not hold (vllm-project/vllm issue 2140).
_DRIVER_GIB = {"rtx3090": 23.69}
_MEMORY = re.compile(r"(\d+)\s*GB")
_OTHER_BUILD = re.compile(r"\bprinted for\b.*\bbuild\b", re.IGNORECASE)  # arguments that were another checkpoint's
_DRAFTER = re.compile(r"\b(MTP|drafter|speculative|EAGLE)", re.IGNORECASE)


class EngineMemoryFile(NamedTuple):
    """What one file holds. `models`: configurations by repository."""

    cases: tuple[EngineMemoryCase, ...]
    models: Mapping[str, DescribedModel]
    set_aside: tuple[SetAside, ...] = ()


def read_engine_memory(path: Path) -> EngineMemoryFile:
    """The cases of a file and its models; raises InvalidFile for another schema, or a file that cannot be read."""
    return engine_memory_of(read_document(path), path)


def engine_memory_of(content: Mapping[str, Any], path: Path) -> EngineMemoryFile:
    """The same from a parsed document; `path` is for messages, and for the models beside it."""
    if content.get("schema") != SCHEMA:
        raise InvalidFile(str(path), f"is not of schema {SCHEMA}.", remedy="Say so in its key `schema`.")
    listed = content.get("cases")
    if not isinstance(listed, list):
        raise InvalidFile(str(path), "`cases` must be a list.")
    cases: list[EngineMemoryCase] = []
    set_aside: list[SetAside] = []
    for number, raw in enumerate(listed, start=1):
        try:
            cases.append(_case(raw))
        except (msgspec.MsgspecError, OverflowError, ValueError) as error:
            named = raw.get("id") if isinstance(raw, dict) else None
            set_aside.append(SetAside(str(named or f"case {number} of {path.name}"), f"cannot be read: {error}."))
    models = models_of(content, path)
    known = _checkpoints(path)
    found = tuple(replace(case, stored=_stored(case, models, known)) for case in cases)
    return EngineMemoryFile(cases=found, models=models, set_aside=tuple(set_aside))


def _checkpoints(path: Path) -> dict[str, StoredWeights]:
    """Quantised checkpoints of models that stand elsewhere, by repository or `owner/*`, beside the file's models."""
    found: dict[str, StoredWeights] = {}
    for folder in dict.fromkeys((shipped_folder() / FOLDER, path.absolute().parent)):
        if (folder / BESIDE).is_file():
            listed = read_document(folder / BESIDE).get("checkpoints") or {}
            found.update(msgspec.convert(listed, dict[str, StoredWeights]))
    return found


def _stored(
    case: EngineMemoryCase, models: Mapping[str, DescribedModel], known: Mapping[str, StoredWeights]
) -> StoredWeights | None:
    """As the file's configuration of the repository says, else the list of checkpoints."""
    entry = models.get(case.model)
    if entry is not None and (quantized := quantization_section(entry.config)) is not None:
        text = text_section(entry.config)
        layers = integer(text, "num_hidden_layers", "num_layers", "n_layer") or 1
        mixture = any(integer(text, name) for name in ("num_experts", "n_routed_experts", "num_local_experts"))
        return stored_weights_of({"quantization_config": quantized}, layers=layers, mixture=mixture)
    owner = case.model.partition("/")[0]
    return known.get(case.model) or known.get(f"{owner}/*")


def _case(raw: object) -> EngineMemoryCase:
    if not isinstance(raw, dict):
        raise msgspec.ValidationError("Expected `object`")
    measured = raw.get("measured") or {}
    arguments = raw.get("args") or {}
    if isinstance(arguments, dict) and _OTHER_BUILD.search(str(raw.get("args_note") or "")):
        arguments = {name: value for name, value in arguments.items() if _plain_name(name) != "kv_cache_dtype"}
    resolved = raw.get("effective_defaults") or {}
    if not all(isinstance(each, dict) for each in (measured, arguments, resolved)):
        raise msgspec.ValidationError("`measured`, `args` and `effective_defaults` must be mappings")
    figures = {name: measured[name] for name in StartFigures.__struct_fields__ if measured.get(name) is not None}
    content = {
        "id": str(raw.get("id") or ""),
        "source": str(raw.get("source") or ""),
        "model": str(raw.get("model") or ""),
        "is_vlm": bool(raw.get("is_vlm")),
        "engine": str(raw.get("engine") or ""),
        "version": str(raw.get("vllm_version") or ""),
        "dtype": str(arguments.get("dtype") or raw.get("dtype") or ""),
        "quantization": str(arguments.get("quantization") or raw.get("quantization") or ""),
        "gpu": str(raw.get("gpu") or ""),
        "gpu_total_gib": raw.get("gpu_total_gib") or _driver_gib(str(raw.get("gpu") or "")),
        "tensor_parallel": raw.get("tensor_parallel")
        or arguments.get("tensor_parallel_size")
        or raw.get("gpu_count")
        or 1,
        "pipeline_parallel": raw.get("pipeline_parallel") or 1,
        "model_exact": raw.get("model_exact", True),
        "drafter": _DRAFTER.search(str(raw.get("args_note") or "")) is not None,
        "near_duplicate_of": raw.get("near_duplicate_of"),
        "arguments": _arguments(arguments, {**_printed(measured), **resolved}),
        "measured": figures,
    }
    if not content["id"] or not content["model"]:
        raise msgspec.ValidationError("`id` and `model` must be there")
    return msgspec.convert(content, EngineMemoryCase, strict=False)


def _driver_gib(gpu: str) -> float | None:
    return next((total for name, total in _DRIVER_GIB.items() if name in normalized(gpu)), None)


def _arguments(given: Mapping[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as given, else as the engine resolved them itself or printed them beside its figures."""
    merged = {_plain_name(name): value for name, value in {**resolved, **given}.items()}
    found: dict[str, Any] = {name: _number(merged[name]) for name in _NUMBERS if merged.get(name) is not None}
    found.update({name: merged[name] for name in _PLAIN if merged.get(name) is not None})
    if limits := _mapping(merged.get("limit_mm_per_prompt")):
        found.update({f"{kind}s": _limit(limits[kind]) for kind in ("image", "video") if kind in limits})
    if processor := _mapping(merged.get("mm_processor_kwargs")):
        found["max_pixels"] = _max_pixels(processor)
    found["language_model_only"] = merged.get("language_model_only") is True
    found["skips_encoder_profile"] = merged.get("skip_mm_profiling") is True
    found["encoder_data_parallel"] = merged.get("mm_encoder_tp_mode") == "data"
    found["data_parallel"] = merged.get("data_parallel_size") or 1
    found["unmodelled"] = sorted(
        name for name in merged if name in _UNMODELLED and merged[name] not in (None, False, 0)
    )
    return found


def _printed(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The longest sequence, as "Maximum concurrency for N tokens per request" names it."""
    length = measured.get("max_concurrency_at_tokens")
    return {"max_model_len": length} if length is not None else {}


def _plain_name(name: object) -> str:
    return str(name).removeprefix("--").replace("-", "_")


def _mapping(value: object) -> Mapping[str, Any]:
    """A mapping, also as it is written on a command line: JSON, or `image=4,video=0`."""
    if isinstance(value, str) and "{" in value:
        value = msgspec.json.decode(value)
    elif isinstance(value, str):
        value = dict(pair.split("=", 1) for pair in value.split(",") if "=" in pair)
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> int:
    """A whole number, also as people write it: 28k, 2K, 1.5G."""
    if isinstance(value, str) and (written := _HUMAN.fullmatch(value.strip())):
        return int(float(written[1]) * _SUFFIXES[written[2]])
    if isinstance(value, int | float | str):
        return int(value)
    raise ValueError(f"{value!r} is no number")


def _limit(value: object) -> int:
    return _number(value.get("count", 0)) if isinstance(value, Mapping) else _number(value)


def _max_pixels(processor: Mapping[str, Any]) -> int | None:
    size = processor.get("size")
    stated = processor.get("max_pixels") or (size.get("longest_edge") if isinstance(size, Mapping) else None)
    nested = processor.get("images_kwargs")
    if stated is None and isinstance(nested, Mapping):
        return _max_pixels(nested)
    return _number(stated) if stated is not None else None


def gpu_of(case: EngineMemoryCase, catalog: Catalog) -> GpuSpec | None:
    """The GPU that a case names, in the driver's words; None where the name fits several of different memory.

    Of several sizes the one nearest to `gpu_total_gib` is meant, of several of that size the one with the fastest link.
    """
    name = normalized(case.gpu)
    labelled = [gpu for gpu in catalog.gpus if name in (normalized(label) for label in gpu.kubernetes_labels)]
    if name and len(labelled) == 1:
        return labelled[0]
    named = [(len(base), gpu) for gpu in catalog.gpus if (base := normalized(gpu.id.split("-")[0])) and base in name]
    longest = max((length for length, _ in named), default=0)
    found = [gpu for length, gpu in named if length == longest]
    if (size := _MEMORY.search(case.gpu)) is not None:
        found = [gpu for gpu in found if gpu.memory_gib_nominal == float(size[1])] or found
    if case.gpu_total_gib is not None:
        total = case.gpu_total_gib
        nearest = min((abs(gpu.memory_bytes / GIB - total) for gpu in found), default=0.0)
        found = [gpu for gpu in found if abs(gpu.memory_bytes / GIB - total) == nearest]
    if len({gpu.memory_bytes for gpu in found}) != 1:
        return None
    return max(found, key=lambda gpu: (gpu.interconnect.gb_per_second or 0.0, gpu.id))
