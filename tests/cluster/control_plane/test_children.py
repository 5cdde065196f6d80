"""The objects of a VLMDeployment on a real API server: what it accepts, fills in and tells of owners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator import names, revisions
from vlm_operator.actions import Action, Verb, actions, owned_paths
from vlm_operator.desired import desired
from vlm_operator.kinds import WATCHED
from vlm_operator.records import KubernetesObject, Observed, Revision
from vlm_operator.rollout import Rollout, target
from vlm_operator.template import template

from tests.cluster.clusters import Cluster
from tests.vlm_operator.children import PLANNED, SPEC
from vlmctl.api import v1alpha1 as api
from vlmctl.api.crds import vlmdeployment_crd

NAMESPACE = "restricted"
PASSES = 4  # ControllerRevision; what it owns; the Deployment and its scale; nothing
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


class Deployed:
    """A VLMDeployment in the cluster, and the operator's own rules for its children, carried out with kubectl."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": name, "namespace": NAMESPACE}}
        self.cluster.apply({**body, "spec": {"model": {"name": SPEC.model.name}}})
        self.parent = self.cluster.get("vlmdeployment", name, "-n", NAMESPACE)
        self.parent["status"] = {"apiKeySecret": names.api_key(name)}

    def observed(self) -> Observed:
        kinds = [each for each in WATCHED if not each.optional and each.kind not in ("Pod", api.BENCHMARK_KIND)]
        plurals = ",".join(f"{each.plural}.{each.api_version.rpartition('/')[0]}".rstrip(".") for each in kinds)
        selector = f"{names.DEPLOYMENT}={self.name}"
        listed = self.cluster.get(plurals, "-n", NAMESPACE, "-l", selector, "--show-managed-fields")
        children: dict[str, dict[str, KubernetesObject]] = {}
        owned: dict[str, dict[str, frozenset[str]]] = {}
        for body in listed["items"]:
            kind, name = body["kind"], body["metadata"]["name"]
            owned.setdefault(kind, {})[name] = owned_paths(body["metadata"].pop("managedFields"))
            children.setdefault(kind, {})[name] = body
        kept = tuple(revisions.read(each) for each in children.get("ControllerRevision", {}).values())
        return Observed(now=0.0, parent=self.parent, children=children, owned=owned, revisions=kept)

    def rollout(self, spec: api.VLMDeploymentSpec, observed: Observed) -> Rollout:
        digest = revisions.digest(spec)
        known: list[Revision] = list(observed.revisions)
        if digest not in {each.digest for each in known}:
            made = template(self.name, digest, spec, PLANNED, agent_image="agent:1")
            known.append(revisions.new(self.name, digest, PLANNED, made))
        deployment = observed.children.get("Deployment", {}).get(self.name)
        return target(self.name, known, digest, deployment=deployment, jobs=observed.children.get("Job"))

    def to_do(self, spec: api.VLMDeploymentSpec, replicas: int = 2) -> tuple[Action, ...]:
        observed = self.observed()
        rollout = self.rollout(spec, observed)
        objects = desired(self.parent, spec, rollout, new_api_key="k")
        return actions(objects, observed, replicas=replicas, pruned=rollout.pruned)

    def carry_out(self, done: Sequence[Action]) -> None:
        for action in done:
            if action.verb is Verb.APPLY:
                self.apply(action)
            elif action.verb is Verb.SCALE:
                self.cluster.kubectl(
                    "scale", f"deployment/{action.name}", f"--replicas={action.replicas}", "-n", NAMESPACE
                )
            else:
                self.cluster.kubectl("delete", action.kind, action.name, "-n", NAMESPACE)

    def apply(self, action: Action) -> None:
        ours = f"--field-manager={names.FIELD_MANAGER}"
        force = ("--force-conflicts",) if action.forced else ()
        try:
            self.cluster.kubectl("apply", "--server-side", ours, *force, "-f", "-", stdin=json.dumps(action.body))
        except AssertionError as error:
            if action.instead is None or "is invalid" not in str(error):
                raise
            patch = ("--type=merge", "-p", json.dumps(action.instead))
            self.cluster.kubectl("patch", action.kind, action.name, "-n", NAMESPACE, ours, *patch)

    def settle(self, spec: api.VLMDeploymentSpec) -> list[Action]:
        """Reconcile until nothing is left to do; the download counts as done at once."""
        written: list[Action] = []
        for _ in range(PASSES):
            done = self.to_do(spec)
            if not done:
                return written
            self.carry_out(done)
            written.extend(done)
            for action in done:
                if action.kind == "Job":
                    self.complete(action.name)
        pytest.fail(f"still to do: {self.to_do(spec)}")

    def complete(self, job: str) -> None:
        """Let the Job's pod end as a kubelet would have it."""
        selector = ("-n", NAMESPACE, "-l", f"batch.kubernetes.io/job-name={job}")
        self.cluster.kubectl("wait", "pod", *selector, "--for=create", "--timeout=30s")
        pod = self.cluster.kubectl("get", "pods", *selector, "-o", "name").strip()
        ended = json.dumps({"status": {"phase": "Succeeded"}})
        self.cluster.kubectl("patch", pod, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", ended)
        self.cluster.kubectl("wait", f"job/{job}", "-n", NAMESPACE, "--for=condition=complete", "--timeout=30s")

    def patch(self, kind: str, patch: Any, form: str = "json") -> None:
        """Change an object in the name of another manager."""
        self.cluster.kubectl(
            "patch", kind, self.name, "-n", NAMESPACE, f"--type={form}", "-p", json.dumps(patch),
            "--field-manager=somebody",
        )  # fmt: skip


@pytest.fixture(scope="module")
def cluster(control_plane: Cluster) -> Cluster:
    """With the resource definition, and a namespace that lets in restricted pods alone."""
    control_plane.apply(vlmdeployment_crd())
    for state in ("jsonpath={.status.acceptedNames.kind}=VLMDeployment", "condition=Established"):
        control_plane.kubectl("wait", "crd/vlmdeployments.vlmctl.dev", f"--for={state}", "--timeout=30s")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    return control_plane


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
    ("deployment", {"op": "replace", "path": "/spec/template/spec/containers/0/ports/0/containerPort", "value": 8001}),
    ("deployment", {"op": "replace", "path": "/spec/template/spec/containers/0/ports/0/name", "value": "web"}),
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
    ("networkpolicy", {"op": "remove", "path": "/spec/egress/1/to/0/ipBlock/except"}),
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
    ("deployment", {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "proxy:1"}]}}}}),
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
    assert "proxy" in {each["name"] for each in held["spec"]["template"]["spec"]["containers"]}


def test_a_new_revision_leaves_nothing_of_the_old_one(cluster: Cluster) -> None:
    """What the spec does not ask for any more is gone from the pods; weights and the old revision are kept."""
    deployed = Deployed(cluster, "renewed")
    deployed.settle(WHOLE)
    deployed.settle(PLAIN)
    pods = cluster.get("deployment", "renewed", "-n", NAMESPACE)["spec"]["template"]
    assert "annotations" not in pods["metadata"]
    assert not {"nodeSelector", "imagePullSecrets"} & pods["spec"].keys()
    assert {each["name"] for each in pods["spec"]["volumes"]} == {
        "cache",
        "config",
        "model",
        "pod",
        "run",
        "shared-memory",
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
