"""The KV cache beside vLLM's own: engines started on CPU, and its planner over random decoders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

pytest.importorskip("vllm", reason="vLLM is not installed: make test-engine installs it")

from tests.engine.kv_planner import Engine, capacity
from tests.engine.tiny_decoders import DECODERS
from vlmctl.catalog.hf_config import language_model_from_config
from vlmctl.planning.kv_cache import KvPaging, kv_cache_tokens, kv_paging, least_cache_bytes
from vlmctl.specs.model import AttentionKind, AttentionLayers, LanguageModel

PROGRAM = Path(__file__).with_name("kv_capacities.py")
CPU_BLOCK_TOKENS = 128  # vllm/platforms/cpu.py
START_SECONDS = 300  # of all engines together
GRID_EXAMPLES = 1000
MIB = 2**20
QUIET = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
}
# The state's precision is pinned: on CPUs with bf16 instructions vLLM would raise it by itself.
USUAL = {"max_model_len": 2048, "max_num_batched_tokens": 512, "mamba_ssm_cache_dtype": "float32"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    **{name: {**USUAL, "kv_cache_memory_bytes": 64 * MIB} for name in DECODERS},
    "grouped": {**USUAL, "kv_cache_memory_bytes": 10 * MIB + 12345, "max_model_len": 1000},
    "linear-and-experts": {**USUAL, "kv_cache_memory_bytes": 64 * MIB, "enable_prefix_caching": False},
    "linear-in-bytes": {**USUAL, "kv_cache_memory_bytes": 64 * MIB, "kv_cache_dtype": "fp8"},
    "sliding-and-shared": {**USUAL, "kv_cache_memory_bytes": 40 * MIB, "kv_cache_dtype": "fp8"},
}


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, Any]]:
    """What each engine says of itself, by the decoder's name."""
    runs = [{"config": config, "arguments": ARGUMENTS[name]} for name, config in DECODERS.items()]
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        env={**os.environ, **QUIET},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(zip(DECODERS, map(json.loads, done.stdout.splitlines()), strict=True))


def _language(name: str) -> LanguageModel:
    return language_model_from_config(DECODERS[name], source="a test", unlisted=True)


@pytest.mark.parametrize("name", DECODERS)
def test_capacity_is_what_a_started_engine_reports(name: str, said: dict[str, dict[str, Any]]) -> None:
    """From a config.json to `kv_cache_size_tokens`: equal for every way of attending."""
    engine, arguments, language = said[name], ARGUMENTS[name], _language(name)
    linear = any(group.kind is AttentionKind.LINEAR for group in language.attention)
    paging = kv_paging(
        language,
        element_bytes=1 if arguments.get("kv_cache_dtype") == "fp8" else 2,
        block_tokens=CPU_BLOCK_TOKENS if linear else engine["block_size"],
        prefix_caching=arguments.get("enable_prefix_caching", True),
    )
    tokens = kv_cache_tokens(
        paging,
        arguments["kv_cache_memory_bytes"],
        max_model_len=arguments["max_model_len"],
        in_flight_tokens=engine["in_flight_tokens"],
    )
    assert tokens == engine["kv_cache_size_tokens"]
    assert arguments["kv_cache_memory_bytes"] // paging.block_bytes == engine["num_gpu_blocks"]
    if linear:
        assert {group.block_tokens for group in paging.groups} == {engine["block_size"]}


_layers = st.integers(1, 40)
_heads = st.sampled_from((1, 2, 3, 4, 6, 8, 10, 16, 32))
_dims = st.sampled_from((32, 64, 80, 96, 112, 128, 192, 256, 512))
_states = st.integers(1, 600_000).map(lambda units: units * 16)  # divisible by every count of GPUs and by two bytes


def _attending(kind: AttentionKind) -> st.SearchStrategy[AttentionLayers]:
    windowed = kind in (AttentionKind.SLIDING, AttentionKind.CHUNKED)
    return st.builds(
        AttentionLayers,
        kind=st.just(kind),
        layers=_layers,
        query_heads=st.just(32),
        kv_heads=_heads,
        head_dim=_dims,
        value_dim=st.none() | st.none() | _dims,
        window_tokens=st.sampled_from((128, 512, 1000, 1024, 4096, 8192)) if windowed else st.none(),
    )


_LATENT = st.builds(
    AttentionLayers,
    kind=st.just(AttentionKind.LATENT),
    layers=_layers,
    kv_heads=st.just(128),
    head_dim=st.just(192),
    latent_dim=st.sampled_from((320, 512, 576)),
    index_bytes=st.none() | st.just(132),
)
_LINEAR = st.builds(
    AttentionLayers,
    kind=st.just(AttentionKind.LINEAR),
    layers=_layers,
    state_bytes=_states,
    checkpoint_states=st.integers(0, 1),
)
_SHARED = st.builds(
    AttentionLayers, kind=st.just(AttentionKind.SHARED), layers=_layers, kv_heads=_heads, head_dim=_dims
)
_FULL, _SLIDING, _CHUNKED = map(_attending, (AttentionKind.FULL, AttentionKind.SLIDING, AttentionKind.CHUNKED))


def _without(field: str) -> Callable[[AttentionLayers], AttentionLayers]:
    return lambda group: replace(group, **{field: None})


def _some(*kinds: st.SearchStrategy[AttentionLayers]) -> st.SearchStrategy[tuple[AttentionLayers, ...]]:
    return st.lists(st.one_of(*kinds), max_size=2).map(tuple)


def _led_by(
    first: st.SearchStrategy[AttentionLayers], rest: st.SearchStrategy[tuple[AttentionLayers, ...]]
) -> st.SearchStrategy[tuple[AttentionLayers, ...]]:
    return st.tuples(first, rest).map(lambda parts: (parts[0], *parts[1]))


_EVEN, _UNINDEXED = _FULL.map(_without("value_dim")), _LATENT.map(_without("index_bytes"))
# Models of one attention, and hybrids as they exist: windows or chunks beside full layers, states beside either, MLA
# beside windows or states. Nobody has put states beside values narrower than keys, or anything beside an indexer.
_ATTENTIONS = st.one_of(
    _led_by(_FULL, _some(_FULL, _SLIDING, _SHARED)),
    _led_by(_FULL, _some(_CHUNKED, _SHARED)),
    _led_by(_SLIDING, _some(_SLIDING, _SHARED)),
    _led_by(_EVEN, _some(_LINEAR, _LINEAR, _SLIDING)),
    _led_by(_LATENT, st.just(())),
    _led_by(_UNINDEXED, _some(_SLIDING)),
    _led_by(_UNINDEXED, _some(_LINEAR)),
)
_ENGINES = st.builds(
    Engine,
    ranks=st.sampled_from((1, 2, 4, 8)),
    element_bytes=st.sampled_from((1, 2)),
    block_tokens=st.sampled_from((16, 32, 64, 128)),
    prefix_caching=st.booleans(),
    max_model_len=st.integers(1, 300_000),
    in_flight_tokens=st.sampled_from((512, 2048, 4096, 16384)),
)


@settings(max_examples=GRID_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(attention=_ATTENTIONS, engine=_ENGINES, spare=st.integers(0, 10**11))
def test_capacity_is_what_the_planner_of_vllm_plans(
    attention: tuple[AttentionLayers, ...], engine: Engine, spare: int
) -> None:
    """Tokens and blocks are equal over random decoders and settings, and it starts from exactly the bytes we say."""
    paging = _paging_of(attention, engine)
    limits = {"max_model_len": engine.max_model_len, "in_flight_tokens": engine.in_flight_tokens}
    least = least_cache_bytes(paging, **limits)
    tokens, blocks = capacity(attention, engine, least + spare)
    assert kv_cache_tokens(paging, least + spare, **limits) == tokens
    assert (least + spare) // paging.block_bytes == blocks
    with pytest.raises(ValueError, match="KV cache"):
        capacity(attention, engine, least - 1)


def _paging_of(attention: tuple[AttentionLayers, ...], engine: Engine) -> KvPaging:
    language = LanguageModel(name="drawn", layers=1, hidden_size=1, vocabulary=1, attention=attention, source="drawn")
    return kv_paging(
        language,
        tensor_parallel=engine.ranks,
        element_bytes=engine.element_bytes,
        block_tokens=engine.block_tokens,
        prefix_caching=engine.prefix_caching,
    )
