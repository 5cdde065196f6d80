"""What a VLMDeployment needs now: everything that is observed -> measurements to keep, writes, words to agents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from vlm_operator import download, names, proxy, revisions
from vlm_operator.actions import Action, actions
from vlm_operator.benchmarks import assignments, benchmark, benchmark_key, is_kept, product_of, standing_word
from vlm_operator.desired import Monitors, desired
from vlm_operator.diagnosis import diagnose
from vlm_operator.facts import subject
from vlm_operator.network import Prometheus
from vlm_operator.pod_defaults import PodDefaults, with_defaults
from vlm_operator.policy import Budget, affordable, over_month
from vlm_operator.reasons import DegradedReason, PlanReason, ScalingReason
from vlm_operator.records import Finding, Findings, KubernetesObject, Observed, Planned, Revision
from vlm_operator.refusal import Refused
from vlm_operator.reported import containers, revision_of
from vlm_operator.results import AgentResult
from vlm_operator.rollout import Rollout, carried_digest, target
from vlm_operator.scaled import Scaled, scaled, wanted
from vlm_operator.scalers import Means
from vlm_operator.template import template
from vlmctl.api import v1alpha1 as api
from vlmctl.specs.record import Record

NodeLabel = Callable[[str, str], str | None]  # of a node's name and a label: its value, None where it is not known

STAYS = "Replicas that run stay."
NO_MEANS = Means()


class Setup(Record, frozen=True, kw_only=True):
    """What the operator's configuration says of pods. `agent_image`, `proxy_image`: of containers beside the engine.
    `hub_endpoint`: a mirror of the hub. `prometheus`: who may ask pods for metrics. `monitors`: of engines'
    PodMonitors, where the cluster has the kind. `pod_defaults`: where a spec says nothing.
    """

    agent_image: str
    proxy_image: str = proxy.IMAGE
    hub_endpoint: str | None = None
    prometheus: Prometheus | None = None
    monitors: Monitors = Monitors()
    pod_defaults: PodDefaults = PodDefaults()


class Plans(Protocol):
    """What is planned, and what of it is allowed, as the cluster and its policy are now."""

    def plan(self, spec: api.VLMDeploymentSpec) -> Planned:
        """A new plan; raises Refused."""

    def check(self, spec: api.VLMDeploymentSpec, planned: Planned) -> None:
        """Raise Refused where a plan that was made for the spec is not allowed any more."""

    def budget(self, spec: api.VLMDeploymentSpec) -> Budget:
        """The limits that hold for it."""


class Decision(Record, frozen=True, kw_only=True):
    """`digest`: of what the spec asks for. `replicas`: that there are to be, which a budget may hold below those that
    are asked for. `words`: annotations to write, by pod name. `findings`: what stands in the way. `scaled`: by whom and
    what it is scaled; None where nothing is known that runs.
    """

    digest: str
    rollout: Rollout
    replicas: int
    actions: tuple[Action, ...] = ()
    words: dict[str, dict[str, str]] = {}
    findings: Findings = Findings()
    scaled: Scaled | None = None


def decide(
    observed: Observed,
    spec: api.VLMDeploymentSpec,
    *,
    plans: Plans,
    node_label: NodeLabel,
    new_api_key: str,
    setup: Setup,
    means: Means = NO_MEANS,
) -> Decision:
    """What to write, in order. A plan is made only for a spec that has none. `means`: what there is to scale by."""
    metadata = observed.parent["metadata"]
    name, deployment = metadata["name"], observed.children.get("Deployment", {}).get(metadata["name"])
    digest = revisions.digest(spec, metadata.get("annotations", {}).get(names.REPLAN, ""))
    now = carried_digest(deployment)
    planned, refused = _asked(observed, spec, digest, plans)
    new = () if planned is None else (_revision(name, digest, spec, planned, setup),)
    finding = diagnose(observed, now or digest)
    # What is not allowed any more is not gone to; where it runs already, it stays.
    goal = digest if refused is None or digest == now else ""
    rollout = _rollout(observed, (*observed.revisions, *new), goal, finding)
    replicas, capped = _replicas(spec, rollout, deployment, plans.budget(spec), denied=refused is not None)
    about = subject(observed, rollout)
    if about is not None and about.digest != (now or digest):
        finding = diagnose(observed, about.digest)
    children = _children(observed, spec, rollout, now, new_api_key, setup)
    by = None if (runs := rollout.carried or about) is None else scaled(observed, spec, runs, means)
    if by is not None and children:
        children = (*children, *wanted(observed.parent, by, means))
    return Decision(
        digest=digest,
        rollout=rollout,
        replicas=replicas,
        actions=actions(children, observed, replicas=replicas, pruned=rollout.pruned),
        words={} if spec.paused else _words(observed, spec, rollout.carried, node_label),
        findings=Findings(
            refused=refused, finding=finding, lesser=capped or _not_scaled(by), scaling=_short_of_scaling(by)
        ),
        scaled=by,
    )


def _rollout(observed: Observed, known: Iterable[Revision], goal: str, finding: Finding | None) -> Rollout:
    name = observed.parent["metadata"]["name"]
    return target(
        name,
        known,
        goal,
        deployment=observed.children.get("Deployment", {}).get(name),
        pods=observed.pods,
        jobs=download.current(observed.children, name),
        finding=finding,
        unreadable=observed.unreadable,
    )


def _not_scaled(by: Scaled | None) -> Finding | None:
    """That the engine which is asked for cannot scale."""
    if by is None or not by.choice.wrong:
        return None
    return Finding(reason=DegradedReason.NOT_SCALED, message=by.choice.message)


def _short_of_scaling(by: Scaled | None) -> str:
    return by.choice.message if by is not None and by.choice.reason is ScalingReason.MINIMUM_RAISED else ""


def _revision(name: str, digest: str, spec: api.VLMDeploymentSpec, planned: Planned, setup: Setup) -> Revision:
    pod = template(
        name,
        digest,
        with_defaults(spec, setup.pod_defaults),
        planned,
        agent_image=setup.agent_image,
        proxy_image=setup.proxy_image,
        hub_endpoint=setup.hub_endpoint,
    )
    return revisions.new(name, digest, planned, pod)


def _asked(
    observed: Observed, spec: api.VLMDeploymentSpec, digest: str, plans: Plans
) -> tuple[Planned | None, Finding | None]:
    """A plan where there is none yet; and why there is none, or why the one that there is may not be run any more."""
    there = next((each for each in observed.revisions if each.digest == digest), None)
    try:
        if there is not None:
            plans.check(spec, there.planned)
        elif digest in observed.unreadable:
            return None, Finding(reason=PlanReason.UNREADABLE_REVISION, message=observed.unreadable[digest])
        else:
            return plans.plan(spec), None
    except Refused as error:
        remedy = "" if there is None else STAYS
        return None, Finding(reason=error.reason, message=error.message, remedy=remedy)
    return None, None


def _replicas(
    spec: api.VLMDeploymentSpec, rollout: Rollout, deployment: KubernetesObject | None, held: Budget, *, denied: bool
) -> tuple[int, Finding | None]:
    """How many there are to be, and why fewer than are asked for. Those that run stay, whatever they cost by now.

    `denied`: whether there is no plan that is allowed. What runs instead of it is scaled as before.
    """
    asked, there = spec.replicas, 0 if deployment is None else deployment["spec"].get("replicas", 1)
    runs = rollout.carried or rollout.wanted
    if denied and runs is not None and runs == rollout.wanted:
        return min(asked, there), None
    usd_per_hour = None if runs is None else runs.planned.usd_per_hour
    over = "" if usd_per_hour is None else over_month(held, usd_per_hour, asked)
    if usd_per_hour is None or not over:
        return asked, None
    most = affordable(held, usd_per_hour, asked)
    remedy = f"No more than {most} are made, and those that run stay. Raise the budget, or ask for fewer."
    capped = Finding(reason=DegradedReason.OVER_BUDGET, message=f"{over}.", remedy=remedy)
    return max(most, min(asked, there)), capped


def _children(
    observed: Observed,
    spec: api.VLMDeploymentSpec,
    rollout: Rollout,
    now: str,
    new_api_key: str,
    setup: Setup,
) -> tuple[KubernetesObject, ...]:
    """All that is wanted; nothing where the Deployment carries a revision that cannot be read and nothing else runs."""
    if now in observed.unreadable and rollout.carried is None and (rollout.wanted is None or rollout.goes_back):
        return ()
    claims = observed.children.get("PersistentVolumeClaim", {})
    return desired(
        _parent(observed),
        spec,
        rollout,
        new_api_key=new_api_key,
        monitors=setup.monitors if observed.monitors else None,
        prometheus=setup.prometheus,
        held_claim=claims.get(names.cache(observed.parent["metadata"]["name"])),
        words=_standing_words(observed, spec, rollout),
    )


def _standing_words(observed: Observed, spec: api.VLMDeploymentSpec, rollout: Rollout) -> dict[str, str]:
    """By digest, what pods do that nobody tells anything; emptied where it was written and holds no more."""
    there, found = observed.children.get("ConfigMap", {}), dict[str, str]()
    for each in (rollout.wanted, rollout.carried):
        if each is not None:
            text = standing_word(each.planned, observed.benchmarks, spec.benchmark)
            if text or names.standing_word(observed.parent["metadata"]["name"], each.digest) in there:
                found[each.digest] = text
    return found


def _parent(observed: Observed) -> KubernetesObject:
    """The VLMDeployment; where the kubelet misses the Secret that was made for it, as if it had not been made yet."""
    status = observed.parent.get("status", {})
    missed = f'secret "{status.get("apiKeySecret")}" not found'  # kubelet, CreateContainerConfigError
    states = (each.get("state", {}).get("waiting") or {} for pod in observed.pods for each in containers(pod))
    if not any(missed in waiting.get("message", "") for waiting in states):
        return observed.parent
    return {**observed.parent, "status": {name: told for name, told in status.items() if name != "apiKeySecret"}}


def measured(observed: Observed, node_label: NodeLabel) -> Iterator[api.VLMBenchmark]:
    """What agents have measured and nobody has kept yet: a measurement that somebody deletes does not come back."""
    kept = _kept(observed)
    yield from (found for _, found in _measurements(observed, node_label) if found.metadata.name not in kept)


def _measurements(observed: Observed, node_label: NodeLabel) -> Iterator[tuple[KubernetesObject, api.VLMBenchmark]]:
    """Pods that measured themselves, and what they found, unless it is noted that this was kept once."""
    by_digest = {each.digest: each for each in observed.revisions}
    for pod in observed.pods:
        revision = by_digest.get(revision_of(pod))
        result = observed.results.get(pod["metadata"]["uid"])
        if revision is None or not isinstance(result, AgentResult) or is_kept(pod, result):
            continue
        product = product_of(pod, revision.planned, _product(revision.planned, node_label))
        if product is None:
            continue
        key = benchmark_key(revision.planned, product)
        found = benchmark(result, key, revision.planned, namespace=pod["metadata"]["namespace"])
        if found is not None:
            yield pod, found


def _kept(observed: Observed) -> set[str]:
    """Names of the measurements of the namespace."""
    return {each.metadata.name for each in observed.benchmarks}


def _words(
    observed: Observed, spec: api.VLMDeploymentSpec, carried: Revision | None, node_label: NodeLabel
) -> dict[str, dict[str, str]]:
    """What agents are to do, and a note on each pod whose measurement is kept."""
    kept = _kept(observed)
    words = {
        pod["metadata"]["name"]: {names.MEASURED: found.spec.measured}
        for pod, found in _measurements(observed, node_label)
        if found.metadata.name in kept
    }
    if carried is None:
        return words
    pods: list[KubernetesObject] = [pod for pod in observed.pods if revision_of(pod) == carried.digest]
    product = _product(carried.planned, node_label)
    tasks = assignments(pods, carried.planned, observed.benchmarks, spec.benchmark, product, results=observed.results)
    for name, text in tasks.items():
        words[name] = {**words.get(name, {}), names.BENCHMARK: text}
    return words


def _product(planned: Planned, node_label: NodeLabel) -> Callable[[str], str | None]:
    return lambda node: node_label(node, planned.node_label)
