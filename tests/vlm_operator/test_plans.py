"""Plans over time: what is not allowed any more, and what would cost less by now. Neither moves what runs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from vlm_operator.config import OperatorConfig
from vlm_operator.kinds import NODE
from vlm_operator.names import REPLAN
from vlm_operator.planner import Planner
from vlm_operator.plans import MARGIN, ClusterPlans, better_plan
from vlm_operator.policy import Policy
from vlm_operator.reasons import PlanReason
from vlm_operator.records import Key, Planned
from vlm_operator.refusal import Refused
from vlm_operator.store import Store

from tests.support.gpu_nodes import node, pool
from vlmctl import library
from vlmctl.api import v1alpha1 as api
from vlmctl.specs.inventory import DeclaredPool, Inventory, Pool
from vlmctl.specs.workload import LicensePolicy

CATALOG = library.load_catalog()
PLANNER = Planner(CATALOG)
L4 = pool("L4", 4, 0.5)
ANYTHING = Policy()
KEY = Key("team", "reader")


def spec_of(**fields: Any) -> api.VLMDeploymentSpec:
    return msgspec.convert({"model": {"name": "qwen3-vl-8b"}, **fields}, api.VLMDeploymentSpec)


def plan(spec: api.VLMDeploymentSpec, *pools: Pool) -> Planned:
    return PLANNER.plan(spec, Inventory(pools=pools), Policy())


def better(spec: api.VLMDeploymentSpec, planned: Planned, *pools: Pool) -> str:
    return better_plan(spec, planned, lambda asked: plan(asked, *pools))


def denied(spec: api.VLMDeploymentSpec, planned: Planned, policy: Policy = ANYTHING) -> Refused:
    with pytest.raises(Refused) as found:
        PLANNER.check(spec, planned, policy)
    return found.value


def test_what_was_planned_is_allowed_as_long_as_nothing_is_tightened() -> None:
    """Limits that a plan was made under, and looser ones, leave it."""
    for limits in ({}, {"budget": {"maxUSDPer1k": "5", "maxUSDPerMonth": "800"}, "licensePolicy": "Commercial"}):
        spec = spec_of(**limits)
        PLANNER.check(spec, plan(spec, L4), Policy(max_usd_per_month=10_000.0))


@pytest.mark.parametrize(
    ("limits", "policy", "reason", "words"),
    [
        ({"budget": {"maxUSDPerMonth": "300"}}, {}, PlanReason.OVER_BUDGET, "1 replica costs $730.00 a month"),
        ({"budget": {"maxUSDPer1k": "0.0001"}}, {}, PlanReason.OVER_BUDGET, "1,000 requests cost"),
        ({}, {"max_usd_per_month": 300.0}, PlanReason.OVER_BUDGET, "the cluster's policy"),
        ({}, {"image_registries": ("ghcr.io/acme",)}, PlanReason.IMAGE_DENIED, "evil.org"),
    ],
)
def test_a_limit_that_was_tightened_is_told(
    limits: dict[str, Any], policy: dict[str, Any], reason: PlanReason, words: str
) -> None:
    """By the same words as before a plan, with the price that the plan was made by."""
    source = {"image": {"reference": "evil.org/weights:1"}} if "image_registries" in policy else None
    model = {"name": "qwen3-vl-8b", **({"source": source} if source is not None else {})}
    loose = Policy(image_registries=("evil.org",))
    planned = PLANNER.plan(spec_of(model=model), Inventory(pools=(L4,)), loose)
    found = denied(spec_of(model=model, **limits), planned, Policy(**policy))
    assert found.reason is reason
    assert words in found.message


def test_a_licence_that_is_not_asked_for_any_more_is_told() -> None:
    """By the spec or the cluster."""
    planned = plan(spec_of(model={"name": "gemma-3-4b"}), L4)
    own = denied(spec_of(model={"name": "gemma-3-4b"}, licensePolicy="Permissive"), planned)
    policy = Policy(license=LicensePolicy.PERMISSIVE)
    assert own.reason is denied(spec_of(model={"name": "gemma-3-4b"}), planned, policy).reason
    assert own.reason is PlanReason.LICENSE_DENIED


def test_arguments_that_may_not_be_given_any_more_are_told() -> None:
    """A plan from before a rule was tightened gets no more replicas."""
    planned = plan(spec_of(), L4)
    found = denied(spec_of(engine={"arguments": ["--middleware", "evil.middleware"]}), planned)
    assert (found.reason, "--middleware" in found.message) == (PlanReason.INVALID_SPEC, True)


def test_another_catalog_takes_nothing_from_a_plan() -> None:
    """One that calls the model otherwise, or says that its code is needed; licence and price count as before."""
    spec = spec_of(model={"name": "gemma-3-4b"})
    planned = plan(spec, L4)
    without = replace(CATALOG, models=tuple(each for each in CATALOG.models if "gemma" not in each.id))
    coded = replace(
        CATALOG,
        models=tuple(
            replace(each, serving=replace(each.serving, requires_remote_code=True)) for each in CATALOG.models
        ),
    )
    for catalog in (without, coded):
        Planner(catalog).check(spec, planned, Policy())
        for policy in (Policy(license=LicensePolicy.PERMISSIVE), Policy(max_usd_per_1k=1e-6)):
            with pytest.raises(Refused):
                Planner(catalog).check(spec, planned, policy)
    apache = plan(spec_of(), L4)
    none = replace(CATALOG, models=())
    Planner(none).check(spec_of(), apache, Policy())


def test_the_same_cluster_has_nothing_better() -> None:
    """Nor one whose other GPUs cost more, or save less than the margin."""
    spec = spec_of()
    planned = plan(spec, L4)
    assert better(spec, planned, L4) == ""
    assert better(spec, planned, L4, pool("H100-SXM", 8, 50.0)) == ""
    rate = plan(spec, pool("L40S", 4, 1.0)).plan.cost
    has = planned.plan.cost
    assert rate is not None
    assert has is not None
    even = has.usd_per_1k_requests / rate.usd_per_1k_requests  # USD per hour at which an L40S costs as much
    assert better(spec, planned, L4, pool("L40S", 4, even * (1 - MARGIN / 2))) == ""
    said = better(spec, planned, L4, pool("L40S", 4, even * (1 - 2 * MARGIN)))
    assert "would cost 20% less: 1x L40S" in said
    assert said.endswith(f"change the annotation {REPLAN}.")


def test_a_price_that_rose_is_counted() -> None:
    """The present placement is compared at what it costs now, not at what it was planned by."""
    spec = spec_of()
    cheap = pool("L40S", 4, 0.5)
    planned = plan(spec, cheap, L4)
    assert planned.plan.placement.gpu == "L40S"
    assert "2x L4 in" in better(spec, planned, replace(cheap, usd_per_gpu_hour=50.0), L4)


def test_what_runs_costs_what_the_values_declare_now() -> None:
    """Whatever it was planned at; GPUs that the values name no price for keep theirs."""
    planned = plan(spec_of(), L4)
    for declared, usd in (
        ((), planned.usd_per_gpu_hour),
        ((DeclaredPool(gpu="L40S", usd_per_gpu_hour=9.0),), planned.usd_per_gpu_hour),
        ((DeclaredPool(gpu="L4"),), planned.usd_per_gpu_hour),
        ((DeclaredPool(gpu="L4", usd_per_gpu_hour=0.2), DeclaredPool(gpu="L4", usd_per_gpu_hour=0.3)), 0.3),
        ((DeclaredPool(gpu="L4", usd_per_gpu_hour=0.0),), 0.0),
        (
            (
                DeclaredPool(gpu="L4", gpus_per_node=1, usd_per_gpu_hour=0.1),  # too small for it
                DeclaredPool(gpu="L4", gpus_per_node=4, usd_per_gpu_hour=0.2),
                DeclaredPool(gpu="L4", gpus_per_node=8, usd_per_gpu_hour=0.6),
            ),
            0.2,
        ),
    ):
        plans = ClusterPlans(OperatorConfig(inventory=declared), Store(), CATALOG)
        assert plans.priced(planned).usd_per_gpu_hour == usd
        unpriced = replace(planned, usd_per_gpu_hour=None)
        assert plans.priced(unpriced).usd_per_gpu_hour == (None if usd == planned.usd_per_gpu_hour else usd)


def test_a_placement_that_the_cluster_has_no_nodes_for_any_more_is_told() -> None:
    """Pods that run stay; a new one would find no node."""
    spec = spec_of()
    said = better(spec, plan(spec, pool("L40S", 4, 0.5)), L4)
    assert said.startswith("This placement would not be planned again: 2x L4 in")


def test_nothing_is_said_where_no_plan_is_possible() -> None:
    """What runs is better than nothing."""
    assert better(spec_of(), plan(spec_of(), L4)) == ""


def test_what_the_spec_asks_for_is_not_called_better() -> None:
    """Hardware that a user names is not the operator's to change."""
    spec = spec_of(hardware={"gpu": "L4", "count": 1}, quantization="BF16")
    assert better(spec, plan(spec, L4), L4, pool("L40S", 4, 0.01)) == ""


def test_plans_are_compared_once_in_the_same_cluster() -> None:
    """Again only for another revision, and once nodes of another kind have come; more of a kind are no news."""
    store, spec = Store(), spec_of()
    plans = ClusterPlans(OperatorConfig(), store, CATALOG)

    def joins(name: str, product: str) -> None:
        body = node(product, 4)
        metadata = {**body["metadata"], "name": name, "uid": name, "resourceVersion": "1"}
        store.put({**body, "apiVersion": NODE.api_version, "kind": NODE.kind, "metadata": metadata})
        plans.nodes_changed()

    def compared(digest: str) -> bool:
        return plans.better(KEY, digest, spec, planned, ()) is not None

    joins("a", "NVIDIA-L4")
    planned = plans.over(()).plan(spec)
    assert [compared("a"), compared("a"), compared("b"), compared("b")] == [True, False, True, False]
    joins("b", "NVIDIA-L4")
    assert not compared("b")
    joins("c", "NVIDIA-L40S")
    assert [compared("b"), compared("b")] == [True, False]
    plans.keep(())
    assert compared("b")


def test_equal_specs_are_planned_once_for_the_same_nodes() -> None:
    """An equal spec has the very plan that was made; after nodes have changed it is planned for what there is then."""
    store = Store()
    plans = ClusterPlans(OperatorConfig(), store, CATALOG)
    put(store, 1, "NVIDIA-L40S")
    plans.nodes_changed()
    first = plans.plan(spec_of(), ())
    assert plans.plan(spec_of(), ()) is first
    assert plans.plan(spec_of(workload={"outputTokens": 32}), ()) != first
    put(store, 2, "NVIDIA-H100-80GB-HBM3")
    plans.nodes_changed()
    second = plans.plan(spec_of(), ())
    assert (first.plan.placement.gpu, second.plan.placement.gpu) == ("L40S", "H100-SXM")


def put(store: Store, version: int, product: str) -> None:
    """The one node of the cluster, as it is now."""
    body = node(product)
    metadata = {**body["metadata"], "uid": "u", "resourceVersion": str(version)}
    store.put({**body, "apiVersion": NODE.api_version, "kind": NODE.kind, "metadata": metadata})
