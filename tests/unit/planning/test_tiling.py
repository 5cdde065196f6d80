"""Grids of tiles: all of them, in the order in which processors try them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vlmctl.planning.tiling import grids


@given(least=st.integers(0, 30), most=st.integers(1, 40))
def test_grids_are_all_that_there_are(least: int, most: int) -> None:
    """Every grid of at least and at most so many tiles, fewest first, and narrow ones first among equals."""
    sides = range(1, most + 1)
    every = [(columns, rows) for columns in sides for rows in sides if least <= columns * rows <= most]
    assert list(grids(least, most)) == sorted(every, key=lambda grid: grid[0] * grid[1])
