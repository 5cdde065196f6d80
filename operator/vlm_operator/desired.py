"""Everything that a VLMDeployment should have in the cluster, in the order in which it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlm_operator import download, names, network, proxy, revisions
from vlm_operator.names import Component
from vlm_operator.network import Prometheus
from vlm_operator.records import KubernetesObject, Revision
from vlm_operator.rollout import Rollout
from vlm_operator.scaling_queries import READY_LABEL
from vlm_operator.template import claim
from vlmctl.api import v1alpha1 as api
from vlmctl.serving import host, kubernetes
from vlmctl.specs.record import Record

REPLICA_SETS_KEPT = 2  # of the Deployment: revisions of our own say what to go back to


class Monitors(Record, frozen=True, kw_only=True):
    """Of engines' PodMonitors: `labels`, by which the Prometheus finds them, and how often it scrapes.

    The chart bounds `interval` to 60 s, on which `scaling_queries.ANSWERED_WINDOW` relies.
    """

    labels: Mapping[str, str] = {}
    interval: str = "30s"


def desired(
    parent: KubernetesObject,
    spec: api.VLMDeploymentSpec,
    rollout: Rollout,
    *,
    new_api_key: str,
    monitors: Monitors | None = None,
    prometheus: Prometheus | None = None,
    held_claim: KubernetesObject | None = None,
    words: Mapping[str, str] | None = None,
) -> tuple[KubernetesObject, ...]:
    """The children of `parent`, which was read from the API server and holds `spec`.

    Nothing as long as no plan was made. `new_api_key`: for the Secret, where it is still to be made. `monitors`: None
    in a cluster without PodMonitors. `prometheus`: who else may ask pods for metrics. `held_claim`: the cache's claim,
    where it is there already. `words`: by digest, what pods of a revision do that nobody tells anything. What belongs
    to a revision needs its ControllerRevision as its owner, so that and the Deployment follow once it has its uid.
    """
    if not rollout.revisions:
        return ()
    made = [each for each in rollout.revisions if each.uid and each in (rollout.wanted, rollout.carried)]
    # Pods of an older revision answer until those of the new one do.
    alive = [each for each in rollout.revisions if each in (rollout.wanted, rollout.carried, *rollout.running)]
    mode = _access_mode(spec, held_claim)
    return (
        _service_account(parent),
        *_secret(parent, spec, new_api_key),
        *_claim(parent, spec, mode),
        *_network_policies(parent, alive or rollout.revisions[-1:], prometheus),
        *(revisions.write(each, parent) for each in rollout.revisions),
        *(_config(parent, each) for each in made),
        *(_word(parent, each, words[each.digest]) for each in made if words and each.digest in words),
        *_downloads(parent, made, mode),
        _service(parent),
        _disruption_budget(parent),
        *([] if monitors is None else [_monitor(parent, monitors)]),
        *_deployment(parent, rollout, surge=rollout.surge and mode != api.AccessMode.READ_WRITE_ONCE),
    )


def _child(
    parent: KubernetesObject, api_version: str, kind: str, component: Component, name: str | None = None
) -> KubernetesObject:
    own = parent["metadata"]
    metadata = {
        "name": name or own["name"],
        "namespace": own["namespace"],
        "labels": names.labels(own["name"], component),
        "ownerReferences": names.owner(parent),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _of_revision(parent: KubernetesObject, revision: Revision, child: KubernetesObject) -> KubernetesObject:
    """The child, gone when its revision is."""
    keeper = revisions.write(revision, parent)
    owner = names.owner({**keeper, "metadata": {**keeper["metadata"], "uid": revision.uid}})
    labels = {**child["metadata"]["labels"], names.REVISION: revision.digest}
    return {**child, "metadata": {**child["metadata"], "labels": labels, "ownerReferences": owner}}


def _service_account(parent: KubernetesObject) -> KubernetesObject:
    return {**_child(parent, "v1", "ServiceAccount", Component.ACCESS), "automountServiceAccountToken": False}


def _secret(parent: KubernetesObject, spec: api.VLMDeploymentSpec, key: str) -> Iterator[KubernetesObject]:
    """The API key, once: the operator may not read Secrets, so the status remembers that it was made."""
    name = names.api_key(parent["metadata"]["name"])
    if spec.api_key is None and parent.get("status", {}).get("apiKeySecret") != name:
        child = _child(parent, "v1", "Secret", Component.ACCESS, name)
        yield {**child, "type": "Opaque", "stringData": {"api-key": key}}


def _access_mode(spec: api.VLMDeploymentSpec, held: KubernetesObject | None) -> str | None:
    """Of the cache's claim: what it has, else what is asked for, else the least that all replicas can work with."""
    asked = claim(spec)
    if asked is None:
        return None
    if held is not None:
        return str(held["spec"]["accessModes"][0])
    is_single = max(spec.replicas, spec.scaling.max) <= 1
    return asked.access_mode or (api.AccessMode.READ_WRITE_ONCE if is_single else api.AccessMode.READ_WRITE_MANY)


def _claim(parent: KubernetesObject, spec: api.VLMDeploymentSpec, mode: str | None) -> Iterator[KubernetesObject]:
    asked = claim(spec)
    if asked is None or mode is None:
        return
    child = _child(parent, "v1", "PersistentVolumeClaim", Component.CACHE, names.cache(parent["metadata"]["name"]))
    if asked.retain:
        del child["metadata"]["ownerReferences"]  # what nobody owns outlives the VLMDeployment
    fields: dict[str, Any] = {
        "accessModes": [str(mode)],
        "resources": {"requests": {"storage": str(asked.size)}},
    }
    if asked.storage_class_name is not None:
        fields["storageClassName"] = asked.storage_class_name
    yield {**child, "spec": fields}


def _network_policies(
    parent: KubernetesObject, revisions: Sequence[Revision], prometheus: Prometheus | None
) -> Iterator[KubernetesObject]:
    own = parent["metadata"]["name"]
    rules = {own: network.engine_rules(own, revisions, prometheus)}
    if any(download.needed(each) for each in revisions):
        rules[names.download_policy(own)] = network.download_rules(own, revisions)
    for name, spec in rules.items():
        yield {**_child(parent, "networking.k8s.io/v1", "NetworkPolicy", Component.ACCESS, name), "spec": spec}


def _config(parent: KubernetesObject, revision: Revision) -> KubernetesObject:
    child = _child(parent, "v1", "ConfigMap", Component.PLAN, revision.name)
    return {**_of_revision(parent, revision, child), "immutable": True, "data": revision.config}


def _word(parent: KubernetesObject, revision: Revision, text: str) -> KubernetesObject:
    name = names.standing_word(parent["metadata"]["name"], revision.digest)
    child = _child(parent, "v1", "ConfigMap", Component.PLAN, name)
    return {**_of_revision(parent, revision, child), "data": {names.WORD_FILE: text}}


def _downloads(parent: KubernetesObject, made: list[Revision], mode: str | None) -> Iterator[KubernetesObject]:
    """One Job for all revisions that bring the same."""
    brought = {download.job_name(parent["metadata"]["name"], each): each for each in made if download.needed(each)}
    for name, revision in brought.items():
        child = _child(parent, "batch/v1", "Job", Component.CACHE, name)
        shares_node = mode == api.AccessMode.READ_WRITE_ONCE
        spec = download.job_spec(revision, child["metadata"]["labels"], shares_node=shares_node)
        yield {**child, "spec": spec}


def _service(parent: KubernetesObject) -> KubernetesObject:
    fields = kubernetes.service_spec(names.selector(parent["metadata"]["name"]))
    # By its number, whichever container of the pod declares it.
    fields["ports"] = [{**each, "targetPort": host.PORT} for each in fields["ports"]]
    return {**_child(parent, "v1", "Service", Component.ENGINE), "spec": fields}


def _disruption_budget(parent: KubernetesObject) -> KubernetesObject:
    """Drained nodes take one replica at a time; one that serves nobody may always go."""
    fields = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": names.selector(parent["metadata"]["name"])},
    }
    return {**_child(parent, "policy/v1", "PodDisruptionBudget", Component.ENGINE), "spec": fields}


def _monitor(parent: KubernetesObject, monitors: Monitors) -> KubernetesObject:
    """The engine's page and the proxy's; and of the proxy's once more whether it answers, while the pod is ready.

    Who counts must go on counting pods that are not ready, under one set of labels. Who scales must know of which pods
    the load has to be known.
    """
    of_pod = f"__meta_kubernetes_pod_label_{names.DEPLOYMENT.replace('.', '_').replace('/', '_')}"
    usual = {"port": proxy.METRICS, "interval": monitors.interval}
    owner = _relabeling("replace", [of_pod], targetLabel=names.SERIES_LABEL)
    path = _relabeling("replace", ["__metrics_path__"], targetLabel="metrics_path")  # keeps the `up` of pages apart
    ready = [
        _relabeling("keep", ["__meta_kubernetes_pod_ready"], regex="true"),
        _relabeling("replace", ["__meta_kubernetes_pod_ready"], targetLabel=READY_LABEL),
    ]
    asked = {
        **usual,
        "path": proxy.METRICS_PATH,
        "params": {"scope": ["backend"]},
        "relabelings": [*ready, owner],
        "metricRelabelings": [_relabeling("drop", ["__name__"], regex=".*")],  # `up` alone is left
    }
    pages = [{**usual, "path": each, "relabelings": [owner, path]} for each in ("/metrics", proxy.METRICS_PATH)]
    fields = {
        "selector": {"matchLabels": names.selector(parent["metadata"]["name"])},
        "podMetricsEndpoints": [*pages, asked],
    }
    child = _child(parent, "monitoring.coreos.com/v1", "PodMonitor", Component.ENGINE)
    child["metadata"]["labels"] = {**monitors.labels, **child["metadata"]["labels"]}
    return {**child, "spec": fields}


def _relabeling(action: str, labels: list[str], **more: str) -> dict[str, Any]:
    """With the action, which the API server would fill in else."""
    return {"action": action, "sourceLabels": labels, **more}


def _deployment(parent: KubernetesObject, rollout: Rollout, *, surge: bool) -> Iterator[KubernetesObject]:
    """Without `replicas`: whoever scales owns them, and a field that is dropped would go back to its default.

    `surge`: not with a volume that one node holds at a time, where a new pod on another would wait for the old one.
    """
    revision = rollout.carried
    if revision is None:
        return
    steps = {"maxSurge": 1, "maxUnavailable": 0} if surge else {"maxSurge": 0, "maxUnavailable": 1}
    stop_seconds = revision.template["spec"]["terminationGracePeriodSeconds"]
    fields = {
        "selector": {"matchLabels": names.selector(parent["metadata"]["name"])},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": steps},
        "progressDeadlineSeconds": host.START_SECONDS + stop_seconds,
        "revisionHistoryLimit": REPLICA_SETS_KEPT,
        "template": revision.template,
    }
    yield {**_child(parent, "apps/v1", "Deployment", Component.ENGINE), "spec": fields}
