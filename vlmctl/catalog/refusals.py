"""What msgspec says of a value that is no record, told again with the line in the file and the remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from msgspec import inspect

from vlmctl.catalog.mistakes import Finding, nearest
from vlmctl.catalog.yaml_nodes import Step, at, key_line, line_at
from vlmctl.specs.record import Record

_LISTED = 12  # names that are shown in full
_WHERE = re.compile(r" - at (?:`key` in )?`\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")
_UNKNOWN_FIELD = re.compile(r"unknown field `(.*?)`")
_MISSING_FIELD = re.compile(r"missing required field `(.*?)`")
_WRONG_VALUE = re.compile(r"Invalid (?:enum )?value '?(.*?)'?$")
_WRONG_TYPE = re.compile(r"Expected `(.*?)`, got `(.*?)`")


def explain(error: msgspec.ValidationError, kind: type[Record], node: yaml.Node, file: str) -> Finding:
    """The finding for an entry of `kind` at `node` that msgspec refused."""
    said = str(error)
    path = _path(said)
    problem = _WHERE.sub("", said)
    found, expected = at(node, path), _type_at(kind, node, path)
    line, remedy = line_at(node, path), ""
    if match := _UNKNOWN_FIELD.search(problem):
        line, remedy = key_line(found, match[1]), _closest(match[1], _fields(expected))
        problem = f"unknown field {match[1]!r}{_inside(path)}"
    elif match := _MISSING_FIELD.search(problem):
        problem, remedy = f"the field {match[1]!r} is missing{_inside(path)}", f"Add a line '{match[1]}: ...'."
    elif match := _WRONG_VALUE.search(problem):
        problem, remedy = f"{match[1]!r} is not a value of {_last(path)!r}", _closest(match[1], _choices(expected))
    elif match := _WRONG_TYPE.search(problem):
        problem, remedy = f"{_last(path)!r} must be {match[1]}, not {match[2]}", _quoting(match[1], match[2])
    return Finding(file=file, line=line, problem=f"{problem}.", remedy=remedy)


def _path(said: str) -> tuple[Step, ...]:
    match = _WHERE.search(said)
    if match is None:
        return ()
    steps: list[Step] = []
    for step in _STEP.finditer(match[1]):
        if step[0] == "[...]":  # a value of a free mapping: msgspec does not tell its key
            break
        steps.append(int(step[2]) if step[2] else step[1])
    return tuple(steps)


def _type_at(kind: type[Record], node: yaml.Node, path: Sequence[Step]) -> inspect.Type:
    """The declared type at a path; where a union has several records, the one that the file chose by its tag."""
    current = _chosen(inspect.type_info(kind), node)
    for index, step in enumerate(path):
        if isinstance(current, inspect.StructType):
            if step == current.tag_field:
                return current
            current = next((field.type for field in current.fields if field.encode_name == step), inspect.AnyType())
        elif isinstance(current, inspect.VarTupleType):
            current = current.item_type
        current = _chosen(current, at(node, path[: index + 1]))
    return current


def _chosen(declared: inspect.Type, node: yaml.Node) -> inspect.Type:
    if not isinstance(declared, inspect.UnionType):
        return declared
    some = [option for option in declared.types if not isinstance(option, inspect.NoneType)]
    for option in some:
        if isinstance(option, inspect.StructType) and option.tag_field is not None:
            tag = at(node, (option.tag_field,))
            if isinstance(tag, yaml.ScalarNode) and tag.value == option.tag:
                return option
    return some[0] if len(some) == 1 else declared


def _fields(declared: inspect.Type) -> list[str]:
    return [field.encode_name for field in declared.fields] if isinstance(declared, inspect.StructType) else []


def _choices(declared: inspect.Type) -> list[str]:
    if isinstance(declared, inspect.EnumType):
        return [str(member.value) for member in declared.cls]
    options: Sequence[Any] = declared.types if isinstance(declared, inspect.UnionType) else ()
    return [str(option.tag) for option in options if isinstance(option, inspect.StructType)]


def _closest(name: str, known: Sequence[str]) -> str:
    if close := nearest(name, known, limit=1):
        return f"Did you mean {close[0]!r}?"
    if len(known) > _LISTED:
        return f"Nearest: {', '.join(nearest(name, known, cutoff=0.0))}."
    return f"Known: {', '.join(known)}." if known else ""


def _quoting(expected: str, got: str) -> str:
    if expected.startswith("str") and got in {"int", "float", "bool"}:
        return "Put the value in quotes."
    if got == "str" and expected.startswith(("int", "float", "bool")):
        return "Write it without quotes, as a plain number or true/false."
    return "Write a list, one item a line after a dash." if expected.startswith("array") else ""


def _inside(path: Sequence[Step]) -> str:
    return f" in {_last(path)!r}" if path else ""


def _last(path: Sequence[Step]) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "entry")
