"""The two CRDs: fit for an API server, readable, and of one mind with the records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.support.crd_strategies import (
    KEYS_MUST_MATCH,
    NOTHING,
    OLD,
    TWINS,
    benchmark_schema,
    benchmarks,
    deployment_schema,
    deployments,
    refused_deployments,
    rules,
    with_defaults,
)
from tests.support.plans import MODEL, PLAN
from vlmctl.api import v1alpha1 as api
from vlmctl.api.crds import vlmbenchmark_crd, vlmdeployment_crd
from vlmctl.api.structural_schema import INT_OR_STRING, PRESERVE, RULES, Schema
from vlmctl.serving.engine_args import ServeOptions
from vlmctl.serving.manifest import vlmdeployment
from vlmctl.specs.model import Precision
from vlmctl.specs.workload import ImageInput, LicensePolicy, Objectives, VideoInput, Workload

DEFINITIONS = [vlmdeployment_crd(), vlmbenchmark_crd()]
SCHEMAS = {api.KIND: deployment_schema(), api.BENCHMARK_KIND: benchmark_schema()}
LONGEST_DESCRIPTION = 160  # two lines of `kubectl explain`
CERTAIN = {"apiVersion", "kind", "metadata"}  # described by the API server itself

lets_in_deployment = Draft202012Validator(SCHEMAS[api.KIND]).is_valid
lets_in_benchmark = Draft202012Validator(SCHEMAS[api.BENCHMARK_KIND]).is_valid


def parts(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every field and item with its path."""
    for name, field in schema.get("properties", {}).items():
        if path or name not in CERTAIN:
            yield from ((f"{path}.{name}", field), *parts(field, f"{path}.{name}"))
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if inner is not None:
            yield from ((f"{path}[]", inner), *parts(inner, f"{path}[]"))


def as_json(record: api.ApiRecord) -> Any:
    """What the API server is sent."""
    return msgspec.json.decode(msgspec.json.encode(record))


PARTS = [(f"{kind}{path}", part) for kind, schema in SCHEMAS.items() for path, part in parts(schema, "")]


def test_every_field_has_a_type_of_its_own() -> None:
    """A structural schema refers to nothing, says integer-or-string in Kubernetes' own way, and has no nulls."""
    for path, part in PARTS:
        assert "type" in part or INT_OR_STRING in part, path
        assert not {"$ref", "allOf", "oneOf", "not", "nullable"} & part.keys(), path


def test_every_object_knows_its_fields_or_keeps_what_it_is_given() -> None:
    """Otherwise the API server would empty it."""
    for path, part in PARTS:
        if part.get("type") == "object":
            assert len({"properties", "additionalProperties", PRESERVE} & part.keys()) == 1, path


def test_nothing_in_a_spec_is_of_any_length() -> None:
    """Whoever writes VLMDeployments fills the memory of all who read them no further than this; nor do keys of maps."""
    for path, part in PARTS:
        if path.startswith(f"{api.KIND}.spec"):
            assert PRESERVE not in part, path
            assert part.get("type") != "string" or {"maxLength", "enum"} & part.keys(), path
            assert part.get("type") != "array" or "maxItems" in part, path
            assert "additionalProperties" not in part or {"maxProperties", RULES} <= part.keys(), path
            keys = [each["message"] for each in part.get(RULES, ()) if each["message"].startswith(KEYS_MUST_MATCH)]
            assert not any("*" in each for each in keys), path


def test_every_default_is_within_its_bounds() -> None:
    """The API server refuses a CRD of which one is not."""
    for part in (part for _, part in PARTS if "default" in part):
        Draft202012Validator(part).validate(part["default"])


def test_every_field_is_described_in_a_line() -> None:
    """`kubectl explain` shows sentences."""
    for path, part in PARTS:
        if not path.endswith("[]"):
            assert part["description"].endswith("."), path
            assert len(part["description"]) <= LONGEST_DESCRIPTION, path
            assert "\n" not in part["description"], path


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition["spec"]["names"]["kind"])
def test_columns_and_scale_read_fields_that_exist(definition: dict[str, Any]) -> None:
    """A path that is not in the schema shows nothing, and a `kubectl scale` by it does nothing, without a word."""
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    known = {path for path, _ in parts(schema, "")} | {".metadata.creationTimestamp"}
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    paths += version.get("subresources", {}).get("scale", {}).values()
    assert {re.sub(r"\[\?.*\]", "[]", path) for path in paths} <= known


def test_the_first_columns_are_what_people_look_for() -> None:
    """Model, hardware, state, speed and price, before anything that needs `-o wide`."""
    columns = DEFINITIONS[0]["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"].upper() for column in columns if not column.get("priority")]
    assert shown == ["MODEL", "GPU", "READY", "REASON", "REQ/S", "$/1K", "AGE"]


def test_closed_sets_are_the_librarys() -> None:
    """Each precision and licence policy that the library knows can be asked for."""
    assert {each.value for each in api.Quantization} == {api.AUTO, *(each.value.upper() for each in Precision)}
    assert {each.value.lower() for each in api.LicensePolicy} == {each.value for each in LicensePolicy}


def test_every_rule_is_known_to_the_tests() -> None:
    """A rule that the random objects do not respect would make them all refused."""
    messages = {rule["message"] for schema in SCHEMAS.values() for rule in rules(schema["properties"]["spec"])}
    changes = {rule["message"] for schema in SCHEMAS.values() for rule in rules(schema) if OLD in rule["rule"]}
    assert {each for each in messages - changes if not each.startswith(KEYS_MUST_MATCH)} == TWINS.keys()


@given(deployments(NOTHING))
def test_the_record_reads_what_the_schema_lets_in(body: dict[str, Any]) -> None:
    """Schema and record have the same bounds, and fill in the same defaults."""
    assert lets_in_deployment(body)
    stored = with_defaults(SCHEMAS[api.KIND], body)
    assert lets_in_deployment(stored)
    assert msgspec.convert(stored, api.VLMDeployment) == msgspec.convert(body, api.VLMDeployment)


@given(refused_deployments(NOTHING))
def test_the_record_refuses_what_the_schema_refuses(body: dict[str, Any]) -> None:
    """What is outside a bound is so for both."""
    assert not lets_in_deployment(body)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, api.VLMDeployment)


@given(benchmarks())
def test_a_benchmark_is_written_as_it_was_read(body: dict[str, Any]) -> None:
    """What is kept of a measurement survives the record, and the schema lets it in again."""
    read = msgspec.convert(body, api.VLMBenchmark)
    written = as_json(read)
    assert lets_in_benchmark(written)
    assert msgspec.convert(written, api.VLMBenchmark) == read


IMAGES = st.builds(
    ImageInput,
    width_pixels=st.integers(1, 65_535),
    height_pixels=st.integers(1, 65_535),
    count=st.integers(1, 100_000),
)
VIDEOS = st.builds(
    VideoInput,
    seconds=st.floats(0.001, 86_400),
    frames_per_second=st.sampled_from([0.1, 0.5, 1, 2, 29.97]),
    width_pixels=st.integers(1, 65_535),
    height_pixels=st.integers(1, 65_535),
)
LATENCIES = st.none() | st.floats(1e-6, 86_400)


@given(
    workload=st.builds(
        Workload,
        images=st.lists(IMAGES, max_size=4).map(tuple),
        videos=st.lists(VIDEOS, max_size=2).map(tuple),
        prompt_tokens=st.integers(0, 100_000_000),
        output_tokens=st.integers(1, 100_000_000),
    ),
    objectives=st.builds(Objectives, ttft_seconds=LATENCIES, tpot_seconds=LATENCIES),
    options=st.builds(
        ServeOptions,
        needs=st.lists(st.sampled_from(["thinking", "tools"]), unique=True).map(tuple),
        media_domains=st.lists(st.sampled_from(["images.example", "a.b.example"]), unique=True).map(tuple),
    ),
    precision=st.sampled_from(Precision),
)
@settings(max_examples=50)
def test_what_the_planner_writes_is_let_in(
    workload: Workload, objectives: Objectives, options: ServeOptions, precision: Precision
) -> None:
    """A manifest of `vlmctl plan` passes the schema of the CRD."""
    placement = msgspec.structs.replace(PLAN.placement, precision=precision)
    plan = msgspec.structs.replace(PLAN, placement=placement, workload=workload, objectives=objectives)
    written = as_json(vlmdeployment(plan, MODEL, options))
    Draft202012Validator(SCHEMAS[api.KIND]).validate(written)
