"""VLMDeployments of a cluster, read from its API server, and what runs of each."""

from __future__ import annotations

from typing import Any

import msgspec

from vlmctl.api import v1alpha1 as api
from vlmctl.api.reading import running_benchmark, running_plan
from vlmctl.kubeconfig import Cluster
from vlmctl.library.cluster_objects import KubernetesObject, listed, named
from vlmctl.planning.running import Running, replica_usd_per_hour
from vlmctl.specs.record import Record

PLURAL = "vlmdeployments"


class Deployment(Record, frozen=True, kw_only=True):
    """A VLMDeployment. `unreadable`: why spec and status are not here, where this version cannot read them."""

    namespace: str
    name: str
    created: str
    spec: api.VLMDeploymentSpec | None
    status: api.VLMDeploymentStatus
    unreadable: str = ""

    @property
    def model(self) -> str | None:
        """The model's name, else where it is from."""
        return self.status.model or (self.spec.model.name if self.spec is not None else None)

    @property
    def wanted_replicas(self) -> int:
        """How many are asked for, as the status has it once it has."""
        if self.status.ready is not None:
            return int(self.status.ready.rpartition("/")[2])
        return self.spec.replicas if self.spec is not None else 0


def cluster_deployments(cluster: Cluster, namespace: str | None) -> tuple[Deployment, ...]:
    """All of a namespace, or of all where none is named, by namespace and name; raises NotReachable."""
    found = [read_deployment(item) for item in listed(cluster, PLURAL, namespace).get("items") or ()]
    return tuple(sorted(found, key=lambda each: (each.namespace, each.name)))


def cluster_deployment(cluster: Cluster, namespace: str, name: str) -> Deployment:
    """The one of that name; raises InvalidValue where it is not there, NotReachable."""
    return read_deployment(named(cluster, PLURAL, namespace, name, kind=api.KIND))


def read_deployment(found: KubernetesObject) -> Deployment:
    """The object as the API server tells it; what this version cannot read is said to be unreadable."""
    metadata = found.get("metadata") or {}
    spec, status, unreadable = None, api.VLMDeploymentStatus(), ""
    try:
        spec = msgspec.convert(found.get("spec") or {}, api.VLMDeploymentSpec)
        status = msgspec.convert(found.get("status") or {}, api.VLMDeploymentStatus)
    except msgspec.ValidationError as error:
        spec = None
        unreadable = f"it cannot be read: {error}. Was it written by an operator of another version? Use its vlmctl."
    return Deployment(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        created=str(metadata.get("creationTimestamp", "")),
        spec=spec,
        status=status,
        unreadable=unreadable,
    )


def running(deployment: Deployment) -> Running | None:
    """What runs; None where nothing was planned yet, so that nothing can."""
    spec, status = deployment.spec, deployment.status
    plan, cost = running_plan(status), status.cost or api.CostStatus()
    if spec is None or (status.plan is None and status.cost is None):
        return None
    replicas = deployment.wanted_replicas if cost.replicas is None else cost.replicas
    known = {} if plan is None else _planned(plan)
    benchmark = running_benchmark(status)
    measured = None if benchmark is None else number(benchmark.requests_per_second)
    return Running(
        replicas=replicas,
        held_gpus=cost.gpus,
        fewest_replicas=spec.scaling.min,
        measured_per_second=measured,
        usd_per_hour_of_replica=replica_usd_per_hour(
            usd_per_hour=number(cost.hourly),
            replicas=replicas,
            usd_per_1k=number(cost.saturated_per_1k),
            requests_per_second=known.get("planned_per_second") if measured is None else measured,
        ),
        realised_usd_per_1k=number(cost.realised_per_1k),
        realised_replica_hours_per_1k=number(cost.realised_replica_hours_per_1k),
        realised_replicas=number(cost.realised_replicas),
        answers_nothing=cost.idle,
        is_scaled=status.scaling is not None and status.scaling.engine != api.ScalingEngine.NONE,
        target_utilization=float(spec.scaling.target_utilization),
        **known,
    )


def _planned(plan: api.PlanStatus) -> dict[str, Any]:
    return {
        "precision": plan.precision,
        "gpu": plan.gpu,
        "gpu_count": plan.gpu_count,
        "planned_per_second": float(plan.requests_per_second),
        "basis": plan.basis,
        "planned_error": number(plan.error_median),
    }


def number(text: str | None) -> float | None:
    """A number as the API writes it."""
    return None if text is None else float(text)
