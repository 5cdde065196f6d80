"""Plans for the cluster as it is now, by its nodes, prices, policy and measurements; and whether another one is better.

A plan that was made is never changed for that: it is said, and taken when a user asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from msgspec.structs import replace

from vlm_operator import names
from vlm_operator.config import OperatorConfig
from vlm_operator.kinds import NODE, VLMBENCHMARK
from vlm_operator.planner import Planner, spec_key
from vlm_operator.policy import Budget, budget
from vlm_operator.records import Key, Planned
from vlm_operator.refusal import Refused
from vlm_operator.store import Store
from vlmctl.api import v1alpha1 as api
from vlmctl.serving.inventory import declared_pools, inventory
from vlmctl.specs.estimates import Placement
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.inventory import Inventory
from vlmctl.units import show_usd

PLANS_KEPT = 256  # of some kilobytes each
MARGIN = 0.1  # of the cost per request that another plan must save: below, the error of estimates may be larger


class _Seen(NamedTuple):
    """What a plan was last compared in: its digest, and how often nodes and measurements had changed."""

    digest: str
    nodes: int
    benchmarks: int


class ClusterPlans:
    """Plans and compares. What nodes there are is worked out anew only after they have changed, and plans for equal
    specs only then or after a measurement.
    """

    def __init__(self, config: OperatorConfig, store: Store, catalog: Catalog) -> None:
        self._config = config
        self._store = store
        self._catalog = catalog
        self._planner = Planner(catalog)
        self._priced = declared_pools(config.inventory, catalog)
        self._inventory: Inventory | None = None
        self._kinds: Inventory | None = None  # the same, however many nodes of each kind there are
        self._nodes = 0  # how often that has changed
        self._seen: dict[Key, _Seen] = {}
        self._made: dict[bytes, Planned] = {}  # by spec and measurements
        self._made_for: tuple[Inventory | None, int] = (None, 0)

    def nodes_changed(self) -> None:
        """Look at them again with the next plan."""
        self._inventory = None

    def keep(self, there: Collection[Key]) -> None:
        """Forget all other VLMDeployments."""
        self._seen = {key: seen for key, seen in self._seen.items() if key in there}

    def over(self, benchmarks: tuple[api.VLMBenchmark, ...]) -> BoundPlans:
        """Plans that read these measurements."""
        return BoundPlans(self, benchmarks)

    def plan(self, spec: api.VLMDeploymentSpec, benchmarks: tuple[api.VLMBenchmark, ...]) -> Planned:
        """A new plan; raises Refused."""
        now = (self._pools(), self._store.changes(VLMBENCHMARK.kind))
        if now != self._made_for or len(self._made) >= PLANS_KEPT:
            self._made, self._made_for = {}, now
        known = tuple((each.metadata.namespace, each.metadata.name) for each in benchmarks)
        asked = spec_key(spec, known)
        if asked not in self._made:
            config = self._config
            self._made[asked] = self._planner.plan(
                spec, now[0], config.policy, benchmarks, engine_image=config.engine_image
            )
        return self._made[asked]

    def check(self, spec: api.VLMDeploymentSpec, planned: Planned) -> None:
        """Raise Refused where a plan that was made for the spec is not allowed any more."""
        self._planner.check(spec, planned, self._config.policy)

    def priced(self, planned: Planned) -> Planned:
        """At the price that the chart's values declare now for the GPUs it runs on; where they do not, as planned."""
        its = [
            each for each in self._priced if each.label == planned.node_label and each.product in planned.node_products
        ]
        held = [each for each in its if each.gpus_per_node >= planned.plan.placement.gpu_count] or its
        if not held:
            return planned
        pool = min(held, key=lambda each: each.usd_per_gpu_hour or 0.0)  # as a plan takes it
        return replace(
            planned,
            usd_per_gpu_hour=pool.usd_per_gpu_hour,
            price_source=pool.price_source,
            price_as_of=pool.price_as_of,
        )

    def budget(self, spec: api.VLMDeploymentSpec) -> Budget:
        """The limits that hold for it."""
        return budget(spec.budget, self._config.policy)

    def better(
        self,
        key: Key,
        digest: str,
        spec: api.VLMDeploymentSpec,
        planned: Planned,
        benchmarks: tuple[api.VLMBenchmark, ...],
    ) -> str | None:
        """A sentence about a plan that would cost less, or nothing; None where it was looked for in the same cluster.

        `digest`: of the revision with the plan.
        """
        self._pools()
        seen = _Seen(digest, self._nodes, self._store.changes(VLMBENCHMARK.kind))
        if self._seen.get(key) == seen:
            return None
        self._seen[key] = seen
        return better_plan(spec, planned, lambda asked: self.plan(asked, benchmarks))

    def _pools(self) -> Inventory:
        if self._inventory is None:
            self._inventory = inventory(self._store.all(NODE.kind), self._config.inventory, self._catalog)
            kinds = replace(self._inventory, pools=tuple(replace(each, nodes=0) for each in self._inventory.pools))
            self._nodes += kinds != self._kinds
            self._kinds = kinds
        return self._inventory


class BoundPlans(NamedTuple):
    """Plans that read the measurements of one namespace: `decisions.Plans`."""

    plans: ClusterPlans
    benchmarks: tuple[api.VLMBenchmark, ...]

    def plan(self, spec: api.VLMDeploymentSpec) -> Planned:
        """A new plan; raises Refused."""
        return self.plans.plan(spec, self.benchmarks)

    def check(self, spec: api.VLMDeploymentSpec, planned: Planned) -> None:
        """Raise Refused where a plan that was made for the spec is not allowed any more."""
        self.plans.check(spec, planned)

    def budget(self, spec: api.VLMDeploymentSpec) -> Budget:
        """The limits that hold for it."""
        return self.plans.budget(spec)


def better_plan(spec: api.VLMDeploymentSpec, planned: Planned, plan: Callable[[api.VLMDeploymentSpec], Planned]) -> str:
    """What a plan made now would save per request against the same placement planned now; empty for less than MARGIN.

    `plan`: as the cluster is now; it raises Refused.
    """
    has = planned.plan.placement
    try:
        new = plan(spec)
    except Refused:
        return ""
    takes = new.plan.placement
    if _place(takes) == _place(has):
        return ""
    where = f"{takes.gpu_count}x {takes.gpu} in {takes.precision.value}"
    try:
        same = plan(_pinned(spec, has))
    except Refused:
        return f"This placement would not be planned again: {where} would. {_TAKEN}"
    if new.plan.cost is None or same.plan.cost is None:
        return ""
    less, usd = new.plan.cost.usd_per_1k_requests, same.plan.cost.usd_per_1k_requests
    if less > (1 - MARGIN) * usd:
        return ""
    return (
        f"A new plan would cost {1 - less / usd:.0%} less: {where}, {show_usd(less)} instead of {show_usd(usd)} per "
        f"1,000 requests ({new.plan.speed.basis.value}). {_TAKEN}"
    )


def _place(placement: Placement) -> tuple[str, str, str, int]:
    return placement.repository, placement.precision.value, placement.gpu, placement.gpu_count


def _pinned(spec: api.VLMDeploymentSpec, placement: Placement) -> api.VLMDeploymentSpec:
    """The spec with nothing left to choose, as far as a spec can say so."""
    precision = placement.precision.value.upper()
    return replace(
        spec,
        hardware=api.Hardware(gpu=placement.gpu, count=placement.gpu_count),
        quantization=api.Quantization(precision) if precision in set(api.Quantization) else spec.quantization,
        budget=None,
    )


_TAKEN = f"To take it, change the annotation {names.REPLAN}."
