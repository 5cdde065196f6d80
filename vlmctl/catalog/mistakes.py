"""A mistake in a catalog file, as it is told. Imports no YAML, so that anyone may name the type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vlmctl.specs.record import Record


class Finding(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A mistake in a catalog file. `line` is None where the file as a whole is meant."""

    file: str
    problem: str
    line: int | None = None
    remedy: str = ""


def nearest(name: str, known: Iterable[str], limit: int = 3, cutoff: float = 0.6) -> tuple[str, ...]:
    """Known names that look like `name`, the likeliest first."""
    return tuple(difflib.get_close_matches(name, sorted(known), n=limit, cutoff=cutoff))
