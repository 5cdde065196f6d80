"""What the operator's rooms hand each other: frozen records, and Kubernetes objects as they are read."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from vlmctl.api import v1alpha1 as api
from vlmctl.serving.engine_args import ServeArgument
from vlmctl.specs.estimates import Plan
from vlmctl.specs.record import Record

KubernetesObject = dict[str, Any]  # as the API server writes it, without managedFields


class Key(NamedTuple):
    """A VLMDeployment."""

    namespace: str
    name: str


class Pool(Record, frozen=True, kw_only=True):
    """Nodes of one kind. `gpu`: its id in the catalog; `label` and `product`: the node label that tells it, `resource`:
    what its device plugin offers. `usd_per_gpu_hour` of None: no price is known.

    `declared`: from the chart's values, where nodes may not exist yet.
    """

    gpu: str
    label: str
    product: str
    resource: str
    gpus_per_node: int
    nodes: int
    usd_per_gpu_hour: float | None = None
    price_source: str = "unknown"
    price_as_of: str = "unknown"
    declared: bool = False


class DeclaredPool(Record, frozen=True, kw_only=True):
    """Nodes of one kind as the chart's values declare them: those at zero nodes, and the price of those that are paid.

    `gpu`: a name of the catalog's, or the product label of its nodes. `label`, `product`, `resource`: where nodes are
    told apart, and GPUs asked for, by other words than the vendor's usual ones.
    """

    gpu: str
    gpus_per_node: int = 1
    nodes: int = 0
    usd_per_gpu_hour: float | None = None
    price_as_of: str = "unknown"
    label: str | None = None
    product: str | None = None
    resource: str | None = None


class Inventory(Record, frozen=True, kw_only=True):
    """GPUs that a pod could be given. `unknown`: product labels that no GPU of the catalog goes by, and why."""

    pools: tuple[Pool, ...] = ()
    unknown: tuple[str, ...] = ()


class Planned(Record, frozen=True, kw_only=True):
    """A plan, and all that its pods are made of. Kept whole in a ControllerRevision, so it is read and never made anew.

    `served_name`: the model's name in requests. `repository`, `revision`: on the hub. `checkpoint`: what the engine
    loads, the repository or a folder of the pod. `gpu_resource`: what a pod asks for; `node_label`, `node_products`:
    which nodes it may run on (any of the products). `image`: the engine's. `usd_per_gpu_hour` of None: no price is
    known. `notes`: what was decided for the user, one sentence each.
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
    notes: tuple[str, ...] = ()


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


class Observed(Record, frozen=True, kw_only=True):
    """One VLMDeployment and everything that belongs to it, as it was at one moment (`now`: seconds since 1970).

    `parent`: the VLMDeployment itself. `children`: by kind and name. `owned`: by kind and name, which of the child's
    fields our field manager owns (`actions.owned_paths`); a child missing here is compared by its values alone.
    `pods`: of the engine, and of the download Job (`names.COMPONENT` tells them apart). `results`: by pod uid, what its
    agent told. `logs`: by pod uid, the last lines of the engine's container that ended; data, never trusted.
    `monitors`: whether the cluster has PodMonitors.
    """

    now: float
    parent: KubernetesObject
    children: dict[str, dict[str, KubernetesObject]] = {}
    owned: dict[str, dict[str, frozenset[str]]] = {}
    pods: tuple[KubernetesObject, ...] = ()
    revisions: tuple[Revision, ...] = ()
    benchmarks: tuple[api.VLMBenchmark, ...] = ()
    results: dict[str, Any] = {}
    logs: dict[str, str] = {}
    monitors: bool = False
