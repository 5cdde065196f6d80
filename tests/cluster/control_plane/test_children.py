"""The objects of a VLMDeployment on a real API server: what it accepts, fills in and tells of owners."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator import names, revisions
from vlm_operator.reasons import AvailableReason
from vlm_operator.records import Finding, Verdict

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.deployed import NAMESPACE, Deployed
from tests.vlm_operator.children import SPEC
from vlmctl.api import v1alpha1 as api
from vlmctl.api.crds import vlmdeployment_crd

WHOLE = replace(
    SPEC,
    cache=api.Cache(pvc=api.CachePvc(size="1024Mi", storage_class_name="none", retain=False)),
    pod=api.PodOverrides(
        annotations={"a": "b"},
        node_selector={"zone": "a"},
        tolerations=(
            api.Toleration(key="spot", value="yes", effect=api.TaintEffect.NO_SCHEDULE),
            api.Toleration(key="empty", value=""),
        ),
        image_pull_secrets=("pull",),
        cpu="3000m",
        memory="20480Mi",
    ),
    engine=api.Engine(env=(api.Variable(name="A", value="1"), api.Variable(name="B"))),
)
PLAIN = replace(
    SPEC,
    model=api.ModelReference(
        name=SPEC.model.name, source=api.ModelSource(pvc=api.PvcSource(claim_name="weights", path="/a"))
    ),
)


@pytest.fixture(scope="module")
def cluster(control_plane: Cluster) -> Iterator[Cluster]:
    """With the resource definition, and a namespace that lets in restricted pods alone."""
    control_plane.apply(vlmdeployment_crd())
    for state in ("jsonpath={.status.acceptedNames.kind}=VLMDeployment", "condition=Established"):
        control_plane.kubectl("wait", "crd/vlmdeployments.vlmctl.dev", f"--for={state}", "--timeout=30s")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    yield control_plane
    control_plane.kubectl("delete", "vlmdeployments", "--all", "-n", NAMESPACE)


@pytest.mark.parametrize(("name", "spec"), [("whole", WHOLE), ("plain", PLAIN)])
def test_what_is_right_is_not_written(cluster: Cluster, name: str, spec: api.VLMDeploymentSpec) -> None:
    """Once all is made, the API server's own words for it leave nothing to do."""
    deployed = Deployed(cluster, name)
    assert deployed.settle(spec)
    assert deployed.to_do(spec) == ()
    assert cluster.get("deployment", name, "-n", NAMESPACE)["spec"]["replicas"] == 2


def test_pods_are_let_in(cluster: Cluster) -> None:
    """The restricted pod security standard refuses no pod of the engine, of the agent or of the download."""
    deployed = Deployed(cluster, "let-in")
    deployed.settle(WHOLE)
    selector = ("pods", "-n", NAMESPACE, "-l", f"{names.DEPLOYMENT}=let-in")
    cluster.kubectl("wait", *selector, "--for=create", "--timeout=30s")
    cluster.kubectl("wait", "deployment/let-in", "-n", NAMESPACE, "--for=jsonpath={.status.replicas}=2")
    components = [each["metadata"]["labels"][names.COMPONENT] for each in cluster.get(*selector)["items"]]
    assert sorted(components) == ["cache", "engine", "engine"]


SECRET = {"secretName": "theirs"}
FROM = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
HEALTH = {"httpGet": {"path": "/health", "port": 8000}}
FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("deployment", {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other:1"}),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "4"}),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/containers/0/args/1", "value": "bench"}),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/containers/0/env/5/value", "value": "2"}),
    ("deployment", {"op": "remove", "path": "/spec/template/spec/containers/0/env/4"}),
    ("deployment", {"op": "remove", "path": "/spec/template/spec/containers/1"}),
    ("deployment", {"op": "remove", "path": "/spec/template/spec/containers/0/livenessProbe"}),
    ("deployment", {"op": "remove", "path": "/spec/template/spec/tolerations/1"}),
    ("deployment", {"op": "remove", "path": "/spec/template/spec/affinity"}),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/automountServiceAccountToken", "value": True}),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/volumes/1/emptyDir/sizeLimit", "value": "3Gi"}),
    ("deployment", {"op": "replace", "path": "/spec/strategy/rollingUpdate/maxSurge", "value": "25%"}),
    ("deployment", {"op": "remove", "path": "/metadata/labels/app.kubernetes.io~1part-of"}),
    (
        "deployment",
        {"op": "replace", "path": "/spec/template/spec/initContainers/0/ports/0/containerPort", "value": 8003},
    ),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/initContainers/0/ports/0/name", "value": "web"}),
    (
        "deployment",
        {"op": "replace", "path": "/spec/template/spec/volumes/2", "value": {"name": "run", "secret": SECRET}},
    ),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/containers/0/env/4", "value": {"name": "A", **FROM}}),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/containers/0/livenessProbe", "value": HEALTH}),
    ("service", {"op": "replace", "path": "/spec/ports/0/port", "value": 81}),
    ("service", {"op": "replace", "path": "/spec/ports/0/name", "value": "web"}),
    ("service", {"op": "replace", "path": "/spec/selector/vlmctl.dev~1deployment", "value": "other"}),
    ("serviceaccount", {"op": "replace", "path": "/automountServiceAccountToken", "value": True}),
    ("poddisruptionbudget", {"op": "replace", "path": "/spec/maxUnavailable", "value": 2}),
    ("networkpolicy", {"op": "remove", "path": "/spec/egress/0/ports/1"}),
    ("networkpolicy", {"op": "add", "path": "/spec/ingress/1/from/-", "value": {"namespaceSelector": {}}}),
]


def test_foreign_changes_of_our_fields_are_put_back(cluster: Cluster) -> None:
    """Each is one write of one object, and then nothing."""
    deployed = Deployed(cluster, "changed")
    deployed.settle(WHOLE)
    for kind, patch in FOREIGN:
        deployed.patch(kind, [patch])
        done = deployed.to_do(WHOLE)
        assert [each.kind.lower() for each in done] == [kind], patch
        deployed.carry_out(done)
        assert deployed.to_do(WHOLE) == (), patch


FREE: list[tuple[str, dict[str, Any]]] = [
    ("deployment", {"metadata": {"annotations": {"team": "vision"}}, "spec": {"minReadySeconds": 3}}),
    ("deployment", {"spec": {"template": {"spec": {"containers": [{"name": "mesh", "image": "mesh:1"}]}}}}),
    ("service", {"spec": {"sessionAffinity": "ClientIP"}}),
    ("networkpolicy", {"metadata": {"labels": {"team": "vision"}}}),
]


def test_foreign_changes_of_other_fields_are_left_alone(cluster: Cluster) -> None:
    """They stay through a new revision, too."""
    deployed = Deployed(cluster, "free")
    deployed.settle(WHOLE)
    for kind, patch in FREE:
        deployed.patch(kind, patch, "strategic")
    assert deployed.to_do(WHOLE) == ()
    deployed.settle(PLAIN)
    held = cluster.get("deployment", "free", "-n", NAMESPACE)
    assert held["spec"]["minReadySeconds"] == 3
    assert "mesh" in {each["name"] for each in held["spec"]["template"]["spec"]["containers"]}


def test_a_new_revision_leaves_nothing_of_the_old_one(cluster: Cluster) -> None:
    """What the spec does not ask for any more is gone from the pods; weights and the old revision are kept."""
    deployed = Deployed(cluster, "renewed")
    deployed.settle(WHOLE)
    deployed.settle(PLAIN)
    pods = cluster.get("deployment", "renewed", "-n", NAMESPACE)["spec"]["template"]
    assert "annotations" not in pods["metadata"]
    assert not {"nodeSelector", "imagePullSecrets"} & pods["spec"].keys()
    assert {each["name"] for each in pods["spec"]["volumes"]} == {
        "api-key",
        "cache",
        "config",
        "model",
        "pod",
        "run",
        "shared-memory",
        "word",
    }
    assert "fsGroup" not in pods["spec"]["securityContext"]
    engine = next(each for each in pods["spec"]["containers"] if each["name"] == names.ENGINE)
    assert {"A", "B", "HF_HUB_OFFLINE"} & {each["name"] for each in engine["env"]} == set()
    observed = deployed.observed()
    assert len(observed.revisions) == 2
    assert [each["status"]["phase"] for each in observed.children["PersistentVolumeClaim"].values()] == ["Pending"]


def test_a_name_that_is_taken_is_not_taken_over(cluster: Cluster) -> None:
    """Somebody's Service of the same name stays theirs: the API server says that there is a conflict."""
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }
    cluster.apply(theirs)
    with pytest.raises(AssertionError, match="conflict"):
        Deployed(cluster, "taken").settle(PLAIN)
    held = cluster.get("service", "taken", "-n", NAMESPACE)
    assert held["spec"]["selector"] == {"app": "theirs"}
    assert "ownerReferences" not in held["metadata"]


@pytest.fixture
def one_gpu(cluster: Cluster) -> Iterator[None]:
    """A node with a GPU of the planned product, on which nothing really runs."""
    labels = {"nvidia.com/gpu.product": "NVIDIA-L4"}
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-1", "labels": labels}})
    has = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "1Ti", "pods": "10", "nvidia.com/gpu": "1"}
    status = {"capacity": has, "allocatable": has, "conditions": [{"type": "Ready", "status": "True"}]}
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", "node", "gpu-1", "--subresource=status", "-p", patch)
    yield
    cluster.kubectl("delete", "node", "gpu-1")


@pytest.mark.usefixtures("one_gpu")
def test_the_only_gpu_is_handed_over(cluster: Cluster) -> None:
    """The new pod comes first, finds no GPU, and only then the old one goes; one that fails gives the GPU back."""
    deployed = Deployed(cluster, "scarce")
    first, second, third = (replace(SPEC, pod=api.PodOverrides(annotations={"number": str(each)})) for each in range(3))
    assert deployed.live(first) == [1]
    assert deployed.live(second) == [1, 0, 1]
    deployed.finding = Finding(reason=AvailableReason.INVALID_ARGUMENT, message="")
    assert deployed.live(third, serves=False)[-1] == 1
    verdicts = {each.digest: each.verdict for each in deployed.observed().revisions}
    good = dict.fromkeys(map(revisions.digest, (first, second)), Verdict.GOOD)
    assert verdicts == {**good, revisions.digest(third): Verdict.FAILED}
