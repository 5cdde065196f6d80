"""The memory ledger beside what vLLM itself printed at start: models from their configurations, nothing looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean, median

import pytest

from tests.accuracy.shape_counts import counted_parameters
from vlmctl.catalog.engine_memory import read_engine_memory
from vlmctl.catalog.load import load_catalog
from vlmctl.library.judging_memory import PredictedStart, judge_starts, memory_summaries
from vlmctl.planning.architecture import weights
from vlmctl.planning.memory import CONTEXT_BYTES, NCCL_MULTICAST_BYTES, NCCL_MULTICAST_BYTES_PER_GPU
from vlmctl.planning.memory_accuracy import memory_errors
from vlmctl.specs.accuracy import StartErrors
from vlmctl.specs.model import ModelSpec
from vlmctl.units import GIB

LOGS = Path("catalog/measurements/engine_memory.yaml")
SINCE = (0, 17)  # before, the sampler took three times as much; those runs are few and judged apart
MOST_WEIGHTS = 0.02  # median
MOST_KV_GIB = 0.4  # mean
MOST_TOKENS = 0.05  # median
MOST_OF_ONE = 0.05  # weights of one quantised checkpoint that sees
MOST_PEAK_GIB = 0.1  # of one run: the profile run's own peak, where a log prints it
MOST_DRIFT_GIB = 0.03  # of a constant that is read off the logs without one of the models

# gpt-oss at 0.95 of an 80 GB card starts and then fails on warming up the sampler, by less than 0.5 GiB of buffers that
# Triton's kernels for MXFP4 leave behind; at 0.9 it runs. No term of the ledger tells the two apart.
MISSED = frozenset({"llmd-openai-gpt-oss-20b-tp1pp1dp1--8192-failed", "llmd-openai-gpt-oss-20b-tp2pp1dp1--8192-failed"})

# Decoders whose parameters cannot be counted from the record, by id, and why.
UNCOUNTED = {
    "blip2-opt-2.7b": "its feed-forward layers have two matrices",
    "moondream2": "its feed-forward layers have two matrices",
    "gemma-3n-e2b": "embeddings of every layer",
    "gemma-3n-e4b": "embeddings of every layer",
    "gemma-4-e2b": "embeddings of every layer",
    "gemma-4-e4b": "embeddings of every layer",
    "muse-glimmer-30b": "its published total holds more than the record's shape",
    "nemotron-nano-12b-v2-vl": "layers of one kind each, state space among them",
}
UNCOUNTED_FAMILIES = ("qwen3.5", "qwen3.6", "qwen3.8", "lfm2-vl", "minicpm-v-4.6")  # linear attention's projections


@pytest.fixture(scope="module")
def starts() -> list[PredictedStart]:
    """Every case of a version that is stated and new enough, predicted."""
    predicted = judge_starts([read_engine_memory(LOGS)], load_catalog()).predicted
    return [each for each in predicted if (version := _version(each)) is not None and version >= SINCE]


def _version(start: PredictedStart) -> tuple[int, int] | None:
    found = re.search(r"(\d+)\.(\d+)", start.case.version)
    return (int(found[1]), int(found[2])) if found else None


def _errors(starts: Iterable[PredictedStart], *, vision: bool) -> StartErrors:
    return memory_summaries([each for each in starts if each.case.is_vlm is vision])


def test_every_case_is_read() -> None:
    """No case of the file is set aside as unreadable."""
    file = read_engine_memory(LOGS)
    assert not file.set_aside
    assert len(file.cases) > 100


def test_text_models_are_within_the_targets(starts: list[PredictedStart]) -> None:
    """Weights, KV memory and KV tokens of text models, as the goals name them."""
    figures = _errors(starts, vision=False).figures
    assert figures["weights_gib"].rows > 50
    assert figures["weights_gib"].median is not None
    assert figures["weights_gib"].median <= MOST_WEIGHTS
    assert figures["kv_cache_tokens"].median is not None
    assert figures["kv_cache_tokens"].median <= MOST_TOKENS
    kv = figures["available_kv_gib"].absolute_gib
    assert kv is not None
    assert kv.mean <= MOST_KV_GIB


def test_vision_models_are_within_the_targets(starts: list[PredictedStart]) -> None:
    """The same of vision models, whose encoder and its cache count as well."""
    figures = _errors(starts, vision=True).figures
    assert figures["weights_gib"].rows > 10
    assert figures["weights_gib"].median is not None
    assert figures["weights_gib"].median <= MOST_WEIGHTS
    kv = figures["available_kv_gib"].absolute_gib
    assert kv is not None
    assert kv.mean <= MOST_KV_GIB


def test_vision_tokens_follow(starts: list[PredictedStart]) -> None:
    """KV tokens of vision models, quantised ones included."""
    tokens = _errors(starts, vision=True).figures["kv_cache_tokens"]
    assert tokens.rows > 10
    assert tokens.median is not None
    assert tokens.median <= MOST_TOKENS


def test_quantised_checkpoints_that_see_weigh_what_their_parts_do() -> None:
    """Weights within 5%; where the format by part is assumed, between the bounds that the answer names."""
    predicted = judge_starts([read_engine_memory(LOGS)], load_catalog()).predicted
    quantised = [
        each
        for each in predicted
        if each.case.is_vlm and each.case.quantization and each.case.model_exact and "weights_gib" in each.relative
    ]
    assert len(quantised) >= 6
    assert {
        each.case.id: each.relative["weights_gib"] for each in quantised if each.relative["weights_gib"] > 0.05
    } == {}
    assumed = [each for each in predicted if each.prediction.weights_bounds_gib and each.case.measured.weights_gib]
    bounded = [each for each in assumed if each.case.engine == "V1"]
    assert bounded
    for each in bounded:
        least, most = each.prediction.weights_bounds_gib or (0.0, 0.0)
        assert (1 - MOST_OF_ONE) * least <= (each.case.measured.weights_gib or 0.0) <= (1 + MOST_OF_ONE) * most


def test_failures_are_told_from_starts(starts: list[PredictedStart]) -> None:
    """Whether the engine starts, but for the runs that are known to be missed."""
    judged = [each for each in starts if each.right is not None]
    assert any(each.case.measured.oom and each.right for each in judged)
    assert {each.case.id for each in judged if not each.right} == MISSED


def test_activation_peaks_are_those_of_the_profile_run(starts: list[PredictedStart]) -> None:
    """The peak of each log on one GPU or a tensor-parallel group, which no constant was fitted to."""
    compared = [
        (each.case.id, each.prediction.activation_peak_gib, each.case.measured.activation_peak_gib)
        for each in starts
        if each.case.measured.activation_peak_gib is not None and each.case.pipeline_parallel == 1
    ]
    assert len(compared) > 50
    off = {
        name: (said, read)
        for name, said, read in compared
        if said is None or read is None or abs(said - read) > MOST_PEAK_GIB
    }
    assert not off


def test_encoder_budgets_are_those_of_the_log(starts: list[PredictedStart]) -> None:
    """The encoder cache that vLLM announces, in tokens, for the largest item that the limits allow."""
    compared = {
        each.case.model: (each.prediction.encoder_cache_tokens, each.case.measured.encoder_cache_tokens)
        for each in starts
        if each.prediction.encoder_cache_tokens and each.case.measured.encoder_cache_tokens
    }
    assert len(compared) >= 5
    assert {name: pair for name, pair in compared.items() if pair[0] != pair[1]} == {}


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_constants_hold_without_any_one_model(starts: list[PredictedStart], gpus: int) -> None:
    """Context and NCCL read off all models but one stay where they are, whichever is left out."""
    expected = CONTEXT_BYTES + (0 if gpus == 1 else NCCL_MULTICAST_BYTES + gpus * NCCL_MULTICAST_BYTES_PER_GPU)
    read = [
        (each.case.model, each.case.measured.non_torch_gib)
        for each in starts
        if each.case.tensor_parallel == gpus
        and each.case.pipeline_parallel == 1
        and (_version(each) or SINCE) > SINCE
        and each.case.measured.non_torch_gib is not None
    ]
    names = {name for name, _ in read}
    assert len(names) >= 3
    for left_out in names:
        rest = median(value for name, value in read if name != left_out)
        assert abs(rest - expected / GIB) <= MOST_DRIFT_GIB, left_out


def test_every_term_buys_something(starts: list[PredictedStart], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sampler, the experts' workspace or the encoder's inputs and outputs, KV memory is further off."""
    whole = _kv_error(starts)
    nothing: Callable[..., float] = lambda *_, **__: 0.0  # noqa: E731
    for term in ("sampler_bytes", "workspace_bytes", "held_bytes", "forward_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(f"vlmctl.planning.memory.{term}", nothing)
            without = judge_starts([read_engine_memory(LOGS)], load_catalog()).predicted
        kept = {each.case.id for each in starts}
        assert _kv_error([each for each in without if each.case.id in kept]) > 1.05 * whole, term


def _kv_error(starts: Iterable[PredictedStart]) -> float:
    errors = [memory_errors(each.case, each.prediction).available_kv_gib for each in starts]
    return fmean(error for error in errors if error is not None)


def _counted() -> list[ModelSpec]:
    return [
        model
        for model in load_catalog().models
        if model.language is not None and model.id not in UNCOUNTED and not model.id.startswith(UNCOUNTED_FAMILIES)
    ]


@pytest.mark.parametrize("model", _counted(), ids=lambda model: model.id)
def test_parameters_counted_from_the_shape_are_the_published_ones(model: ModelSpec) -> None:
    """The decoder's parameters agree with its published size within 2%."""
    assert model.language is not None
    published = (model.parameters.language_billions or 0.0) * 1e9 or weights(model).language
    assert counted_parameters(model.language) == pytest.approx(published, rel=0.02)


def test_exceptions_are_still_needed() -> None:
    """Every model that is left out of the count above really cannot be counted."""
    models = {model.id: model for model in load_catalog().models}
    for name in UNCOUNTED:
        model = models[name]
        assert model.language is not None
        published = (model.parameters.language_billions or 0.0) * 1e9 or weights(model).language
        assert counted_parameters(model.language) != pytest.approx(published, rel=0.02), name
