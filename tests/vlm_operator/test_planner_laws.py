"""Laws of plans, over made-up catalogs and clusters."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.planner import Planner
from vlm_operator.policy import Policy
from vlm_operator.records import Planned
from vlm_operator.refusal import Refused

from tests.support.gpu_nodes import pool
from tests.support.records import SOURCE, make_catalog, make_model
from tests.vlm_operator.planning import ANYTHING, CATALOG, L4_AND_H100, PLANNER, planned
from tests.vlm_operator.test_planner import IMAGE, OPTIONS
from vlmctl.api import v1alpha1 as api
from vlmctl.specs.inventory import Inventory, Pool
from vlmctl.specs.model import Precision, QuantizedCheckpoint
from vlmctl.specs.workload import LicensePolicy
from vlmctl.units import HOURS_PER_MONTH

COMMIT = 40 * "a"
SMALL = {"small": 24, "mid": 48, "big": 141}  # GPUs of the made-up catalog, GiB


@st.composite
def planners(draw: st.DrawFn) -> Planner:
    """A planner that knows one model, perhaps with quantized checkpoints."""
    checkpoints = tuple(
        QuantizedCheckpoint(
            precision=precision,
            repository=f"toys/{precision.value}",
            quality_published=draw(st.booleans()),
            source=SOURCE,
        )
        for precision in (Precision.FP8, Precision.AWQ)
        if draw(st.booleans())
    )
    model = make_model("toy", billions=draw(st.floats(1.0, 400.0)), quantizations=checkpoints)
    return Planner(make_catalog((model,)))


@st.composite
def pools(draw: st.DrawFn, *, priced: bool = False) -> Pool:
    """Nodes of one of the made-up GPUs."""
    gpu, gpus = draw(st.sampled_from(sorted(SMALL))), draw(st.integers(1, 10))
    usd = draw(st.floats(0.0, 20.0) if priced else st.floats(0.0, 20.0) | st.none())
    return pool(gpu, gpus, usd, product=f"{gpu}-{draw(st.sampled_from('ab'))}")


CLUSTERS = st.lists(pools(), max_size=5).map(lambda found: Inventory(pools=tuple(found)))
WISHES = st.fixed_dictionaries(
    {"model": st.just({"name": "toy"}), "workload": st.just({"images": IMAGE})},
    optional={
        "quantization": st.sampled_from(["Auto", "BF16", "FP8"]),
        "objectives": st.sampled_from([{}, {"ttft": "500ms"}, {"ttft": "3s", "tpot": "60ms"}]),
        "hardware": st.fixed_dictionaries(
            {}, optional={"gpu": st.sampled_from([*SMALL, "mid-a"]), "count": st.sampled_from([1, 2, 3, 4, 16])}
        ),
    },
)


class Outcome:
    """A plan, or why there is none."""

    def __init__(self, planner: Planner, cluster: Inventory, fields: dict[str, Any], policy: Policy = ANYTHING) -> None:
        self.plan: Planned | None = None
        self.refused: Refused | None = None
        try:
            self.plan = planned(planner=planner, inventory=cluster, policy=policy, **fields)
        except Refused as error:
            self.refused = error


class TestLaws:
    @given(planners(), CLUSTERS, WISHES)
    @settings(max_examples=300)
    def test_a_plan_fits_a_pool(self, planner: Planner, cluster: Inventory, wishes: dict[str, Any]) -> None:
        """One that has the GPU, as many of them in a node as a replica takes, and its label; and memory is enough."""
        found = Outcome(planner, cluster, wishes).plan
        if found is None:
            return
        placement, asked = found.plan.placement, wishes.get("hardware", {})
        fitting = [
            each
            for each in cluster.pools
            if (each.gpu, each.label, each.resource) == (placement.gpu, found.node_label, found.gpu_resource)
            and each.gpus_per_node >= placement.gpu_count
        ]
        assert set(found.node_products) <= {each.product for each in fitting}
        assert found.node_products
        assert found.plan.memory.fits
        assert placement.gpu_count == asked.get("count", placement.gpu_count)
        assert asked.get("gpu", placement.gpu) in (placement.gpu, *found.node_products)
        assert found.usd_per_gpu_hour in {each.usd_per_gpu_hour for each in fitting}
        assert (found.plan.cost is None) is (found.usd_per_gpu_hour is None)

    @given(planners(), CLUSTERS, pools(priced=True), WISHES)
    @settings(max_examples=200)
    def test_more_pools_never_cost_more(
        self, planner: Planner, cluster: Inventory, more: Pool, wishes: dict[str, Any]
    ) -> None:
        """A pool that is added can only make the plan cheaper, and never takes it away."""
        before = Outcome(planner, cluster, wishes).plan
        after = Outcome(planner, Inventory(pools=(*cluster.pools, more)), wishes).plan
        if before is None:
            return
        assert after is not None
        if before.plan.cost is not None:
            assert after.plan.cost is not None
            assert after.plan.cost.usd_per_1k_requests <= before.plan.cost.usd_per_1k_requests * (1 + 1e-9)

    @given(planners(), CLUSTERS, WISHES, st.floats(0.001, 5.0), st.floats(0.0, 1.0), st.booleans())
    @settings(max_examples=200)
    def test_a_tighter_budget_never_allows_more(
        self, planner: Planner, cluster: Inventory, wishes: dict[str, Any], usd: float, share: float, monthly: bool
    ) -> None:
        """What is refused stays refused, and what is allowed is within the limit."""
        field, scale = ("maxUSDPerMonth", 5000.0) if monthly else ("maxUSDPer1k", 1.0)
        loose, tight = (
            Outcome(planner, cluster, {**wishes, "budget": {field: f"{limit * scale:.6f}"}})
            for limit in (usd, usd * share)
        )
        if tight.plan is None:
            return
        assert loose.plan is not None
        cost = tight.plan.plan.cost
        assert cost is not None
        spent = cost.usd_per_hour * HOURS_PER_MONTH if monthly else cost.usd_per_1k_requests
        assert spent <= usd * share * scale + 1e-6

    @given(planners(), CLUSTERS, WISHES, st.sampled_from(list(LicensePolicy)), st.sampled_from(list(LicensePolicy)))
    def test_a_stricter_licence_policy_never_allows_more(
        self, planner: Planner, cluster: Inventory, wishes: dict[str, Any], one: LicensePolicy, other: LicensePolicy
    ) -> None:
        """And what it allows is planned alike."""
        order = [LicensePolicy.ANY, LicensePolicy.RESEARCH, LicensePolicy.COMMERCIAL, LicensePolicy.PERMISSIVE]
        loose, strict = sorted((one, other), key=order.index)
        found = Outcome(planner, cluster, wishes, Policy(license=strict)).plan
        if found is not None:
            assert found == Outcome(planner, cluster, wishes, Policy(license=loose)).plan

    @given(planners(), CLUSTERS, WISHES, st.randoms())
    def test_plans_and_refusals_are_the_same_every_time(
        self, planner: Planner, cluster: Inventory, wishes: dict[str, Any], rng: random.Random
    ) -> None:
        """Whatever the order of the pools, and however many nodes there are of each: no message moves by itself."""
        shuffled = list(cluster.pools)
        rng.shuffle(shuffled)
        grown = Inventory(pools=tuple(replace(each, nodes=each.nodes + 7) for each in shuffled))
        one, other = Outcome(planner, cluster, wishes), Outcome(planner, grown, wishes)
        assert one.plan == other.plan
        if one.refused is not None:
            assert other.refused is not None
            assert (one.refused.reason, one.refused.message) == (other.refused.reason, other.refused.message)

    @given(planners(), CLUSTERS, WISHES)
    def test_a_plan_is_kept_whole(self, planner: Planner, cluster: Inventory, wishes: dict[str, Any]) -> None:
        """A ControllerRevision holds it as JSON, and it is read back as it was."""
        found = Outcome(planner, cluster, wishes).plan
        if found is not None:
            assert msgspec.json.decode(msgspec.json.encode(found), type=Planned) == found

    @given(st.sampled_from(CATALOG.models), st.sampled_from(list(api.Quantization)), st.booleans())
    @settings(max_examples=150)
    def test_every_model_of_the_catalog_ends_in_a_plan_or_a_reason(
        self, model: Any, quantization: api.Quantization, trust: bool
    ) -> None:
        """Never in an error; and no sentence speaks of options of the command line."""
        source = {"source": {"huggingFace": {"revision": COMMIT}}} if trust else {}
        reference = {"name": model.id, **source}
        fields = {"model": reference, "quantization": quantization, "engine": {"trustRemoteCode": trust}}
        read = tuple(f"{each.repository}@{COMMIT}" for each in (model, *model.quantizations))
        found = Outcome(PLANNER, L4_AND_H100, fields, Policy(remote_code=read))
        assert (found.plan is None) is not (found.refused is None)
        told = found.plan.notes if found.plan is not None else (str(found.refused),)
        assert not any(option in sentence for sentence in told for option in OPTIONS)
