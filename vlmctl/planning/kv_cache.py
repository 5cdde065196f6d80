"""How vLLM 0.32 pages the KV cache: its blocks, what one sequence takes of them, and the tokens that it then reports.

Checked against vLLM itself (tests/engine/test_kv_cache_oracle.py). Files named here are of vllm-project/vllm@v0.32.0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from msgspec.structs import replace

from vlmctl.specs.model import AttentionKind, AttentionLayers, LanguageModel
from vlmctl.specs.record import Record

# vllm/config/cache.py: of most CUDA kernels; MLA takes 32 on Blackwell, and CPUs 128 (vllm/platforms/cpu.py).
BLOCK_TOKENS = 16
# vllm/platforms/interface.py, _align_hybrid_block_size: MLA beside linear attention has a multiple of this.
LATENT_HYBRID_BLOCK_TOKENS = 128
# vllm/config/vllm.py, max_concurrent_batches: two with asynchronous scheduling, the default everywhere but on CPU.
BATCHES_IN_FLIGHT = 2
CACHED_STATES = 2  # of a linear layer per sequence under prefix caching (MambaSpec.max_memory_usage_bytes)
LONE_STATES = 1  # the same without prefix caching
# _get_kv_cache_groups_uniform_page_size: kinds of layers less uneven than this in number are padded to the larger.
EVEN_GROUPS = 1.5

_WHOLE = frozenset({AttentionKind.FULL, AttentionKind.LATENT})  # keep every token
_CACHE_SIZE = 4096  # models x GPU counts x formats that are remembered


class KvGroup(Record, frozen=True, kw_only=True):
    """`count` groups of layers that take blocks alike, each its own.

    A block holds `block_tokens`, or one of the `states` of linear layers, of every layer of its group.
    """

    kind: AttentionKind
    count: int
    block_tokens: int
    window_tokens: int = 0
    states: int = 0


class KvPaging(Record, frozen=True, kw_only=True):
    """The KV cache of a model on one GPU: a pool of blocks of `block_bytes`, which its groups share."""

    block_bytes: int
    groups: tuple[KvGroup, ...]


class _Pages(Record, frozen=True, kw_only=True):
    """Layers of one shape, and the page that each fills of a block."""

    kind: AttentionKind
    layers: int
    page_bytes: int
    block_tokens: int
    window_tokens: int
    states: int
    shape: tuple[int, ...]  # what else sets layers apart, even where their pages are equal


def kv_paging(
    language: LanguageModel,
    *,
    tensor_parallel: int = 1,
    element_bytes: int = 2,
    scale_bytes: int = 0,
    block_tokens: int = BLOCK_TOKENS,
    prefix_caching: bool = True,
) -> KvPaging:
    """How the KV cache of a decoder is paged on each GPU (`get_kv_cache_groups`, vllm/v1/core/kv_cache_utils.py).

    `element_bytes`: 1 for an fp8 or int8 cache. `scale_bytes`: beside each key and each value head, 4 for the
    `*_per_token_head` formats. `block_tokens`: the attention kernel's, raised beside linear attention.
    """
    return _paging(language.attention, tensor_parallel, element_bytes, scale_bytes, block_tokens, prefix_caching)


def sequence_blocks(paging: KvPaging, tokens: int, *, in_flight_tokens: int = 1, cross_tokens: int = 0) -> int:
    """Blocks that a sequence of `tokens` takes (`max_memory_usage_bytes` of vllm/v1/kv_cache_interface.py).

    `in_flight_tokens`: scheduled but not finished, which windows keep beside what they look back on. vLLM admits with
    BATCHES_IN_FLIGHT x max_num_batched_tokens; a sequence that is only decoding has BATCHES_IN_FLIGHT.
    """
    blocks = 0
    for group in paging.groups:
        kept, extra = tokens, 0
        if group.kind is AttentionKind.SLIDING:
            kept, extra = min(tokens, group.window_tokens - 1 + in_flight_tokens), 1  # it may start within a block
        elif group.kind is AttentionKind.CHUNKED:
            kept = min(tokens, group.window_tokens + in_flight_tokens)
        elif group.kind is AttentionKind.LINEAR:
            kept, extra = 0, group.states
        elif group.kind is AttentionKind.CROSS:
            kept = cross_tokens
        blocks += group.count * (-(-kept // group.block_tokens) + extra)
    return blocks


def sequence_bytes(paging: KvPaging, tokens: int, *, in_flight_tokens: int = 1, cross_tokens: int = 0) -> int:
    """Bytes of one GPU that a sequence takes, in whole blocks; arguments as for `sequence_blocks`."""
    return paging.block_bytes * sequence_blocks(
        paging, tokens, in_flight_tokens=in_flight_tokens, cross_tokens=cross_tokens
    )


def least_cache_bytes(paging: KvPaging, max_model_len: int, *, in_flight_tokens: int = 1, cross_tokens: int = 0) -> int:
    """Bytes without which vLLM refuses to start: the longest sequence, and the one block that the pool keeps back."""
    longest = sequence_bytes(paging, max_model_len, in_flight_tokens=in_flight_tokens, cross_tokens=cross_tokens)
    return longest + paging.block_bytes


def kv_cache_tokens(
    paging: KvPaging, available_bytes: int, *, max_model_len: int, in_flight_tokens: int = 1, cross_tokens: int = 0
) -> int:
    """The tokens that vLLM reports (`kv_cache_size_tokens`, "KV cache size"): longest sequences x their length.

    Rounded as `get_kv_cache_capacity` of vllm/v1/core/kv_cache_utils.py does, in floating point. Since vLLM 0.20.
    """
    longest = sequence_blocks(paging, max_model_len, in_flight_tokens=in_flight_tokens, cross_tokens=cross_tokens)
    if not longest:
        return 0
    return int(_pool_blocks(paging, available_bytes) / longest * max_model_len)


def kv_cache_tokens_by_group(paging: KvPaging, available_bytes: int) -> int:
    """The tokens that releases before vLLM 0.20 report, blind to windows: blocks shared out evenly among the groups.

    `_report_kv_cache_config` of vllm/v1/core/kv_cache_utils.py, vllm-project/vllm@v0.19.0.
    """
    if not paging.groups:
        return 0
    groups = sum(group.count for group in paging.groups)
    return _pool_blocks(paging, available_bytes) // groups * min(group.block_tokens for group in paging.groups)


def _pool_blocks(paging: KvPaging, available_bytes: int) -> int:
    return max(0, available_bytes) // paging.block_bytes


@lru_cache(maxsize=_CACHE_SIZE)
def _paging(
    attention: tuple[AttentionLayers, ...], ranks: int, element: int, scale: int, block_tokens: int, caching: bool
) -> KvPaging:
    block = _raised_block(attention, ranks, element, scale, block_tokens)
    growing = any(group.kind not in (AttentionKind.LINEAR, AttentionKind.SHARED) for group in attention)
    pages = _merged([_pages(group, ranks, element, scale, block, caching and growing) for group in attention])
    if not pages:
        return KvPaging(block_bytes=0, groups=())
    if growing:  # vLLM pads the state to the raised block's page (_align_hybrid_block_size)
        largest = max(each.page_bytes for each in pages)
        pages = [replace(p, page_bytes=largest) if p.kind is AttentionKind.LINEAR else p for p in pages]
    if _alike(pages):
        kept = max(pages, key=lambda each: each.kind in _WHOLE)
        return KvPaging(block_bytes=sum(each.layers * each.page_bytes for each in pages), groups=(_group(kept, 1),))
    return _shared_pool([_unified(each, max(other.page_bytes for other in pages)) for each in pages])


def _raised_block(
    attention: tuple[AttentionLayers, ...], ranks: int, element: int, scale: int, block_tokens: int
) -> int:
    """Tokens per block: beside linear layers, enough that the attention's page holds a state.

    `_align_hybrid_block_size` of vllm/platforms/interface.py.
    """
    state = max((_state_bytes(each, ranks) for each in attention if each.kind is AttentionKind.LINEAR), default=0)
    first = next((each for each in attention if _token_bytes(each, ranks, element, scale)), None)
    if not state or first is None:
        return block_tokens
    step = max(block_tokens, LATENT_HYBRID_BLOCK_TOKENS) if first.kind is AttentionKind.LATENT else block_tokens
    return step * -(-state // (step * _token_bytes(first, ranks, element, scale)))


def _pages(group: AttentionLayers, ranks: int, element: int, scale: int, block: int, caching: bool) -> _Pages:
    linear = group.kind is AttentionKind.LINEAR
    page = _state_bytes(group, ranks) if linear else block * _token_bytes(group, ranks, element, scale)
    states = (CACHED_STATES + group.checkpoint_states if caching else LONE_STATES) if linear else 0
    windowed = group.kind in (AttentionKind.SLIDING, AttentionKind.CHUNKED)
    return _Pages(
        kind=group.kind,
        layers=group.layers,
        page_bytes=page,
        block_tokens=block,
        window_tokens=(group.window_tokens or 0) if windowed else 0,
        states=states,
        shape=(_heads(group, ranks), group.head_dim, group.value_dim or group.head_dim, group.checkpoint_states),
    )


def _token_bytes(group: AttentionLayers, ranks: int, element: int, scale: int) -> int:
    """Bytes of one token in one layer (`AttentionSpec`, `MLAAttentionSpec`): heads are divided, or repeated if too few.

    Where keys and values are one projection (Gemma 4) both are kept all the same. The latent vector of MLA is on every
    GPU, and so are the keys by which sparse attention picks its tokens.
    """
    if group.kind is AttentionKind.LATENT:
        return (group.latent_dim or 0) * element + 2 * scale + (group.index_bytes or 0)
    if group.kind in (AttentionKind.LINEAR, AttentionKind.SHARED):
        return 0
    elements = group.head_dim + (group.value_dim or group.head_dim)
    return _heads(group, ranks) * (elements * element + 2 * scale)


def _heads(group: AttentionLayers, ranks: int) -> int:
    return max(1, group.kv_heads // ranks)


def _state_bytes(group: AttentionLayers, ranks: int) -> int:
    return (group.state_bytes or 0) // ranks


def _merged(pages: Sequence[_Pages]) -> list[_Pages]:
    """Layers that differ in nothing become one; what keeps nothing (shared KV, feed-forward layers) goes."""
    layers: Counter[_Pages] = Counter()
    for each in pages:
        if each.page_bytes and each.layers:
            layers[replace(each, layers=0)] += each.layers
    return [replace(each, layers=count) for each, count in layers.items()]


def _alike(pages: Sequence[_Pages]) -> bool:
    """Whether all layers always need the same number of blocks, so that one group holds them (`is_uniform_type`).

    Also where MLA's page does not divide a window's: vLLM then keeps every token of every layer
    (`_try_get_full_allocation_fallback_groups`).
    """
    if all(each.kind in _WHOLE for each in pages):
        return True
    largest = max(each.page_bytes for each in pages)
    if any(each.kind is AttentionKind.LATENT and largest % each.page_bytes for each in pages):
        return True
    return len({(each.kind, each.window_tokens, each.states and each.page_bytes) for each in pages}) == 1


def _unified(pages: _Pages, largest: int) -> _Pages:
    """Its page as large as the largest: by more tokens to a block where that comes out even, else by padding.

    `unify_kv_cache_spec_page_size` of vllm/v1/core/kv_cache_utils.py.
    """
    if largest % pages.page_bytes == 0 and pages.kind is not AttentionKind.LINEAR:
        return replace(pages, page_bytes=largest, block_tokens=pages.block_tokens * (largest // pages.page_bytes))
    return replace(pages, page_bytes=largest)


def _shared_pool(pages: Sequence[_Pages]) -> KvPaging:
    """Groups of as many layers as the rarest kind has, or the commonest where they are nearly even.

    `_get_kv_cache_groups_uniform_page_size` of vllm/v1/core/kv_cache_utils.py.
    """
    fewest, most = min(each.layers for each in pages), max(each.layers for each in pages)
    size = most if most < fewest * EVEN_GROUPS else fewest
    return KvPaging(
        block_bytes=size * pages[0].page_bytes,
        groups=tuple(_group(each, -(-each.layers // size)) for each in pages),
    )


def _group(pages: _Pages, count: int) -> KvGroup:
    return KvGroup(
        kind=pages.kind,
        count=count,
        block_tokens=pages.block_tokens,
        window_tokens=pages.window_tokens,
        states=pages.states,
    )
