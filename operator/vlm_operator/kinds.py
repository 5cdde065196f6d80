"""Kinds of objects that the operator reads or writes, and where the API server keeps them."""

from __future__ import annotations

from typing import NamedTuple

from vlm_operator import names
from vlmctl.api import v1alpha1 as api

OURS = f"{names.MANAGED_BY}={names.FIELD_MANAGER}"  # selects children, on the server


class Resource(NamedTuple):
    """A kind of the API. `selector`: labels of the objects that are watched. `optional`: its API, or the right to read
    it, may be missing. `page`: objects of a list in one response; a ControllerRevision has 30 kB, and takes ten times
    that when decoded.
    """

    kind: str
    api_version: str
    plural: str
    namespaced: bool = True
    selector: str | None = OURS
    optional: bool = False
    page: int = 100

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Below the API server's root; without a `name` that of the list, without a `namespace` that of all."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + "".join(f"/{part}" for part in (name, subresource) if part)


# Its writers may give one as many labels as the API server stores: 1.5 MB, which are ten times that when decoded.
VLMDEPLOYMENT = Resource(api.KIND, api.API_VERSION, "vlmdeployments", selector=None, page=10)
VLMBENCHMARK = Resource(api.BENCHMARK_KIND, api.API_VERSION, "vlmbenchmarks", selector=None)
DEPLOYMENT = Resource("Deployment", "apps/v1", "deployments")
REVISION = Resource("ControllerRevision", "apps/v1", "controllerrevisions")
POD = Resource("Pod", "v1", "pods")
SECRET = Resource("Secret", "v1", "secrets")
JOB = Resource("Job", "batch/v1", "jobs")
AUTOSCALER = Resource("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers", optional=True)
SCALED_OBJECT = Resource("ScaledObject", "keda.sh/v1alpha1", "scaledobjects", optional=True)
HTTP_SCALED_OBJECT = Resource("HTTPScaledObject", "http.keda.sh/v1alpha1", "httpscaledobjects", optional=True)
MONITOR = Resource("PodMonitor", "monitoring.coreos.com/v1", "podmonitors", optional=True)
NODE = Resource("Node", "v1", "nodes", namespaced=False, selector=None, optional=True)
LEASE = Resource("Lease", "coordination.k8s.io/v1", "leases")
EVENT = Resource("Event", "events.k8s.io/v1", "events")

WATCHED = (
    DEPLOYMENT,
    Resource("Service", "v1", "services"),
    Resource("ServiceAccount", "v1", "serviceaccounts"),
    Resource("ConfigMap", "v1", "configmaps"),
    Resource("PersistentVolumeClaim", "v1", "persistentvolumeclaims"),
    Resource("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
    Resource("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
    JOB,
    REVISION,
    POD,
    MONITOR,
    AUTOSCALER,
    SCALED_OBJECT,
    HTTP_SCALED_OBJECT,
    VLMBENCHMARK,
)
"""In every namespace that is served, by watches of ours."""

BY_KIND = {each.kind: each for each in (*WATCHED, VLMDEPLOYMENT, SECRET, NODE)}
