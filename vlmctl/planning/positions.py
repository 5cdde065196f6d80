"""Tables of rotary positions, which vLLM keeps whole on every GPU beside the weights and counts among them."""

from __future__ import annotations

from vlmctl.specs.model import AttentionKind, LanguageModel, ModelSpec
from vlmctl.specs.tokens import SmartResize

TABLE_BYTES = 2  # per element, in the model's 16 bit
ROTATED_SHARE_BESIDE_LINEAR = 0.25  # of a head, where layers of linear attention lie between (partial_rotary_factor)
LATENT_ROTATED_ELEMENTS = 64  # MLA's qk_rope_head_dim
# Positions with three axes: tables are four times as long (vllm/model_executor/layers/rotary_embedding/mrope.py).
MULTIAXIAL_FACTOR = 4

_ROTATED = frozenset({AttentionKind.FULL, AttentionKind.SLIDING, AttentionKind.CHUNKED, AttentionKind.LATENT})


def position_table_bytes(model: ModelSpec, language: LanguageModel) -> float:
    """One table for each kind and size of head: positions x elements that are rotated x 2 bytes.

    Source: vllm-project/vllm@v0.32.0 vllm/model_executor/layers/rotary_embedding/base.py, linear_scaling_rope.py.
    """
    kinds = {group.kind for group in language.attention}
    heads = {(group.kind, _rotated(group.kind, group.head_dim)) for group in language.attention}
    elements = 0.0
    for kind, size in heads:
        if kind is AttentionKind.FULL and AttentionKind.CHUNKED in kinds:
            continue  # Llama 4: what attends to everything has no positions
        stretch = language.position_stretch if kind is AttentionKind.FULL else 1
        elements += size * stretch
    if AttentionKind.LINEAR in kinds:
        elements *= ROTATED_SHARE_BESIDE_LINEAR
    rule = model.image_tokens.rule if model.image_tokens is not None else None
    factor = MULTIAXIAL_FACTOR if isinstance(rule, SmartResize) else 1
    return model.context.tokens * elements * factor * TABLE_BYTES


def _rotated(kind: AttentionKind, head_dim: int) -> int:
    if kind is AttentionKind.LATENT:
        return LATENT_ROTATED_ELEMENTS
    return head_dim if kind in _ROTATED else 0
