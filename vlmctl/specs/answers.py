"""What `recommend` answers: ranked answers, near misses, the rejected with reasons, and when no VLM is needed."""

from vlmctl.specs.error_bands import Spread
from vlmctl.specs.estimates import Basis, CostEstimate, HostMemory, MemoryLedger
from vlmctl.specs.record import Record


class Evidence(Record, frozen=True, kw_only=True):
    """A published figure that counted. `relative`: 0 is the lowest, 100 the highest comparable one in the catalog."""

    benchmark: str
    split: str | None
    mode: str
    value: float
    relative: float
    weight: float
    languages: tuple[str, ...]
    reporter: str
    source: str


class Quality(Record, frozen=True, kw_only=True):
    """Quality for the asked tasks, from evidence alone.

    `points`: weighted mean of `relative` over the evidence there is (None: there is none); `confidence`: share of the
    wanted evidence that exists, lowered for unknown languages and for images shrunk below what the task needs (0 to 1).
    """

    points: float | None
    confidence: float
    evidence: tuple[Evidence, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def worth(self) -> float:
        """What ranks: points x confidence, 0 without evidence."""
        return (self.points or 0.0) * self.confidence


class Breach(Record, frozen=True, kw_only=True):
    """A requirement that is not met. `requirement`: its option's name; `found`, `wanted`: the two sides, as text."""

    requirement: str
    found: str
    wanted: str
    by: str = ""
    excess: float | None = None  # found over wanted, where both are numbers and less is better

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.requirement}: {self.found}, asked for {self.wanted}" + (f" ({self.by})" if self.by else "")


class Answer(Record, frozen=True, kw_only=True):
    """One model on its cheapest placement. `requests_per_second`: what one replica serves within the objectives."""

    model: str
    repository: str
    quantization: str
    checkpoint: str
    gpu: str
    gpu_count: int
    replicas: int
    usd_per_1k_requests: float
    usd_per_month: float
    ttft_seconds: float
    ttft_p95_seconds: float
    tpot_seconds: float
    tpot_p95_seconds: float
    requests_per_second: float
    concurrency: int
    image_tokens: int
    request_tokens: int
    quality: Quality
    cost: CostEstimate
    license: str
    license_conditions: tuple[str, ...] = ()
    pareto: bool = False
    verified: bool = True
    score: float = 0.0
    ttft_p50_seconds: float | None = None
    tpot_p50_seconds: float | None = None
    e2e_seconds: float | None = None  # mean
    e2e_p50_seconds: float | None = None
    e2e_p95_seconds: float | None = None
    goodput: float | None = None  # share of the requests that meet the objectives
    basis: Basis = Basis.ESTIMATED
    error_median: float | None = None
    error_p90: float | None = None
    ttft_error: Spread | None = None
    tpot_error: Spread | None = None
    error_band: str | None = None  # id of the band of the catalog that the errors are from
    warnings: tuple[str, ...] = ()


class NearMiss(Record, frozen=True, kw_only=True):
    """A model that breaks exactly one requirement; `answer` is what it would offer without it, where that is known."""

    model: str
    breach: Breach
    answer: Answer | None = None


class Rejected(Record, frozen=True, kw_only=True):
    """A model that breaks several requirements, or cannot be served or estimated at all."""

    model: str
    breaches: tuple[Breach, ...]


class SmallerTool(Record, frozen=True, kw_only=True):
    """A task that usually needs no VLM: what does it instead, what that loses, and when a VLM is right after all."""

    task: str
    tool: str
    loses: str
    needs_vlm_when: str


class Recommendation(Record, frozen=True, kw_only=True):
    """Everything `recommend` found, ranked; `answers` holds all of them, callers cut to the wanted number."""

    answers: tuple[Answer, ...]
    near_misses: tuple[NearMiss, ...]
    rejected: tuple[Rejected, ...]
    smaller_tools: tuple[SmallerTool, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def pareto(self) -> tuple[str, ...]:
        """Models that no other answer beats in both quality (points x confidence) and price."""
        return tuple(answer.model for answer in self.answers if answer.pareto)

    def why(self, model: str) -> str:
        """Why a model stands where it does: rank and evidence, or what it breaks. Raises KeyError if not considered."""
        for rank, answer in enumerate(self.answers, start=1):
            if answer.model == model:
                points = (
                    "no comparable evidence" if answer.quality.points is None else f"{answer.quality.points:.0f} points"
                )
                return (
                    f"{model} is answer {rank} of {len(self.answers)}: quality {points} at confidence "
                    f"{answer.quality.confidence:.0%}, ${answer.usd_per_1k_requests:.3f} per 1,000 requests on "
                    f"{answer.gpu_count}x {answer.gpu}."
                )
        for near in self.near_misses:
            if near.model == model:
                return f"{model} misses one requirement: {near.breach.text}."
        for rejected in self.rejected:
            if rejected.model == model:
                return f"{model} is rejected: " + "; ".join(breach.text for breach in rejected.breaches) + "."
        raise KeyError(model)


class WayOut(Record, frozen=True, kw_only=True):
    """A change with which a model fits after all; each was checked again with the whole ledger."""

    change: str
    gpu: str
    gpu_count: int
    quantization: str
    concurrency: int


class FitReport(Record, frozen=True, kw_only=True):
    """Whether a model fits a GPU for a request, with the ledger; `ways_out` only where it does not.

    `maximum_concurrency`: requests of this size at once; `maximum_context_tokens`: longest single sequence that fits,
    bounded by the model's own context.
    """

    model: str
    gpu: str
    gpu_count: int
    quantization: str
    checkpoint: str
    memory: MemoryLedger
    host: HostMemory
    request_tokens: int
    image_tokens: int
    fits: bool
    shortfall_bytes: int
    maximum_concurrency: int
    maximum_context_tokens: int
    runs: str = ""  # why the engine refuses this GPU, where it does
    ways_out: tuple[WayOut, ...] = ()
    warnings: tuple[str, ...] = ()
