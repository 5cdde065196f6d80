"""What the operator's rooms hand each other: frozen records, and Kubernetes objects as they are read."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from vlmctl.api import v1alpha1 as api
from vlmctl.serving.engine_args import ServeArgument
from vlmctl.specs.estimates import Plan
from vlmctl.specs.record import Record

KubernetesObject = dict[str, Any]  # as the API server writes it, without what nobody reads


class Key(NamedTuple):
    """A VLMDeployment."""

    namespace: str
    name: str


class Planned(Record, frozen=True, kw_only=True):
    """A plan, and all that its pods are made of. Kept whole in a ControllerRevision, so it is read and never made anew.

    `served_name`: the model's name in requests. `repository`, `revision`: on the hub. `checkpoint`: what the engine
    loads, the repository or a folder of the pod. `gpu_resource`: what a pod asks for; `node_label`, `node_products`:
    which nodes it may run on (any of the products). `image`: the engine's. `usd_per_gpu_hour` of None: no price is
    known. `cold_start_seconds`: estimate, from a replica's being made to traffic, on a machine that is there.
    `download_bytes`: what each pod brings from the hub, unless a claim keeps it. `notes`: what was decided for the
    user, one sentence each.
    """

    plan: Plan
    model: str
    served_name: str
    repository: str
    image: str
    arguments: tuple[ServeArgument, ...]
    gpu_resource: str
    node_label: str
    node_products: tuple[str, ...]
    checkpoint: str = ""
    revision: str | None = None
    gated: bool | None = None
    license: str = "unknown"
    usd_per_gpu_hour: float | None = None
    price_source: str = "unknown"
    price_as_of: str = "unknown"
    cold_start_seconds: float | None = None
    download_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def usd_per_hour(self) -> float | None:
        """Of one replica; None where no price is known."""
        return None if self.usd_per_gpu_hour is None else self.usd_per_gpu_hour * self.plan.placement.gpu_count


class Verdict(StrEnum):
    """What became of a revision."""

    UNKNOWN = "Unknown"
    GOOD = "Good"  # a pod of it took traffic
    FAILED = "Failed"  # it had its time, and another revision is to run


class Revision(Record, frozen=True, kw_only=True):
    """A ControllerRevision of ours. `digest`: of what was planned for; `template`: the pod template, whole, the agent's
    image and all, so that a new version of the operator does not restart a model that runs. `config`: the files of its
    ConfigMap. `number`: the higher, the later it was asked for.
    """

    name: str
    number: int
    digest: str
    planned: Planned
    template: KubernetesObject
    config: dict[str, str] = {}
    verdict: Verdict = Verdict.UNKNOWN
    uid: str = ""


class Finding(Record, frozen=True, kw_only=True):
    """What is wrong: an enumerated reason, a sentence that does not change while it is wrong, and what to do."""

    reason: str
    message: str
    remedy: str = ""

    @property
    def text(self) -> str:
        """Message and remedy, one sentence after the other."""
        ends = self.message.endswith((".", "!", "?", ":"))
        return f"{self.message}{'' if ends or not self.remedy else '.'} {self.remedy}".strip()


class Findings(Record, frozen=True, kw_only=True):
    """What a pass has found in the way. `refused`: of a plan for the spec, or of going on with the one that is there.
    `finding`: of the replicas that the status is about. `problem`: of the operator's own work. `lesser`: of what stops
    nothing else: of as many replicas as are asked for, of objects that do not stay as they are written.

    `better`: a sentence about a plan that would cost less now, empty where there is none; None: as it was said before.
    `scaling`: a sentence about what of the scaling that is asked for cannot be had; empty where all can.
    """

    refused: Finding | None = None
    finding: Finding | None = None
    problem: Finding | None = None
    lesser: Finding | None = None
    better: str | None = None
    scaling: str = ""


class Observed(Record, frozen=True, kw_only=True):
    """One VLMDeployment and everything that belongs to it, as it was at one moment (`now`: seconds since 1970).

    `parent`: the VLMDeployment itself. `children`: by kind and name. `owned`: by kind and name, which of the child's
    fields our field manager owns (`actions.owned_paths`); a child missing here is compared by its values alone.
    `pods`: of the engine, and of the download Job (`names.COMPONENT` tells them apart). `results`: by pod uid, what its
    agent told; `doubted`: why that is not believed. `logs`: by pod uid, the last lines of the engine's container that
    ended; data, never trusted. `monitors`: whether the cluster has PodMonitors. `unreadable`: by digest, why a revision
    of it cannot be read.
    """

    now: float
    parent: KubernetesObject
    children: dict[str, dict[str, KubernetesObject]] = {}
    owned: dict[str, dict[str, frozenset[str]]] = {}
    pods: tuple[KubernetesObject, ...] = ()
    revisions: tuple[Revision, ...] = ()
    benchmarks: tuple[api.VLMBenchmark, ...] = ()
    results: dict[str, Any] = {}
    doubted: dict[str, str] = {}
    logs: dict[str, str] = {}
    monitors: bool = False
    unreadable: dict[str, str] = {}
