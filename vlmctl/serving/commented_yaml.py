"""YAML text with a comment above chosen list items, which says why; text of several lines stands as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

LINE_WIDTH = 10**6  # never fold: an item and its comment are found by whole lines


def dump(documents: Sequence[Mapping[str, Any]], *, reasons: Mapping[str, str], header: Sequence[str] = ()) -> str:
    """The documents in order, `header` as comment lines on top, and each list item of `reasons` under its reason."""
    text = "---\n".join(yaml.dump(dict(each), Dumper=_Dumper, sort_keys=False, width=LINE_WIDTH) for each in documents)
    by_line = {_list_item(item): reason for item, reason in reasons.items()}
    lines = [_comment(line) for line in header]
    for line in text.splitlines():
        content = line.lstrip()
        if content in by_line:
            lines.append(line[: len(line) - len(content)] + _comment(by_line[content]))
        lines.append(line)
    return "\n".join(lines) + "\n"


class _Dumper(yaml.SafeDumper):
    """One that writes lines as lines."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _list_item(item: str) -> str:
    return yaml.safe_dump([item], width=LINE_WIDTH).rstrip("\n")


def _comment(text: str) -> str:
    return f"# {text}".rstrip()
