"""The chart's roles hold what the operator does in a VLMDeployment's whole life, and nothing more."""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from vlm_operator import names
from vlm_operator.kinds import BY_KIND, POD, VLMDEPLOYMENT

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.fleet import Fleet, fleet
from tests.cluster.control_plane.operators import MANIFEST, Space, eventually, running, settled, some
from tests.cluster.control_plane.test_rights import RELEASE, account, permissions

NAME, CACHED = "vision", "cached"
REVISIONS = 7  # more than are kept
AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject", "HTTPScaledObject")
LEFT = ("Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor")
SETTINGS = {"scaling": {"intervalSeconds": 0.5, "externalMetric": "in_flight", "prometheus": "http://prometheus:9090"}}
QUICK = {"scaleUp": {"policies": [{"type": "Pods", "value": 10, "periodSeconds": 1}]}}


class Right(NamedTuple):
    """A verb on a resource (or a part of one) of an API group."""

    group: str
    resource: str
    verb: str


def granted(cluster: Cluster, space: Space) -> set[Right]:
    """All that the chart's roles allow."""
    roles = yaml.safe_load_all(permissions(cluster, space.name))
    return {right for role in roles for rule in role.get("rules", ()) for right in rights(rule)}


def rights(rule: dict[str, Any]) -> set[Right]:
    """All that one rule allows."""
    return {Right(*each) for each in product(rule["apiGroups"], rule["resources"], rule["verbs"])}


def used(cluster: Cluster, space: Space) -> tuple[set[Right], dict[Right, str]]:
    """What the operator asked for, and what of it was denied with which words."""
    done: set[Right] = set()
    denied: dict[Right, str] = {}
    for each in cluster.requests():
        about = each.get("objectRef")
        if each["user"]["username"] != f"system:serviceaccount:{space.name}:{RELEASE}" or about is None:
            continue
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        right = Right(about.get("apiGroup", ""), resource, each["verb"])
        status = each.get("responseStatus", {}).get("code")
        if status == 403:
            denied[right] = each["responseStatus"]["message"]
        done.add(right)
        if right.verb == "patch" and status == 201:  # a server-side apply that made the object
            done.add(right._replace(verb="create"))
    return done, denied


def test_every_right_is_used_and_no_other(extended: Cluster, space: Space, tmp_path: Path) -> None:
    """Without any one verb of any rule a part of the life below would be denied; nothing of it is denied as it is."""
    kubeconfig = account(extended, space, tmp_path)
    with (
        fleet(space) as pods,
        running(space, tmp_path, kubeconfig=kubeconfig, namespaces=[], settings=SETTINGS) as operator,
    ):
        _scaled(space, pods)
        _other_autoscalers(space)
        _many_revisions(space)
        _cached(space)
        _leftovers(space)
        eventually(lambda: _is_rolled_out(space, pods))
        _crash(space, next(iter(pods.ready)))
        assert operator.stop() == 0
    expected = granted(extended, space)
    done, denied = used(extended, space)
    assert denied == {}
    assert done == expected


def _is_rolled_out(space: Space, pods: Fleet) -> None:
    """Whether no pod is going to be replaced."""
    body = space.find(BY_KIND["Deployment"], NAME)
    counts = {body["status"].get(name) for name in ("replicas", "updatedReplicas", "readyReplicas")}
    assert counts == {body["spec"]["replicas"]}
    assert len(pods.ready) == body["spec"]["replicas"]


def _scaled(space: Space, pods: Fleet) -> None:
    """It is made, measures itself, and the operator gives it more replicas."""
    space.make(NAME, {**MANIFEST, "scaling": {"min": 1, "max": 3, "engine": "Operator", "behavior": QUICK}})
    settled(space, NAME)
    eventually(lambda: some(space.all("VLMBenchmark")))
    pods.spread(100)
    eventually(lambda: some(space.find(VLMDEPLOYMENT, NAME)["spec"].get("replicas") == 3))
    eventually(lambda: some(space.find(BY_KIND["Deployment"], NAME)["spec"]["replicas"] == 3))


def _other_autoscalers(space: Space) -> None:
    for scaling, kinds in (
        ({"engine": "HPA"}, {"HorizontalPodAutoscaler"}),
        ({"engine": "KEDA"}, {"ScaledObject"}),
        ({"engine": "KEDA", "min": 0}, {"ScaledObject", "HTTPScaledObject"}),
        ({"engine": "None", "min": 1}, set()),
    ):
        space.change(VLMDEPLOYMENT, NAME, {"spec": {"scaling": scaling}})
        eventually(lambda kinds=kinds: _are(space, kinds))  # type: ignore[misc]


def _are(space: Space, kinds: set[str]) -> None:
    assert {kind for kind in AUTOSCALERS if space.all(kind)} == kinds


def _many_revisions(space: Space) -> None:
    """More than are kept, each seen."""
    for number in range(REVISIONS):
        space.change(VLMDEPLOYMENT, NAME, {"spec": {"workload": {"outputTokens": 100 + number}}})
        settled(space, NAME)

    def check() -> None:
        writes = [(each["verb"], each["objectRef"]["resource"]) for each in space.writes()]
        assert ("delete", "controllerrevisions") in writes

    eventually(check)


def _cached(space: Space) -> None:
    """Weights are downloaded, and then those of other commits instead: the download that no pod waits for goes."""
    space.make(CACHED, {**MANIFEST, "cache": {"pvc": {"size": "10Gi"}}})
    made = {*eventually(lambda: some(space.all("Job")))}
    for commit in ("1" * 40, "2" * 40):
        source = {"huggingFace": {"revision": commit}}
        space.change(VLMDEPLOYMENT, CACHED, {"spec": {"model": {**MANIFEST["model"], "source": source}}})
        made |= {*eventually(lambda known=frozenset(made): some({*space.all("Job")} - known))}  # type: ignore[misc]
    eventually(lambda: some(made - {*space.all("Job")}))


def _leftovers(space: Space) -> None:
    """What an earlier version of the operator made, and this one does not want."""
    parent = space.find(VLMDEPLOYMENT, NAME)
    labels = names.labels(NAME, names.Component.ACCESS)
    specs = {"Service": {"ports": [{"port": 80}]}, "PodDisruptionBudget": {"maxUnavailable": 1}}
    for kind in LEFT:
        metadata = {"name": "left-over", "labels": labels, "ownerReferences": names.owner(parent)}
        resource = BY_KIND[kind]
        body = {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata}
        spec = {} if kind == "ServiceAccount" else {"spec": specs.get(kind, {"podSelector": {}})}
        space.ask("POST", resource.path(space.name), {**body, **spec})
    eventually(lambda: some(not any("left-over" in space.all(kind) for kind in LEFT)))


def _crash(space: Space, pod: str) -> None:
    """An engine ends, and its last lines are asked for."""
    crash(space, pod)

    def check() -> None:
        assert any(right.resource == "pods/log" for right in used(space.cluster, space)[0])

    eventually(check)
    time.sleep(1.0)  # for an Event of it


def crash(space: Space, pod: str) -> None:
    """As a kubelet tells that the engine of a pod ends again and again."""
    ended = {
        "exitCode": 1,
        "reason": "Error",
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:01:00Z",
    }
    unknown = {"name": names.ENGINE, "image": "", "imageID": ""}
    known = space.find(POD, pod)["status"].get("containerStatuses", [unknown])
    containers = [
        {
            **each,
            "ready": False,
            "started": False,
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {**ended, "containerID": "containerd://1"}},
        }
        if each["name"] == names.ENGINE
        else each
        for each in known
    ]
    space.change(POD, pod, {"status": {"containerStatuses": containers}}, "status")
