"""What the catalog knows of a model. Every group of facts carries its source; unknown is None, never a guess."""

from enum import StrEnum

from vlmctl.specs.record import Fact, Record
from vlmctl.specs.tokens import TokenRuleKind


class Edition(StrEnum):
    """What the checkpoint was tuned for."""

    INSTRUCT = "instruct"
    THINKING = "thinking"
    HYBRID = "hybrid"  # thinks or not, by request
    BASE = "base"


class Modality(StrEnum):
    """Whether the model reads images at all."""

    VISION = "vision"
    TEXT = "text"


class Precision(StrEnum):
    """Precision of the language model's weights; the vision encoder usually stays in bf16."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"  # w8a8
    AWQ = "awq"  # w4a16
    GPTQ = "gptq"  # w4a16, or w8a16 where `bits` says 8
    W4A16 = "w4a16"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"
    GGUF = "gguf"


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


class Parameters(Fact, frozen=True, kw_only=True):
    """Parameter counts in billions. `basis` says how the parts were found: published, computed or from-headers."""

    total_billions: float
    active_billions: float
    language_billions: float | None = None
    vision_billions: float | None = None
    projector_billions: float | None = None
    basis: str = "published"


class Context(Fact, frozen=True, kw_only=True):
    """Longest sequence in tokens, image tokens included."""

    tokens: int


class ImageLimits(Fact, frozen=True, kw_only=True):
    """`maximum` per request (None: unknown); whether several work at all; whether text may stand between them."""

    maximum: int | None = None
    several: bool | None = None
    interleaved: bool | None = None


class VideoSupport(Fact, frozen=True, kw_only=True):
    """Whether video is an input; limits where a source states them."""

    supported: bool | None = None
    maximum_frames: int | None = None
    maximum_seconds: float | None = None


class Languages(Fact, frozen=True, kw_only=True):
    """BCP-47 tags that a source names, apart for text in images (`ocr`) and for conversation (`text`).

    A claimed count without a list is only a count: it never makes a language a match.
    """

    ocr: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    ocr_claimed_count: int | None = None
    text_claimed_count: int | None = None
    open_ended: bool = False  # the source names more languages than it lists
    note: str = ""


class Commercial(StrEnum):
    """May the weights be used to sell a service?"""

    YES = "yes"
    CONDITIONAL = "conditional"
    NO = "no"
    UNKNOWN = "unknown"


class License(Fact, frozen=True, kw_only=True):
    """A licence as conditions that a program can test.

    `permissive`: an OSI-style licence (Apache-2.0, MIT, BSD) with no use restriction, on weights and every component.
    """

    name: str
    spdx: str | None = None
    commercial: Commercial = Commercial.UNKNOWN
    permissive: bool = False
    maximum_monthly_users: int | None = None
    maximum_annual_revenue_usd: int | None = None
    excluded_regions: tuple[str, ...] = ()
    use_restrictions: bool = False
    attribution: bool = False
    derived_from: str | None = None  # the base model's licence, where its terms come along
    gated: bool | None = None
    note: str = ""


class Score(Record, frozen=True, kw_only=True):
    """One published benchmark figure. Scores of different `split` or `mode` are never ranked against each other."""

    benchmark: str
    value: float
    source: str
    split: str | None = None
    mode: str | None = None
    as_of: str | None = None
    reporter: str = "maker"  # maker or third-party
    note: str = ""


class StoredWeights(Record, frozen=True, kw_only=True):
    """The parts of a quantised checkpoint that it stores in another format than its own; None: as the rest.

    `linear_inputs`, `linear_outputs`: projections into and out of linear attention; `feed_forward`: dense layers and
    shared experts, never the routed ones; `output_head`: None is 16 bit. `group_size`: weights that share a scale.
    `byte_cache`: the checkpoint asks for an 8-bit KV cache, which an engine's `auto` follows. `parts_known`: False
    where only the group's size is.
    """

    attention: Precision | None = None
    linear_inputs: Precision | None = None
    linear_outputs: Precision | None = None
    feed_forward: Precision | None = None
    output_head: Precision | None = None
    group_size: int | None = None
    byte_cache: bool = False
    parts_known: bool = True
    source: str = ""


class QuantizedCheckpoint(Fact, frozen=True, kw_only=True):
    """A published checkpoint of the same model in another precision. `official`: by the model's own makers."""

    precision: Precision
    repository: str
    official: bool = True
    bits: int | None = None
    quality_published: bool = False  # its scores were published next to the original's
    without_arguments: tuple[str, ...] = ()  # flags of the model that do not go with this checkpoint's format
    stored: StoredWeights | None = None  # None: not known


class EngineArgument(Record, frozen=True, kw_only=True):
    """A vLLM argument that this model itself needs."""

    flag: str
    reason: str
    source: str
    value: str | None = None
    optional: bool = False  # wanted only for reasoning or tool calls
    needed_for: str | None = None  # "thinking" or "tools"


class KnownBad(Record, frozen=True, kw_only=True):
    """A combination that is known to fail or give wrong answers."""

    condition: str
    effect: str
    source: str


class Serving(Fact, frozen=True, kw_only=True):
    """How vLLM serves it. Versions are None where no public registry or issue states them.

    `served_by`: engines known to serve the model; empty means none.
    """

    architecture: str | None = None
    served_by: tuple[str, ...] = ()
    first_version: str | None = None
    last_version: str | None = None
    requires_remote_code: bool | None = None
    needs_bf16: bool = False  # the engine refuses float16 for it, or its answers go wrong
    arguments: tuple[EngineArgument, ...] = ()
    known_bad: tuple[KnownBad, ...] = ()
    note: str = ""


class GroundingConvention(StrEnum):
    """What the numbers of a box mean."""

    RELATIVE_1000 = "relative-1000"
    RELATIVE_999 = "relative-999"
    RESIZED_PIXELS = "resized-pixels"
    PERCENT_POINTS = "percent-points"
    LOCATION_TOKENS_1024 = "location-tokens-1024"
    LOCATION_TOKENS_1000 = "location-tokens-1000"
    LOCATION_TOKENS_500 = "location-tokens-500"
    API = "api"
    UNKNOWN = "unknown"


class Grounding(Fact, frozen=True, kw_only=True):
    """How boxes or points come out. `form`: the text around the numbers, as the source shows it."""

    convention: GroundingConvention
    form: str = ""


class Caution(Record, frozen=True, kw_only=True):
    """Something a user should know before relying on the model."""

    text: str
    source: str


class TokenRuleFact(Fact, frozen=True, kw_only=True):
    """The model's image-token rule and what it was checked by."""

    rule: TokenRuleKind
    checked_by: str = ""


class TypicalOutput(Record, frozen=True, kw_only=True):
    """Output tokens that a task usually takes with this model, where a source measured it."""

    task: str
    tokens: int
    source: str


class ModelSpec(Record, frozen=True, kw_only=True):
    """One model as the catalog holds it. Without `language`, `vision` or `image_tokens` an estimate is refused."""

    id: str
    name: str
    repository: str
    family: str
    parameters: Parameters
    license: License
    context: Context
    serving: Serving
    modality: Modality = Modality.VISION
    edition: Edition = Edition.INSTRUCT
    aliases: tuple[str, ...] = ()
    released: str | None = None
    precision: Precision = Precision.BF16  # of the repository itself
    language: LanguageModel | None = None
    vision: VisionTower | None = None
    connector: Connector | None = None
    resolution: Resolution | None = None
    image_tokens: TokenRuleFact | None = None
    images: ImageLimits | None = None
    video: VideoSupport | None = None
    languages: Languages | None = None
    scores: tuple[Score, ...] = ()
    quantizations: tuple[QuantizedCheckpoint, ...] = ()
    stored: StoredWeights | None = None  # of the repository itself, where it is quantised
    grounding: Grounding | None = None
    capabilities: tuple[str, ...] = ()  # thinking, tools, video, audio: as a source names them
    typical_output: tuple[TypicalOutput, ...] = ()
    cautions: tuple[Caution, ...] = ()
    note: str = ""

    @property
    def unverified(self) -> tuple[str, ...]:
        """Which of the facts that an estimate rests on nobody read in a source."""
        parts = {
            "parameters": self.parameters,
            "licence": self.license,
            "architecture": self.language,
            "image-token rule": self.image_tokens,
        }
        return tuple(name for name, part in parts.items() if part is None or not part.verified)

    @property
    def verified(self) -> bool:
        """Whether all of them were."""
        return not self.unverified


class Misnomer(Record, frozen=True, kw_only=True):
    """A name people use for a model that does not exist or is not open, and what is meant instead."""

    names: tuple[str, ...]
    explanation: str
    instead: tuple[str, ...]
    source: str
