"""What Prometheus is told of VLMDeployments: their statuses in numbers, and nothing that is not known."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from vlm_operator.deployment_metrics import FAMILIES, DeploymentMetrics
from vlm_operator.records import KubernetesObject
from vlm_operator.rollout import Rollout
from vlm_operator.status import build

from tests.vlm_operator.children import SPEC
from tests.vlm_operator.worlds import PRICED, SERVING, measured, observed, pod, rollout
from vlmctl.api import v1alpha1 as api

UNITS = ("_seconds", "_ratio", "_usd_per_hour", "_usd_per_1k_requests", "_requests_per_second")
COUNTS = ("_replicas", "_gpus", "_concurrent_requests", "_condition", "_phase")  # have no unit
BOUNDED = {"namespace", "deployment", "model", "gpu", "state", "type", "status", "reason", "phase", "basis", "quantity"}


def with_status(status: api.VLMDeploymentStatus, name: str = "vision", **spec: Any) -> KubernetesObject:
    body = msgspec.json.decode(msgspec.json.encode(status))
    return {"metadata": {"namespace": "team", "name": name}, "spec": spec, "status": body}


def scraped(*parents: KubernetesObject) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """By metric the values by their labels, as Prometheus would read the exposition."""
    registry = CollectorRegistry()
    registry.register(DeploymentMetrics(lambda: iter(parents)))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        family.name: {tuple(sorted(each.labels.items())): each.value for each in family.samples} for family in families
    }


def by(found: dict[tuple[tuple[str, str], ...], float], label: str) -> dict[str, float]:
    return {dict(labels)[label]: value for labels, value in found.items()}


def serving() -> api.VLMDeploymentStatus:
    """The status of a deployment whose one pod has measured itself and takes requests."""
    world = observed(pod(SERVING), results=measured())
    return build(world, SPEC, rollout())


def test_money_is_told_by_basis() -> None:
    """Saturated is the measured cost; the planned one is that of the same replica at the planned rate."""
    status = serving()
    found = scraped(with_status(replace(status, cost=replace(status.cost, realised_per_1k="2.5"))))
    costs = by(found["vlmctl_deployment_cost_usd_per_1k_requests"], "basis")
    rates = by(found["vlmctl_deployment_requests_per_second"], "basis")
    hourly = PRICED.usd_per_gpu_hour * PRICED.plan.placement.gpu_count
    assert costs["measured"] == costs["saturated"] == pytest.approx(hourly / rates["measured"] / 3.6, rel=0.01)
    assert costs["planned"] == pytest.approx(hourly / PRICED.plan.speed.requests_per_second / 3.6, rel=0.01)
    assert costs["realised"] == 2.5


def test_what_is_unknown_is_missing() -> None:
    """Without a price, a measurement or a timeline there is no sample, rather than a zero that would be summed."""
    status = api.VLMDeploymentStatus(cost=api.CostStatus(price_source="unknown"))
    found = scraped(with_status(status))
    for name in ("cost_usd_per_hour", "cost_usd_per_1k_requests", "drift_ratio", "start_phase_seconds", "gpus"):
        assert found[f"vlmctl_deployment_{name}"] == {}
    assert by(found["vlmctl_deployment_replicas"], "state") == {
        "wanted": 1,
        "present": 0,
        "ready": 0,
        "paid": 0,
    }


@pytest.mark.parametrize(
    ("part", "figures"),
    [
        ("plan", {"requestsPerSecond": "x"}),
        ("plan", {"basis": "guessed"}),
        ("benchmark", {"requestsPerSecond": "nan"}),
        ("cost", {"hourlyUSD": "-1e3"}),
        ("cost", {"realisedPer1kUSD": ""}),
    ],
)
def test_a_figure_that_is_none_does_not_hide_the_others(part: str, figures: dict[str, str]) -> None:
    """Its deployment counts as one without a status, and those beside it are told."""
    odd = with_status(serving(), "odd")
    odd["status"][part] |= figures
    found = scraped(odd, with_status(serving()))
    assert set(by(found["vlmctl_deployment_cost_usd_per_hour"], "deployment")) == {"vision"}
    assert ("odd" in by(found["vlmctl_deployment_replicas"], "deployment")) is True


def test_after_a_rollback_the_plan_is_not_what_runs() -> None:
    """The status has the plan that failed: its rate and its GPU's name are not of what is paid for."""
    status = serving()
    back = [
        replace(each, reason="RolledBack") if each.type is api.ConditionType.DEGRADED else each
        for each in status.conditions
    ]
    found = scraped(with_status(replace(status, conditions=tuple(back))))
    assert list(found["vlmctl_deployment_gpus"].values()) == [PRICED.plan.placement.gpu_count]
    assert set(by(found["vlmctl_deployment_requests_per_second"], "basis")) == {"measured"}
    assert set(by(found["vlmctl_deployment_cost_usd_per_hour"], "gpu")) == {"unknown"}


def test_while_a_revision_takes_over_no_rate_is_told() -> None:
    """Replicas of two plans run, and the status has the wanted one's: what is paid and held is told of no GPU alone."""
    status = replace(serving(), current_revision="vision-old", update_revision="vision-new")
    found = scraped(with_status(replace(status, cost=replace(status.cost, replicas=2, gpus=5, hourly="5.1"))))
    assert list(found["vlmctl_deployment_gpus"].values()) == [5]
    assert by(found["vlmctl_deployment_cost_usd_per_hour"], "gpu") == {"unknown": 5.1}
    assert found["vlmctl_deployment_requests_per_second"] == {}
    assert found["vlmctl_deployment_concurrent_requests"] == {}


def test_a_plan_by_measurements_of_others_is_planned() -> None:
    """Its basis is `measured`, while nothing was measured for this deployment."""
    status = serving()
    of_others = replace(status, benchmark=None, cost=replace(status.cost, basis="measured"))
    costs = by(scraped(with_status(of_others))["vlmctl_deployment_cost_usd_per_1k_requests"], "basis")
    assert set(costs) == {"planned", "saturated"}


def test_gpus_and_money_are_of_the_replicas_that_are_paid_for() -> None:
    """Held back by a budget, or waiting for a node, a replica that is wanted costs nothing."""
    found = scraped(with_status(serving(), replicas=8))
    assert by(found["vlmctl_deployment_replicas"], "state") == {"wanted": 8, "present": 1, "ready": 1, "paid": 1}
    assert list(found["vlmctl_deployment_gpus"].values()) == [PRICED.plan.placement.gpu_count]
    assert list(found["vlmctl_deployment_cost_usd_per_hour"].values()) == [pytest.approx(PRICED.usd_per_hour)]


def test_a_status_of_another_version_does_not_hide_the_others() -> None:
    """One that cannot be read counts as empty."""
    broken = {"metadata": {"namespace": "team", "name": "odd"}, "spec": {"objectives": 3}, "status": {"phase": {}}}
    found = scraped(broken, with_status(serving()))
    ready = {
        label: value for label, value in found["vlmctl_deployment_replicas"].items() if ("state", "ready") in label
    }
    assert by(ready, "deployment") == {"odd": 0, "vision": 1}


def test_start_phases_add_up_to_the_start() -> None:
    """Each phase begins where the one before it ends; weights that were there before take no time of the start."""
    day = "2026-01-01T00:"
    steps = api.Timeline(
        scheduled=f"{day}00:00Z",
        image_pulled=f"{day}01:00Z",
        weights_ready=f"{day}03:00Z",
        engine_ready=f"{day}04:00Z",
        benchmarked=f"{day}05:30Z",
    )
    for weights, expected in (
        (f"{day}03:00Z", {"image": 60, "weights": 120, "engine": 60, "benchmark": 90}),
        ("2025-12-31T00:00:00Z", {"image": 60, "weights": 0, "engine": 180, "benchmark": 90}),
        (None, {"image": 60, "engine": 180, "benchmark": 90}),
    ):
        status = api.VLMDeploymentStatus(timeline=replace(steps, weights_ready=weights))
        assert by(scraped(with_status(status))["vlmctl_deployment_start_phase_seconds"], "phase") == expected
        assert sum(expected.values()) == 330


def test_objectives_are_told_in_seconds() -> None:
    """Whatever unit the spec has them in; one that cannot be read is left out."""
    found = scraped(
        with_status(api.VLMDeploymentStatus(), objectives={"ttft": "1500ms", "tpot": "0.05s"}),
        with_status(api.VLMDeploymentStatus(), "odd", objectives={"ttft": "soon"}),
    )
    assert by(found["vlmctl_deployment_objective_seconds"], "quantity") == {"ttft": 1.5, "tpot": 0.05}


@given(st.integers(0, 5), st.lists(st.sampled_from(["a", "b", "c"]), unique=True))
def test_every_deployment_is_told_once(replicas: int, names: list[str]) -> None:
    """No two samples have the same labels, whatever there is, and conditions have one status each."""
    status = build(observed(), replace(SPEC, replicas=replicas), Rollout())
    found = scraped(*(with_status(status, name, replicas=replicas) for name in names))
    wanted = {k: v for k, v in found["vlmctl_deployment_replicas"].items() if ("state", "wanted") in k}
    assert by(wanted, "deployment") == dict.fromkeys(names, replicas)
    for name in names:
        types = [dict(k)["type"] for k in found["vlmctl_deployment_condition"] if ("deployment", name) in k]
        assert sorted(types) == sorted(api.ConditionType)


def test_names_say_their_units() -> None:
    """As Prometheus' conventions have it: a base unit at the end, or a plain count; labels from a closed list."""
    for family in FAMILIES:
        assert re.fullmatch(r"vlmctl_deployment_[a-z0-9_]+", family.name)
        assert family.name.endswith(UNITS + COUNTS), family.name
        assert set(family.labels) <= BOUNDED
        assert family.help.endswith(".")
