"""What a command needs beyond the lean installation, and how it is had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vlmctl.errors import UsageError

BENCH = "pip install 'vlmctl[bench]'"


@contextmanager
def needing_bench(doing: str) -> Iterator[None]:
    """Around imports; `doing` begins the sentence. Raises UsageError where a package of the extra is not there."""
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{doing} needs the package {error.name}.", remedy=f"Run: {BENCH}") from error
