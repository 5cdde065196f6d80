"""The terms of the memory ledger: each by hand, and the laws that hold between them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.records import make_gpu, make_model
from vlmctl.planning.activations import (
    MATRIX_WORKSPACE_BYTES,
    Activations,
    encoder_bytes,
    forward_bytes,
    held_bytes,
    sampler_bytes,
    workspace_bytes,
)
from vlmctl.planning.architecture import model_figures
from vlmctl.planning.demand import request_demand
from vlmctl.planning.encoder_profile import EncoderItem, EncoderProfile
from vlmctl.planning.loading import loaded_language_bytes, loaded_vision_bytes
from vlmctl.planning.memory import CONTEXT_BYTES, context_bytes, footprint, memory_ledger
from vlmctl.planning.positions import position_table_bytes
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import Interconnect
from vlmctl.specs.model import AttentionKind, AttentionLayers, Experts, LanguageModel, ModelSpec, Precision, VisionTower
from vlmctl.specs.tokens import (
    FixedTokens,
    FrameResize,
    SmartResize,
)
from vlmctl.specs.workload import Workload
from vlmctl.units import GIB

GEMMA_3 = FixedTokens(tokens=256, width_pixels=896, height_pixels=896, patch_pixels=14)
QWEN3 = SmartResize(
    cell_pixels=32,
    patch_pixels=16,
    min_pixels=65536,
    max_pixels=16777216,
    video=FrameResize(min_pixels=4096, max_pixels=25165824, over_clip=True),
)


def _settings(**changes: Any) -> EngineSettings:
    return replace(
        EngineSettings(
            max_model_len=8192,
            gpu_memory_utilization=0.9,
            max_num_batched_tokens=8192,
            max_num_seqs=256,
            max_images=1,
            max_videos=0,
            max_image_width=1280,
            max_image_height=720,
        ),
        **changes,
    )


def _language(**changes: Any) -> LanguageModel:
    model = make_model().language
    assert model is not None
    return replace(model, **changes)


def _with_language(**changes: Any) -> ModelSpec:
    return make_model(language=_language(**changes))


def _batch(items: int, *, tokens: int, patches: int) -> EncoderProfile:
    item = EncoderItem(modality="image", tokens=tokens, patches=patches)
    return EncoderProfile(item=item, items=items, budget_tokens=8192)


def test_sampler_is_counted_in_bytes_per_logit() -> None:
    """Llama 3.1 8B with 1,024 sequences: 1.88 GiB, of which 14 bytes for each logit; 38 where it sorted."""
    language = _language(hidden_size=4096, vocabulary=128256)
    found = sampler_bytes(language, sequences=1024, tokens=8192)
    logits = 1024 * 128256
    assert found == 14 * logits + 132 * 128256 * 4 + (8192 + 2 * 1024) * 4096 * 2 + MATRIX_WORKSPACE_BYTES
    assert found / GIB == pytest.approx(1.89, abs=0.01)
    sorting = sampler_bytes(language, sequences=1024, tokens=8192, sorting=True)
    assert sorting / GIB == pytest.approx(4.76, abs=0.01)


def test_no_more_sequences_are_sampled_than_tokens_in_a_batch() -> None:
    """A batch of 16 tokens holds at most 16 sequences."""
    few = sampler_bytes(_language(), sequences=1024, tokens=16)
    assert few == sampler_bytes(_language(), sequences=16, tokens=16)


def test_forward_pass_is_as_wide_as_its_widest_layer() -> None:
    """Feed-forward tensors are split over GPUs, hidden ones are not; wide attention counts where it is wider."""
    language = _language(hidden_size=4096, intermediate_size=11008)
    assert forward_bytes(language, tokens=8192) == 8192 * 2 * (4 * 4096 + 3 * 11008)
    assert forward_bytes(language, tokens=8192, tensor_parallel=2) == 8192 * 2 * (4 * 4096 + 3 * 5504)
    heads = AttentionLayers(kind=AttentionKind.FULL, layers=32, query_heads=256, kv_heads=8, head_dim=128)
    assert forward_bytes(replace(language, attention=(heads,)), tokens=1) == 2 * (2 * 264 * 128 + 3 * 4096)


def test_experts_keep_two_buffers() -> None:
    """Mixtral on two GPUs: 0.66 GiB; none for dense models or where the kernel brings its own buffers."""
    mixtral = _language(hidden_size=4096, experts=Experts(count=8, active=2, intermediate_size=14336))
    found = workspace_bytes(mixtral, tokens=8192, tensor_parallel=2)
    assert found == 8192 * 2 * 2 * (7168 + 14336)
    assert found / GIB == pytest.approx(0.656, abs=0.001)
    assert workspace_bytes(_language(), tokens=8192) == 0
    assert workspace_bytes(mixtral, tokens=8192, precision=Precision.MXFP4) == 0


def test_a_gated_encoder_is_told_by_its_parameters() -> None:
    """Three matrices per feed-forward layer need more memory than two of the same size."""
    tower = VisionTower(name="vit", layers=32, hidden_size=1280, intermediate_size=3420, patch_pixels=14, source="toy")
    plain = 32 * (4 * 1280**2 + 2 * 1280 * 3420)
    gated = 32 * (4 * 1280**2 + 3 * 1280 * 3420)
    assert encoder_bytes(tower, gated, patches=1000) == 1000 * 2 * (5 * 1280 + 3 * 3420)
    assert encoder_bytes(tower, plain, patches=1000) == 1000 * 2 * (4 * 1280 + 2 * 3420)
    assert encoder_bytes(None, 0, patches=1000) == 1000 * 2 * 12 * 1280


def test_images_and_their_outputs_are_held() -> None:
    """Gemma 3: 32 images of 896x896 and their 8,192 features; videos of Qwen stack two frames in a patch."""
    language = _language(hidden_size=2560)
    gemma = held_bytes(_batch(32, tokens=256, patches=4096), GEMMA_3, language, patch_pixels=14)
    assert gemma == 2 * (32 * 3 * 896 * 896 + 8192 * 2560)
    largest = _batch(1, tokens=16384, patches=65536)
    qwen = held_bytes(largest, QWEN3, language, patch_pixels=16)
    assert qwen == 2 * (65536 * 3 * 256 * 2 + 16384 * 2560)
    deep = held_bytes(largest, QWEN3, language, patch_pixels=16, deepstack=True)
    assert deep - qwen == 2 * 3 * 16384 * 2560


def test_peak_is_the_larger_of_two_moments() -> None:
    """The encoder runs before the experts' workspace exists; what is held lasts through both."""
    moments = Activations(forward=3.0, sampler=2.0, encoder=4.0, held=1.0, workspace=1.5)
    assert moments.peak == 5.5
    assert replace(moments, encoder=6.0).peak == 7.0


@pytest.mark.parametrize(
    ("attention", "stretch", "elements"),
    [
        ([(AttentionKind.FULL, 128)], 1, 128),
        ([(AttentionKind.SLIDING, 256), (AttentionKind.FULL, 256)], 8, 256 + 8 * 256),
        ([(AttentionKind.SLIDING, 256), (AttentionKind.FULL, 512)], 1, 768),
        ([(AttentionKind.CHUNKED, 128), (AttentionKind.FULL, 128)], 1, 128),
        ([(AttentionKind.LINEAR, 0), (AttentionKind.FULL, 256)], 1, 64),
        ([(AttentionKind.LATENT, 192)], 1, 64),
    ],
    ids=["one", "gemma-3", "gemma-4", "llama-4", "qwen3.5", "deepseek"],
)
def test_position_tables(attention: list[tuple[AttentionKind, int]], stretch: int, elements: int) -> None:
    """One table per kind and size of head, over the whole context, in 16 bit."""
    groups = tuple(
        AttentionLayers(kind=kind, layers=8, query_heads=8, kv_heads=4, head_dim=size) for kind, size in attention
    )
    model = _with_language(attention=groups, position_stretch=stretch)
    assert model.language is not None
    assert position_table_bytes(model, model.language) == model.context.tokens * elements * 2
    wide = replace(model, image_tokens=replace(make_model().image_tokens, rule=QWEN3))  # type: ignore[type-var]
    assert position_table_bytes(wide, model.language) == model.context.tokens * elements * 2 * 4


def test_mxfp4_experts_are_padded_and_the_rest_is_not_quantised() -> None:
    """gpt-oss-20b: 13.7 GiB on one GPU, 7.1 on each of two."""
    attention = (
        AttentionLayers(
            kind=AttentionKind.SLIDING, layers=12, query_heads=64, kv_heads=8, head_dim=64, window_tokens=128
        ),
        AttentionLayers(kind=AttentionKind.FULL, layers=12, query_heads=64, kv_heads=8, head_dim=64),
    )
    experts = Experts(count=32, active=4, intermediate_size=2880)
    shape = {"layers": 24, "hidden_size": 2880, "vocabulary": 201088, "attention": attention, "experts": experts}
    model = replace(_with_language(**shape, intermediate_size=None), vision=None, image_tokens=None)
    parameters = replace(model.parameters, total_billions=20.91, active_billions=3.6, vision_billions=0.0)
    figures = model_figures(replace(model, parameters=parameters), Precision.MXFP4)
    assert loaded_language_bytes(figures, _settings(), gpu_count=1) / GIB == pytest.approx(13.7, abs=0.1)
    assert loaded_language_bytes(figures, _settings(), gpu_count=2) / GIB == pytest.approx(7.1, abs=0.1)


def test_latent_attention_keeps_its_expansion_twice() -> None:
    """The absorbed copies of MLA are divided over GPUs like the projection they come from."""
    group = AttentionLayers(
        kind=AttentionKind.LATENT, layers=27, query_heads=16, kv_heads=16, head_dim=192, latent_dim=576
    )
    with_copies = model_figures(_with_language(attention=(group,)), Precision.BF16)
    extra = loaded_language_bytes(with_copies, _settings(), gpu_count=1) - with_copies.language_bytes
    assert extra == 27 * 16 * 512 * 256 * 2
    halved = loaded_language_bytes(with_copies, _settings(), gpu_count=2)
    assert halved == (with_copies.language_bytes + extra) / 2


def test_encoder_stays_out_of_memory_where_no_image_is_allowed() -> None:
    """Limits of 0 for images and videos: the encoder is not loaded and nothing is profiled with it."""
    model, gpu = make_model(), make_gpu()
    figures = model_figures(model, Precision.BF16)
    demand = request_demand(model, Workload(prompt_tokens=100, output_tokens=100))
    text = footprint(figures, gpu, demand, _settings(max_images=0), gpu_count=1)
    both = footprint(figures, gpu, demand, _settings(), gpu_count=1)
    assert loaded_vision_bytes(figures, _settings(max_images=0), gpu_count=1) == 0
    assert text.vision_weights == text.activations.encoder == text.activations.held == 0
    assert both.vision_weights == pytest.approx(0.4e9 * 2)
    assert both.kv_cache < text.kv_cache


def test_context_grows_with_gpus_and_their_link() -> None:
    """NCCL takes more where GPUs share memory over NVLink than where they do not."""
    gpu = make_gpu()
    linked = replace(gpu, interconnect=Interconnect(name="NVLink 4", gb_per_second=450.0))
    assert context_bytes(linked, 1) == context_bytes(gpu, 1) == CONTEXT_BYTES
    assert context_bytes(gpu, 2) < context_bytes(linked, 2) < context_bytes(linked, 4)
    assert context_bytes(None, 2) == context_bytes(gpu, 2)


@given(
    seqs=st.integers(1, 1024),
    batch=st.sampled_from([2048, 4096, 8192, 16384]),
    images=st.integers(0, 4),
    gpus=st.sampled_from([1, 2, 4]),
)
def test_ledger_adds_up_to_the_budget(seqs: int, batch: int, images: int, gpus: int) -> None:
    """Items and KV cache together are the budget, whatever the settings; more sequences never leave more for KV."""
    model, gpu = make_model(), make_gpu(gib=80.0)
    figures = model_figures(model, Precision.BF16)
    demand = request_demand(model, Workload(prompt_tokens=100, output_tokens=100))
    settings = _settings(max_num_seqs=seqs, max_num_batched_tokens=batch, max_images=images)
    ledger = memory_ledger(figures, gpu, demand, settings, gpu_count=gpus)
    assert sum(item.bytes for item in ledger.items) + ledger.kv_cache_bytes == pytest.approx(
        ledger.budget_bytes, abs=32
    )
    more = footprint(figures, gpu, demand, replace(settings, max_num_seqs=seqs + 64), gpu_count=gpus)
    assert more.kv_cache <= ledger.kv_cache_bytes + 1
