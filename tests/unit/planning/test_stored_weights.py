"""Weights by part and format: what is stated counts, what is assumed is said and bounded."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from vlmctl.catalog.load import load_catalog
from vlmctl.planning.architecture import model_figures, weights
from vlmctl.planning.stored_weights import decoder_parts, storage
from vlmctl.specs.model import ModelSpec, Precision, StoredWeights
from vlmctl.units import GIB

MODELS = {model.id: model for model in load_catalog().models}
HYBRID, MIXTURE, DENSE = MODELS["qwen3.8-27b"], MODELS["qwen3.5-35b-a3b"], MODELS["gemma-4-31b"]


def _bytes(model: ModelSpec, precision: Precision, **parts: Precision) -> float:
    return model_figures(model, precision, storage(model, precision, StoredWeights(**parts))).language_bytes  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [HYBRID, MIXTURE, DENSE], ids=lambda model: model.id)
def test_parts_add_up_to_the_decoder(model: ModelSpec) -> None:
    """Nothing is counted twice or forgotten."""
    counts = weights(model)
    assert model.language is not None
    parts = decoder_parts(model, model.language, total=counts.language, experts=counts.experts, tied=counts.tied)
    assert parts.dense + parts.tables + parts.experts == pytest.approx(counts.language)
    assert parts.attention > 0


def test_hybrid_attention_is_counted_as_its_shape_says() -> None:
    """Qwen3.8-27B: 16 layers of gated full attention, 48 of Gated DeltaNet, as their projections multiply out."""
    counts = weights(HYBRID)
    assert HYBRID.language is not None
    parts = decoder_parts(HYBRID, HYBRID.language, total=counts.language, experts=0.0, tied=counts.tied)
    assert parts.attention == pytest.approx(16 * 5120 * (24 * 256 * 3 + 2 * 4 * 256))
    assert parts.linear == pytest.approx(48 * 5120 * (2 * 2048 + 3 * 6144), rel=0.02)


def test_wide_parts_weigh_more() -> None:
    """Attention in 16 bit instead of NVFP4 adds 23 bits to each of its weights less scales."""
    whole, wide = _bytes(DENSE, Precision.NVFP4), _bytes(DENSE, Precision.NVFP4, attention=Precision.BF16)
    assert (wide - whole) / GIB == pytest.approx(8.47e9 * (2 - 0.5625) / GIB, rel=0.01)


def test_the_catalog_says_what_a_checkpoint_keeps() -> None:
    """NVIDIA's Gemma 4 leaves attention in 16 bit; another publisher's is assumed to be quantised throughout."""
    stated = storage(DENSE, Precision.NVFP4)
    assert (stated.assumed, stated.stored and stated.stored.attention) == (False, Precision.BF16)
    other = storage(DENSE, Precision.NVFP4, repository="someone/gemma-4-31B-it-NVFP4")
    assert (other.assumed, other.stored) == (True, None)


def test_what_is_assumed_is_said_and_bounded() -> None:
    """Of a four-bit mixture that sees only the routed experts shrink; the ledger says so and names the bounds."""
    figures = model_figures(MIXTURE, Precision.AWQ)
    assert "assumed" in figures.storage
    assert figures.language_bounds is not None
    least, most = figures.language_bounds
    assert least < figures.language_bytes
    assert figures.language_bytes == pytest.approx(most)


def test_text_models_and_eight_bit_formats_assume_nothing() -> None:
    """Logs of text models in w4a16 agree with everything but tables quantised, and fp8 hardly differs."""
    text = replace(DENSE, image_tokens=None)
    for model, precision in ((text, Precision.AWQ), (HYBRID, Precision.FP8), (MIXTURE, Precision.BF16)):
        assert model_figures(model, precision).language_bounds is None


def test_smaller_groups_have_more_scales() -> None:
    """A scale and a zero point of 2.5 bytes for 32 weights instead of 128."""
    coarse = model_figures(HYBRID, Precision.AWQ).language_bytes
    stored = StoredWeights(group_size=32, parts_known=False)
    fine = model_figures(HYBRID, Precision.AWQ, storage(HYBRID, Precision.AWQ, stored)).language_bytes
    linear = weights(HYBRID).language - 2 * weights(HYBRID).embedding
    assert fine - coarse == pytest.approx(linear * 2.5 * (1 / 32 - 1 / 128))
