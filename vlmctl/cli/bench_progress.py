"""How a benchmark goes, on stderr: one line that changes on a terminal; elsewhere lines now and then, plain or JSON."""

from __future__ import annotations

import json
import shutil
import sys
from time import monotonic
from typing import Any

from vlmctl.bench.figures import StepFigures
from vlmctl.bench.run import Progress as State
from vlmctl.bench.steps import Going
from vlmctl.cli.output import plain
from vlmctl.units import show_seconds

PLAIN_SECONDS = 10.0  # between lines where stderr is no terminal
PHASES = {
    "pictures": "preparing images",
    "probe": "probing the server",
    "warm-up": "warming up",
}
CLEAR = "\r\x1b[K"


class Progress:
    """Takes the states of a run and shows them. `machine`: an object a line, where stderr is no terminal."""

    def __init__(self, *, machine: bool = False) -> None:
        self._live = sys.stderr.isatty()
        self._machine = machine and not self._live
        self._said = ""
        self._next_at = 0.0

    def __call__(self, state: State) -> None:
        """Show one state."""
        if state.ended is not None:
            self._line(_ended(state.step, state.ended), state)
        elif state.going is not None:
            self._passing(_going(state.step, state.going), state)
        elif self._live:
            total = f" {state.done}/{state.total}" if state.total else ""
            self._passing(PHASES[state.phase] + total, state)
        elif state.phase != self._said:
            self._said = state.phase
            self._line(PHASES[state.phase], state)

    def _passing(self, text: str, state: State) -> None:
        """What the next state replaces."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(CLEAR + text[:width])
            sys.stderr.flush()
        elif monotonic() >= self._next_at:
            self._next_at = monotonic() + PLAIN_SECONDS
            self._line(text, state)

    def _line(self, text: str, state: State) -> None:
        if self._machine:
            text = json.dumps(_plain(state), ensure_ascii=False, allow_nan=False)
        sys.stderr.write(f"{CLEAR if self._live else ''}{text}\n")
        sys.stderr.flush()


def _plain(state: State) -> dict[str, Any]:
    """What a line says: of a step that has ended its rate and counts, since the answer holds the rest."""
    told: dict[str, Any] = {"phase": state.phase, "step": state.step or None}
    if state.going is not None:
        told["going"] = plain(state.going)
    if state.ended is not None:
        ended = state.ended
        told["ended"] = {
            "shape": plain(ended.shape),
            "completed": ended.completed,
            "failed": ended.failed,
            "requests_per_second": plain(ended.requests_per_second),
            "ended_by": ended.ended_by,
        }
    return told


def _going(step: int, going: Going) -> str:
    parts = [
        f"step {step}, {going.shape.label}: {going.elapsed_seconds:.0f} s",
        f"{going.requests_per_second:.3g} req/s",
        f"{going.in_flight} in flight",
        f"{going.completed:,} done",
    ]
    if going.ttft_seconds is not None:
        parts.append(f"TTFT {show_seconds(going.ttft_seconds)}")
    if going.tpot_seconds is not None:
        parts.append(f"TPOT {show_seconds(going.tpot_seconds)}")
    if going.failed:
        parts.append(f"{going.failed} failed ({going.first_failure})")
    return ", ".join(parts)


def _ended(step: int, figures: StepFigures) -> str:
    rate = figures.requests_per_second
    shown = f"{rate.value:.3g} req/s" if rate is not None else "no throughput"
    failed = f", {figures.failed} failed" if figures.failed else ""
    return f"step {step}, {figures.shape.label}: {shown} from {figures.completed:,} requests{failed}"
