"""A VLMDeployment on a real API server, with the operator's own rules for its children carried out by kubectl."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from vlm_operator import names, revisions
from vlm_operator.actions import Action, Verb, actions, owned_paths
from vlm_operator.desired import desired
from vlm_operator.kinds import WATCHED
from vlm_operator.records import Finding, KubernetesObject, Observed, Revision
from vlm_operator.rollout import Rollout, carried_digest, is_complete, target
from vlm_operator.template import template

from tests.cluster.clusters import Cluster
from tests.vlm_operator.children import PLANNED, SPEC
from vlmctl.api import v1alpha1 as api

NAMESPACE = "restricted"
LIVE_SECONDS = 180.0
PASSES = 4  # ControllerRevision; what it owns; the Deployment and its scale; nothing


class Deployed:
    """A VLMDeployment in the cluster, and the operator's own rules for its children, carried out with kubectl."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.finding: Finding | None = None
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
        pods = tuple(self.cluster.get("pods", "-n", NAMESPACE, "-l", selector)["items"])
        return Observed(now=0.0, parent=self.parent, children=children, owned=owned, revisions=kept, pods=pods)

    def rollout(self, spec: api.VLMDeploymentSpec, observed: Observed) -> Rollout:
        digest = revisions.digest(spec)
        known: list[Revision] = list(observed.revisions)
        if digest not in {each.digest for each in known}:
            made = template(self.name, digest, spec, PLANNED, agent_image="agent:1")
            known.append(revisions.new(self.name, digest, PLANNED, made))
        deployment = observed.children.get("Deployment", {}).get(self.name)
        return target(
            self.name,
            known,
            digest,
            deployment=deployment,
            pods=observed.pods,
            jobs=observed.children.get("Job"),
            finding=self.finding,
        )

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
                if action.kind == "Job" and action.verb is Verb.APPLY:
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

    def live(self, spec: api.VLMDeploymentSpec, *, serves: bool = True) -> list[int]:
        """Reconcile one replica until its rollout is complete; pods start at once and are ready if they serve.

        Gives how many pods more than wanted the Deployment was let have, each time that this changed.
        """
        surges: list[int] = []
        until = time.monotonic() + LIVE_SECONDS
        while time.monotonic() < until:
            self.carry_out(self.to_do(spec, replicas=1))
            observed = self.observed()
            self.run(observed.pods, spec, serves=serves)
            deployment = observed.children.get("Deployment", {}).get(self.name)
            if deployment is None:
                continue
            surge = deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
            surges.extend([surge] if surges[-1:] != [surge] else [])
            is_there = serves is (carried_digest(deployment) == revisions.digest(spec))
            if is_there and is_complete(deployment) and not self.to_do(spec, replicas=1):
                return surges
        pytest.fail(f"not complete: {self.cluster.kubectl('get', 'pods', '-n', NAMESPACE, '-o', 'wide')}")

    def run(self, pods: Sequence[KubernetesObject], spec: api.VLMDeploymentSpec, *, serves: bool) -> None:
        """What a kubelet does with pods that have a node."""
        for pod in pods:
            name, metadata = pod["metadata"]["name"], pod["metadata"]
            if "deletionTimestamp" in metadata:
                self.cluster.kubectl("delete", "pod", name, "-n", NAMESPACE, "--force", "--grace-period=0")
            elif "nodeName" in pod["spec"]:
                is_new = metadata["labels"][names.REVISION] == revisions.digest(spec)
                ready = [{"type": "Ready", "status": str(serves or not is_new)}]
                status = json.dumps({"status": {"phase": "Running", "conditions": ready}})
                self.cluster.kubectl("patch", "pod", name, "-n", NAMESPACE, "--subresource=status", "-p", status)

    def patch(self, kind: str, patch: Any, form: str = "json") -> None:
        """Change an object in the name of another manager."""
        self.cluster.kubectl(
            "patch", kind, self.name, "-n", NAMESPACE, f"--type={form}", "-p", json.dumps(patch),
            "--field-manager=somebody",
        )  # fmt: skip
