"""Random objects from the schemas of the CRDs: ones that the API server lets in, and ones that it does not.

A rule of the schema is in CEL, which only the API server reads: `TWINS` says each again in Python.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from typing import Any

from hypothesis import strategies as st

from vlmctl.api import v1alpha1 as api
from vlmctl.api.crds import vlmbenchmark_crd, vlmdeployment_crd
from vlmctl.api.structural_schema import INT_OR_STRING, PRESERVE, RULES, Schema
from vlmctl.units import parse_duration_seconds

Strategies = Mapping[str, st.SearchStrategy[Any]]  # by the path of a field, such as `spec.workload.images[].size`
MANY = 3  # items of a list or map: what goes wrong with many goes wrong with some
NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True)
MODELS = ("qwen2.5-vl-7b", "qwen3-vl-8b", "internvl3-8b", "gemma-3-4b", "no-such-model")
GPUS = (api.AUTO, "L4", "H100-SXM", "NVIDIA-L4", "no-such-gpu")
NOTHING: Strategies = {}
# So that many a spec gets as far as a plan, and none asks a cluster for thousands of pods.
PLAUSIBLE: Strategies = {
    "spec.model.name": st.sampled_from(MODELS),
    "spec.hardware.gpu": st.sampled_from(GPUS),
    "spec.replicas": st.integers(0, 3),
    "spec.scaling.min": st.integers(0, 3),
    "spec.scaling.max": st.integers(1, 3),
}
OLD = "oldSelf"  # in a rule on changes alone
KEYS_MUST_MATCH = "keys must match "
LARGE = 2**53  # above it JSON numbers are not exact everywhere
MISSING = object()
TWINS: dict[str, Callable[[Any], bool]] = {
    "give exactly one of huggingFace, pvc and image": lambda source: len(source) == 1,
    "give name (of the catalog) or source": lambda model: "name" in model or "source" in model,
    "source.huggingFace needs a repository where no name is given": lambda model: (
        "name" in model or "repository" in model.get("source", {}).get("huggingFace", {"repository": ""})
    ),
    "a checkpoint on a volume or in an image needs name or facts, to plan with": lambda model: (
        "name" in model or "facts" in model or "huggingFace" in model.get("source", {"huggingFace": {}})
    ),
    "facts describe the model of a source: give source too": lambda model: "facts" not in model or "source" in model,
    "must not contain '..'": lambda path: ".." not in path.split("/"),
    "must be above 0, such as 50ms or 2s": lambda text: parse_duration_seconds(text) > 0,
    "min must not be above max": lambda scaling: scaling.get("min", 1) <= scaling.get("max", 1),
    "targetUtilization must be 0.05 to 1": lambda scaling: float(scaling.get("targetUtilization", "0.8")) >= 0.05,
    "idle must be at most 24h": lambda scaling: parse_duration_seconds(scaling.get("idle", "5m")) <= 86_400,
    "budget must be 10s to 1h": lambda benchmark: 10 <= parse_duration_seconds(benchmark.get("budget", "90s")) <= 3600,
    "operator Exists takes no value": lambda each: each.get("operator") != "Exists" or "value" not in each,
    "operator Equal needs a key": lambda each: each.get("operator") == "Exists" or "key" in each,
    "tolerationSeconds is for effect NoExecute": lambda each: (
        "tolerationSeconds" not in each or each.get("effect") == "NoExecute"
    ),
}
_KEYS = st.from_regex(r"([a-z]{1,8}\.example/)?[A-Za-z0-9]{1,12}", fullmatch=True)
_TEXT = st.text(alphabet=string.printable, max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=MANY) | st.dictionaries(_TEXT, inner, max_size=MANY),
    max_leaves=8,
)


@cache
def deployment_schema() -> Schema:
    """Of a whole VLMDeployment."""
    return _schema(vlmdeployment_crd())


@cache
def benchmark_schema() -> Schema:
    """Of a whole VLMBenchmark."""
    return _schema(vlmbenchmark_crd())


def deployments(given: Strategies = PLAUSIBLE) -> st.SearchStrategy[dict[str, Any]]:
    """VLMDeployments that the API server lets in, as a user writes them: without status."""
    spec = valid(deployment_schema()["properties"]["spec"], given, path="spec")
    return st.builds(_body, st.just(api.KIND), NAMES, spec)


def refused_deployments(given: Strategies = PLAUSIBLE) -> st.SearchStrategy[dict[str, Any]]:
    """VLMDeployments that the API server does not let in: one field is not as the schema has it."""
    return _spoilt(deployments(given))


def benchmarks() -> st.SearchStrategy[dict[str, Any]]:
    """VLMBenchmarks that the API server lets in."""
    spec = valid(benchmark_schema()["properties"]["spec"], path="spec")
    return st.builds(_body, st.just(api.BENCHMARK_KIND), NAMES, spec)


def valid(schema: Schema, given: Strategies = NOTHING, *, path: str = "") -> st.SearchStrategy[Any]:
    """Values that a schema lets in, rules included; a field in `given` comes from there."""
    if path in given:
        return given[path]
    drawn = _drawn(schema, given, path)
    for rule in schema.get(RULES, ()):
        if OLD not in rule["rule"]:
            drawn = drawn.filter(_twin(rule["message"]))
    return drawn


def rules(schema: Schema) -> Iterator[dict[str, str]]:
    """Every rule of a schema, at any depth."""
    yield from schema.get(RULES, ())
    for part in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from rules(part)


def with_defaults(schema: Schema, value: Any) -> Any:
    """The value as the API server stores it, defaults filled in from the outside to the inside."""
    if isinstance(value, list):
        return [with_defaults(schema["items"], each) for each in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    fields = schema["properties"]
    filled = {name: deepcopy(field["default"]) for name, field in fields.items() if "default" in field} | value
    return {name: with_defaults(fields.get(name, {}), each) for name, each in filled.items()}


@st.composite
def _spoilt(draw: st.DrawFn, bodies: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    body = draw(bodies)
    mistakes = list(_mistakes(deployment_schema(), body))
    holder, field, mistake = mistakes[draw(st.integers(0, len(mistakes) - 1))]
    if mistake is MISSING:
        del holder[field]
    else:
        holder[field] = mistake
    return body


def _body(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _schema(definition: dict[str, Any]) -> Schema:
    schema: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _drawn(schema: Schema, given: Strategies, path: str) -> st.SearchStrategy[Any]:
    if INT_OR_STRING in schema:
        return st.one_of(_integers(schema), _texts(schema))
    match schema["type"]:
        case "object":
            return _objects(schema, given, path)
        case "array":
            items = valid(schema["items"], given, path=f"{path}[]")
            keys = schema.get("x-kubernetes-list-map-keys")
            unique = (lambda item: tuple(item[key] for key in keys)) if keys else None
            return st.lists(items, max_size=MANY, unique_by=unique)
        case "string":
            return _texts(schema)
        case "integer":
            return _integers(schema)
    return st.booleans()


def _objects(schema: Schema, given: Strategies, path: str) -> st.SearchStrategy[dict[str, Any]]:
    if schema.get(PRESERVE):
        return st.dictionaries(_TEXT, _JSON, max_size=MANY)
    if "additionalProperties" in schema:
        return st.dictionaries(_KEYS, valid(schema["additionalProperties"], given, path=f"{path}.*"), max_size=MANY)
    fields = {name: valid(field, given, path=f"{path}.{name}") for name, field in schema["properties"].items()}
    required = {name: fields[name] for name in schema.get("required", ())}
    optional = {name: field for name, field in fields.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("format") == "date-time":
        return st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
    if "pattern" in schema:
        longest = schema.get("maxLength", MANY)
        whole = st.from_regex(schema["pattern"], fullmatch=True, alphabet=st.characters(codec="ascii"))
        return whole.filter(lambda text: len(text) <= longest)
    return st.text(alphabet=string.printable, min_size=schema.get("minLength", 0), max_size=20)


def _integers(schema: Schema) -> st.SearchStrategy[int]:
    least, most = schema.get("minimum", -LARGE), schema.get("maximum", LARGE)
    return st.one_of(st.integers(least, min(most, least + 8)), st.integers(least, most))


def _mistakes(schema: Schema, value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """What to put where in a value so that the schema no longer lets it in: holder, field, mistake."""
    for name, field in schema.get("properties", {}).items():
        if name not in value or name == "metadata":
            continue
        if name in schema.get("required", ()):
            yield value, name, MISSING
        yield from ((value, name, mistake) for mistake in _wrong(field, value[name]))
        if isinstance(value[name], dict):
            yield from _mistakes(field, value[name])
        for item in value[name] if isinstance(value[name], list) else ():
            if isinstance(item, dict):
                yield from _mistakes(field["items"], item)


def _wrong(schema: Schema, value: Any) -> Iterator[Any]:
    yield {"a map": "of what"} if schema.get("type") != "object" else "no map"
    yield [[]] if schema.get("type") != "array" else "no list"
    yield True if schema.get("type") != "boolean" else "true"
    if "minimum" in schema:
        yield schema["minimum"] - 1
    if "maximum" in schema:
        yield schema["maximum"] + 1
    if "enum" in schema or "pattern" in schema:
        yield "\x00 no such"
    if "maxLength" in schema:
        yield "a" * (schema["maxLength"] + 1)
    if "maxItems" in schema and value:
        yield value[:1] * (schema["maxItems"] + 1)


def _twin(message: str) -> Callable[[Any], bool]:
    if message.startswith(KEYS_MUST_MATCH):
        pattern = re.compile(message.removeprefix(KEYS_MUST_MATCH))
        return lambda value: all(pattern.fullmatch(key) for key in value)
    return TWINS[message]
