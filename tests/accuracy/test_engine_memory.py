"""The memory ledger beside what vLLM itself printed at start-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from tests.support.records import make_gpu, make_model
from vlmctl.planning.architecture import kv_bytes_per_token, model_figures
from vlmctl.planning.demand import request_demand
from vlmctl.planning.memory import footprint
from vlmctl.planning.placement import engine_settings
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.model import (
    AttentionKind,
    AttentionLayers,
    Experts,
    LanguageModel,
    ModelSpec,
    Parameters,
    Precision,
)
from vlmctl.specs.workload import Workload
from vlmctl.units import GIB

LOGS = Path("catalog/measurements/engine_memory.yaml")
SOURCE = "the model's config.json"
WEIGHTS_TOLERANCE = 0.01
KV_TOLERANCE = 0.03  # of the GPU's whole memory: all other terms of the ledger together


def _text_model(
    name: str,
    billions: float,
    layers: int,
    hidden: int,
    inner: int | None,
    vocabulary: int,
    heads: tuple[int, int, int],
    experts: Experts | None = None,
) -> ModelSpec:
    query, kv, size = heads
    return make_model(
        name,
        vision=None,
        parameters=Parameters(
            total_billions=billions, active_billions=billions, vision_billions=0.0, source=SOURCE, verified=True
        ),
        language=LanguageModel(
            name=name,
            layers=layers,
            hidden_size=hidden,
            intermediate_size=inner,
            vocabulary=vocabulary,
            attention=(
                AttentionLayers(kind=AttentionKind.FULL, layers=layers, query_heads=query, kv_heads=kv, head_dim=size),
            ),
            experts=experts,
            tied_embeddings=False,
            source=SOURCE,
        ),
    )


MODELS = {
    "codellama/CodeLlama-7b-hf": _text_model("codellama", 6.739, 32, 4096, 11008, 32016, (32, 32, 128)),
    "meta-llama/Llama-3.1-8B-Instruct": _text_model("llama", 8.03, 32, 4096, 14336, 128256, (32, 8, 128)),
    "Qwen/Qwen2.5-7B-Instruct": _text_model("qwen2.5", 7.616, 28, 3584, 18944, 152064, (28, 4, 128)),
    "Qwen/Qwen3-8B": _text_model("qwen3", 8.19, 36, 4096, 12288, 151936, (32, 8, 128)),
    "Qwen/Qwen2.5-72B-Instruct": _text_model("qwen72", 72.706, 80, 8192, 29568, 152064, (64, 8, 128)),
    "microsoft/phi-4": _text_model("phi4", 14.66, 40, 5120, 17920, 100352, (40, 10, 128)),
    "Qwen/Qwen3-30B-A3B": _text_model(
        "qwen3moe",
        30.53,
        48,
        2048,
        None,
        151936,
        (32, 4, 128),
        Experts(count=128, active=8, intermediate_size=768),
    ),
}


def _cases() -> list[dict[str, Any]]:
    """Runs of those models in 16 bit with complete logs, in the settings the logs state."""
    read = yaml.safe_load(LOGS.read_text(encoding="utf-8"))["cases"]
    return [
        case
        for case in read
        if case["model"] in MODELS
        and case["id"].startswith("llmd-")
        and case.get("quantization") is None
        and case.get("dtype") in ("auto", "bfloat16")
        and case["gpu_count"] == case["tensor_parallel"]
        and (case.get("effective_defaults") or {}).get("max_num_batched_tokens") == 8192
        and "available_kv_gib" in case["measured"]
        and "kv_cache_dtype" not in case["args"]
    ]


def _settings(case: dict[str, Any], model: ModelSpec) -> EngineSettings:
    gpu = make_gpu(gib=case["gpu_total_gib"])
    workload = Workload(prompt_tokens=case["args"]["max_model_len"] - 1, output_tokens=1)
    settings = engine_settings(model, gpu, workload, request_demand(model, workload))
    return replace(
        settings,
        gpu_memory_utilization=case["args"]["gpu_memory_utilization"],
        max_num_batched_tokens=case["effective_defaults"]["max_num_batched_tokens"],
        max_num_seqs=case["effective_defaults"]["max_num_seqs"],
    )


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case["id"])
def test_ledger_matches_what_vllm_logged(case: dict[str, Any]) -> None:
    """Weights agree within 1%; KV memory within 3% of the card; the KV size of a token exactly."""
    model = MODELS[case["model"]]
    gpu = make_gpu(gib=case["gpu_total_gib"])
    workload = Workload(prompt_tokens=case["args"]["max_model_len"] - 1, output_tokens=1)
    terms = footprint(
        model_figures(model, Precision.BF16),
        gpu,
        request_demand(model, workload),
        _settings(case, model),
        gpu_count=case["gpu_count"],
    )
    measured = case["measured"]
    assert terms.language_weights / GIB == pytest.approx(measured["weights_gib"], rel=WEIGHTS_TOLERANCE)
    # vLLM 0.19 captures CUDA graphs after sizing the KV cache; later releases, and this ledger, take them off before.
    available = (terms.kv_cache + terms.cuda_graphs) / GIB
    assert abs(available - measured["available_kv_gib"]) < KV_TOLERANCE * case["gpu_total_gib"]
    if "kv_cache_tokens" in measured:
        assert model.language is not None
        token = kv_bytes_per_token(model.language, tensor_parallel=case["gpu_count"])
        logged = measured["available_kv_gib"] * GIB / measured["kv_cache_tokens"]
        assert token == pytest.approx(logged, rel=0.002)


def test_there_are_logs_to_compare_with() -> None:
    """The selection above is not empty, on one GPU and on several."""
    counts = {case["gpu_count"] for case in _cases()}
    assert len(_cases()) >= 10
    assert {1, 2} <= counts
