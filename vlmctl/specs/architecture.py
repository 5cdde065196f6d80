"""The shape of a model: decoder, image encoder, and what joins them. What a source does not say is None."""

from enum import StrEnum

from vlmctl.specs.record import Fact, Record


class AttentionKind(StrEnum):
    """How a group of layers attends, and so what it keeps per token."""

    FULL = "full"
    SLIDING = "sliding"  # keeps at most `window_tokens`
    CHUNKED = "chunked"  # Llama 4: attends within chunks of `window_tokens`
    LATENT = "latent"  # MLA: one compressed vector of `latent_dim` per token
    LINEAR = "linear"  # Gated DeltaNet, Mamba, short convolution: a fixed state per sequence
    CROSS = "cross"  # attends to image features only
    SHARED = "shared"  # reuses the KV of an earlier layer; stores nothing


class AttentionLayers(Record, frozen=True, kw_only=True):
    """A group of layers with the same attention. `head_dim` and `latent_dim` count elements, not bytes."""

    kind: AttentionKind
    layers: int
    query_heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    window_tokens: int | None = None
    value_dim: int | None = None  # of a value head where it differs from `head_dim` (MiMo-V2)
    latent_dim: int | None = None  # kv_lora_rank + qk_rope_head_dim
    index_bytes: int | None = None  # per token, of the keys that sparse attention picks tokens by (DeepSeek V3.2)
    state_bytes: int | None = None  # per layer and sequence
    checkpoint_states: int = 0  # further states that a prompt takes under prefix caching (Mamba 2: 1)
    key_is_value: bool = False  # Gemma 4 global layers: one projection makes both


class Experts(Record, frozen=True, kw_only=True):
    """A mixture of experts. `layers`: how many decoder layers are sparse (None: all of them).

    `gated`: whether an expert has three matrices (gate, up, down) or two (Nemotron's squared ReLU).
    """

    count: int
    active: int
    intermediate_size: int
    shared: int = 0
    shared_intermediate_size: int | None = None  # None: the same as `intermediate_size`
    layers: int | None = None
    gated: bool = True


class LanguageModel(Fact, frozen=True, kw_only=True):
    """The decoder. `intermediate_size` is None where every layer is a mixture of experts.

    `position_stretch`: factor of linear position scaling, by which vLLM lengthens the table of full attention.
    """

    name: str
    layers: int
    hidden_size: int
    vocabulary: int
    attention: tuple[AttentionLayers, ...]
    intermediate_size: int | None = None
    experts: Experts | None = None
    tied_embeddings: bool | None = None
    position_stretch: int = 1


class VisionTower(Fact, frozen=True, kw_only=True):
    """The image encoder. `image_pixels`: side of the square input if it is fixed; `merge`: patches merged per side."""

    name: str
    parameters_billions: float | None = None
    layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    patch_pixels: int | None = None
    merge: int = 1
    image_pixels: int | None = None
    window_pixels: int | None = None  # windowed attention; None: full attention over a view
    full_attention_layers: int | None = None  # of the windowed towers


class Connector(Fact, frozen=True, kw_only=True):
    """What joins encoder and language model: mlp, patch-merger, q-former, perceiver-resampler, cross-attention ..."""

    kind: str
    learned_queries: int | None = None


class ResolutionStrategy(StrEnum):
    """How the model meets an image of any size."""

    FIXED = "fixed"
    TILED = "tiled"
    DYNAMIC = "dynamic"


class Resolution(Fact, frozen=True, kw_only=True):
    """`effective_pixels`: the most pixels (width x height) of an image that reach the encoder with defaults."""

    strategy: ResolutionStrategy
    effective_pixels: int | None = None
