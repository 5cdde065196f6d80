"""docs/crd.md: every field of VLMDeployment and VLMBenchmark, with type, default, bounds and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vlmctl.api.crds import vlmbenchmark_crd, vlmdeployment_crd
from vlmctl.api.structural_schema import INT_OR_STRING, PRESERVE, RULES, Schema

PAGE = "crd.md"
INTRODUCTION = """\
# VLMDeployment and VLMBenchmark

<!-- Written by `make docs` from the records in vlmctl/api: edit those. -->

Every field of the two kinds of `vlmctl.dev/v1alpha1`; `kubectl explain vlmdeployment.spec` says the same on a cluster.
Numbers with a fraction are text (`"0.7"`), since Kubernetes' API has no floats. A **bold** field is required in
what holds it. Patterns and lengths of texts are in the CRDs themselves."""
HEAD = "| field | type | default | bounds | meaning |\n|---|---|---|---|---|"


def render() -> str:
    """The page."""
    return "\n\n".join([INTRODUCTION, *_kind(vlmdeployment_crd()), *_kind(vlmbenchmark_crd())]) + "\n"


def _kind(definition: dict[str, Any]) -> Iterator[str]:
    names, version = definition["spec"]["names"], definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    yield f"## {names['kind']}"
    yield schema["description"]
    yield f"Short name `{names['shortNames'][0]}`. `kubectl get` shows {_columns(version)}."
    for part in ("spec", "status"):
        if part in schema["properties"]:
            held = schema["properties"][part]
            yield f"### {names['kind']}: {part}"
            yield held["description"]
            yield "\n".join([HEAD, *_rows(held, "")])
    rules = list(_rules(schema, ""))
    if rules:
        yield f"### {names['kind']}: rules"
        yield "\n".join(f"- {where}: {message}" for where, message in rules)


def _columns(version: dict[str, Any]) -> str:
    columns = version["additionalPrinterColumns"]
    usual = [column["name"].upper() for column in columns if not column.get("priority")]
    wide = [column["name"].upper() for column in columns if column.get("priority")]
    return f"{', '.join(usual)}; with `-o wide` also {', '.join(wide)}"


def _rows(schema: Schema, above: str) -> Iterator[str]:
    """A row for each field, those of an object after it."""
    for name, field in schema.get("properties", {}).items():
        path = f"{above}{name}"
        shown = f"**`{path}`**" if name in schema.get("required", ()) else f"`{path}`"
        cells = (shown, _type(field), _default(field), _bounds(field), field["description"])
        yield f"| {' | '.join(cells)} |"
        if field.get("type") == "array":
            yield from _rows(field["items"], f"{path}[].")
        else:
            yield from _rows(field, f"{path}.")


def _type(field: Schema) -> str:
    if INT_OR_STRING in field:
        return "integer or string"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field.get(PRESERVE):
        return "any object"
    if "additionalProperties" in field:
        return f"map to {_type(field['additionalProperties'])}"
    return str(field["type"])


def _default(field: Schema) -> str:
    value = field.get("default", "")
    if value == "" or isinstance(value, dict):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(field: Schema) -> str:
    """What the schema holds a value to, or the items of a list."""
    inner = field.get("items", field.get("additionalProperties", {}))
    said = [*_limits(field), *(f"each {limit}" for limit in _limits(inner))]
    return "; ".join(said)


def _limits(field: Schema) -> Iterator[str]:
    if "enum" in field:
        yield ", ".join(f"`{value}`" for value in field["enum"])
    if "minimum" in field and "maximum" in field:
        yield f"{field['minimum']:,} to {field['maximum']:,}"
    elif "minimum" in field:
        yield f"at least {field['minimum']:,}"
    for key, unit in (("maxItems", "items"), ("maxProperties", "entries")):
        if key in field:
            yield f"at most {field[key]:,} {unit}"


def _rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Where each rule stands, and what it says."""
    for rule in schema.get(RULES, ()):
        yield (f"`{path}`" if path else "the object", rule["message"])
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")
