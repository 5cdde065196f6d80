"""Parameters counted from a configuration beside the model that transformers builds from it, without its weights."""

from __future__ import annotations

import json
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from vlmctl.catalog.described import described_model  # noqa: E402  # after the packages that it is compared with

TOLERANCE = 0.02
# Types of every kind of decoder: dense, mixtures of experts, latent, sliding, linear and state-space attention, and
# plain feed-forward layers; then vision models. Each in the sizes of its class's own defaults.
TEXT = (
    "afmoe",
    "apertus",
    "bloom",
    "cohere2",
    "cohere2_moe",
    "deepseek_v3",
    "ernie4_5_moe",
    "exaone4",
    "exaone_moe",
    "falcon",
    "falcon_mamba",
    "gemma2",
    "glm4_moe",
    "glm_moe_dsa",
    "gpt2",
    "gpt_oss",
    "gptj",
    "granitemoehybrid",
    "hy_v3",
    "jamba",
    "kimi_linear",
    "laguna",
    "llama",
    "mamba2",
    "mimo_v2_flash",
    "minimax_m2",
    "mixtral",
    "nemotron_h",
    "olmo_hybrid",
    "olmoe",
    "opt",
    "qwen2_moe",
    "qwen3_5_moe_text",
    "qwen3_moe",
    "qwen3_next",
    "stablelm",
)
VISION = (
    "gemma3",
    "glm4v",
    "lfm2_vl",
    "llama4",
    "llava",
    "llava_next",
    "llava_onevision",
    "paligemma",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_5",
    "qwen3_vl",
)


def _configuration(model_type: str) -> Any:
    return transformers.CONFIG_MAPPING[model_type]()


def _stated(configuration: Any, architecture: str) -> dict[str, Any]:
    stated: dict[str, Any] = json.loads(configuration.to_json_string(use_diff=False))
    return {**stated, "architectures": [architecture]}


def _built(configuration: Any, family: Any) -> tuple[str, int]:
    with torch.device("meta"):
        model = family.from_config(configuration)
    return type(model).__name__, sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("model_type", TEXT)
def test_decoders(model_type: str) -> None:
    """A decoder has as many parameters as are counted, to 2%."""
    configuration = _configuration(model_type)
    name, expected = _built(configuration, transformers.AutoModelForCausalLM)
    counted = described_model("a/b", _stated(configuration, name)).parameters.total_billions * 1e9
    assert counted == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("model_type", VISION)
def test_vision_models(model_type: str) -> None:
    """A vision model has as many parameters as are counted, encoder and projector included, to 2%."""
    configuration = _configuration(model_type)
    name, expected = _built(configuration, transformers.AutoModelForImageTextToText)
    counted = described_model("a/b", _stated(configuration, name)).parameters.total_billions * 1e9
    assert counted == pytest.approx(expected, rel=TOLERANCE)
