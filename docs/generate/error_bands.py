"""catalog/error_bands.yaml: the error bands that `recommend`, `cost` and `plan` show, from the open measurements."""

from __future__ import annotations

import msgspec
import yaml

from docs.generate import _measured

PAGE = "../catalog/error_bands.yaml"
HEAD = "# Written by `make accuracy` from catalog/measurements; see docs/accuracy.md.\n"


def render() -> str:
    """The file's text."""
    content = {"error_bands": [msgspec.to_builtins(band) for band in _measured.bands()]}
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
