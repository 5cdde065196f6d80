from __future__ import annotations

import json

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.errors import InvalidFile
from vlmctl.serving.summary import ANNOTATION, COMMENT, PlanSummary, as_json, diff, read_plan_summary, summary
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec
from vlmctl.units import GIB

money = st.none() | st.floats(min_value=0, max_value=1e9, allow_nan=False)
summaries = st.builds(
    PlanSummary,
    model=st.text(min_size=1),
    checkpoint=st.text(),
    precision=st.sampled_from(["bf16", "fp8"]),
    gpu=st.text(min_size=1),
    gpu_count=st.integers(1, 8),
    replicas=st.integers(1, 1000),
    reserved_bytes=st.integers(0, 2**45),
    occupied_bytes=st.integers(0, 2**45),
    requests_per_second=st.floats(min_value=0, max_value=1e6),
    usd_per_hour=money,
    usd_per_1k_requests=money,
    usd_per_month=money,
)


def test_figures_are_over_all_replicas(plan: Plan) -> None:
    """Three replicas of one GPU are three GPUs, and three times the memory."""
    figures = summary(plan)
    assert figures.gpus == 3
    assert figures.reserved_bytes == 3 * 21 * GIB
    assert figures.occupied_bytes == 3 * 17 * GIB
    assert figures.usd_per_hour == 2.4


def test_a_plan_without_a_price_has_none(plan: Plan) -> None:
    """Unknown money stays unknown, for one replica."""
    figures = summary(msgspec.structs.replace(plan, cost=None))
    assert (figures.replicas, figures.usd_per_hour, figures.usd_per_1k_requests) == (1, None, None)


@given(figures=summaries)
def test_any_summary_survives_its_annotation(figures: PlanSummary) -> None:
    """Whatever the names hold, what is read is what was written."""
    text = yaml.safe_dump({"metadata": {"annotations": {ANNOTATION: as_json(figures)}}})
    assert read_plan_summary(text) == figures
    assert read_plan_summary(f"{COMMENT}{as_json(figures)}\nvllm serve x\n") == figures


def test_a_summary_survives_kubectl(plan: Plan) -> None:
    """An object that a cluster gives back has lost its comments and gained fields."""
    live = {"metadata": {"annotations": {ANNOTATION: as_json(summary(plan))}, "uid": "1"}, "status": {"phase": "Ready"}}
    assert read_plan_summary(json.dumps(live)) == summary(plan)


@given(old=summaries, new=summaries)
def test_differences_are_new_minus_old(old: PlanSummary, new: PlanSummary) -> None:
    """Swapping the two sides turns every sign; money is unknown if either side is."""
    there, back = diff(old, new), diff(new, old)
    assert there.gpus == new.gpus - old.gpus == -back.gpus
    assert there.reserved_bytes == -back.reserved_bytes
    assert (there.usd_per_hour is None) == (old.usd_per_hour is None or new.usd_per_hour is None)
    if there.usd_per_hour is not None:
        assert there.usd_per_hour == -(back.usd_per_hour or 0.0)
    assert {name for name, _, _ in there.changed} == {name for name, _, _ in back.changed}


@given(figures=summaries)
def test_a_plan_does_not_differ_from_itself(figures: PlanSummary) -> None:
    """No change is reported where there is none."""
    same = diff(figures, figures)
    assert (same.gpus, same.reserved_bytes, same.occupied_bytes, same.changed) == (0, 0, 0, ())


def test_changed_names_are_told_with_both_sides(plan: Plan) -> None:
    """Another GPU is named, not only counted."""
    old = summary(plan)
    new = msgspec.structs.replace(old, gpu="L40S", replicas=1)
    assert diff(old, new).changed == (("gpu", "L4", "L40S"), ("replicas", "3", "1"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no plan of vlmctl"),
        ("kind: Pod\nmetadata: {name: x}\n", "no plan of vlmctl"),
        ("metadata: []\n", "no plan of vlmctl"),
        ("- 1\n---\n7\n", "no plan of vlmctl"),
        ("a: [1\nb: 2\n", "my.yaml:2"),
        (f"{COMMENT}not json\n", "cannot be read"),
        (f'{COMMENT}{{"model": 7}}\n', "cannot be read"),
    ],
    ids=["empty", "no-annotation", "odd-metadata", "no-mapping", "broken-yaml", "broken-json", "other-fields"],
)
def test_a_file_without_a_plan_is_refused_by_name(text: str, problem: str) -> None:
    """The error names the file and what to give instead."""
    with pytest.raises(InvalidFile, match=problem) as refusal:
        read_plan_summary(text, path="my.yaml")
    assert refusal.value.path == "my.yaml"


def test_fixtures_describe_one_plan(plan: Plan, model: ModelSpec, gpu: GpuSpec) -> None:
    """The plan that the tests of this room share is of the model and GPU they share."""
    assert (plan.placement.model, plan.placement.gpu) == (model.id, gpu.id)
