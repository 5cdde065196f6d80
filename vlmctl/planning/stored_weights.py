"""Bytes of a decoder's weights by part: what a quantised checkpoint stores in which format, as stated or as is usual.

Where nobody says what a four-bit checkpoint leaves out, the commonest practice of published ones is taken, and said.
"""

from __future__ import annotations

from msgspec.structs import replace

from vlmctl.specs.model import AttentionKind, LanguageModel, ModelSpec, Precision, StoredWeights
from vlmctl.specs.record import Record

# Bytes per weight, quantisation scales included. 4-bit integer formats keep a 16-bit scale and a 4-bit zero point per
# group of 128 (AutoAWQ and GPTQ defaults); NVFP4 an 8-bit scale per 16, MXFP4 an 8-bit scale per 32 (OCP MX v1.0).
BYTES_PER_WEIGHT = {
    Precision.FP32: 4.0,
    Precision.BF16: 2.0,
    Precision.FP8: 1.0,
    Precision.INT8: 1.0,
    Precision.AWQ: 0.5 + 2.5 / 128,
    Precision.GPTQ: 0.5 + 2.5 / 128,
    Precision.W4A16: 0.5 + 2.5 / 128,
    Precision.NVFP4: 0.5 + 1 / 16,
    Precision.MXFP4: 0.5 + 1 / 32,
    Precision.GGUF: 0.5625,
}
UNQUANTIZED = frozenset({Precision.BF16, Precision.FP32})
INTEGER_FORMATS = frozenset({Precision.AWQ, Precision.GPTQ, Precision.W4A16})
FOUR_BIT = INTEGER_FORMATS | {Precision.NVFP4}
_INTEGER_BYTES, _SCALE_AND_ZERO_BYTES = 0.5, 2.5  # of a 4-bit weight; per group
GATED_MLP_MATRICES = 3  # gate, up and down projection
# What enters linear attention, of its projections: 2 (keys + values) of 2 keys + 3 values, values twice to three times
# as wide as keys (0.75 to 0.73, configurations of Qwen3.5).
LINEAR_INPUT_SHARE = 0.74
# Full attention beside linear layers has a gate as large as its queries (vllm/model_executor/models/qwen3_next.py).
GATED_ATTENTION_ARCHITECTURES = ("Qwen3_5", "Qwen3Next")
_PARTS = ("attention", "linear_inputs", "linear_outputs", "feed_forward", "output_head")
# Attention in 16 bit: 13 of the 17 four-bit mixtures of experts in ai-dynamo/aiconfigurator@095f58a model_configs.
EXPERTS_ONLY = StoredWeights(
    attention=Precision.BF16,
    linear_inputs=Precision.BF16,
    linear_outputs=Precision.BF16,
    feed_forward=Precision.BF16,
)
WIDEST = StoredWeights(attention=Precision.BF16, linear_inputs=Precision.BF16, linear_outputs=Precision.BF16)
# Mixes of NVFP4 and FP8: nvidia/Qwen3.6-27B-NVFP4, Qwen3.6-35B-A3B-NVFP4 and MiniMax-M3-NVFP4 of the same folder.
EIGHT_BIT_ATTENTION = StoredWeights(attention=Precision.FP8, linear_inputs=Precision.FP8, linear_outputs=Precision.FP8)


class DecoderParts(Record, frozen=True, kw_only=True):
    """Parameters of a decoder. `tables`: embeddings and output head; `feed_forward`: dense layers, shared experts."""

    tables: float
    head: float
    experts: float
    feed_forward: float
    attention: float
    linear: float

    @property
    def dense(self) -> float:
        """All but tables and routed experts."""
        return self.feed_forward + self.attention + self.linear


class Storage(Record, frozen=True, kw_only=True):
    """`stored` None: all linear layers in the format. `assumed`: nobody says, and publishers differ."""

    stored: StoredWeights | None = None
    note: str = ""
    assumed: bool = False


def decoder_parts(
    model: ModelSpec, language: LanguageModel, *, total: float, experts: float, tied: bool
) -> DecoderParts:
    """`total` divided by the shape: feed-forward and full attention are counted, linear attention is what remains."""
    table = float(language.vocabulary * language.hidden_size)
    tables = min(table * (1 if tied else 2), total)
    rest = max(total - tables - experts, 0.0)
    feed_forward = min(_feed_forward(language), rest)
    mixing = rest - feed_forward
    attention = mixing
    if any(group.kind is AttentionKind.LINEAR for group in language.attention):
        gated = (model.serving.architecture or "").startswith(GATED_ATTENTION_ARCHITECTURES)
        attention = min(_attention(language, gated=gated), mixing)
    return DecoderParts(
        tables=tables,
        head=0.0 if tied else table,
        experts=experts,
        feed_forward=feed_forward,
        attention=attention,
        linear=mixing - attention,
    )


def storage(
    model: ModelSpec, precision: Precision, stored: StoredWeights | None = None, *, repository: str = ""
) -> Storage:
    """How the weights are stored: as `stored` says of the checkpoint, as the catalog says of it, or as is usual.

    Four-bit checkpoints of models that see or attend linearly differ in what they quantise; others do not (logs of
    w4a16), and leave out nothing but tables.
    """
    alike = (
        each.stored
        for each in model.quantizations
        if each.precision is precision and (not repository or each.repository.lower() == repository.lower())
    )
    known = stored or (model.stored if model.precision is precision else None) or next(alike, None)
    if known is not None and known.parts_known:
        return Storage(stored=known, note=_note(precision, known, known.source))
    language = model.language
    hybrid = language is not None and any(group.kind is AttentionKind.LINEAR for group in language.attention)
    if precision not in FOUR_BIT or language is None or not (hybrid or model.image_tokens is not None):
        return Storage(stored=known)
    usual = None
    if language.experts is not None:
        usual = EXPERTS_ONLY
    elif hybrid and precision is Precision.NVFP4:
        usual = EIGHT_BIT_ATTENTION
    if known is not None:
        usual = replace(usual or known, group_size=known.group_size, byte_cache=known.byte_cache)
    return Storage(stored=usual, note=_note(precision, usual, "assumed"), assumed=True)


def decoder_bytes(parts: DecoderParts, precision: Precision, stored: StoredWeights | None) -> float:
    """Bytes of all weights of the decoder."""
    own = bytes_per_weight(precision, stored)
    return dense_bytes(parts, precision, stored) + table_bytes(parts, precision, stored) + parts.experts * own


def decoder_bounds(
    parts: DecoderParts, precision: Precision, stored: StoredWeights | None = None
) -> tuple[float, float]:
    """The same with everything in the format, and with all attention in 16 bit: between them published ones lie.

    Of a mixture the most is with the routed experts alone in the format. Of `stored` only the group's size counts.
    """
    size = stored.group_size if stored is not None else None
    most = replace(EXPERTS_ONLY if parts.experts else WIDEST, group_size=size)
    return decoder_bytes(parts, precision, StoredWeights(group_size=size)), decoder_bytes(parts, precision, most)


def bytes_per_weight(precision: Precision, stored: StoredWeights | None) -> float:
    """Of the format itself, with the scales of its groups."""
    if stored is not None and stored.group_size and precision in INTEGER_FORMATS:
        return _INTEGER_BYTES + _SCALE_AND_ZERO_BYTES / stored.group_size
    return BYTES_PER_WEIGHT[precision]


def dense_bytes(parts: DecoderParts, precision: Precision, stored: StoredWeights | None) -> float:
    """Of what every token is multiplied with: all but tables and routed experts.

    Those in MXFP4 leave all but the experts in 16 bit (gpt-oss).
    """
    if precision is Precision.MXFP4 and parts.experts:
        return parts.dense * BYTES_PER_WEIGHT[Precision.BF16]
    said = stored or StoredWeights()
    inputs = LINEAR_INPUT_SHARE * parts.linear
    sizes = (
        (parts.feed_forward, said.feed_forward),
        (parts.attention, said.attention),
        (inputs, said.linear_inputs),
        (parts.linear - inputs, said.linear_outputs),
    )
    own = bytes_per_weight(precision, stored)
    return sum(count * (own if kept is None else BYTES_PER_WEIGHT[kept]) for count, kept in sizes)


def table_bytes(parts: DecoderParts, precision: Precision, stored: StoredWeights | None) -> float:
    """Embeddings and output head, which quantised checkpoints leave in 16 bit unless they say otherwise."""
    wide = BYTES_PER_WEIGHT[precision if precision in UNQUANTIZED else Precision.BF16]
    head = stored.output_head if stored is not None else None
    return (parts.tables - parts.head) * wide + parts.head * (wide if head is None else BYTES_PER_WEIGHT[head])


def _note(precision: Precision, stored: StoredWeights | None, origin: str) -> str:
    said = stored or StoredWeights()
    named = ((name, getattr(said, name)) for name in _PARTS)
    others = ", ".join(f"{name.replace('_', ' ')} {kept.value}" for name, kept in named if kept is not None)
    return f"{precision.value}, {others or 'all linear layers'} ({origin})"


def _feed_forward(language: LanguageModel) -> float:
    experts, matrix = language.experts, GATED_MLP_MATRICES * language.hidden_size
    if experts is None:
        return float(language.layers * matrix * (language.intermediate_size or 0))
    sparse = language.layers if experts.layers is None else experts.layers
    shared = experts.shared * (experts.shared_intermediate_size or experts.intermediate_size)
    return float(matrix * ((language.layers - sparse) * (language.intermediate_size or 0) + sparse * shared))


def _attention(language: LanguageModel, *, gated: bool) -> float:
    elements = 0
    for group in language.attention:
        if group.kind is not AttentionKind.LINEAR:
            queries = (3 if gated else 2) * group.query_heads * group.head_dim  # queries, output and gate
            elements += group.layers * (queries + 2 * group.kv_heads * group.head_dim)
    return float(language.hidden_size * elements)
