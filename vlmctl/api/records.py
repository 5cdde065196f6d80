"""The base of all API records, and what every object of ours says of itself."""

from __future__ import annotations

import msgspec

GROUP = "vlmctl.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class ApiRecord(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """An immutable part of an API object; what equals its default is left out when written."""


class Metadata(ApiRecord, frozen=True, kw_only=True):
    """The part of ObjectMeta that a manifest writes."""

    name: str
    namespace: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


def duration(seconds: float) -> str:
    """``2s`` or ``50ms``, to the microsecond, as `vlmctl.units` parses it."""
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms"
