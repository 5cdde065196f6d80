from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.api import v1alpha1 as api
from vlmctl.units import parse_duration_seconds

SMALLEST = {
    "apiVersion": "vlmctl.dev/v1alpha1",
    "kind": "VLMDeployment",
    "metadata": {"name": "x"},
    "spec": {"model": {"name": "qwen3-vl-8b"}},
}


def test_the_smallest_object_has_every_default() -> None:
    """A model's name is enough; the rest is Auto."""
    read = msgspec.convert(SMALLEST, api.VLMDeployment)
    assert read.spec.hardware == api.Hardware(gpu="Auto", count="Auto")
    assert read.spec.quantization == "Auto"
    assert read.spec.replicas == 1
    assert read.spec.benchmark.policy is api.BenchmarkPolicy.FIRST_OF_REVISION


def test_defaults_are_not_written() -> None:
    """Writing the smallest object gives it back, kind and version included."""
    assert msgspec.to_builtins(msgspec.convert(SMALLEST, api.VLMDeployment)) == SMALLEST


def test_names_are_camel_case_with_the_usual_capitals() -> None:
    """Field names are those that a Kubernetes user expects."""
    status = api.VLMDeploymentStatus(
        ready_replicas=1, cost=api.CostStatus(hourly="0.80", saturated_per_1k="0.25", as_of="2026-01-01")
    )
    assert msgspec.to_builtins(status) == {
        "readyReplicas": 1,
        "cost": {"hourlyUSD": "0.80", "saturatedPer1kUSD": "0.25", "asOf": "2026-01-01"},
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"name": "x"}, "hardwear": {}},
        {"model": {"name": "x"}, "hardware": {"count": "many"}},
        {"model": {"name": "x"}, "scaling": {"engine": "Cron"}},
        {},
    ],
    ids=["unknown-field", "count-of-words", "unknown-engine", "no-model"],
)
def test_mistakes_are_refused(spec: dict[str, object]) -> None:
    """A misspelt field is an error, never silently dropped."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**SMALLEST, "spec": spec}, api.VLMDeployment)


@given(milliseconds=st.integers(1, 86_400_000))
def test_durations_read_back_as_they_were(milliseconds: int) -> None:
    """What is written as text is the same number of seconds when parsed."""
    assert parse_duration_seconds(api.duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
