"""Kubernetes quantities, of which the API server answers another spelling than it was given: 1000m is 1."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}  # powers of 10
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}  # powers of 2


def quantity(value: str | int) -> Decimal | None:
    """The number that is meant; None for what is no quantity.

    The grammar is that of k8s.io/apimachinery/pkg/api/resource.
    """
    match = _QUANTITY.match(str(value))
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * Decimal(2) ** _BINARY[suffix]
    return number.scaleb(_DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:]))


def is_same_quantity(one: str | int, other: str | int) -> bool:
    """Whether both are quantities, and the same."""
    return quantity(one) is not None and quantity(one) == quantity(other)


def larger_quantity(one: str, other: str) -> str:
    """The larger of two quantities, as it is spelled; the first where they are the same."""
    first, second = quantity(one), quantity(other)
    return other if first is not None and second is not None and second > first else one
