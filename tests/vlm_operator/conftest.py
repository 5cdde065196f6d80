"""What tests of the agent share."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture
def engines_cut_off() -> Iterator[None]:
    """Scripted engines end as processes do, in the middle of connections, which nobody closes then."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
