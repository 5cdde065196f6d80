"""The chart's values.yaml with its comments: what each value is for, and its schema.

Above a value, `# -- text` begins its description, lines of plain comment go on with it, and `# @schema {json}` adds
what its type alone does not say.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts" / "vlm-operator"
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][\w.-]*):(?: |$)")
_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class Value(NamedTuple):
    """A value of the chart: its path, default, description, and what its comment adds to its schema."""

    path: tuple[str, ...]
    default: Any
    description: str
    schema: dict[str, Any]


def values() -> list[Value]:
    """Every value that has a description, in the file's order.

    Raises ValueError for a value that has none and is no group of others.
    """
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    found: list[Value] = []
    words: list[str] = []
    schema: dict[str, Any] = {}
    path: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# @schema "):
            schema = json.loads(stripped.removeprefix("# @schema "))
        elif stripped.startswith("# -- "):
            words = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#") and words:
            words.append(stripped.removeprefix("# "))
        elif (match := _KEY.match(line)) is not None:
            path = [*path[: len(match["indent"]) // 2], match["key"]]
            if words:
                found.append(Value(tuple(path), _at(defaults, path), " ".join(words), schema))
            elif not _known(path, found) and not isinstance(_at(defaults, path), dict):
                raise ValueError(f"{'.'.join(path)} of values.yaml has no description.")
            words, schema = [], {}
    return found


def schema() -> dict[str, Any]:
    """The strict JSON schema of the values: no value that the chart does not know is let through."""
    root = _group()
    for value in values():
        group = root
        for name in value.path[:-1]:
            group = group["properties"].setdefault(name, _group())
        own: dict[str, Any] = {"description": value.description, "type": _TYPES[type(value.default)]}
        group["properties"][value.path[-1]] = own | {"default": value.default} | value.schema
    # Helm adds `global` to the values of every chart.
    root["properties"]["global"] = {"type": "object"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Values of vlm-operator", **root}


def _group() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _at(defaults: Any, path: list[str]) -> Any:
    for name in path:
        defaults = defaults[name]
    return defaults


def _known(path: list[str], found: list[Value]) -> bool:
    """Whether the value is part of one that has a description."""
    return any(tuple(path[: len(value.path)]) == value.path for value in found)
