"""A studio with the machine's fonts, at a size that is quick to draw."""

from __future__ import annotations

import pytest

from vlmctl.cases.canvas import Size
from vlmctl.cases.fonts import Fonts
from vlmctl.cases.pictures import Studio

QUICK = Size(448)


@pytest.fixture(scope="session")
def studio() -> Studio:
    """Small pictures; at 448 pixels everything but small print can still be told apart."""
    return Studio(QUICK, Fonts())
