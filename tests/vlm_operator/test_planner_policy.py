"""What a plan may not do: licences, code, images, hosts of pictures, money."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator.policy import Policy
from vlm_operator.reasons import PlanReason
from vlm_operator.refusal import Refused

from tests.support.gpu_nodes import pool
from tests.vlm_operator.planning import L4_AND_H100, PLANNER, QWEN, planned, refused, spec_of, values
from vlmctl.specs.inventory import Inventory
from vlmctl.specs.workload import LicensePolicy

CODED = "internvl3-8b"  # a model that comes with code
COMMIT = 40 * "a"
READ = f"OpenGVLab/InternVL3-8B@{COMMIT}"
TRUSTING = {"trustRemoteCode": True}


def hub(repository: str) -> dict[str, Any]:
    """A commit of a repository."""
    return {"huggingFace": {"repository": repository, "revision": COMMIT}}


class TestPolicy:
    def test_a_licence_is_denied(self) -> None:
        """By the cluster or the spec, before anything is planned."""
        found = refused(model={"name": "gemma-3-4b"}, policy=Policy(license=LicensePolicy.PERMISSIVE))
        assert found.reason is PlanReason.LICENSE_DENIED
        assert "the cluster's policy asks for permissive" in found.message
        own = refused(model={"name": "gemma-3-4b"}, licensePolicy="Permissive")
        assert own.reason is PlanReason.LICENSE_DENIED

    def test_code_of_others_runs_only_where_both_allow_it(self) -> None:
        """The user, and the cluster, which names the commit that was read."""
        read = {"model": {"name": CODED, "source": {"huggingFace": {"revision": COMMIT}}}}
        trusting, allowing = {**read, "engine": TRUSTING}, Policy(remote_code=(READ,))
        for fields in (read, trusting, {**read, "policy": allowing}):
            found = refused(**fields)
            assert (found.reason, "policy.remoteCode" in found.message) == (PlanReason.REMOTE_CODE_DENIED, True)
        assert "--trust-remote-code" in values(planned(**trusting, policy=allowing))

    @pytest.mark.parametrize(
        ("model", "names"),
        [
            ({"name": CODED}, "OpenGVLab/InternVL3-8B@main"),
            ({"name": CODED, "source": {"huggingFace": {"revision": 40 * "b"}}}, f"InternVL3-8B@{40 * 'b'}"),
            ({"name": CODED, "source": {"huggingFace": {"revision": COMMIT[:7]}}}, "InternVL3-8B@aaaaaaa"),
            ({"name": CODED, "source": hub("evil/evil")}, f"evil/evil@{COMMIT}"),
            ({"name": CODED, "source": {"pvc": {"claimName": "a-cache"}}}, "the claim a-cache"),
            ({"name": CODED, "source": {"image": {"reference": "ghcr.io/acme/a:1"}}}, "ghcr.io/acme/a:1"),
        ],
        ids=["branch", "another commit", "part of a commit", "another repository", "claim", "image"],
    )
    def test_code_is_what_was_read(self, model: dict[str, Any], names: str) -> None:
        """No other commit, which may be of anybody's pull request, no other repository, nor what may change."""
        policy = Policy(remote_code=(READ,), image_registries=("ghcr.io/acme",))
        found = refused(model=model, engine=TRUSTING, policy=policy)
        assert found.reason is PlanReason.REMOTE_CODE_DENIED
        assert f"{names} is not {READ}" in found.message

    def test_a_commit_counts_for_the_checkpoint_that_is_loaded(self) -> None:
        """Another precision has a repository of its own, with code of its own."""
        model = {"name": CODED, "source": {"huggingFace": {"revision": COMMIT}}}
        found = refused(model=model, quantization="AWQ", engine=TRUSTING, policy=Policy(remote_code=(READ,)))
        assert f"OpenGVLab/InternVL3-8B-AWQ@{COMMIT} is not {READ}" in found.message

    def test_a_plan_outlives_no_code_that_is_not_named_any_more(self) -> None:
        """Nor hosts of pictures."""
        media = {"engine": {**TRUSTING, "allowedMediaDomains": ["images.example"]}}
        spec = spec_of(model={"name": CODED, "source": {"huggingFace": {"revision": COMMIT}}}, **media)
        loose = Policy(remote_code=(READ,), media_domains=("images.example",))
        made = PLANNER.plan(spec, L4_AND_H100, loose)
        PLANNER.check(spec, made, loose)
        for tight in (replace(loose, remote_code=()), replace(loose, media_domains=())):
            with pytest.raises(Refused, match=r"policy\.(remoteCode|mediaDomains) of the chart"):
                PLANNER.check(spec, made, tight)

    def test_code_runs_only_for_models_that_need_it(self) -> None:
        """By the catalog: nobody but its writer says of a model that a spec describes that it needs any."""
        policy = Policy(remote_code=(f"Qwen/Qwen3-VL-8B-Instruct@{COMMIT}",))
        found = refused(**QWEN, engine=TRUSTING, policy=policy)
        assert (found.reason, "models of the catalog" in found.message) == (PlanReason.REMOTE_CODE_DENIED, True)

    def test_code_of_an_image_is_pinned_by_its_digest(self) -> None:
        """Of a registry that the policy names, for clusters without a way to the hub."""
        reference = f"ghcr.io/acme/a@sha256:{64 * '0'}"
        asked = {"model": {"name": CODED, "source": {"image": {"reference": reference}}}, "engine": TRUSTING}
        policy = Policy(remote_code=(reference,), image_registries=("ghcr.io/acme",))
        assert "--trust-remote-code" in values(planned(**asked, policy=policy))
        other = replace(policy, remote_code=(f"ghcr.io/acme/a@sha256:{64 * '1'}",))
        assert refused(**asked, policy=other).reason is PlanReason.REMOTE_CODE_DENIED

    def test_pictures_come_from_hosts_that_the_policy_names(self) -> None:
        """By their whole names, as vLLM compares them; by default from none."""
        policy = Policy(media_domains=("images.example", "cdn.example"))
        named = {**QWEN, "engine": {"allowedMediaDomains": ["images.example"]}}
        assert values(planned(**named, policy=policy))["--allowed-media-domains"] == ("images.example",)
        for host in ("evil.example", "a.images.example", "example", "Images.example"):
            asked = {**QWEN, "engine": {"allowedMediaDomains": ["cdn.example", host]}}
            found = refused(**asked, policy=policy)
            assert found.reason is PlanReason.MEDIA_DENIED
            assert f"{host} is not images.example or cdn.example" in found.message
        assert "names no host of pictures (policy.mediaDomains of the chart)" in refused(**named).message

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
