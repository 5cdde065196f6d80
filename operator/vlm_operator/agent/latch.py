"""Files in the volume that both containers see: the latch that lets traffic in, and the word that the engine hangs."""

from __future__ import annotations

from pathlib import Path

OPEN, STUCK = "open", "stuck"


class Latch:
    """The engine's start removes both; its readiness asks for the first, its liveness that the second is not there."""

    def __init__(self, folder: Path) -> None:
        self._open = folder / OPEN
        self._stuck = folder / STUCK

    @property
    def is_open(self) -> bool:
        """Whether the engine may take traffic."""
        return self._open.exists()

    def open(self) -> None:
        """Let traffic in."""
        self._open.touch()

    def shut(self) -> None:
        """Keep traffic away."""
        self._open.unlink(missing_ok=True)

    def report_stuck(self) -> None:
        """Ask for a restart of the engine, which removes both files."""
        self._stuck.touch()
