"""VLMDeployment as typed records: what a user writes in `spec`, and what the operator answers in `status`.

Field names are camelCase in YAML. Quantities that Kubernetes users write as text (durations, ratios, image sizes) stay
text here and are parsed at the edge with `vlmctl.units`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

GROUP = "vlmctl.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "VLMDeployment"
AUTO = "Auto"


class ApiRecord(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """An immutable part of the API object; what equals its default is left out when written."""


class HuggingFaceSource(ApiRecord, frozen=True, kw_only=True):
    """A repository on the Hugging Face hub, at a revision."""

    repository: str
    revision: str | None = None


class PvcSource(ApiRecord, frozen=True, kw_only=True):
    """A folder on a persistent volume claim of the same namespace."""

    claim_name: str
    path: str = "/"


class ImageSource(ApiRecord, frozen=True, kw_only=True):
    """An OCI image that holds the checkpoint."""

    reference: str


class ModelSource(ApiRecord, frozen=True, kw_only=True):
    """Where the checkpoint lies: exactly one of the three."""

    hugging_face: HuggingFaceSource | None = None
    pvc: PvcSource | None = None
    image: ImageSource | None = None


class ModelReference(ApiRecord, frozen=True, kw_only=True):
    """A catalog id by `name`, or a `source` of one's own: exactly one of the two."""

    name: str | None = None
    source: ModelSource | None = None


class Hardware(ApiRecord, frozen=True, kw_only=True):
    """GPU product and how many per replica. Auto: the cheapest of the cluster that fits and meets the objectives."""

    gpu: str = AUTO
    count: int | Literal["Auto"] = "Auto"


class Images(ApiRecord, frozen=True, kw_only=True):
    """`count` images of one size, WIDTHxHEIGHT in pixels, in every request."""

    size: str
    count: int = 1


class Video(ApiRecord, frozen=True, kw_only=True):
    """A video in every request: length such as ``60s``, sampled frames per second, WIDTHxHEIGHT in pixels."""

    length: str
    size: str
    frames_per_second: str = "1"


class Workload(ApiRecord, frozen=True, kw_only=True, omit_defaults=False):
    """One request. `prompt_tokens` counts text only. Written whole: a plan must not change with a default."""

    images: tuple[Images, ...] = ()
    videos: tuple[Video, ...] = ()
    prompt_tokens: int = 64
    output_tokens: int = 256


class Objectives(ApiRecord, frozen=True, kw_only=True):
    """95th percentiles, such as ``2s`` and ``50ms``."""

    ttft: str | None = None
    tpot: str | None = None


class ScalingEngine(StrEnum):
    """Who changes `replicas`."""

    AUTO = "Auto"
    OPERATOR = "Operator"
    KEDA = "KEDA"
    HPA = "HPA"
    NONE = "None"


class Scaling(ApiRecord, frozen=True, kw_only=True):
    """Bounds of `replicas`, and who moves it between them."""

    min: int = 1
    max: int = 1
    engine: ScalingEngine = ScalingEngine.AUTO


class BenchmarkPolicy(StrEnum):
    """When a replica measures itself before it takes traffic."""

    FIRST_OF_REVISION = "FirstOfRevision"
    NONE = "None"


class BenchmarkSpec(ApiRecord, frozen=True, kw_only=True):
    """`minimum_of_measured`: share of an earlier measurement that a new replica must reach, as text."""

    policy: BenchmarkPolicy = BenchmarkPolicy.FIRST_OF_REVISION
    minimum_of_measured: str = "0.7"


class CachePvc(ApiRecord, frozen=True, kw_only=True):
    """A claim that keeps checkpoints between pods."""

    size: str
    storage_class_name: str | None = None
    access_mode: str = "ReadWriteMany"
    retain: bool = True


class Cache(ApiRecord, frozen=True, kw_only=True):
    """Where checkpoints are kept; None: they are downloaded anew by each pod."""

    pvc: CachePvc | None = None


class Budget(ApiRecord, frozen=True, kw_only=True):
    """Limits on money, in USD as text; a plan above them is not taken."""

    max_usd_per_1k: str | None = msgspec.field(default=None, name="maxUSDPer1k")
    max_usd_per_month: str | None = msgspec.field(default=None, name="maxUSDPerMonth")


class Engine(ApiRecord, frozen=True, kw_only=True):
    """What the user decides about the engine itself. `image` of None: the operator's pinned one."""

    image: str | None = None
    trust_remote_code: bool = False
    needs: tuple[str, ...] = ()  # thinking, tools
    allowed_media_domains: tuple[str, ...] = ()


class VLMDeploymentSpec(ApiRecord, frozen=True, kw_only=True):
    """What is wanted. `replicas` is what ``/scale`` reads and writes; whoever scales owns it."""

    model: ModelReference
    quantization: str = AUTO
    hardware: Hardware = Hardware()
    workload: Workload = Workload()
    objectives: Objectives = Objectives()
    replicas: int = 1
    scaling: Scaling = Scaling()
    benchmark: BenchmarkSpec = BenchmarkSpec()
    cache: Cache | None = None
    license_policy: str | None = None
    budget: Budget | None = None
    engine: Engine | None = None


class ConditionType(StrEnum):
    """The conditions that are always present, in this order."""

    PLANNED = "Planned"
    MODEL_READY = "ModelReady"
    AVAILABLE = "Available"
    BENCHMARKED = "Benchmarked"
    READY = "Ready"
    DEGRADED = "Degraded"


class Condition(ApiRecord, frozen=True, kw_only=True):
    """A metav1.Condition."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int | None = None


class PlanStatus(ApiRecord, frozen=True, kw_only=True):
    """What was planned for the observed generation. Latencies and rates are text, as Kubernetes has no floats."""

    checkpoint: str
    precision: str
    gpu: str
    gpu_count: int
    requests_per_second: str
    ttft: str
    tpot: str
    basis: str


class BenchmarkStatus(ApiRecord, frozen=True, kw_only=True):
    """What a replica measured, with the width of its 95% interval."""

    requests_per_second: str
    interval: str
    concurrency: int
    ttft: str
    tpot: str
    measured: str  # when, RFC 3339


class Drift(ApiRecord, frozen=True, kw_only=True):
    """Measured over planned."""

    throughput: str


class CostStatus(ApiRecord, frozen=True, kw_only=True):
    """Money in USD as text. `realised` comes from production counters, idle time included."""

    hourly: str = msgspec.field(name="hourlyUSD")
    saturated_per_1k: str | None = msgspec.field(default=None, name="saturatedPer1kUSD")
    realised_per_1k: str | None = msgspec.field(default=None, name="realisedPer1kUSD")
    basis: str | None = None
    price_source: str | None = None
    as_of: str | None = None


class Timeline(ApiRecord, frozen=True, kw_only=True):
    """When the first replica of the revision reached each step, RFC 3339."""

    scheduled: str | None = None
    image_pulled: str | None = None
    weights_ready: str | None = None
    engine_ready: str | None = None
    benchmarked: str | None = None


class VLMDeploymentStatus(ApiRecord, frozen=True, kw_only=True):
    """What is. Written by the operator alone."""

    observed_generation: int | None = None
    phase: str | None = None
    conditions: tuple[Condition, ...] = ()
    replicas: int = 0
    ready_replicas: int = 0
    selector: str | None = None
    url: str | None = None
    plan: PlanStatus | None = None
    benchmark: BenchmarkStatus | None = None
    drift: Drift | None = None
    cost: CostStatus | None = None
    timeline: Timeline | None = None


class Metadata(ApiRecord, frozen=True, kw_only=True):
    """The part of ObjectMeta that a manifest writes."""

    name: str
    namespace: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class VLMDeployment(ApiRecord, frozen=True, kw_only=True):
    """The whole object. `api_version` and `kind` have no default, so that they are always written."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: VLMDeploymentSpec
    status: VLMDeploymentStatus | None = None


def duration(seconds: float) -> str:
    """``2s`` or ``50ms``, to the microsecond, as `vlmctl.units` parses it."""
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms"
