"""Everything that a VLMDeployment should have in the cluster, in the order in which it is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from vlm_operator import download, names, revisions
from vlm_operator.names import Component
from vlm_operator.records import KubernetesObject, Revision
from vlm_operator.rollout import Rollout
from vlm_operator.template import AGENT_PORT, claim
from vlmctl.api import v1alpha1 as api
from vlmctl.serving import host, kubernetes

REPLICA_SETS_KEPT = 2  # of the Deployment: revisions of our own say what to go back to
DNS_PORT = 53
HTTP_PORT = 80
HTTPS_PORT = 443
OPERATOR = {names.NAME: "vlm-operator"}  # label of the operator's pods
# Variables of the engine that name what else it is to reach.
ADDRESSES = frozenset({"HF_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"})
# Where clouds answer with the credentials of the node.
METADATA_RANGES = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")


def desired(
    parent: KubernetesObject,
    spec: api.VLMDeploymentSpec,
    rollout: Rollout,
    *,
    new_api_key: str,
    monitors: bool = False,
    held_claim: KubernetesObject | None = None,
) -> tuple[KubernetesObject, ...]:
    """The children of `parent`, which was read from the API server and holds `spec`.

    Nothing as long as no plan was made. `new_api_key`: for the Secret, where it is still to be made. `monitors`:
    whether the cluster has PodMonitors. `held_claim`: the cache's claim, where it is there already. A revision's
    ConfigMap and Job need its ControllerRevision as their owner, so they and the Deployment follow once that has its
    uid.
    """
    if not rollout.revisions:
        return ()
    made = [each for each in rollout.revisions if each.uid and each in (rollout.wanted, rollout.carried)]
    newest = rollout.carried or rollout.revisions[-1]
    mode = _access_mode(spec, held_claim)
    return (
        _service_account(parent),
        *_secret(parent, spec, new_api_key),
        *_claim(parent, spec, mode),
        _network_policy(parent, newest),
        *(revisions.write(each, parent) for each in rollout.revisions),
        *(_config(parent, each) for each in made),
        *(_download(parent, each) for each in made if download.needed(each)),
        _service(parent),
        _disruption_budget(parent),
        *([_monitor(parent)] if monitors else []),
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


def _network_policy(parent: KubernetesObject, revision: Revision) -> KubernetesObject:
    """Requests come from the whole cluster; the agent answers the operator alone. Downloads go out, but nothing goes to
    where the node's own credentials are.
    """
    ports = sorted({HTTPS_PORT, *_named_ports(revision)})
    ranges = [("0.0.0.0/0", [each for each in METADATA_RANGES if ":" not in each])]
    ranges.append(("::/0", [each for each in METADATA_RANGES if ":" in each]))
    operator = {"namespaceSelector": {}, "podSelector": {"matchLabels": OPERATOR}}
    rules = {
        "podSelector": {"matchLabels": {names.DEPLOYMENT: parent["metadata"]["name"]}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [{"namespaceSelector": {}}], "ports": [_port(host.PORT)]},
            {"from": [operator], "ports": [_port(AGENT_PORT)]},
        ],
        "egress": [
            {"ports": [_port(DNS_PORT, "UDP"), _port(DNS_PORT)]},  # a node's DNS cache has a link-local address
            {
                "to": [{"ipBlock": {"cidr": cidr, "except": without}} for cidr, without in ranges],
                "ports": [_port(port) for port in ports],
            },
        ],
    }
    return {**_child(parent, "networking.k8s.io/v1", "NetworkPolicy", Component.ACCESS), "spec": rules}


def _port(port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": port, "protocol": protocol}


def _named_ports(revision: Revision) -> Iterator[int]:
    """Ports of the hub's mirror and of proxies, where the engine is told of one."""
    engine = next(each for each in revision.template["spec"]["containers"] if each["name"] == names.ENGINE)
    for variable in engine["env"]:
        if variable["name"] in ADDRESSES and "value" in variable:
            named = variable["value"]
            with suppress(ValueError):  # no address: whoever reads the variable will say so
                address = urlsplit(named if "://" in named else f"//{named}")
                yield address.port or (HTTPS_PORT if address.scheme == "https" else HTTP_PORT)


def _config(parent: KubernetesObject, revision: Revision) -> KubernetesObject:
    child = _child(parent, "v1", "ConfigMap", Component.PLAN, revision.name)
    return {**_of_revision(parent, revision, child), "immutable": True, "data": revision.config}


def _download(parent: KubernetesObject, revision: Revision) -> KubernetesObject:
    name = names.download(parent["metadata"]["name"], revision.digest)
    child = _of_revision(parent, revision, _child(parent, "batch/v1", "Job", Component.CACHE, name))
    return {**child, "spec": download.job_spec(revision, child["metadata"]["labels"])}


def _service(parent: KubernetesObject) -> KubernetesObject:
    fields = kubernetes.service_spec(names.selector(parent["metadata"]["name"]))
    return {**_child(parent, "v1", "Service", Component.ENGINE), "spec": fields}


def _disruption_budget(parent: KubernetesObject) -> KubernetesObject:
    """Drained nodes take one replica at a time; one that serves nobody may always go."""
    fields = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": names.selector(parent["metadata"]["name"])},
    }
    return {**_child(parent, "policy/v1", "PodDisruptionBudget", Component.ENGINE), "spec": fields}


def _monitor(parent: KubernetesObject) -> KubernetesObject:
    fields = {
        "selector": {"matchLabels": names.selector(parent["metadata"]["name"])},
        "podMetricsEndpoints": [{"port": kubernetes.HTTP, "path": "/metrics"}],
    }
    return {**_child(parent, "monitoring.coreos.com/v1", "PodMonitor", Component.ENGINE), "spec": fields}


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
