"""What a quantised checkpoint leaves out of its format is read from its configuration, in every publisher's form."""

from __future__ import annotations

from typing import Any

import pytest

from vlmctl.catalog.hf_quantized import stored_weights_of
from vlmctl.specs.model import Precision, StoredWeights

LAYERS = 8
BF16, FP8, NVFP4 = Precision.BF16, Precision.FP8, Precision.NVFP4
ALL_LINEAR = {"linear_inputs": BF16, "linear_outputs": BF16}
ALL_KINDS = {"attention": BF16, **ALL_LINEAR}


def _read(quantized: dict[str, Any], *, mixture: bool = False) -> StoredWeights:
    found = stored_weights_of({"quantization_config": quantized}, layers=LAYERS, mixture=mixture)
    assert found is not None
    return found


def _each(pattern: str, count: int = LAYERS) -> list[str]:
    return [pattern.format(index) for index in range(count)]


@pytest.mark.parametrize(
    ("quantized", "expected"),
    [
        ({"ignore": ["lm_head", *_each("model.language_model.layers.{}.self_attn*")]}, {"attention": BF16}),
        ({"ignore": ["re:.*linear_attn.*", "re:.*lm_head", "re:model.visual.*"]}, ALL_LINEAR),
        ({"ignore": _each("model.layers.{}.linear_attn.in_proj_qkv")}, {"linear_inputs": BF16}),
        ({"modules_to_not_convert": ["self_attn", "lm_head"]}, {"attention": BF16}),
        ({"exclude_modules": ["*.self_attn.*"]}, {"attention": BF16}),
        (
            {"ignore": ["re:.*self_attn.*", "re:.*mlp\\.(gate|up|down)_proj.*"]},
            {"attention": BF16, "feed_forward": BF16},
        ),
        ({"ignore": ["lm_head", "model.layers.0*"]}, {}),  # one layer alone is too little
        ({"modules_to_not_convert": ["gate", "model.layers.3.input_layernorm"]}, {}),
    ],
)
def test_parts_that_are_ignored_stay_wide(quantized: dict[str, Any], expected: dict[str, Precision]) -> None:
    """Names with or without a layer's number, wildcards, regular expressions and parts of names mean modules."""
    parts = ("attention", "linear_inputs", "linear_outputs", "feed_forward", "output_head")
    found = _read(quantized)
    assert {name: kept for name in parts if (kept := getattr(found, name)) is not None} == expected


def test_shared_experts_are_the_feed_forward_part_of_a_mixture() -> None:
    """Dense modules that only the first layers have do not speak for a mixture of experts."""
    assert _read({"ignore": _each("model.layers.{}.mlp.shared_experts*")}, mixture=True).feed_forward is BF16
    assert _read({"ignore": ["re:.*mlp.gate_proj"]}, mixture=True).feed_forward is None


def test_mixed_formats_are_read_by_layer() -> None:
    """ModelOpt lists every layer with its algorithm; what is not listed stays in 16 bit."""
    listed = {name: {"quant_algo": "FP8"} for name in _each("model.language_model.layers.{}.self_attn.o_proj")}
    listed |= {name: {"quant_algo": "W4A16_NVFP4"} for name in _each("model.language_model.layers.{}.mlp.gate_proj")}
    found = _read({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": listed})
    assert (found.attention, found.feed_forward, found.linear_inputs) == (FP8, NVFP4, BF16)


def test_groups_of_different_formats_are_told_apart() -> None:
    """compressed-tensors names modules by group."""
    groups = {
        "group_0": {"targets": ["re:.*self_attn.*"], "weights": {"num_bits": 8, "type": "float"}},
        "group_1": {"targets": ["re:.*mlp.*"], "weights": {"num_bits": 4, "type": "float", "group_size": 16}},
    }
    found = _read({"config_groups": groups, "ignore": ["lm_head"]})
    assert (found.attention, found.feed_forward) == (FP8, NVFP4)


@pytest.mark.parametrize("scheme", [{"num_bits": 8, "type": "float"}, "FP8"])
def test_scales_and_the_cache_that_is_asked_for_are_read(scheme: object) -> None:
    """The group's size decides the scales; a cache of 8 bits is what an engine's `auto` then means."""
    weights = {"num_bits": 4, "type": "int", "group_size": 32}
    found = _read(
        {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}, "kv_cache_scheme": scheme}
    )
    assert (found.group_size, found.byte_cache) == (32, True)


def test_an_unquantised_file_says_nothing() -> None:
    """Without a quantization_config there is nothing to store otherwise."""
    assert stored_weights_of({"hidden_size": 4}, layers=LAYERS, mixture=False) is None
