"""What a quantised checkpoint stores in which format, from the `quantization_config` of its configuration. Pure.

Formats: compressed-tensors (`config_groups`, `ignore`), NVIDIA ModelOpt (the same, `quantized_layers`,
`exclude_modules`), AutoAWQ and the engines' own fp8 (`modules_to_not_convert`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from vlmctl.catalog.hf_patterns import Patterns
from vlmctl.catalog.hf_values import Config, integer, section
from vlmctl.specs.model import Precision, StoredWeights

# A module of each part, as they are called in a layer: when all that exist are named, the part is.
_MODULES: Mapping[str, tuple[str, ...]] = {
    "attention": ("self_attn.o_proj",),
    "linear_inputs": ("linear_attn.in_proj_qkv",),
    "linear_outputs": ("linear_attn.out_proj",),
    "output_head": ("lm_head",),
}
_DENSE, _SHARED = ("mlp.gate_proj",), ("mlp.shared_expert.gate_proj", "mlp.shared_experts.gate_proj")
_PREFIXES = ("model.language_model.layers.0.", "model.layers.0.", "language_model.model.layers.0.", "")
_LAYER = re.compile(r"\.\d+(?=\.|\*|$)")
_LEAST_SHARE = 0.2  # of the layers, from which on a part counts as named: one in four attends fully in Qwen3.5
_EIGHT_BIT = 8
_IGNORED = ("ignore", "exclude_modules", "modules_to_not_convert", "ignored_layers")


def quantization_section(config: Config) -> Config | None:
    """The part of a file that says how the weights are quantised; None where they are not."""
    text = section(config, "text_config", "llm_config") or {}
    return section(config, "quantization_config", "compression_config") or section(text, "quantization_config")


def stored_weights_of(config: Config, *, layers: int, mixture: bool) -> StoredWeights | None:
    """Which parts are stored otherwise than the rest; None where the file does not say that it is quantised.

    `layers`: of the decoder, of which a part must be named in a fifth; `mixture`: whether it has routed experts.
    """
    quantized = quantization_section(config)
    if quantized is None:
        return None
    modules = {**_MODULES, "feed_forward": _SHARED if mixture else _DENSE}
    ignored = [str(entry) for name in _IGNORED for entry in quantized.get(name) or ()]
    mixed = _mixed(quantized)
    patterns = Patterns()
    found: dict[str, Any] = {}
    for part, names in modules.items():
        if mixed:
            own = (each for listed, each in mixed.items() if _named(listed, names, layers, patterns))
            found[part] = next(own, Precision.BF16)
        elif part != "output_head" and _named(ignored, names, layers, patterns):
            found[part] = Precision.BF16
    group = next(iter(_group_weights(quantized)), quantized)
    return StoredWeights(
        **found,
        group_size=integer(group, "group_size") or None,
        byte_cache=_byte_cache(quantized),
        source="config.json",
    )


def _mixed(quantized: Config) -> dict[tuple[str, ...], Precision]:
    """Modules by format, of files that list the layers of each."""
    if (listed := section(quantized, "quantized_layers")) is not None:
        by_format: dict[Precision, list[str]] = {}
        for name, entry in listed.items():
            algorithm = str(entry.get("quant_algo")).lower()
            own = Precision.NVFP4 if "nvfp4" in algorithm else Precision.FP8
            by_format.setdefault(own, []).append(str(name))
        return {tuple(names): own for own, names in by_format.items()}
    groups = section(quantized, "config_groups") or {}
    if len(groups) == 1:
        return {}
    found: dict[tuple[str, ...], Precision] = {}
    for group in groups.values():
        weights = group.get("weights") or {}
        wide = integer(weights, "num_bits") == _EIGHT_BIT
        own = Precision.FP8 if wide else Precision.NVFP4 if weights.get("type") == "float" else Precision.W4A16
        found[tuple(str(target) for target in group.get("targets") or ())] = own
    return found


def _group_weights(quantized: Config) -> Iterable[Config]:
    groups = section(quantized, "config_groups") or {}
    return [weights for group in groups.values() if (weights := group.get("weights")) and weights.get("group_size")]


def _byte_cache(quantized: Config) -> bool:
    scheme = quantized.get("kv_cache_scheme") or quantized.get("kv_cache_quant_algo")
    if isinstance(scheme, Mapping):
        return integer(scheme, "num_bits") == _EIGHT_BIT
    return str(scheme).upper() == "FP8"


def _named(entries: Iterable[str], modules: tuple[str, ...], layers: int, patterns: Patterns) -> bool:
    """Whether entries cover a module in enough layers; entries without a layer's number speak of all."""
    covered: set[str] = set()
    for entry in entries:
        general = _LAYER.sub(".0", entry)
        if not any(_matches(general, prefix + module, patterns) for module in modules for prefix in _PREFIXES):
            continue
        if general == entry and not _LAYER.search(entry):
            return True
        covered.add(entry)
    return len(covered) >= _LEAST_SHARE * layers


def _matches(entry: str, name: str, patterns: Patterns) -> bool:
    """An entry as a regular expression (`re:`), with wildcards, or as a module within which everything is meant."""
    if entry.startswith("re:"):
        return patterns.fits(entry[3:], name)
    if "*" in entry:
        return fnmatchcase(name, entry)
    within = f".{name}."
    return f".{entry}." in within
