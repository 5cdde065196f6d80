"""YAML text to plain values, with lines kept: scalars as in YAML 1.2, where ``no`` is Norwegian and a date is text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
Step = str | int

_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_DEPTH_LIMIT = 5_000  # far beyond any record, far below where libyaml's recursive composer overflows the stack
_TOO_DEEP = "is nested too deeply, or refers to itself."
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,19}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# The implicit tags of YAML 1.1, which the parser attaches; any other was written by hand and would be lost.
_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp", "merge", "value")
)


class YamlError(Exception):
    """Text that is no YAML, or YAML that a catalog may not use."""

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line


def compose(content: bytes) -> yaml.Node | None:
    """The tree of a file, None where it is empty; raises YamlError."""
    try:
        if _is_deep(content):
            raise YamlError(_TOO_DEEP, None)
        node: yaml.Node | None = yaml.compose(content, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(f"is not YAML: {error.problem or error.context}.", mark.line + 1 if mark else None) from error
    except yaml.YAMLError as error:
        raise YamlError(f"is not YAML: {str(error).splitlines()[0]}.", None) from error
    return node


def plain(node: yaml.Node) -> Plain:
    """The value of a tree; raises YamlError for a key given twice, a key that is no text, or a tag of its own."""
    try:
        return _plain(node)
    except RecursionError as error:
        raise YamlError(_TOO_DEEP, line_of(node)) from error


def line_of(node: yaml.Node) -> int:
    """The line a node starts on, from 1."""
    return int(node.start_mark.line) + 1


def at(node: yaml.Node, path: Sequence[Step]) -> yaml.Node:
    """The node at a path of keys and positions, or the deepest one above it that exists."""
    for step in path:
        below = _below(node, step)
        if below is None:
            return node
        node = below
    return node


def line_at(node: yaml.Node, path: Sequence[Step]) -> int:
    """The line of the key or item at a path, or of the nearest thing above it that exists."""
    if path and isinstance(path[-1], str):
        return key_line(at(node, path[:-1]), path[-1])
    return line_of(at(node, path))


def key_line(node: yaml.Node, key: str) -> int:
    """The line of a key of a mapping, or of the mapping where it lacks the key."""
    if isinstance(node, yaml.MappingNode):
        for key_node, _ in node.value:
            if key_node.value == key:
                return line_of(key_node)
    return line_of(node)


def _is_deep(content: bytes) -> bool:
    """Whether composing a file could overflow the stack; counting what can open a level settles it for most."""
    if sum(content.count(opener) for opener in (b"[", b"{", b"- ", b"? ", b": ")) <= _DEPTH_LIMIT:
        return False
    depth = 0
    for event in yaml.parse(content, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_LIMIT:
            return True
    return False


def _below(node: yaml.Node, step: Step) -> yaml.Node | None:
    found: yaml.Node | None = None
    if isinstance(node, yaml.MappingNode) and isinstance(step, str):
        found = next((value for key, value in node.value if key.value == step), None)
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found = node.value[step]
    return found


def _plain(node: yaml.Node) -> Plain:
    if node.tag not in _TAGS:
        raise YamlError(f"uses the tag {node.tag}, which means nothing here.", line_of(node))
    if isinstance(node, yaml.ScalarNode):
        return str(node.value) if node.style else _scalar(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    mapping: dict[str, Plain] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise YamlError("has a key that is not text.", line_of(key_node))
        if key_node.value in mapping:
            raise YamlError(f"gives {key_node.value!r} twice.", line_of(key_node))
        mapping[key_node.value] = _plain(value_node)
    return mapping


def _scalar(text: str) -> Plain:
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text
