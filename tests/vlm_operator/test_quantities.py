"""Quantities as the API server spells them."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.quantities import is_same_quantity, larger_quantity, quantity


@given(st.integers(0, 10**6))
def test_spellings_of_a_quantity(count: int) -> None:
    """All spellings of a number are the same; what is no quantity is the same as nothing."""
    assert is_same_quantity(f"{count * 1000}m", count)
    assert is_same_quantity(f"{count * 1024}Mi", f"{count}Gi")
    assert is_same_quantity(f"{count}e3", f"{count}k")
    assert is_same_quantity(f"{count}.5Gi", f"{count * 1024 + 512}Mi")
    assert quantity(f"{count}Ki") == Decimal(count) * 1024
    assert larger_quantity(f"{count}Gi", f"{count * 1024 + 1}Mi") == f"{count * 1024 + 1}Mi"
    assert not is_same_quantity("much", "much")
