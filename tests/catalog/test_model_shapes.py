"""The shipped models by shape: do sizes follow from dimensions, and is each kind of attention told apart?"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from vlmctl.catalog.load import load_folder
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import AttentionKind, AttentionLayers, LanguageModel, Modality, ModelSpec

CATALOG = Path(__file__).resolve().parents[2] / "catalog"
ELEMENT_BYTES = 2  # bf16
# Biases, norms and position tables are left out of the sums below.
SUM_TOLERANCE = 0.01
PARTS_TOLERANCE = 0.025

# KV bytes a token adds over all layers that keep every token, bf16; from the models' configuration files.
KV_BYTES = {
    "llava-1.5-7b": 524_288,
    "llava-1.5-13b": 819_200,
    "qwen2.5-vl-7b": 57_344,
    "qwen2.5-vl-72b": 327_680,
    "qwen3-vl-8b": 147_456,
    "internvl3-78b": 327_680,
    "pixtral-12b": 163_840,
    "gemma-3-27b": 81_920,  # 10 of 62 layers: 2 x 16 heads x 128 x 2 B each
    "llama-3.2-11b-vision": 131_072,
    "qwen3.5-27b": 65_536,
    "deepseek-vl2-small": 31_104,
    "kimi-k2.5": 70_272,
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_folder(CATALOG)


@pytest.fixture(scope="module")
def models(catalog: Catalog) -> dict[str, ModelSpec]:
    return {model.id: model for model in catalog.models}


def _kv_bytes(language: LanguageModel) -> int:
    """Growing KV per token: 2 x heads x head_dim per full layer, one latent vector per MLA layer."""
    full = sum(2 * g.layers * g.kv_heads * g.head_dim for g in language.attention if g.kind is AttentionKind.FULL)
    latent = sum(g.layers * (g.latent_dim or 0) for g in language.attention if g.kind is AttentionKind.LATENT)
    return (full + latent) * ELEMENT_BYTES


def _attention_weights(group: AttentionLayers, hidden: int) -> int:
    """Query, key, value and output projections of one layer; an output gate is not among the dimensions."""
    own = 0 if group.kind is AttentionKind.SHARED else (1 if group.key_is_value else 2) * group.kv_heads
    return hidden * group.head_dim * (2 * group.query_heads + own)


def _dense_billions(language: LanguageModel) -> float:
    """Embedding, output head, attention and a gated MLP of every layer."""
    hidden = language.hidden_size
    tables = language.vocabulary * hidden * (1 if language.tied_embeddings else 2)
    attention = sum(group.layers * _attention_weights(group, hidden) for group in language.attention)
    return (tables + attention + language.layers * 3 * hidden * (language.intermediate_size or 0)) / 1e9


class TestParameters:
    def test_parts_add_up(self, catalog: Catalog) -> None:
        """Language, vision and projector make the total where all three are known, and never exceed it."""
        for model in catalog.models:
            counts = model.parameters
            parts = (counts.language_billions, counts.vision_billions, counts.projector_billions)
            known = sum(part or 0.0 for part in parts)
            assert known <= counts.total_billions * (1 + PARTS_TOLERANCE), model.id
            if None not in parts:
                assert known >= counts.total_billions * (1 - PARTS_TOLERANCE), model.id

    def test_dense_models_are_active_whole(self, catalog: Catalog) -> None:
        """All parameters of a dense model work on every token; a mixture of experts uses fewer."""
        for model in catalog.models:
            counts, language = model.parameters, model.language
            if language is not None and language.experts is not None:
                assert counts.active_billions < counts.total_billions, model.id
            elif "n-e" not in model.id and "4-e" not in model.id:  # Gemma's E sizes look tables up, layer by layer
                assert math.isclose(counts.active_billions, counts.total_billions), model.id

    def test_dense_sums_follow_from_the_dimensions(self, catalog: Catalog) -> None:
        """The language model's size is what its layers, heads and widths make, where nothing else is in it."""
        plain = {AttentionKind.FULL, AttentionKind.SLIDING, AttentionKind.CROSS}
        # A two-matrix MLP, output gates, per-layer tables: not among the dimensions.
        apart = {"blip2-opt-2.7b", "moondream2", "muse-glimmer-30b", "gemma-4-e2b", "gemma-4-e4b"}
        checked = 0
        for model in catalog.models:
            language, published = model.language, model.parameters.language_billions
            if language is None or language.experts or published is None or model.id in apart:
                continue
            if all(group.kind in plain for group in language.attention):
                assert math.isclose(_dense_billions(language), published, rel_tol=SUM_TOLERANCE), model.id
                checked += 1
        assert checked > 80

    def test_seven_is_eight(self, models: dict[str, ModelSpec]) -> None:
        """Names round: the "7B" of Qwen2.5-VL has 8.29 billion parameters, MolmoE-1B keeps 7 in memory."""
        assert models["qwen2.5-vl-7b"].parameters.total_billions == pytest.approx(8.29, abs=0.01)
        assert models["molmoe-1b"].parameters.total_billions > 7


class TestArchitecture:
    @pytest.mark.parametrize(("id_", "expected"), KV_BYTES.items(), ids=list(KV_BYTES))
    def test_kv_bytes(self, models: dict[str, ModelSpec], id_: str, expected: int) -> None:
        """The KV cache of a token is what the configuration file makes of it."""
        language = models[id_].language
        assert language is not None
        assert _kv_bytes(language) == expected

    def test_groups_are_whole(self, catalog: Catalog) -> None:
        """Attention groups hold all layers, KV heads divide query heads, windows and states are given."""
        for model in catalog.models:
            if model.language is None:
                continue
            assert sum(group.layers for group in model.language.attention) == model.language.layers, model.id
            for group in model.language.attention:
                assert not group.kv_heads or group.query_heads % group.kv_heads == 0, model.id
                windowed = group.kind in (AttentionKind.SLIDING, AttentionKind.CHUNKED)
                assert windowed == (group.window_tokens is not None), model.id
                assert (group.kind is AttentionKind.LINEAR) == (group.state_bytes is not None), model.id
                assert (group.kind is AttentionKind.LATENT) == (group.latent_dim is not None), model.id

    def test_linear_attention_keeps_a_state(self, models: dict[str, ModelSpec]) -> None:
        """Qwen3.5-27B: 48 of 64 layers keep 48 heads x 128 x 128 in fp32 and a convolution of 10,240 channels x 3."""
        language = models["qwen3.5-27b"].language
        assert language is not None
        linear = next(group for group in language.attention if group.kind is AttentionKind.LINEAR)
        assert (linear.layers, linear.state_bytes) == (48, 48 * 128 * 128 * 4 + 10_240 * 3 * 2)

    def test_kinds_that_peers_miss(self, models: dict[str, ModelSpec]) -> None:
        """Cross, chunked, shared and sliding layers are told apart from full ones."""
        kinds = {
            "llama-3.2-90b-vision": {AttentionKind.FULL: 80, AttentionKind.CROSS: 20},
            "llama-4-scout": {AttentionKind.FULL: 12, AttentionKind.CHUNKED: 36},
            "gemma-3n-e4b": {AttentionKind.FULL: 4, AttentionKind.SLIDING: 16, AttentionKind.SHARED: 15},
            "gemma-4-31b": {AttentionKind.FULL: 10, AttentionKind.SLIDING: 50},
            "paligemma2-10b": {AttentionKind.FULL: 21, AttentionKind.SLIDING: 21},
        }
        for id_, expected in kinds.items():
            language = models[id_].language
            assert language is not None
            assert {group.kind: group.layers for group in language.attention} == expected, id_

    def test_a_vision_model_has_an_encoder(self, catalog: Catalog) -> None:
        """Every model that reads images says with what, and how it meets an image of any size."""
        for model in catalog.models:
            if model.modality is Modality.VISION:
                assert model.vision is not None, model.id
                assert (model.resolution is None) == (model.image_tokens is None), model.id

    def test_gemma_3_1b_is_text_only(self, models: dict[str, ModelSpec]) -> None:
        """Gemma 3 1B reads no images, and nothing about images is claimed for it."""
        model = models["gemma-3-1b"]
        assert model.modality is Modality.TEXT
        assert (model.vision, model.image_tokens, model.resolution, model.images) == (None, None, None, None)
