"""How far a comparison is, on stderr: one line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from vlmctl.compare.comparison import Progress

TERMINAL_SECONDS, LOG_SECONDS = 0.1, 10.0  # between two lines
CLEAR = "\r\x1b[2K"


class Line:
    """The line, cleared when the work is done."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = 0.0
        self._stage = ("", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            sys.stderr.write(CLEAR)

    def show(self, progress: Progress) -> None:
        """Say it where enough time has passed, or something new begins."""
        stage = (progress.contender, progress.stage)
        if monotonic() < self._next and stage == self._stage:
            return
        self._stage = stage
        self._next = monotonic() + (TERMINAL_SECONDS if self._terminal else LOG_SECONDS)
        failures = f", {progress.unanswered} broke off" if progress.unanswered else ""
        text = f"{progress.done:,} of {progress.total:,} answers{failures}: {progress.stage} {progress.contender}"
        sys.stderr.write(f"{CLEAR}{text}" if self._terminal else f"{text}\n")
        sys.stderr.flush()
