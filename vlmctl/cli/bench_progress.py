"""How a benchmark goes, on stderr: one line that changes on a terminal, plain lines from time to time elsewhere."""

from __future__ import annotations

import shutil
import sys
from time import monotonic

from vlmctl.bench.figures import StepFigures
from vlmctl.bench.run import Progress as State
from vlmctl.bench.steps import Going
from vlmctl.units import show_seconds

PLAIN_SECONDS = 10.0  # between lines where stderr is no terminal
PHASES = {
    "pictures": "preparing images",
    "probe": "probing the server",
    "warm-up": "warming up",
}
CLEAR = "\r\x1b[K"


class Progress:
    """Takes the states of a run and shows them."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._said = ""
        self._next_at = 0.0

    def __call__(self, state: State) -> None:
        """Show one state."""
        if state.ended is not None:
            self._line(_ended(state.step, state.ended))
        elif state.going is not None:
            self._passing(_going(state.step, state.going))
        elif self._live:
            total = f" {state.done}/{state.total}" if state.total else ""
            self._passing(PHASES[state.phase] + total)
        elif state.phase != self._said:
            self._said = state.phase
            self._line(PHASES[state.phase])

    def _passing(self, text: str) -> None:
        """What the next state replaces."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(CLEAR + text[:width])
            sys.stderr.flush()
        elif monotonic() >= self._next_at:
            self._next_at = monotonic() + PLAIN_SECONDS
            self._line(text)

    def _line(self, text: str) -> None:
        sys.stderr.write(f"{CLEAR if self._live else ''}{text}\n")
        sys.stderr.flush()


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
