"""What a plan may not do: licences, code, images, money."""

from __future__ import annotations

from typing import Any

import pytest
from vlm_operator.policy import Policy
from vlm_operator.reasons import PlanReason

from tests.support.gpu_nodes import pool
from tests.vlm_operator.planning import QWEN, planned, refused, values
from vlmctl.specs.inventory import Inventory
from vlmctl.specs.workload import LicensePolicy


class TestPolicy:
    def test_a_licence_is_denied(self) -> None:
        """By the cluster or the spec, before anything is planned."""
        found = refused(model={"name": "gemma-3-4b"}, policy=Policy(license=LicensePolicy.PERMISSIVE))
        assert found.reason is PlanReason.LICENSE_DENIED
        assert "the cluster's policy asks for permissive" in found.message
        own = refused(model={"name": "gemma-3-4b"}, licensePolicy="Permissive")
        assert own.reason is PlanReason.LICENSE_DENIED

    def test_code_of_others_runs_only_where_both_allow_it(self) -> None:
        """The user who has read it, and the cluster; and it is what was read."""
        model = {"model": {"name": "internvl3-8b"}}
        read = {"model": {**model["model"], "source": {"huggingFace": {"revision": 40 * "a"}}}}
        trusting = {**read, "engine": {"trustRemoteCode": True}}
        moving = {**model, "engine": {"trustRemoteCode": True}}
        allowing = Policy(allow_trust_remote_code=True)
        for fields in (read, trusting, {**read, "policy": allowing}, {**moving, "policy": allowing}):
            assert refused(**fields).reason is PlanReason.REMOTE_CODE_DENIED
        assert "40 digits" in refused(**moving, policy=allowing).message
        assert "--trust-remote-code" in values(planned(**trusting, policy=allowing))
        assert "--trust-remote-code" not in values(planned(**QWEN, engine={"trustRemoteCode": True}, policy=allowing))

    @pytest.mark.parametrize(
        "fields",
        [
            {**QWEN, "engine": {"image": "evil.org/vllm:1"}},
            {"model": {"name": "qwen3-vl-8b", "source": {"image": {"reference": "evil.org/weights:1"}}}},
        ],
    )
    def test_images_come_from_allowed_registries(self, fields: dict[str, Any]) -> None:
        """Those that users name; the operator's own configuration is not asked."""
        policy = Policy(image_registries=("ghcr.io/acme",))
        assert refused(**fields, policy=policy).reason is PlanReason.IMAGE_DENIED
        assert planned(**QWEN, policy=policy, engine_image="docker.io/any/vllm:1").image == "docker.io/any/vllm:1"

    def test_engines_come_from_nowhere_that_is_not_named(self) -> None:
        """Who may name any image runs any code, beside the namespace's Secrets; weights in an image are no code."""
        found = refused(**QWEN, engine={"image": "docker.io/vllm/vllm-openai:v0.32.0"})
        assert found.reason is PlanReason.IMAGE_DENIED
        assert planned(model={"name": "qwen3-vl-8b", "source": {"image": {"reference": "ghcr.io/me/weights:1"}}})

    def test_a_month_counts_all_replicas(self) -> None:
        """With room for the cheapest replica and not for three of them, three are refused."""
        budget = {"maxUSDPerMonth": "500"}
        assert planned(**QWEN, budget=budget).plan.placement.gpu == "L4"
        found = refused(**QWEN, budget=budget, replicas=3)
        assert found.reason is PlanReason.OVER_BUDGET
        assert "1x L4" in found.message
        assert "3 replicas cost $1,095.00 a month, above the $500.00 of spec.budget.maxUSDPerMonth" in found.message

    def test_the_cluster_has_a_budget_too(self) -> None:
        """It names itself, so that the user knows whom to ask."""
        found = refused(**QWEN, policy=Policy(max_usd_per_1k=0.0001), budget={"maxUSDPer1k": "5"})
        assert found.reason is PlanReason.OVER_BUDGET
        assert "the cluster's policy" in found.message

    def test_no_budget_covers_an_unknown_price(self) -> None:
        """Whatever the budget is."""
        unpriced = Inventory(pools=(pool("L4", 4, None),))
        found = refused(**QWEN, inventory=unpriced, budget={"maxUSDPer1k": "1000000"})
        assert found.reason is PlanReason.OVER_BUDGET
        assert "no price" in found.message
