"""A model's weights as they are published, and how an engine serves them."""

from enum import StrEnum

from vlmctl.specs.record import Fact, Record


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
