"""What a plan is asked for, as a digest that stays, and what keeps the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.agent.config import read_config
from vlm_operator.records import KubernetesObject, Planned, Verdict
from vlm_operator.revisions import DIGEST_LENGTH, digest, read, write

from tests.support.crd_strategies import deployment_schema, deployments, with_defaults
from tests.vlm_operator.children import CACHED, PARENT, PLANNED, SPEC, revision
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidFile

WHOLE = replace(
    CACHED,
    model=api.ModelReference(name="qwen3-vl-8b", source=api.ModelSource(pvc=api.PvcSource(claim_name="weights"))),
    hardware=api.Hardware(gpu="L4", count=2),
    license_policy=api.LicensePolicy.COMMERCIAL,
    api_key=api.SecretKey(name="mine", key="key"),
    quantization=api.Quantization.FP8,
    workload=api.Workload(images=(api.Images(size="1280x720", count=2),), output_tokens=128),
    objectives=api.Objectives(ttft="2s"),
    budget=api.Budget(max_usd_per_month="900"),
    pod=api.PodOverrides(labels={"team": "vision"}),
    engine=api.Engine(env=(api.Variable(name="A", value="é"),)),
)
# Digests of an earlier version: with another one, each running model would be planned anew and started again.
DIGESTS = [(SPEC, "", "631850fa71"), (WHOLE, "", "50b78af6d5"), (WHOLE, "2026-02-01", "441bd040a4")]

EXAMPLES = 25  # of whole specs, which are slow to draw
SPECS = deployments().map(lambda body: {**body, "metadata": {**body["metadata"], "namespace": "team"}})


def parsed(body: dict[str, object]) -> api.VLMDeploymentSpec:
    """As it is read, allowed or not: what is refused has a digest as well."""
    return msgspec.convert(body, api.VLMDeployment).spec


@pytest.mark.parametrize(("spec", "replan", "expected"), DIGESTS)
def test_digests_stay(spec: api.VLMDeploymentSpec, replan: str, expected: str) -> None:
    """A new version of the operator knows what an earlier one planned."""
    assert digest(spec, replan) == expected
    assert len(expected) == DIGEST_LENGTH


@settings(max_examples=EXAMPLES)
@given(SPECS)
def test_written_defaults_change_nothing(body: dict[str, object]) -> None:
    """What the API server fills in, and what is planned for without it, are the same."""
    filled = with_defaults(deployment_schema(), body)
    assert digest(parsed(filled)) == digest(parsed(body))


@settings(max_examples=EXAMPLES)
@given(SPECS, st.data())
def test_what_moves_replicas_restarts_none(body: dict[str, object], data: st.DataObject) -> None:
    """Scale, bounds, pause, the gates of the benchmark and the limits of licence and money make no pod another."""
    spec = parsed(body)
    changed = replace(
        spec,
        replicas=data.draw(st.integers(0, 9)),
        scaling=api.Scaling(min=1, max=data.draw(st.integers(1, 9))),
        benchmark=api.BenchmarkSpec(minimum_of_measured="0.5", budget="30s"),
        paused=data.draw(st.booleans()),
        budget=data.draw(st.sampled_from([None, api.Budget(max_usd_per_month="7")])),
        license_policy=data.draw(st.sampled_from([None, *api.LicensePolicy])),
    )
    assert digest(changed) == digest(spec)


def test_a_claim_grows_and_is_kept_under_the_same_pods() -> None:
    """Its size and whether it outlives them restart none; whether there is one, of which class and mode, does."""

    def cached(**fields: Any) -> str:
        return digest(replace(SPEC, cache=api.Cache(pvc=api.CachePvc(**{"size": "100Gi", **fields}))))

    assert cached() == cached(size="200Gi") == cached(retain=False)
    assert len({digest(SPEC), cached(), cached(storage_class_name="fast"), cached(access_mode="ReadWriteOnce")}) == 4


SAME_PODS = {"replicas", "scaling", "benchmark", "paused", "budget", "license_policy"}


@pytest.mark.parametrize("field", sorted(set(SPEC.__struct_fields__) - SAME_PODS))
def test_whatever_else_differs_is_another_revision(field: str) -> None:
    """With another value in any field that is planned by, the digest is another."""
    assert digest(replace(SPEC, **{field: getattr(WHOLE, field)})) != digest(SPEC)
    assert digest(replace(WHOLE, **{field: getattr(SPEC, field)})) != digest(WHOLE)


def test_an_empty_group_asks_for_nothing() -> None:
    """It is as if it were not written."""
    assert digest(replace(SPEC, engine=api.Engine(), pod=api.PodOverrides(), cache=api.Cache())) == digest(SPEC)


def test_a_new_plan_is_asked_for_by_an_annotation() -> None:
    """Each other value is another revision of the same spec."""
    assert len({digest(SPEC), digest(SPEC, "1"), digest(SPEC, "2")}) == 3


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_revision_reads_back(verdict: Verdict) -> None:
    """Plan, template, files and verdict are what was written, through JSON as the API server keeps it."""
    kept = revision(WHOLE, number=7, verdict=verdict)
    written = json.loads(json.dumps(write(kept, PARENT)))
    written["metadata"]["uid"] = kept.uid
    assert read(written) == kept


def test_what_nobody_knows_is_open() -> None:
    """A verdict that was removed, or that another version wrote, is none."""
    written = json.loads(json.dumps(write(revision(), PARENT)))
    written["metadata"]["uid"] = "u"
    for told in ({}, {names.VERDICT: "Excellent"}):
        written["metadata"]["annotations"] = told
        assert read(written).verdict is Verdict.UNKNOWN


def written() -> KubernetesObject:
    body = json.loads(json.dumps(write(revision(), PARENT)))
    return {**body, "metadata": {**body["metadata"], "uid": "u"}}


def test_what_a_later_version_has_added_is_left_out() -> None:
    """Fields that this version does not know, wherever they are in the plan, stop nobody: pods have their template."""
    body = written()
    planned = body["data"]["planned"]
    for place in (planned, planned["plan"], planned["plan"]["placement"], planned["arguments"][0]):
        place["invented"] = {"a": 1}
    assert read(body) == replace(revision(), uid="u")


@pytest.mark.parametrize("damage", ["planned", "template", "data", "spec", "plan"])
def test_what_cannot_be_read_says_what_to_do(damage: str) -> None:
    """A revision without its parts, or with others in their place, is refused by name."""
    body = written()
    if damage == "data":
        body["data"] = ["?"]
    elif damage == "spec":
        del body["data"]["template"]["spec"]
    elif damage == "plan":
        body["data"]["planned"]["plan"]["speed"] = "fast"
    else:
        del body["data"][damage]
    with pytest.raises(InvalidFile, match=r"ControllerRevision reader-.*annotation vlmctl.dev/replan"):
        read(body)


def test_its_files_are_for_the_agent_and_for_people(tmp_path: Path) -> None:
    """The agent reads its file, and the plan is there as YAML with all that was decided."""
    made = revision()
    assert sorted(made.config) == ["agent.json", "api_keys.lua", "haproxy.cfg", "plan.yaml"]
    path = tmp_path / "agent.json"
    path.write_text(made.config["agent.json"], encoding="utf-8")
    assert read_config(path).served_name == PLANNED.served_name
    assert msgspec.convert(yaml.safe_load(made.config["plan.yaml"]), Planned) == PLANNED
