"""Records -> structural schemas, as a CustomResourceDefinition holds them: no references, no nulls, a type everywhere.

A field that may be None is one that may be left out.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
from msgspec import inspect as types

from vlmctl.api.records import ApiRecord, Rule

Schema = dict[str, Any]
RULES = "x-kubernetes-validations"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"


def structural_schema(record: type[ApiRecord], *, defaults: bool = True) -> Schema:
    """The schema of a record; without `defaults`, what is left out stays out, as in a status."""
    return _of(types.type_info(record), defaults)


def _of(kind: types.Type, defaults: bool) -> Schema:
    match kind:
        case types.Metadata():
            return _laid_over(_of(kind.type, defaults), kind.extra_json_schema or {})
        case types.StructType():
            return _object(kind, defaults)
        case types.UnionType():
            return _union([each for each in kind.types if not isinstance(each, types.NoneType)], defaults)
        case types.EnumType():
            return {"type": "string", "enum": [each.value for each in kind.cls]}
        case types.LiteralType():
            return {"type": "string", "enum": list(kind.values)}
        case types.StrType():
            return _said(type="string", minLength=kind.min_length, maxLength=kind.max_length, pattern=kind.pattern)
        case types.IntType():
            return _said(type="integer", minimum=kind.ge, maximum=kind.le)
        case types.BoolType():
            return {"type": "boolean"}
        case types.VarTupleType():
            return _said(type="array", items=_of(kind.item_type, defaults), maxItems=kind.max_length)
        case types.DictType():
            return _map(kind, defaults)
    raise TypeError(f"{kind} has no place in a structural schema")


def _object(kind: types.StructType, defaults: bool) -> Schema:
    properties = {field.encode_name: _property(field, defaults) for field in kind.fields}
    schema = _said(
        description=_docstring(kind.cls),
        type="object",
        properties=properties,
        required=[field.encode_name for field in kind.fields if field.required] or None,
    )
    rules: tuple[Rule, ...] = getattr(kind.cls, "rules", ())
    return _laid_over(schema, {RULES: [rule._asdict() for rule in rules]} if rules else {})


def _property(field: types.Field, defaults: bool) -> Schema:
    schema = _of(field.type, defaults)
    if not defaults or field.default in (msgspec.NODEFAULT, None, ()):
        return schema
    if not isinstance(field.default, ApiRecord):
        return {**schema, "default": msgspec.to_builtins(field.default)}
    # Written out, because the API server holds a default to the rules before it fills in those of its fields.
    filled = {name: each["default"] for name, each in schema["properties"].items() if "default" in each}
    return {**schema, "default": filled}


def _union(members: list[types.Type], defaults: bool) -> Schema:
    """One type that may be left out, or an integer or a text: each bound holds for the type it is about."""
    if len(members) == 1:
        return _of(members[0], defaults)
    number, text = sorted((_of(member, defaults) for member in members), key=lambda schema: str(schema.pop("type")))
    if "enum" in text:
        text = {"pattern": f"^({'|'.join(text['enum'])})$"}
    return {INT_OR_STRING: True, "anyOf": [{"type": "integer"}, {"type": "string"}], **number, **text}


def _map(kind: types.DictType, defaults: bool) -> Schema:
    if isinstance(kind.value_type, types.AnyType):
        return {"type": "object", PRESERVE: True}
    schema = _said(type="object", additionalProperties=_of(kind.value_type, defaults), maxProperties=kind.max_length)
    if isinstance(kind.key_type, types.StrType) and kind.key_type.pattern is not None:
        pattern = kind.key_type.pattern
        rule = Rule(f"self.all(key, key.matches({pattern!r}))", f"keys must match {pattern}")
        schema[RULES] = [rule._asdict()]
    return schema


def _laid_over(schema: Schema, above: Schema) -> Schema:
    """Both, the description first, as readers expect it; rules add up."""
    laid = {"description": "", **schema, **above}
    if not laid["description"]:
        del laid["description"]
    rules = [*schema.get(RULES, []), *above.get(RULES, [])]
    return {**laid, RULES: rules} if rules else laid


def _said(**keywords: Any) -> Schema:
    return {name: value for name, value in keywords.items() if value is not None}


def _docstring(record: type) -> str:
    return " ".join((inspect.getdoc(record) or "").split())
