"""The process that stays: it starts the agent and starts it again, so that its death leaves the container as it was.

It is small, so that little in it can fail: the standard library alone.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

AGENT = "vlm_operator.agent.sidecar"
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 1.0, 30.0  # before it is started again, doubling
PAUSE_STEP_SECONDS = 0.5  # between looks at whether to stop, in a pause
WELL_SECONDS = 60.0  # an agent that lived so long is no failure in a row
STOP_SECONDS = 10  # for an agent to end on SIGTERM


class Supervisor:
    """Keeps a command running until SIGTERM or SIGINT, which it passes on."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """The exit code of this process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGALRM, lambda *_: self._kill())
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping:
            started = time.monotonic()
            self._child = subprocess.Popen(self._command)
            if self._stopping:  # the signal came while it was started
                self._child.terminate()
            code = self._child.wait()
            if self._stopping:
                break
            if time.monotonic() - started >= WELL_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            sys.stderr.write(f"the agent ended with {code}; it is started again in {pause:g} s\n")
            self._wait(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)
        return 0

    def _stop(self) -> None:
        self._stopping = True
        if self._child is not None:
            self._child.terminate()
        signal.alarm(STOP_SECONDS)

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _wait(self, seconds: float) -> None:
        """A pause that ends when it is to stop; a signal does not end a sleep."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, PAUSE_STEP_SECONDS))


if __name__ == "__main__":
    sys.exit(Supervisor([sys.executable, "-m", AGENT, *sys.argv[1:]]).run())
