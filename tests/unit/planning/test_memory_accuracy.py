"""Predicting what an engine prints at start: releases, formats and settings, refusals, and telling failures."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.records import make_model
from vlmctl.errors import UnsupportedModel
from vlmctl.planning.memory_accuracy import case_weights, memory_errors, predict_memory
from vlmctl.planning.start_settings import precision_of, release_of, settings_of
from vlmctl.specs.engine_memory import EngineMemoryCase, StartArguments, StartFigures
from vlmctl.specs.model import AttentionKind, AttentionLayers, ModelSpec, Precision


def _case(**changes: Any) -> EngineMemoryCase:
    return replace(
        EngineMemoryCase(
            id="toy",
            source="made up",
            model="toys/toy-7b",
            is_vlm=True,
            arguments=StartArguments(max_model_len=8192, gpu_memory_utilization=0.9),
            measured=StartFigures(),
            engine="V1",
            version="0.22.0",
            gpu_total_gib=80.0,
        ),
        **changes,
    )


def _arguments(**changes: Any) -> StartArguments:
    return replace(StartArguments(max_model_len=8192, gpu_memory_utilization=0.9), **changes)


def _hybrid() -> ModelSpec:
    """Large pages: three layers of linear attention for each that attends fully."""
    language = make_model().language
    assert language is not None
    attention = (
        AttentionLayers(kind=AttentionKind.FULL, layers=16, query_heads=24, kv_heads=4, head_dim=256),
        AttentionLayers(kind=AttentionKind.LINEAR, layers=48, state_bytes=3_200_000),
    )
    return make_model(language=replace(language, layers=64, attention=attention))


@pytest.mark.parametrize(
    ("version", "engine", "sorts", "deducts", "stated"),
    [
        ("0.16.0", "V1", True, False, True),
        ("0.17.1rc1.dev126+gbc2c0c86e", "V1", False, False, True),
        ("0.19.0", "V1", False, False, True),
        ("0.21.0", "", False, True, True),
        ("", "V1 (v0.21 or later)", False, True, True),
        ("", "V1", False, True, False),
        ("0.19.0", "vLLM", False, False, True),
        ("", "vllm V1 (v0.16)", True, False, True),
    ],
)
def test_releases_differ_in_what_is_known_of_them(
    version: str, engine: str, sorts: bool, deducts: bool, stated: bool
) -> None:
    """The sampler stopped sorting with 0.17, graphs are deducted since 0.21, the current one stands in for unknown."""
    found = release_of(_case(version=version, engine=engine))
    assert (found.sorting_sampler, found.deducts_graphs, found.stated) == (sorts, deducts, stated)


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": _arguments(unmodelled=("cpu_offload_gb",))},
        {"arguments": _arguments(data_parallel=2)},
        {"arguments": _arguments(kv_cache_dtype="turboquant")},
    ],
    ids=["offload", "data-parallel", "kv-format"],
)
def test_what_is_not_modelled_is_refused(changes: dict[str, Any]) -> None:
    """Arguments without a term get a reason instead of a number."""
    with pytest.raises(UnsupportedModel):
        predict_memory(_case(**changes), make_model())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gpu_total_gib": None}, "memory of the GPU"),
        ({"drafter": True}, "drafter"),
        ({"engine": "", "version": ""}, "version"),
        ({"engine": "V0"}, "V1"),
        ({"engine": "vLLM (V0)"}, "V1"),
        ({"engine": "SGLang", "version": ""}, "V1"),
        ({"engine": "", "version": "0.7.2"}, "first engine"),
    ],
)
def test_weights_are_answered_where_kv_cannot_be(changes: dict[str, Any], reason: str) -> None:
    """An unknown GPU, a resident drafter or another engine leaves the weights, and says why nothing more."""
    found = predict_memory(_case(**changes), make_model())
    assert found.weights_gib > 10
    assert found.available_kv_gib is None
    assert found.out_of_memory is None
    assert reason in found.unanswered


@pytest.mark.parametrize(
    ("model", "quantization", "dtype", "precision"),
    [
        ("toys/toy-7b", "", "bfloat16", Precision.BF16),
        ("toys/toy-7b", "", "float32", Precision.FP32),
        ("toys/toy-7b", "fp8", "bfloat16", Precision.FP8),
        ("toys/toy-7b-fp8-dynamic", "compressed", "bfloat16", Precision.FP8),
        ("toys/toy-7b-quantized.w8a8", "compressed", "bfloat16", Precision.INT8),
        ("toys/toy-7b-quantized.w4a16", "gptq_marlin", "float16", Precision.W4A16),
        ("toys/toy-7b-AWQ-4bit", "AWQ 4-bit (compressed-tensors)", "", Precision.AWQ),
        ("toys/toy-7b-NVFP4", "NVFP4 and FP8 mix", "", Precision.NVFP4),
        ("toys/toy-7b-FP4", "modelopt", "", Precision.NVFP4),
        ("toys/toy-7b-MXFP4", "", "", Precision.MXFP4),
        ("toys/toy-7b", "bitsandbytes", "float16", Precision.W4A16),
    ],
)
def test_formats_are_read_off_case_and_name(model: str, quantization: str, dtype: str, precision: Precision) -> None:
    """The repository's name tells more than the loader's, which calls several formats `compressed`."""
    assert precision_of(_case(model=model, quantization=quantization, dtype=dtype), make_model()) is precision


@pytest.mark.parametrize(
    ("total", "gpu", "batch", "sequences"),
    [(79.2, "NVIDIA H100 80GB HBM3", 8192, 1024), (79.2, "NVIDIA A100 80GB", 2048, 256), (23.6, "", 2048, 256)],
)
def test_settings_that_are_not_given_are_the_engines_own(total: float, gpu: str, batch: int, sequences: int) -> None:
    """Large GPUs batch more, but for A100; images and videos are not limited."""
    case = _case(gpu=gpu)
    found = settings_of(case, make_model(), total, release_of(case))
    assert (found.max_num_batched_tokens, found.max_num_seqs) == (batch, sequences)
    assert found.max_images > 100
    bare = settings_of(_case(arguments=StartArguments()), make_model(), total, release_of(case))
    assert (bare.max_model_len, bare.gpu_memory_utilization) == (32768, 0.92)


def test_text_only_use_of_a_vision_model_drops_the_encoder() -> None:
    """`--language-model-only`, or limits of 0, leave more for KV than the encoder's weights alone."""
    full = predict_memory(_case(), make_model())
    for arguments in (_arguments(language_model_only=True), _arguments(images=0, videos=0)):
        text = predict_memory(_case(arguments=arguments), make_model())
        assert full.weights_gib - text.weights_gib == pytest.approx(0.8e9 / 2**30, rel=0.01)
        assert text.encoder_cache_tokens is None
        assert text.available_kv_gib is not None
        assert full.available_kv_gib is not None
        assert text.available_kv_gib - full.available_kv_gib >= full.weights_gib - text.weights_gib


def test_eager_engines_keep_the_memory_of_graphs() -> None:
    """Since 0.21 graphs come out of the KV cache; before, they did not."""
    eager = _arguments(enforce_eager=True)
    for version, deducted in (("0.22.0", True), ("0.19.0", False)):
        graphs = predict_memory(_case(version=version), make_model())
        without = predict_memory(_case(version=version, arguments=eager), make_model())
        assert graphs.available_kv_gib is not None
        assert without.available_kv_gib is not None
        assert (without.available_kv_gib > graphs.available_kv_gib) is deducted


def test_given_kv_memory_is_taken_as_it_is() -> None:
    """`--kv-cache-memory-bytes` overrides the utilization."""
    found = predict_memory(_case(arguments=_arguments(kv_cache_memory_bytes=8 * 2**30)), make_model())
    assert found.available_kv_gib == 8


def test_a_pipeline_divides_layers_and_only_its_last_stage_samples() -> None:
    """Half the layers per GPU: about half the weights, more than twice the tokens of one GPU."""
    one = predict_memory(_case(gpu_total_gib=40.0), make_model())
    two = predict_memory(_case(gpu_total_gib=40.0, pipeline_parallel=2), make_model())
    assert two.weights_gib < 0.6 * one.weights_gib
    assert one.kv_cache_tokens is not None
    assert two.kv_cache_tokens is not None
    assert two.kv_cache_tokens > 2 * one.kv_cache_tokens


@pytest.mark.parametrize(
    ("changes", "model", "fails"),
    [
        ({}, make_model(), False),
        ({"gpu_total_gib": 14.0}, make_model(), True),
        ({"arguments": _arguments(gpu_memory_utilization=0.19)}, make_model(), True),
        ({"gpu_total_gib": 24.0, "arguments": _arguments(max_model_len=131072)}, make_model(), True),
        ({"gpu_total_gib": 24.0}, _hybrid(), True),
        ({"gpu_total_gib": 24.0, "arguments": _arguments(enforce_eager=True)}, _hybrid(), False),
        ({"gpu_total_gib": 24.0, "version": "0.17.0"}, _hybrid(), False),
    ],
    ids=["fits", "weights", "utilization", "longest", "graph-profile", "eager", "older"],
)
def test_failures_are_told_from_starts(changes: dict[str, Any], model: ModelSpec, fails: bool) -> None:
    """Weights, too small a share, the longest sequence, and the blocks that profiling graphs takes."""
    assert predict_memory(_case(**changes), model).out_of_memory is fails


def test_errors_are_relative_but_for_kv_memory() -> None:
    """What either side lacks stays unknown."""
    said = predict_memory(_case(), make_model())
    assert said.available_kv_gib is not None
    read = StartFigures(weights_gib=2 * said.weights_gib, available_kv_gib=said.available_kv_gib - 0.5, oom=False)
    errors = memory_errors(_case(measured=read), said)
    assert errors.weights == pytest.approx(0.5)
    assert errors.available_kv_gib == pytest.approx(0.5)
    assert errors.oom_right is True
    assert errors.tokens is None


def test_near_duplicates_share_one_weight() -> None:
    """Three runs of one sweep count as one."""
    cases = [_case(id="a"), _case(id="b", near_duplicate_of="a"), _case(id="c", near_duplicate_of="a"), _case(id="d")]
    weights = case_weights(cases)
    assert weights["d"] == 1
    assert weights["a"] + weights["b"] + weights["c"] == pytest.approx(1)
