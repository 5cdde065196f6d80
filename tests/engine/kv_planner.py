"""vLLM's own planner of the KV cache, asked without an engine: its specs, alignment, groups and capacity.

Only what an engine would bring is stood in for: the configuration's values, a kernel that takes multiples of the block,
and a model class that states its recurrent state. All arithmetic is vLLM's.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from vllm.config.model import ModelConfig
from vllm.model_executor.models import ModelRegistry
from vllm.platforms.interface import Platform
from vllm.v1.attention.backend import AttentionBackend, MultipleOf
from vllm.v1.core.kv_cache_utils import get_kv_cache_capacity, get_kv_cache_configs
from vllm.v1.kv_cache_interface import (
    ChunkedLocalAttentionSpec,
    FullAttentionSpec,
    KVCacheSpec,
    MambaSpec,
    MLAAttentionSpec,
    SlidingWindowSpec,
    SparseCacheRole,
)
from vllm.v1.kv_cache_layout import KVCacheLayout

from vlmctl.specs.model import AttentionKind, AttentionLayers
from vlmctl.specs.record import Record


class Engine(Record, frozen=True, kw_only=True):
    """The settings that decide how the cache is cut."""

    ranks: int
    element_bytes: int
    block_tokens: int
    prefix_caching: bool
    max_model_len: int
    in_flight_tokens: int


def capacity(attention: Sequence[AttentionLayers], engine: Engine, available_bytes: int) -> tuple[int, int]:
    """Tokens and blocks that vLLM plans; raises ValueError where it would refuse to start."""
    config = _config(engine)
    _align(attention, engine, config)
    specs = _specs(attention, engine, config)
    planned = get_kv_cache_configs(config, [specs], [available_bytes])[0]
    return get_kv_cache_capacity(config, planned)[0], planned.num_blocks


def _config(engine: Engine) -> Any:
    return SimpleNamespace(
        cache_config=SimpleNamespace(
            cache_dtype="auto" if engine.element_bytes == 2 else "fp8_e4m3",
            block_size=engine.block_tokens,
            mamba_block_size=None if engine.prefix_caching else engine.max_model_len,
            mamba_page_size_padded=None,
            mamba_cache_mode="align" if engine.prefix_caching else "none",
            num_gpu_blocks_override=None,
            prefix_cache_retention_interval=None,
            get_resolved_kv_cache_layout=lambda: KVCacheLayout.LBNHC,
        ),
        model_config=SimpleNamespace(max_model_len=engine.max_model_len, original_max_model_len=engine.max_model_len),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        parallel_config=SimpleNamespace(tensor_parallel_size=engine.ranks, decode_context_parallel_size=1),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
        num_prefill_lookahead_tokens=0,
        max_in_flight_tokens=engine.in_flight_tokens,
    )


def _align(attention: Sequence[AttentionLayers], engine: Engine, config: Any) -> None:
    """Raises the block beside linear layers, as the platform does once the model is built."""
    linear = [group for group in attention if group.kind is AttentionKind.LINEAR]
    keeping = [group for group in attention if group.kind not in (AttentionKind.LINEAR, AttentionKind.SHARED)]
    if not linear or not keeping:
        return
    latent = keeping[0].kind is AttentionKind.LATENT
    config.model_config.use_mla = latent
    config.model_config.dtype = torch.bfloat16
    config.model_config.architecture = "Stated"
    config.model_config.get_num_kv_heads = lambda _: _heads(keeping[0], engine)
    config.model_config.get_head_size = lambda: keeping[0].latent_dim if latent else keeping[0].head_dim
    elements = max(_state_elements(group, engine) for group in linear)

    kernel = SimpleNamespace(
        get_supported_kernel_block_sizes=lambda: [MultipleOf(engine.block_tokens)],
        customize_spec=AttentionBackend.customize_spec,
    )
    stated = SimpleNamespace(
        get_mamba_state_shape_from_config=lambda _: ((elements,),),
        get_mamba_state_dtype_from_config=lambda _: (torch.bfloat16,),
    )
    with (
        mock.patch.object(ModelRegistry, "resolve_model_cls", return_value=(stated, "Stated")),
        mock.patch("vllm.config.vllm.set_current_vllm_config"),
        mock.patch.object(Platform, "_find_non_ssm_backends", return_value=[kernel]),
    ):
        Platform._align_hybrid_block_size(config, kernel)


def _specs(attention: Sequence[AttentionLayers], engine: Engine, config: Any) -> dict[str, KVCacheSpec]:
    """One entry a layer; the kinds take turns, as they do in models."""
    placed = {
        f"{number}.{layer}.{name}": ((layer + 0.5) / group.layers, spec)
        for number, group in enumerate(attention)
        for name, spec in _layer(group, engine, config)
        for layer in range(group.layers)
    }
    return {name: placed[name][1] for name in sorted(placed, key=lambda name: (placed[name][0], name))}


def _layer(group: AttentionLayers, engine: Engine, config: Any) -> list[tuple[str, KVCacheSpec]]:
    dtype = torch.bfloat16 if engine.element_bytes == 2 else torch.uint8
    block = config.cache_config.block_size
    plain = {
        "block_size": block,
        "num_kv_heads": _heads(group, engine),
        "head_size": group.head_dim,
        "head_size_v": group.value_dim,
        "dtype": dtype,
    }
    if group.kind is AttentionKind.FULL:
        return [("attention", FullAttentionSpec(**plain))]
    if group.kind is AttentionKind.SLIDING:
        return [("attention", SlidingWindowSpec(**plain, sliding_window=group.window_tokens))]
    if group.kind is AttentionKind.CHUNKED:
        return [("attention", ChunkedLocalAttentionSpec(**plain, attention_chunk_size=group.window_tokens))]
    if group.kind is AttentionKind.LINEAR:
        state = MambaSpec(
            block_size=config.cache_config.mamba_block_size,
            shapes=((_state_elements(group, engine),),),
            dtypes=(torch.bfloat16,),
            page_size_padded=config.cache_config.mamba_page_size_padded,
            mamba_cache_mode=config.cache_config.mamba_cache_mode,
            num_prefill_checkpoint_blocks=group.checkpoint_states,
        )
        return [("state", state)]
    if group.kind is AttentionKind.LATENT:
        latent = {"block_size": block, "num_kv_heads": _heads(group, engine), "max_tp_shards": 1}
        layers: list[tuple[str, KVCacheSpec]] = [
            ("attention", MLAAttentionSpec(**latent, head_size=group.latent_dim, dtype=dtype, cache_dtype_str="auto"))
        ]
        if group.index_bytes:
            indexer = MLAAttentionSpec(
                **latent, head_size=group.index_bytes, dtype=torch.uint8, cache_role=SparseCacheRole.INDEXER
            )
            layers.append(("indexer", indexer))
        return layers
    return []


def _heads(group: AttentionLayers, engine: Engine) -> int:
    """vLLM's own division of heads among ranks."""
    stated = SimpleNamespace(total_num_kv_heads=group.kv_heads)
    model = SimpleNamespace(use_mla=group.kind is AttentionKind.LATENT, model_arch_config=stated)
    return ModelConfig.get_num_kv_heads(model, SimpleNamespace(tensor_parallel_size=engine.ranks))


def _state_elements(group: AttentionLayers, engine: Engine) -> int:
    return (group.state_bytes or 0) // 2 // engine.ranks
