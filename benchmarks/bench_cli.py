"""Time whole vlmctl processes against their budgets, beside the cost of Python and of the command-line library alone.

Runs are interleaved, so that a busy machine slows every row alike.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cluster_server import cluster_of

REQUIREMENTS = "--task document-ocr --language ja --image 1680x2240 --rps 2 --ttft 2s --license commercial"
DAY = "--rate daily:2.1 --image 1280x720 --ttft 2s --tpot 50ms"  # 101,000 requests
SIMULATE = ["simulate", "qwen2.5-vl-7b", *DAY.split()]
RECOMMEND = ["recommend", *REQUIREMENTS.split()]
DEPLOYMENTS = 100  # of the cluster that `vlmctl top` looks at, each with a request of its own
BYTES_PER_MAXRSS = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, KiB on Linux
MIB = 1024**2


class Case(NamedTuple):
    """A command and what it may cost: median wall seconds and peak memory in MiB; None where no budget is set."""

    name: str
    command: list[str]
    budget_seconds: float | None = None
    budget_mib: float | None = None
    environment: dict[str, str] | None = None  # beside the process's own


class Cost(NamedTuple):
    """What one run of a process took."""

    wall_seconds: float
    peak_rss_bytes: int


def cases(vlmctl: Path, python: str, kubeconfig: Path | None) -> list[Case]:
    """The budgeted commands, then peers that show how much of each is Python itself."""
    cluster = [] if kubeconfig is None else [_top(vlmctl, kubeconfig)]
    return [
        Case("vlmctl --help", [str(vlmctl), "--help"], 0.20, 80),
        Case("vlmctl recommend", [str(vlmctl), *RECOMMEND], 0.35, 80),
        Case("vlmctl recommend -o json", [str(vlmctl), *RECOMMEND, "-o", "json"], 0.35, 80),
        Case("vlmctl simulate, a day", [str(vlmctl), *SIMULATE], 10.0),
        Case("vlmctl models list", [str(vlmctl), "models", "list"]),
        *cluster,
        Case("peer: python -c pass", [python, "-c", "pass"]),
        Case('peer: python -c "import typer"', [python, "-c", "import typer"]),
    ]


def _top(vlmctl: Path, kubeconfig: Path) -> Case:
    environment = {"KUBECONFIG": str(kubeconfig)}
    return Case(f"vlmctl top, {DEPLOYMENTS} deployments", [str(vlmctl), "top", "-A"], 2.0, environment=environment)


def run_once(case: Case) -> Cost:
    """Run one process to its end. Raises SystemExit when it fails, for the time of a failure says nothing."""
    command, environment = case.command, {**os.environ, **(case.environment or {})}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_seconds = time.perf_counter() - start
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {process.returncode}: {complaint.decode(errors='replace').strip()}")
    return Cost(wall_seconds, usage.ru_maxrss * BYTES_PER_MAXRSS)


def measure(chosen: list[Case], runs: int) -> dict[str, list[Cost]]:
    """`runs` interleaved runs of each case, after one that fills the disk cache and is not counted."""
    for case in chosen:
        run_once(case)
    costs: dict[str, list[Cost]] = {case.name: [] for case in chosen}
    for _ in range(runs):
        for case in chosen:
            costs[case.name].append(run_once(case))
    return costs


def report(chosen: list[Case], costs: dict[str, list[Cost]]) -> bool:
    """Print the table; True when every budget is kept."""
    kept = True
    print(f"{'command':<32}{'median':>9}{'slowest':>9}{'budget':>9}{'peak':>10}{'budget':>10}")
    for case in chosen:
        walls = [cost.wall_seconds for cost in costs[case.name]]
        median_seconds = statistics.median(walls)
        peak_mib = max(cost.peak_rss_bytes for cost in costs[case.name]) / MIB
        over = (case.budget_seconds is not None and median_seconds > case.budget_seconds) or (
            case.budget_mib is not None and peak_mib > case.budget_mib
        )
        kept = kept and not over
        seconds = f"{case.budget_seconds:.2f} s" if case.budget_seconds is not None else "-"
        memory = f"{case.budget_mib:.0f} MiB" if case.budget_mib is not None else "-"
        row = f"{case.name:<32}{median_seconds:>7.3f} s{max(walls):>7.3f} s{seconds:>9}{peak_mib:>6.1f} MiB{memory:>10}"
        print(row + ("  over budget" if over else ""))
    return kept


def main() -> int:
    """Measure and print; with --assert, exit 1 when a budget is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="runs of each command (default: %(default)s)")
    parser.add_argument("--assert", dest="strict", action="store_true", help="exit 1 when over budget")
    parser.add_argument("--vlmctl", type=Path, default=Path(sys.executable).with_name("vlmctl"), help="which vlmctl")
    options = parser.parse_args()
    python = sys.version.split()[0]
    print(f"{options.runs} interleaved runs of each, whole processes, {os.cpu_count()} cores, Python {python}")
    readable = find_spec("kubernetes") is not None
    if not readable:
        print("vlmctl top is left out: the package kubernetes is not installed (the extra `cluster` has it)")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        kubeconfig = stack.enter_context(cluster_of(DEPLOYMENTS, Path(folder))) if readable else None
        chosen = cases(options.vlmctl, sys.executable, kubeconfig)
        kept = report(chosen, measure(chosen, options.runs))
    return 1 if options.strict and not kept else 0


if __name__ == "__main__":
    sys.exit(main())
