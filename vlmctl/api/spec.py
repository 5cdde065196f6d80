"""What a user asks for in a VLMDeployment's `spec`.

Field names are camelCase in YAML. Quantities that Kubernetes users write as text (durations, ratios, image sizes) stay
text here and are parsed at the edge with `vlmctl.units`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from vlmctl.api.records import ApiRecord

AUTO = "Auto"


class SecretKey(ApiRecord, frozen=True, kw_only=True):
    """A key of a Secret in the same namespace."""

    name: str
    key: str


class HuggingFaceSource(ApiRecord, frozen=True, kw_only=True):
    """A repository on the Hugging Face hub, at a revision. `token_secret`: for gated and private ones."""

    repository: str
    revision: str | None = None
    token_secret: SecretKey | None = None


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


class ModelFacts(ApiRecord, frozen=True, kw_only=True):
    """What the planner must know of a model outside the catalog: its config.json, and its image processor's file."""

    config: dict[str, Any]
    processor: dict[str, Any] = {}
    license: str | None = None


class ModelReference(ApiRecord, frozen=True, kw_only=True):
    """`name`: a catalog id, which says what the model is; `source`: where its weights lie, if not in the catalog's
    repository.

    One of the two must be there; a source whose model the catalog does not know needs `facts`.
    """

    name: str | None = None
    source: ModelSource | None = None
    facts: ModelFacts | None = None


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
    """`minimum_of_measured`: share of an earlier measurement that a new replica must reach; `budget`: of the ladder."""

    policy: BenchmarkPolicy = BenchmarkPolicy.FIRST_OF_REVISION
    minimum_of_measured: str = "0.7"
    budget: str = "90s"


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


class Variable(ApiRecord, frozen=True, kw_only=True):
    """An environment variable, by value."""

    name: str
    value: str = ""


class Engine(ApiRecord, frozen=True, kw_only=True):
    """What the user decides about the engine itself. `image` of None: the operator's pinned one.

    `arguments`: more words for `vllm serve`, after the planned ones, of which each flag here replaces its namesake.
    """

    image: str | None = None
    arguments: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    trust_remote_code: bool = False
    needs: tuple[str, ...] = ()  # thinking, tools
    allowed_media_domains: tuple[str, ...] = ()


class PodOverrides(ApiRecord, frozen=True, kw_only=True):
    """Fields of the pods that are not ours to decide, in Kubernetes' own form. `cpu`, `memory`: of the engine."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    scheduler_name: str | None = None
    cpu: str | None = None
    memory: str | None = None


class VLMDeploymentSpec(ApiRecord, frozen=True, kw_only=True):
    """What is wanted. `replicas` is what ``/scale`` reads and writes; whoever scales owns it.

    `api_key`: a Secret of the user's own; None: the operator makes one. `paused`: children are left as they are.
    """

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
    pod: PodOverrides | None = None
    api_key: SecretKey | None = None
    paused: bool = False
