"""Laws of the paged KV cache that hold for any decoder, and the cases that tell its rules apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.records import make_model
from vlmctl.planning.architecture import require_language
from vlmctl.planning.kv_cache import (
    BATCHES_IN_FLIGHT,
    BLOCK_TOKENS,
    CACHED_STATES,
    LATENT_HYBRID_BLOCK_TOKENS,
    KvPaging,
    kv_cache_tokens,
    kv_cache_tokens_by_group,
    kv_paging,
    least_cache_bytes,
    sequence_blocks,
    sequence_bytes,
)
from vlmctl.specs.model import AttentionKind, AttentionLayers, LanguageModel

BF16_BYTES = 2
WINDOW = 1024
BATCH = 4096


def _language(*attention: AttentionLayers) -> LanguageModel:
    return replace(require_language(make_model()), attention=attention)


def _full(layers: int = 8, heads: int = 8, dim: int = 128) -> AttentionLayers:
    return AttentionLayers(kind=AttentionKind.FULL, layers=layers, query_heads=32, kv_heads=heads, head_dim=dim)


def _sliding(layers: int = 40, heads: int = 8, dim: int = 128, window: int = WINDOW) -> AttentionLayers:
    return replace(_full(layers, heads, dim), kind=AttentionKind.SLIDING, window_tokens=window)


def _linear(layers: int = 24, state: int = 1_000_000, checkpoints: int = 0) -> AttentionLayers:
    return AttentionLayers(kind=AttentionKind.LINEAR, layers=layers, state_bytes=state, checkpoint_states=checkpoints)


def _latent(layers: int = 27, index: int | None = None) -> AttentionLayers:
    return AttentionLayers(
        kind=AttentionKind.LATENT,
        layers=layers,
        query_heads=16,
        kv_heads=16,
        head_dim=192,
        latent_dim=576,
        index_bytes=index,
    )


_SHAPES = st.sampled_from(
    (
        (_full(),),
        (_full(), _sliding()),
        (_full(10, 4, 512), _sliding(50, 16, 256)),
        (_full(12), replace(_sliding(36), kind=AttentionKind.CHUNKED)),
        (_latent(),),
        (_full(), _linear()),
        (_latent(7), _linear(20)),
        (_full(), replace(_full(4), kind=AttentionKind.CROSS)),
    )
)
_PAGINGS = st.builds(
    lambda shape, ranks, element, block: kv_paging(
        _language(*shape), tensor_parallel=ranks, element_bytes=element, block_tokens=block
    ),
    _SHAPES,
    st.sampled_from((1, 2, 4, 8)),
    st.sampled_from((1, 2)),
    st.sampled_from((16, 64, 128)),
)
_TOKENS = st.integers(1, 200_000)


class TestSequence:
    @given(paging=_PAGINGS, tokens=_TOKENS, more=_TOKENS, flight=st.integers(1, 20_000))
    def test_a_longer_one_never_takes_less(self, paging: KvPaging, tokens: int, more: int, flight: int) -> None:
        """Nor does one with more tokens in flight."""
        taken = sequence_bytes(paging, tokens, in_flight_tokens=flight)
        assert sequence_bytes(paging, tokens + more, in_flight_tokens=flight) >= taken
        assert sequence_bytes(paging, tokens, in_flight_tokens=flight + more) >= taken

    @given(paging=_PAGINGS, tokens=_TOKENS)
    def test_takes_whole_blocks(self, paging: KvPaging, tokens: int) -> None:
        """The bytes are a multiple of the block's."""
        assert sequence_bytes(paging, tokens) == sequence_blocks(paging, tokens) * paging.block_bytes

    def test_a_window_bounds_what_is_kept(self) -> None:
        """Beyond the window only full layers grow."""
        paging = kv_paging(_language(_sliding(), _full()))
        full_alone = kv_paging(_language(_full()))
        grown = sequence_bytes(paging, 60 * WINDOW) - sequence_bytes(paging, 30 * WINDOW)
        assert grown == sequence_bytes(full_alone, 60 * WINDOW) - sequence_bytes(full_alone, 30 * WINDOW)

    def test_a_window_keeps_what_is_in_flight(self) -> None:
        """Tokens not finished yet cannot leave; the window may also start inside a block."""
        paging = kv_paging(_language(_sliding()))
        assert sequence_blocks(paging, 10**6, in_flight_tokens=BATCH) == (WINDOW - 1 + BATCH) // BLOCK_TOKENS + 2
        assert sequence_blocks(paging, 10**6) == WINDOW // BLOCK_TOKENS + 1

    def test_chunks_keep_one_chunk(self) -> None:
        """A chunk starts at the start of a block."""
        paging = kv_paging(_language(replace(_sliding(), kind=AttentionKind.CHUNKED)))
        assert sequence_blocks(paging, 10**6, in_flight_tokens=BATCH) == (WINDOW + BATCH) // BLOCK_TOKENS

    def test_linear_layers_keep_states_whatever_the_length(self) -> None:
        """One state, two where prefixes are cached, and Mamba 2's checkpoint on top."""
        for caching, checkpoints, states in ((False, 1, 1), (True, 0, CACHED_STATES), (True, 1, CACHED_STATES + 1)):
            paging = kv_paging(_language(_full(), _linear(8, checkpoints=checkpoints)), prefix_caching=caching)
            full, linear = sorted(paging.groups, key=lambda group: group.kind)
            assert (full.kind, linear.kind) == (AttentionKind.FULL, AttentionKind.LINEAR)
            assert linear.states == states
            blocks = sequence_blocks(paging, 5 * full.block_tokens)
            assert blocks == 5 + states

    def test_cross_attention_keeps_the_image_alone(self) -> None:
        """Its blocks follow the image's tokens, not the text's."""
        paging = kv_paging(_language(_full(), replace(_full(), kind=AttentionKind.CROSS)))
        with_image = sequence_blocks(paging, 100, cross_tokens=1600)
        assert with_image - sequence_blocks(paging, 100) == 1600 // BLOCK_TOKENS


class TestBlock:
    def test_holds_keys_and_values_of_every_layer(self) -> None:
        """2 x heads x dimension x bytes for each token and layer; 8-bit scales of a head come on top."""
        assert kv_paging(_language(_full())).block_bytes == 8 * BLOCK_TOKENS * 2 * 8 * 128 * BF16_BYTES
        scaled = kv_paging(_language(_full()), element_bytes=1, scale_bytes=4)
        assert scaled.block_bytes == 8 * BLOCK_TOKENS * 2 * 8 * (128 + 4)

    def test_heads_are_divided_then_repeated(self) -> None:
        """Eight heads on two GPUs are four; on sixteen each GPU holds one."""
        whole = kv_paging(_language(_full()))
        assert kv_paging(_language(_full()), tensor_parallel=2).block_bytes * 2 == whole.block_bytes
        assert kv_paging(_language(_full()), tensor_parallel=16).block_bytes * 8 == whole.block_bytes

    def test_latent_vector_is_on_every_gpu(self) -> None:
        """MLA keeps one vector per token and layer, however many GPUs there are; sparse attention its keys as well."""
        for ranks in (1, 8):
            paging = kv_paging(_language(_latent()), tensor_parallel=ranks)
            assert paging.block_bytes == 27 * BLOCK_TOKENS * 576 * BF16_BYTES
        assert kv_paging(_language(_latent(index=132))).block_bytes == 27 * BLOCK_TOKENS * (576 * BF16_BYTES + 132)

    def test_one_projection_still_makes_two_tensors(self) -> None:
        """vLLM keeps keys and values of Gemma 4's global layers apart although one projection makes both."""
        assert kv_paging(_language(replace(_full(), key_is_value=True))) == kv_paging(_language(_full()))

    def test_values_may_be_narrower(self) -> None:
        """MiMo-V2: keys of 192, values of 128."""
        paging = kv_paging(_language(replace(_full(dim=192), value_dim=128)))
        assert paging.block_bytes == 8 * BLOCK_TOKENS * 8 * (192 + 128) * BF16_BYTES

    def test_shared_layers_and_feed_forward_layers_keep_nothing(self) -> None:
        """KV of an earlier layer costs nothing again, and neither does a layer without attention."""
        nothing = (replace(_full(20), kind=AttentionKind.SHARED), _linear(28, state=0))
        assert kv_paging(_language(_full(), *nothing)) == kv_paging(_language(_full()))

    def test_nothing_kept_is_no_capacity(self) -> None:
        """A decoder without any cache has no tokens to report."""
        paging = kv_paging(_language(replace(_full(), kind=AttentionKind.SHARED)))
        assert kv_cache_tokens(paging, 10**9, max_model_len=4096) == 0
        assert kv_cache_tokens_by_group(paging, 10**9) == 0


class TestGroups:
    def test_have_as_many_layers_as_the_rarest_kind(self) -> None:
        """52 windowed and 10 full layers (Gemma 3 27B) are six groups and one, of ten layers."""
        paging = kv_paging(_language(_sliding(52, 16), _full(10, 16)))
        assert [group.count for group in paging.groups] == [6, 1]
        assert paging.block_bytes == 10 * BLOCK_TOKENS * 2 * 16 * 128 * BF16_BYTES

    def test_nearly_even_kinds_are_padded_to_the_larger(self) -> None:
        """12 and 13 layers are two groups of 13, not one and two of 12."""
        paging = kv_paging(_language(_sliding(12), _full(13)))
        assert [group.count for group in paging.groups] == [1, 1]
        assert paging.block_bytes == 13 * BLOCK_TOKENS * 2 * 8 * 128 * BF16_BYTES

    def test_smaller_pages_hold_more_tokens(self) -> None:
        """Gemma 4: a full layer with half the elements has twice the tokens in a block of the same bytes."""
        paging = kv_paging(_language(_sliding(50, 16, 256), _full(10, 4, 512)))
        assert [group.block_tokens for group in paging.groups] == [BLOCK_TOKENS, 2 * BLOCK_TOKENS]

    def test_pages_that_do_not_divide_are_padded(self) -> None:
        """Three heads beside four: the smaller page is padded, not filled."""
        paging = kv_paging(_language(_sliding(8, 4), _full(8, 3)))
        assert [group.block_tokens for group in paging.groups] == [BLOCK_TOKENS, BLOCK_TOKENS]
        assert paging.block_bytes == 8 * BLOCK_TOKENS * 2 * 4 * 128 * BF16_BYTES

    def test_full_layers_of_any_shape_share_a_group(self) -> None:
        """They always need the same number of blocks, so nothing is padded."""
        paging = kv_paging(_language(_full(8, 4), _full(5, 3)))
        assert [group.count for group in paging.groups] == [1]
        assert paging.block_bytes == BLOCK_TOKENS * 2 * 128 * BF16_BYTES * (8 * 4 + 5 * 3)

    def test_a_block_beside_linear_layers_holds_a_state(self) -> None:
        """The attention's block grows until its page is no smaller than the state, in steps of the kernel's block."""
        state = 1_000_000
        paging = kv_paging(_language(_full(8), _linear(24, state)))
        token = 2 * 8 * 128 * BF16_BYTES
        block = paging.groups[0].block_tokens
        assert (block - BLOCK_TOKENS) * token < state <= block * token
        assert paging.block_bytes == 8 * block * token

    def test_latent_attention_beside_linear_layers_has_larger_steps(self) -> None:
        """Kimi Linear: the block is a multiple of 128 tokens."""
        paging = kv_paging(_language(_latent(7), _linear(20)))
        assert paging.groups[0].block_tokens % LATENT_HYBRID_BLOCK_TOKENS == 0


class TestCapacity:
    @given(paging=_PAGINGS, length=_TOKENS, memory=st.integers(0, 10**11), more=st.integers(0, 10**11))
    def test_more_memory_never_holds_fewer_tokens(self, paging: KvPaging, length: int, memory: int, more: int) -> None:
        """By either way of counting."""
        flight = BATCHES_IN_FLIGHT * BATCH
        held = kv_cache_tokens(paging, memory, max_model_len=length, in_flight_tokens=flight)
        assert kv_cache_tokens(paging, memory + more, max_model_len=length, in_flight_tokens=flight) >= held
        assert kv_cache_tokens_by_group(paging, memory + more) >= kv_cache_tokens_by_group(paging, memory)

    @given(paging=_PAGINGS, length=_TOKENS)
    def test_least_memory_holds_the_longest_sequence(self, paging: KvPaging, length: int) -> None:
        """With the block that the pool keeps back, the reported tokens are at least the longest sequence."""
        flight = BATCHES_IN_FLIGHT * BATCH
        least = least_cache_bytes(paging, length, in_flight_tokens=flight)
        assert kv_cache_tokens(paging, least, max_model_len=length, in_flight_tokens=flight) >= length

    @given(shape=_SHAPES, length=st.integers(1000, 200_000), memory=st.integers(10**9, 10**11))
    def test_eight_bits_hold_more(self, shape: tuple[AttentionLayers, ...], length: int, memory: int) -> None:
        """Halving the element never holds fewer tokens, but for what rounding to whole blocks takes."""
        held = [
            kv_cache_tokens(
                kv_paging(_language(*shape), element_bytes=element), memory, max_model_len=length, in_flight_tokens=1
            )
            for element in (2, 1)
        ]
        assert held[1] >= held[0] * 0.95

    def test_negative_memory_holds_nothing(self) -> None:
        """Weights that leave no room are no reason to count below zero."""
        paging = kv_paging(_language(_full()))
        assert kv_cache_tokens(paging, -(10**9), max_model_len=4096) == 0
