"""What layers keep of the tokens they have seen, beyond plain keys and values, read from configurations."""

from __future__ import annotations

from typing import Any

from vlmctl.catalog.hf_attention import attention_layers
from vlmctl.specs.model import AttentionKind

LATENT: dict[str, Any] = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
MAMBA: dict[str, Any] = {"layer_types": ["linear_attention", "full_attention"], "state_bytes": 1000, "head_dim": 64}
MIMO: dict[str, Any] = {
    "hybrid_layer_pattern": [0, 1],
    "head_dim": 192,
    "v_head_dim": 128,
    "swa_v_head_dim": 96,
    "swa_num_attention_heads": 64,
    "swa_num_key_value_heads": 8,
    "num_key_value_heads": 4,
    "sliding_window": 128,
}


def test_keys_that_sparse_attention_picks_by() -> None:
    """DeepSeek V3.2: 128 bytes and one 32-bit scale a token; nothing without an indexer."""
    (sparse,) = attention_layers({**LATENT, "index_head_dim": 128, "index_topk": 2048}, "deepseek_v3", 4, 16)
    assert (sparse.kind, sparse.latent_dim, sparse.index_bytes) == (AttentionKind.LATENT, 576, 132)
    (dense,) = attention_layers(LATENT, "deepseek_v3", 4, 16)
    assert dense.index_bytes is None


def test_keys_of_some_layers_only_are_left_out() -> None:
    """Where layers share what another picked, how many have keys of their own is not stated here."""
    for shared in ({"index_topk_freq": 4}, {"index_topk_pattern": "FSSS"}):
        (sparse,) = attention_layers({**LATENT, "index_head_dim": 128, **shared}, "deepseek_v3", 4, 16)
        assert sparse.index_bytes is None


def test_values_narrower_than_keys() -> None:
    """MiMo-V2 states them for windowed and for full layers."""
    full, sliding = attention_layers(MIMO, "mimo_v2_flash", 2, 64)
    assert (full.head_dim, full.value_dim) == (192, 128)
    assert (sliding.head_dim, sliding.value_dim) == (192, 96)


def test_mamba_2_keeps_a_checkpoint() -> None:
    """It has groups of heads; other linear layers have none and keep no further state."""
    mamba, _ = attention_layers({**MAMBA, "n_groups": 8}, "nemotron_h", 2, 16)
    assert mamba.checkpoint_states == 1
    other, _ = attention_layers(MAMBA, "qwen3_5_text", 2, 16)
    assert other.checkpoint_states == 0
