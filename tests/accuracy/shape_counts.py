"""Parameters of a decoder counted from the catalog's record of its shape, to hold against its published size."""

from __future__ import annotations

from vlmctl.planning.architecture import PLAIN_MLP_MATRICES, sparse_layers
from vlmctl.planning.stored_weights import GATED_MLP_MATRICES
from vlmctl.specs.model import AttentionKind, AttentionLayers, LanguageModel


def counted_parameters(language: LanguageModel) -> float:
    """Projections of queries, keys, values and outputs, gated MLPs, experts, embedding and output head.

    Norms and biases are left out, and so are the gates of linear attention and the low-rank steps of MLA's queries.
    """
    hidden = language.hidden_size
    attention = sum(group.layers * _projections(group, hidden) for group in language.attention)
    tables = language.vocabulary * hidden * (1 if language.tied_embeddings else 2)
    sparse = sparse_layers(language)
    dense = (language.layers - sparse) * GATED_MLP_MATRICES * hidden * (language.intermediate_size or 0)
    experts = language.experts
    if experts is None:
        return attention + tables + dense
    matrices = GATED_MLP_MATRICES if experts.gated else PLAIN_MLP_MATRICES
    shared = experts.shared * GATED_MLP_MATRICES * (experts.shared_intermediate_size or experts.intermediate_size)
    routed = experts.count * matrices * experts.intermediate_size
    return attention + tables + dense + sparse * hidden * (shared + routed)


def _projections(group: AttentionLayers, hidden: int) -> int:
    """Of one layer."""
    outer = 2 * hidden * group.query_heads * group.head_dim
    if group.kind is AttentionKind.LATENT:
        return outer + (group.latent_dim or 0) * (hidden + 2 * group.query_heads * group.head_dim)
    return outer + 2 * hidden * group.kv_heads * group.head_dim
