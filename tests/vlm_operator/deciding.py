"""Decisions about a VLMDeployment whose objects an API server holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace
from vlm_operator.decisions import Decision, Setup, decide
from vlm_operator.policy import Budget, Policy, budget
from vlm_operator.reasons import PlanReason
from vlm_operator.records import KubernetesObject, Observed, Planned
from vlm_operator.refusal import Refused

from tests.vlm_operator.children import AGENT, PARENT, PLANNED, SPEC, ApiServer
from vlmctl.api import v1alpha1 as api


class Plans(NamedTuple):
    """Plans as they are asked for; `denied`: why a plan that was made is not allowed any more."""

    plan: Callable[[api.VLMDeploymentSpec], Planned] = lambda _: PLANNED
    denied: str = ""
    policy: Policy = Policy()

    def check(self, _: api.VLMDeploymentSpec, __: Planned) -> None:
        if self.denied:
            raise Refused(PlanReason.LICENSE_DENIED, self.denied)

    def budget(self, spec: api.VLMDeploymentSpec) -> Budget:
        return budget(spec.budget, self.policy)


def asked(
    observed: Observed, spec: api.VLMDeploymentSpec = SPEC, plan: Callable[..., Planned] | None = None, **more: Any
) -> Decision:
    """What is decided. `more`: of `Plans`."""
    return decide(
        observed,
        spec,
        plans=Plans(plan or (lambda _: PLANNED), **more),
        node_label=lambda _node, _label: "NVIDIA-L4",
        new_api_key="k",
        setup=Setup(agent_image=AGENT),
    )


def refuse(_: api.VLMDeploymentSpec) -> Planned:
    """No GPU is large enough."""
    raise Refused(PlanReason.NOTHING_FITS, "nothing fits")


def never(_: api.VLMDeploymentSpec) -> Planned:
    """Where a plan is there already."""
    raise AssertionError("planned again")


def carried_out(server: ApiServer, decision: Decision, observed: Observed) -> Observed:
    """The same world once that is done."""
    for action in decision.actions:
        if action.body is not None:
            server.apply(action.body)
    seen = server.observed()
    kept = tuple(replace(each, uid=f"uid-of-{each.digest}") for each in decision.rollout.revisions)
    return replace(observed, children=seen.children, owned=seen.owned, revisions=kept)


def running(*pods: KubernetesObject, plan: Callable[..., Planned] | None = None, **more: Any) -> Observed:
    """A VLMDeployment for which everything was done, with such pods."""
    server, observed = ApiServer(), Observed(now=0.0, parent=PARENT)
    for _ in range(3):
        observed = carried_out(server, asked(observed, plan=plan), observed)
    return replace(observed, pods=pods, **more)
