"""What a cluster allows: licences, images and money, the stricter of the cluster's and the VLMDeployment's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.policy import (
    Budget,
    Limit,
    Policy,
    budget,
    image_denied,
    license_denied,
    most_replicas,
    over_budget,
)

from vlmctl.api import v1alpha1 as api
from vlmctl.specs.model import Commercial, License
from vlmctl.specs.workload import LicensePolicy
from vlmctl.units import HOURS_PER_MONTH

LICENSES = [
    License(name=commercial.value, commercial=commercial, permissive=permissive, source="made up")
    for commercial in Commercial
    for permissive in ((True, False) if commercial is Commercial.YES else (False,))
]
PERMISSIVE = License(name="MIT", commercial=Commercial.YES, permissive=True, source="made up")
CONDITIONAL = License(name="Own", commercial=Commercial.CONDITIONAL, source="made up")
USD = st.floats(0.001, 1e6)


@given(st.sampled_from(LICENSES), st.sampled_from(list(api.LicensePolicy)), st.sampled_from(list(LicensePolicy)))
def test_the_stricter_licence_policy_holds(license: License, asked: api.LicensePolicy, cluster: LicensePolicy) -> None:
    """What either denies is denied, and nothing else."""
    alone = license_denied(license, asked, Policy()), license_denied(license, None, Policy(license=cluster))
    assert bool(license_denied(license, asked, Policy(license=cluster))) is any(alone)


def test_a_denied_licence_says_who_denies_it() -> None:
    """The user can change the one, and must ask somebody about the other."""
    commercial = Policy(license=LicensePolicy.PERMISSIVE)
    assert license_denied(PERMISSIVE, None, commercial) == ""
    assert license_denied(CONDITIONAL, None, commercial) == (
        "the licence is Own (commercial use: conditional), and the cluster's policy asks for permissive"
    )
    assert "spec.licensePolicy asks for permissive" in license_denied(
        CONDITIONAL, api.LicensePolicy.PERMISSIVE, Policy()
    )


@pytest.mark.parametrize(
    ("image", "registries", "allowed"),
    [
        ("vllm/vllm-openai:v0.32.0", (), False),
        ("127.0.0.1:10255/a:1", (), False),
        ("10.0.0.1:8443/a:1", ("docker.io",), False),
        ("localhost/a", (), False),
        ("registry.corp:8443/x", ("registry.corp",), False),
        ("registry.corp:8443/x", ("registry.corp:8443",), True),
        ("registry.corp/x:8443", ("registry.corp/x",), True),
        ("vllm/vllm-openai:v0.32.0", ("docker.io",), True),
        ("vllm/vllm-openai:v0.32.0", ("docker.io/vllm",), True),
        ("vllm/vllm-openai:v0.32.0", ("vllm/",), True),
        ("docker.io/vllm/vllm-openai:v0.32.0", ("vllm/vllm-openai",), True),
        ("vllm/vllm-openai@sha256:0", ("vllm/vllm-openai",), True),
        ("vllm/vllm-openai-fork:v1", ("vllm/vllm-openai",), False),
        ("busybox", ("docker.io",), True),
        ("busybox:1", ("docker.io/library",), True),
        ("busybox", ("vllm",), False),
        ("ghcr.io/acme/engine:1", ("ghcr.io/acme",), True),
        ("ghcr.io/acme-evil/engine:1", ("ghcr.io/acme",), False),
        ("ghcr.io.evil.org/acme/engine:1", ("ghcr.io",), False),
        ("evil.org/ghcr.io/acme/engine", ("ghcr.io/acme",), False),
        ("localhost:5000/engine", ("localhost:5000",), True),
        ("localhost:5001/engine", ("localhost:5000", "docker.io"), False),
    ],
)
def test_images_come_from_the_registries_that_are_allowed(
    image: str, registries: tuple[str, ...], allowed: bool
) -> None:
    """By registry, owner or repository, with Docker Hub's names written out; a longer name or another port is another
    one. Whoever may name any makes nodes ask any address.
    """
    denied = image_denied(image, Policy(image_registries=registries))
    assert (denied == "") is allowed
    assert allowed or (registries[0] if registries else "policy.imageRegistries") in denied


@given(USD | st.none(), USD | st.none())
def test_the_lower_limit_holds(asked: float | None, cluster: float | None) -> None:
    """Of the cluster and the VLMDeployment, for each kind of limit."""
    own = None if asked is None else api.Budget(max_usd_per_1k=repr(asked), max_usd_per_month=repr(asked))
    held = budget(own, Policy(max_usd_per_1k=cluster, max_usd_per_month=cluster))
    known = [each for each in (asked, cluster) if each is not None]
    for limit in (held.per_1k, held.per_month):
        assert (limit.usd if limit is not None else None) == min(known, default=None)


@given(USD, USD, st.integers(0, 100), USD, USD)
def test_a_tighter_budget_never_allows_more(
    usd_per_1k: float, usd_per_hour: float, replicas: int, one: float, other: float
) -> None:
    """What is over a limit is over every lower one."""
    costs = {"usd_per_1k": usd_per_1k, "usd_per_hour": usd_per_hour, "replicas": replicas}
    tight, loose = (
        Budget(per_1k=Limit(usd=usd, whose="x"), per_month=Limit(usd=usd, whose="x"))
        for usd in (min(one, other), max(one, other))
    )
    if over_budget(loose, **costs):
        assert over_budget(tight, **costs)


def test_what_is_over_budget_says_by_how_much_and_whose_it_is() -> None:
    """Figures of both sides, for 1,000 requests and for a month of all replicas."""
    held = Budget(per_1k=Limit(usd=0.1, whose="a"), per_month=Limit(usd=2 * HOURS_PER_MONTH, whose="b"))
    assert over_budget(held, usd_per_1k=0.1, usd_per_hour=1.0, replicas=2) == ""
    assert over_budget(held, usd_per_1k=0.2, usd_per_hour=1.0, replicas=2) == (
        "1,000 requests cost $0.200, above the $0.100 of a"
    )
    assert over_budget(held, usd_per_1k=0.1, usd_per_hour=1.0, replicas=3) == (
        "3 replicas cost $2,190.00 a month, above the $1,460.00 of b"
    )


def test_no_budget_allows_what_nobody_knows_the_price_of() -> None:
    """Where no budget is set, an unknown price is no obstacle."""
    held = Budget(per_month=Limit(usd=1e9, whose="x"))
    assert "no price" in over_budget(held, usd_per_1k=None, usd_per_hour=None, replicas=1)
    assert over_budget(Budget(), usd_per_1k=None, usd_per_hour=None, replicas=1) == ""


def test_replicas_are_counted_as_many_as_there_can_be() -> None:
    """Scaling may reach its maximum without anybody changing the budget."""
    model = api.ModelReference(name="m")
    assert most_replicas(api.VLMDeploymentSpec(model=model, replicas=3)) == 3
    assert most_replicas(api.VLMDeploymentSpec(model=model, scaling=api.Scaling(max=8))) == 8
    by_hand = api.Scaling(max=8, engine=api.ScalingEngine.NONE)
    assert most_replicas(api.VLMDeploymentSpec(model=model, replicas=3, scaling=by_hand)) == 3
