"""What a user asks for: the requests, the latencies, and the conditions an answer must meet."""

from enum import StrEnum

from vlmctl.specs.record import Record


class Task(StrEnum):
    """What the model is for. Benchmarks are evidence for tasks (see the catalog's benchmarks)."""

    DOCUMENT_OCR = "document-ocr"
    CHART = "chart"
    GROUNDING = "grounding"
    GENERAL_VQA = "general-vqa"
    CAPTIONING = "captioning"
    VIDEO = "video"
    MULTI_IMAGE = "multi-image"
    REASONING = "reasoning"
    GUI_AGENT = "gui-agent"
    COUNTING = "counting"
    SPATIAL = "spatial"
    HALLUCINATION = "hallucination"
    MULTILINGUAL = "multilingual"
    # Tasks that usually need no VLM: answered with the smaller tool.
    TRANSCRIPTION = "transcription"
    CLASSIFICATION = "classification"
    DETECTION = "detection"
    IMAGE_SEARCH = "image-search"
    TEXT_ONLY = "text-only"


class LicensePolicy(StrEnum):
    """Which licences are acceptable; defined in docs/licences.md."""

    PERMISSIVE = "permissive"
    COMMERCIAL = "commercial"
    RESEARCH = "research"
    ANY = "any"


class Preference(StrEnum):
    """What a ranking weighs more: quality, the price, or both."""

    QUALITY = "quality"
    BALANCED = "balanced"
    COST = "cost"


class ImageInput(Record, frozen=True, kw_only=True):
    """`count` images of one size in every request."""

    width_pixels: int
    height_pixels: int
    count: int = 1


class VideoInput(Record, frozen=True, kw_only=True):
    """A video in every request, sampled at `frames_per_second`."""

    seconds: float
    frames_per_second: float
    width_pixels: int
    height_pixels: int

    @property
    def frames(self) -> int:
        """Frames that are sampled, at least one."""
        return max(1, round(self.seconds * self.frames_per_second))


class Workload(Record, frozen=True, kw_only=True):
    """One request, and how many arrive. `prompt_tokens` counts text only.

    `requests_per_second`: the rate to serve; `concurrency`: requests in flight per replica. Either may be None.
    """

    images: tuple[ImageInput, ...] = ()
    videos: tuple[VideoInput, ...] = ()
    prompt_tokens: int = 64
    output_tokens: int = 256
    requests_per_second: float | None = None
    concurrency: int | None = None

    @property
    def image_count(self) -> int:
        """Images in one request, video frames not counted."""
        return sum(image.count for image in self.images)


class Objectives(Record, frozen=True, kw_only=True):
    """Latency objectives, 95th percentile. None: not asked for."""

    ttft_seconds: float | None = None
    tpot_seconds: float | None = None


class OwnedGpus(Record, frozen=True, kw_only=True):
    """GPUs that are already there: their price is what they cost to own."""

    gpu: str
    count: int


class Requirements(Record, frozen=True, kw_only=True):
    """Everything that `recommend` takes. Empty or None means no condition.

    `tasks`: task to weight. `maximum_parameters_billions` bounds the total, as the weights occupy memory.
    `offer_regions`: where machines may stand; it says nothing of where the licence is used.
    """

    workload: Workload = Workload()
    objectives: Objectives = Objectives()
    tasks: dict[str, float] = {}
    languages: tuple[str, ...] = ()
    license: LicensePolicy = LicensePolicy.ANY
    maximum_parameters_billions: float | None = None
    minimum_context_tokens: int | None = None
    multiple_images: bool = False
    needs: tuple[str, ...] = ()  # thinking, tools, video, grounding
    maximum_usd_per_1k_requests: float | None = None
    maximum_usd_per_month: float | None = None
    gpus: tuple[str, ...] = ()
    maximum_gpus: int | None = None  # per replica
    providers: tuple[str, ...] = ()
    offer_regions: tuple[str, ...] = ()
    spot: bool = False
    quantizations: tuple[str, ...] = ()
    minimum_scores: dict[str, float] = {}
    families: tuple[str, ...] = ()
    include_unverified: bool = False
    owned: tuple[OwnedGpus, ...] = ()
    prefer: Preference = Preference.BALANCED
    top: int = 5
