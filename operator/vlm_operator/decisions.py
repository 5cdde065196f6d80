"""What a VLMDeployment needs now: everything that is observed -> measurements to keep, writes, words to agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vlm_operator import names, revisions
from vlm_operator.actions import Action, actions
from vlm_operator.benchmarks import assignments, benchmark, benchmark_key, product_of
from vlm_operator.desired import desired
from vlm_operator.diagnosis import diagnose
from vlm_operator.facts import subject
from vlm_operator.records import Finding, KubernetesObject, Observed, Planned, Revision
from vlm_operator.refusal import Refused
from vlm_operator.results import AgentResult
from vlm_operator.rollout import Rollout, carried_digest, target
from vlm_operator.template import template
from vlmctl.api import v1alpha1 as api
from vlmctl.specs.record import Record

NodeLabel = Callable[[str, str], str | None]  # of a node's name and a label: its value, None where it is not known


class Decision(Record, frozen=True, kw_only=True):
    """`digest`: of what the spec asks for. `words`: by pod name. `refused`: why there is no plan for the spec.

    `finding`: what is wrong with the replicas that the status is about.
    """

    digest: str
    rollout: Rollout
    actions: tuple[Action, ...] = ()
    words: dict[str, str] = {}
    refused: Finding | None = None
    finding: Finding | None = None


def decide(
    observed: Observed,
    spec: api.VLMDeploymentSpec,
    *,
    plan: Callable[[api.VLMDeploymentSpec], Planned],
    node_label: NodeLabel,
    new_api_key: str,
    agent_image: str,
    hub_endpoint: str | None = None,
) -> Decision:
    """What to write, in order. `plan` is asked only for a spec that no revision was planned for; it raises Refused."""
    metadata = observed.parent["metadata"]
    name = metadata["name"]
    digest = revisions.digest(spec, metadata.get("annotations", {}).get(names.REPLAN, ""))
    known, refused = observed.revisions, None
    if all(each.digest != digest for each in known):
        try:
            planned = plan(spec)
        except Refused as error:
            refused = Finding(reason=error.reason, message=error.message)
        else:
            pod = template(name, digest, spec, planned, agent_image=agent_image, hub_endpoint=hub_endpoint)
            known = (*known, revisions.new(name, digest, planned, pod))
    deployment, jobs = observed.children.get("Deployment", {}).get(name), observed.children.get("Job", {})
    now = carried_digest(deployment) or digest
    finding = diagnose(observed, now)
    rollout = target(name, known, digest, deployment=deployment, pods=observed.pods, jobs=jobs, finding=finding)
    about = subject(observed, rollout)
    children = desired(
        _parent(observed),
        spec,
        rollout,
        new_api_key=new_api_key,
        monitors=observed.monitors,
        held_claim=observed.children.get("PersistentVolumeClaim", {}).get(names.cache(name)),
    )
    return Decision(
        digest=digest,
        rollout=rollout,
        actions=actions(children, observed, replicas=spec.replicas, pruned=rollout.pruned),
        words={} if spec.paused else _words(observed, spec, rollout.carried, node_label),
        refused=refused,
        finding=finding if about is None or about.digest == now else diagnose(observed, about.digest),
    )


def _parent(observed: Observed) -> KubernetesObject:
    """The VLMDeployment; where the kubelet misses the Secret that was made for it, as if it had not been made yet."""
    status = observed.parent.get("status", {})
    missed = f'secret "{status.get("apiKeySecret")}" not found'  # kubelet, CreateContainerConfigError
    states = (
        each.get("state", {}).get("waiting") or {}
        for pod in observed.pods
        for each in pod.get("status", {}).get("containerStatuses") or ()
    )
    if not any(missed in waiting.get("message", "") for waiting in states):
        return observed.parent
    return {**observed.parent, "status": {name: told for name, told in status.items() if name != "apiKeySecret"}}


def measured(observed: Observed, node_label: NodeLabel) -> Iterator[api.VLMBenchmark]:
    """What agents have measured and nobody keeps yet."""
    by_digest = {each.digest: each for each in observed.revisions}
    kept = {(each.metadata.namespace, each.metadata.name) for each in observed.benchmarks}
    for pod in observed.pods:
        revision = by_digest.get(pod["metadata"].get("labels", {}).get(names.REVISION, ""))
        result = observed.results.get(pod["metadata"]["uid"])
        if revision is None or not isinstance(result, AgentResult):
            continue
        product = product_of(pod, revision.planned, _product(revision.planned, node_label))
        if product is None:
            continue
        key = benchmark_key(revision.planned, product)
        found = benchmark(result, key, revision.planned, namespace=pod["metadata"]["namespace"])
        if found is not None and (found.metadata.namespace, found.metadata.name) not in kept:
            yield found


def _words(
    observed: Observed, spec: api.VLMDeploymentSpec, carried: Revision | None, node_label: NodeLabel
) -> dict[str, str]:
    if carried is None:
        return {}
    pods: list[KubernetesObject] = [
        pod for pod in observed.pods if pod["metadata"].get("labels", {}).get(names.REVISION) == carried.digest
    ]
    product = _product(carried.planned, node_label)
    return assignments(pods, carried.planned, observed.benchmarks, spec.benchmark, product, results=observed.results)


def _product(planned: Planned, node_label: NodeLabel) -> Callable[[str], str | None]:
    return lambda node: node_label(node, planned.node_label)
