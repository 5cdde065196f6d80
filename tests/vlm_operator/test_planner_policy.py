"""What a plan may not do: licences, code, images, money."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator.allowed import check_code
from vlm_operator.model_source import model_source
from vlm_operator.policy import Policy
from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused

from tests.support.gpu_nodes import pool
from tests.vlm_operator.planning import CATALOG, QWEN, planned, refused, spec_of, values
from vlmctl.specs.inventory import Inventory
from vlmctl.specs.measurements import DescribedModel
from vlmctl.specs.workload import LicensePolicy


def hub(repository: str) -> dict[str, Any]:
    """A commit of a repository."""
    return {"huggingFace": {"repository": repository, "revision": 40 * "a"}}


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
        ("model", "says"),
        [
            ({"name": "internvl3-8b", "source": hub("evil/evil")}, "evil/evil is not"),
            ({"name": "internvl3-8b", "source": {"pvc": {"claimName": "a-cache"}}}, "the claim a-cache"),
            ({"name": "internvl3-8b", "source": {"image": {"reference": "ghcr.io/acme/a:1"}}}, "its digest"),
        ],
    )
    def test_code_is_the_catalogs_and_stays_what_it_is(self, model: dict[str, Any], says: str) -> None:
        """A name of the catalog lets no other repository's code run, nor what others may write over."""
        policy = Policy(allow_trust_remote_code=True, image_registries=("ghcr.io/acme",))
        found = refused(model=model, engine={"trustRemoteCode": True}, policy=policy)
        assert (found.reason, says in found.message) == (PlanReason.REMOTE_CODE_DENIED, True), found.message

    def test_code_of_a_model_that_the_spec_describes_never_runs(self) -> None:
        """Nobody but its writer says that it needs any."""
        spec = spec_of(**QWEN, engine={"trustRemoteCode": True})
        source = replace(model_source(spec, CATALOG), described=DescribedModel(config={}))
        with pytest.raises(Refused, match="models of the catalog"):
            check_code(spec, source, Policy(allow_trust_remote_code=True), model="own", runs=False)

    def test_code_of_an_image_is_pinned_by_its_digest(self) -> None:
        """Of a registry that the policy names, for clusters without a way to the hub."""
        source = {"image": {"reference": f"ghcr.io/acme/a@sha256:{64 * '0'}"}}
        policy = Policy(allow_trust_remote_code=True, image_registries=("ghcr.io/acme",))
        found = planned(
            model={"name": "internvl3-8b", "source": source}, engine={"trustRemoteCode": True}, policy=policy
        )
        assert "--trust-remote-code" in values(found)

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

    @pytest.mark.parametrize(
        "fields",
        [
            {**QWEN, "engine": {"image": "docker.io/vllm/vllm-openai:v0.32.0"}},
            {"model": {"name": "qwen3-vl-8b", "source": {"image": {"reference": "10.0.0.1:8443/a:1"}}}},
        ],
    )
    def test_images_come_from_nowhere_that_is_not_named(self, fields: dict[str, Any]) -> None:
        """Who may name any image runs any code, beside the namespace's Secrets, or makes nodes ask any address."""
        found = refused(**fields)
        assert found.reason is PlanReason.IMAGE_DENIED
        assert "policy.imageRegistries" in found.message

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
