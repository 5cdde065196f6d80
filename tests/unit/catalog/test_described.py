"""Models known by their configuration alone: counted to within 2% of what is published, read whatever their type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.configs import LLAMA_8B
from vlmctl.catalog.described import described_model
from vlmctl.catalog.folders import shipped_folder
from vlmctl.catalog.hf_architectures import architecture
from vlmctl.catalog.hf_class_rules import ASSUMED
from vlmctl.catalog.hf_config import language_model_from_config
from vlmctl.catalog.load import load_folder
from vlmctl.catalog.names import resolve_model
from vlmctl.errors import UnsupportedModel
from vlmctl.planning.image_tokens import image_tokens
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import AttentionKind, Modality

CHECKPOINTS = yaml.safe_load(Path(__file__).with_name("checkpoints.yaml").read_text())
TOLERANCE = 0.02

DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
    "n_shared_experts": 1,
    "first_k_dense_replace": 3,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
}
QWEN_MOE = {
    "model_type": "qwen2_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "intermediate_size": 5632,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "decoder_sparse_step": 1,
    "vocab_size": 151936,
    "max_position_embeddings": 8192,
}
FALCON_7B = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "multi_query": True,
    "vocab_size": 65024,
    "tie_word_embeddings": True,
}
GPT_J = {
    "model_type": "gptj",
    "n_embd": 4096,
    "n_layer": 28,
    "n_head": 16,
    "n_positions": 2048,
    "vocab_size": 50400,
    "tie_word_embeddings": False,
}
MAMBA = {
    "model_type": "mamba",
    "hidden_size": 2560,
    "num_hidden_layers": 64,
    "state_size": 16,
    "expand": 2,
    "conv_kernel": 4,
    "time_step_rank": 160,
    "vocab_size": 50280,
    "tie_word_embeddings": True,
}
NEMOTRON_H = {
    "model_type": "nemotron_h",
    "hidden_size": 4096,
    "num_hidden_layers": 52,
    "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 21504,
    "mlp_hidden_act": "relu2",
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "n_groups": 8,
    "ssm_state_size": 128,
    "conv_kernel": 4,
    "vocab_size": 131072,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_folder(shipped_folder())


@pytest.mark.parametrize(
    ("config", "total", "active"),
    [
        pytest.param(LLAMA_8B, 8.03, 8.03, id="llama-3.1-8b"),
        pytest.param(DEEPSEEK_V3, 671.0, 37.5, id="deepseek-v3"),
        pytest.param(QWEN_MOE, 14.3, 2.7, id="qwen1.5-moe-a2.7b"),
        pytest.param(FALCON_7B, 6.92, 6.92, id="falcon-7b"),
        pytest.param(GPT_J, 6.05, 6.05, id="gpt-j-6b"),
        pytest.param(MAMBA, 2.77, 2.77, id="mamba-2.8b"),
        pytest.param(NEMOTRON_H, 8.1, 8.1, id="nemotron-h-8b"),
    ],
)
def test_counts_are_the_published_ones(config: dict[str, Any], total: float, active: float) -> None:
    """Parameters counted from a configuration are those that its makers publish, listed type or not."""
    counts = described_model("maker/model", config).parameters
    assert counts.total_billions == pytest.approx(total, rel=TOLERANCE)
    assert counts.active_billions == pytest.approx(active, rel=2 * TOLERANCE)  # published in whole or half billions
    assert not counts.verified


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint["model"])
def test_vision_models_agree_with_the_catalog(checkpoint: dict[str, Any], catalog: Catalog) -> None:
    """A vision model's configuration gives its parameters, its encoder and the rule that the catalog holds."""
    known = resolve_model(catalog, checkpoint["model"])
    found = described_model(checkpoint["repository"], checkpoint["config"], known=catalog.models)
    assert found.modality is Modality.VISION
    assert found.parameters.total_billions == pytest.approx(known.parameters.total_billions, rel=TOLERANCE)
    assert found.vision is not None
    assert known.vision is not None
    assert found.vision.layers == known.vision.layers
    assert found.image_tokens is not None
    assert known.image_tokens is not None
    assert type(found.image_tokens.rule) is type(known.image_tokens.rule)
    assert not found.image_tokens.verified


def test_the_rule_of_a_sibling_is_borrowed(catalog: Catalog) -> None:
    """Where the processor's file is missing, the rule is that of the catalogued model of the same class."""
    (checkpoint,) = (each for each in CHECKPOINTS if each["model"] == "qwen2.5-vl-7b")
    alone = described_model("a/b", checkpoint["config"])
    helped = described_model("a/b", checkpoint["config"], known=catalog.models)
    told = described_model("a/b", checkpoint["config"], processor=checkpoint["processor"])
    assert alone.image_tokens is not None
    assert helped.image_tokens is not None
    assert told.image_tokens is not None
    assert helped.image_tokens.rule == told.image_tokens.rule
    assert alone.image_tokens.checked_by == ASSUMED != helped.image_tokens.checked_by


@pytest.mark.parametrize(
    ("vision", "tokens"),
    [
        pytest.param({"patch_size": 14, "image_size": 448}, 32 * 32, id="one square view"),
        pytest.param({"patch_size": 14, "image_size": 448, "spatial_merge_size": 2}, 46 * 26, id="merged"),
        pytest.param({"patch_size": 16}, 80 * 45, id="native"),
        pytest.param({}, 92 * 52, id="nothing stated"),
    ],
)
def test_an_unknown_encoder_is_assumed_to_be_usual(vision: dict[str, Any], tokens: int) -> None:
    """A class that nobody knows has a token per merged patch, of its square input or of the image itself."""
    config = {**LLAMA_8B, "architectures": ["NovelVLForConditionalGeneration"], "vision_config": {"x": 1, **vision}}
    fact = described_model("a/b", config).image_tokens
    assert fact is not None
    assert image_tokens(fact.rule, 1280, 720).image_tokens == tokens
    assert fact.checked_by == ASSUMED
    assert not fact.verified
    with pytest.raises(UnsupportedModel, match="NovelVLForConditionalGeneration"):
        architecture(config)


@pytest.mark.parametrize(
    ("name", "model_type", "more", "processor", "tokens"),
    [
        ("DeepseekVLForConditionalGeneration", "deepseek_vl", {}, {}, 576),
        ("JanusForConditionalGeneration", "janus", {}, {"num_image_tokens": 144}, 144),
        ("GotOcr2ForConditionalGeneration", "got_ocr2", {}, {}, 256),
        ("GotOcr2ForConditionalGeneration", "got_ocr2", {}, {"crop_to_patches": True}, 24 * 24),  # assumed: tiled
        ("ChameleonForConditionalGeneration", "chameleon", {"vision_config": None}, {}, 1024),
        ("Idefics2ForConditionalGeneration", "idefics2", {}, {"do_image_splitting": True}, 5 * 64),
        ("AriaForConditionalGeneration", "aria", {"projector_patch_to_query_dict": {"1225": 128}}, {}, 128),
        ("AriaForConditionalGeneration", "aria", {"projector_patch_to_query_dict": {"4900": 256}}, {}, 256),
    ],
)
def test_a_class_has_the_rule_of_its_processor(
    name: str, model_type: str, more: dict[str, Any], processor: dict[str, Any], tokens: int
) -> None:
    """A class whose processor states its count has it, as far as the files do not say otherwise."""
    vision = {"patch_size": 16, "image_size": 384}
    config = {**LLAMA_8B, "vision_config": vision, **more, "architectures": [name], "text_config": LLAMA_8B}
    fact = described_model("a/b", {**config, "model_type": model_type}, processor=processor).image_tokens
    assert fact is not None
    assert image_tokens(fact.rule, 1280, 720).image_tokens == tokens


def test_newer_names_mean_the_same() -> None:
    """Kimi Linear as newer files write it has the decoder that older files describe."""
    shape = {
        "model_type": "kimi_linear",
        "hidden_size": 2304,
        "num_hidden_layers": 4,
        "num_attention_heads": 32,
        "intermediate_size": 9216,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "num_experts": 256,
        "num_experts_per_token": 8,
        "moe_intermediate_size": 1024,
        "vocab_size": 163840,
    }
    delta = {"num_heads": 32, "head_dim": 128, "short_conv_kernel_size": 4, "full_attn_layers": [4]}
    older = {**shape, "linear_attn_config": delta, "first_k_dense_replace": 1}
    newer = {
        **shape,
        "linear_num_heads": 32,
        "linear_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"],
        "mlp_layer_types": ["dense"] + ["sparse"] * 3,
    }
    assert language_model_from_config(newer, unlisted=True) == language_model_from_config(older, unlisted=True)


def test_an_encoder_decoder_is_refused() -> None:
    """A model with an encoder for its text is refused, its decoder alone is read."""
    config = {**LLAMA_8B, "model_type": "novel", "is_encoder_decoder": True}
    with pytest.raises(UnsupportedModel, match="encoder-decoder"):
        described_model("a/b", {**config, "architectures": ["NovelForConditionalGeneration"]})
    assert described_model("a/b", {**config, "architectures": ["NovelForCausalLM"]}).language is not None


def test_an_unlisted_hybrid_keeps_what_each_layer_keeps() -> None:
    """Of Nemotron-H few layers keep tokens, others a state, and feed-forward layers nothing."""
    language = language_model_from_config(NEMOTRON_H, unlisted=True)
    layers = {group.kind: group.layers for group in language.attention}
    assert layers == {AttentionKind.LINEAR: 24, AttentionKind.SHARED: 24, AttentionKind.FULL: 4}
    linear = next(group for group in language.attention if group.kind is AttentionKind.LINEAR)
    # MambaStateShapeCalculator.mamba2_state_shape: 3 x (8192 + 2 x 8 x 128) and 128 x 64 x 128 elements of 16 bit
    assert linear.state_bytes == (3 * (8192 + 2048) + 128 * 64 * 128) * 2
    assert not language.verified


def test_compressed_attention_keeps_few_entries() -> None:
    """A layer that keeps one entry for many tokens counts as a share of one per token."""
    config = {
        "model_type": "deepseek_v4",
        "hidden_size": 4096,
        "num_hidden_layers": 4,
        "num_attention_heads": 64,
        "num_key_value_heads": 1,
        "head_dim": 512,
        "q_lora_rank": 1024,
        "o_lora_rank": 1024,
        "o_groups": 8,
        "qk_rope_head_dim": 64,
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128},
        "layer_types": ["compressed_sparse_attention", "heavily_compressed_attention"] * 2,
        "n_routed_experts": 256,
        "num_experts_per_tok": 6,
        "moe_intermediate_size": 2048,
        "vocab_size": 129280,
    }
    (group,) = language_model_from_config(config, unlisted=True).attention
    assert group.latent_dim == round((512 / 4 + 512 / 128) / 2)


@pytest.mark.parametrize("model_type", ["qwen2_moe", "nemotron_h", "never_heard_of"])
def test_imports_stay_strict(model_type: str) -> None:
    """What is only good enough for a prediction is still refused where an entry is made of it."""
    with pytest.raises(UnsupportedModel, match=model_type):
        language_model_from_config({**QWEN_MOE, "model_type": model_type})


@pytest.mark.parametrize("config", [{}, {"model_type": "never_heard_of"}, {"model_type": "x", "hidden_size": 64}])
def test_nothing_is_made_up(config: dict[str, Any]) -> None:
    """A configuration that does not state the decoder's sizes is refused."""
    with pytest.raises(UnsupportedModel):
        described_model("a/b", config)


@pytest.mark.parametrize("changes", [{"hidden_act": ["silu"]}, {"layer_types": [["full_attention"]] * 32}])
def test_malformed_configurations_are_refused(changes: dict[str, Any]) -> None:
    """A value of another type than its name promises is a refusal, not the end of the file that it came in."""
    with pytest.raises(UnsupportedModel):
        described_model("a/b", {**LLAMA_8B, **changes})
