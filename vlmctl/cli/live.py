"""An answer shown again and again: in place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from vlmctl.errors import NotReachable

HOME_AND_CLEAR = "\x1b[H\x1b[J"  # ECMA-48: cursor to the first line, erase from there


def shown_again(show: Callable[[str], None], *, seconds: float) -> None:
    """Call `show` every so many seconds until it is interrupted, or raises. It writes its argument first.

    NotReachable is raised the first time; later it is told on stderr, and what was shown stays.
    """
    shown = False
    before = HOME_AND_CLEAR if sys.stdout.isatty() else ""
    next_at = time.monotonic()
    while True:
        try:
            show(before)
            shown = True
        except NotReachable as error:
            if not shown:
                raise
            sys.stderr.write(f"{error} Trying again.\n")
        next_at = max(next_at + seconds, time.monotonic())
        time.sleep(max(0.0, next_at - time.monotonic()))
