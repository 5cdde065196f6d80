"""The manifests that docs/scaling.md shows are what the operator writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from vlm_operator.scalers import Means, ScalingSettings, choose, objects
from vlm_operator.scaling_policy import Start, scale

from tests.vlm_operator.children import PARENT, PLANNED
from vlmctl.api import v1alpha1 as api
from vlmctl.api.reading import seconds

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
SHOWN = {each["kind"]: each for each in BLOCKS if isinstance(each, dict) and "kind" in each}
SETTINGS = ScalingSettings(
    prometheus="http://prometheus.monitoring:9090",
    external_metric="vlmctl_requests_in_flight",
    retry_host="vlm-operator.vlm-system.svc.cluster.local",
)
MEANS = Means(keda=True, http_add_on=True, settings=SETTINGS)
MEASURED = api.BenchmarkStatus(requests_per_second="2", interval="unknown", concurrency=8, measured="now")
LADDER_SECONDS = seconds(api.BenchmarkSpec().budget)
VISION = {**PARENT, "metadata": {**PARENT["metadata"], "name": "vision"}}


def written(spec: api.Scaling) -> dict[str, dict[str, Any]]:
    """What the operator writes, by kind, without labels and owners."""
    choice = choose(spec, MEANS)
    made_of = scale(spec, PLANNED, MEASURED, Start(seconds=95.0, measured=True), minimum=choice.minimum)
    found = {}
    for each in objects(VISION, choice, made_of, MEANS, ladder_seconds=LADDER_SECONDS):
        metadata = {key: value for key, value in each["metadata"].items() if key not in ("labels", "ownerReferences")}
        found[each["kind"]] = {**each, "metadata": metadata}
    return found


@pytest.mark.parametrize("engine", ["KEDA", "HPA"])
def test_shown_manifests_are_those_that_are_written(engine: str) -> None:
    """The example of a replica that measured 8 requests in flight is the real one."""
    for kind, body in written(api.Scaling(min=1, max=8, engine=api.ScalingEngine(engine))).items():
        assert SHOWN[kind] == body


def test_what_scales_to_zero_is_shown() -> None:
    """The route of the HTTP add-on is shown as it is written, and so is what its ScaledObject has beside others."""
    found = written(api.Scaling(min=0, max=8))
    assert SHOWN["HTTPScaledObject"] == found["HTTPScaledObject"]
    assert SHOWN["Service"] == found["Service"]
    spec = found["ScaledObject"]["spec"]
    assert spec["triggers"] in BLOCKS
    assert f"`initialCooldownPeriod: {spec['initialCooldownPeriod']}`" in PAGE


def test_the_adapter_is_asked_what_keda_asks() -> None:
    """The rule for prometheus-adapter is the same query, by the labels that the autoscaler selects by."""
    (rule,) = next(each for each in BLOCKS if "externalRules" in each)["externalRules"]
    assert rule["name"] == {"as": SETTINGS.external_metric}
    for flag in ("relist-interval", "max-age"):
        assert f"`--metrics-{flag}=" in PAGE
    of = 'namespace="team",deployment="vision"'
    asked = rule["metricsQuery"].replace("<<.LabelMatchers>>", of)
    (trigger,) = written(api.Scaling(min=1, max=8, engine=api.ScalingEngine.KEDA))["ScaledObject"]["spec"]["triggers"]
    load = f'haproxy_backend_current_sessions{{proxy="inference",{of}}}'
    assert asked.replace(f'<<.Series>>{{{of},proxy="inference"}}', load) == trigger["metadata"]["query"]


def test_the_example_spells_out_the_defaults() -> None:
    """What the first example writes is what is left out otherwise."""
    spec = msgspec.convert(BLOCKS[0]["spec"]["scaling"], api.Scaling)
    usual = api.Scaling(min=1, max=8)
    policies = [scale(each, PLANNED, MEASURED, None, minimum=1).policy for each in (spec, usual)]
    assert set(policies[0].up.steps) == set(policies[1].up.steps)
    assert policies[0].down == policies[1].down
    assert policies[0].idle_seconds == policies[1].idle_seconds
    assert policies[0].target_in_flight == policies[1].target_in_flight
