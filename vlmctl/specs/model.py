"""What the catalog knows of a model. Every group of facts carries its source; unknown is None, never a guess."""

from enum import StrEnum

from vlmctl.specs.architecture import (
    AttentionKind,
    AttentionLayers,
    Connector,
    Experts,
    LanguageModel,
    Resolution,
    ResolutionStrategy,
    VisionTower,
)
from vlmctl.specs.checkpoints import (
    EngineArgument,
    KnownBad,
    Precision,
    QuantizedCheckpoint,
    Serving,
    StoredWeights,
)
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


__all__ = [
    "AttentionKind",
    "AttentionLayers",
    "Caution",
    "Commercial",
    "Connector",
    "Context",
    "Edition",
    "EngineArgument",
    "Experts",
    "Grounding",
    "GroundingConvention",
    "ImageLimits",
    "KnownBad",
    "LanguageModel",
    "Languages",
    "License",
    "Misnomer",
    "Modality",
    "ModelSpec",
    "Parameters",
    "Precision",
    "QuantizedCheckpoint",
    "Resolution",
    "ResolutionStrategy",
    "Score",
    "Serving",
    "StoredWeights",
    "TokenRuleFact",
    "TypicalOutput",
    "VideoSupport",
    "VisionTower",
]
