"""The base of all API records, and what every object of ours says of itself.

A field states its bounds in its type and its meaning in a `Meta(description=...)`, and a record states in `rules` what
no single field can: the CRDs, the reference page and `kubectl explain` are all written from there. A field that holds a
record may leave its description to that record's docstring.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import msgspec

GROUP = "vlmctl.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Rule(NamedTuple):
    """A condition in CEL on `self`, and what the API server says to whoever breaks it, as a CRD spells them.

    One with `oldSelf` is checked on updates alone.
    """

    rule: str
    message: str


class ApiRecord(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """An immutable part of an API object; what equals its default is left out when written."""

    rules: ClassVar[tuple[Rule, ...]] = ()


class Metadata(ApiRecord, frozen=True, kw_only=True):
    """The part of ObjectMeta that a manifest writes."""

    name: str
    namespace: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


def duration(seconds: float) -> str:
    """``2s`` or ``50ms``, to the microsecond and at least one, as `vlmctl.units` parses it."""
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    return f"{max(seconds * 1000, 0.001):.3f}".rstrip("0").rstrip(".") + "ms"
