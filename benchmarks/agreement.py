"""Whether `vlmctl bench` and `vllm bench serve` measure the same: one real vLLM server, the same load, turn by turn.

    python benchmarks/agreement.py --engine ENGINE/bin/python --write docs/agreement.md

A tiny vision-language model with random weights is served on the CPU. Pairs of runs follow each other, each client
first in every other pair. The number of pairs is set beforehand, since a comparison that ends as soon as it agrees
would agree too often. Exit code 1: a 95% interval (of the median ratio of throughput, mean TTFT or mean TPOT) is not
within the limit. More pairs narrow it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from both_clients import ENVIRONMENT, Load, Run, Vllm, Vlmctl, serving

HERE = Path(__file__).parent
LIMIT = 0.05  # of the ratio from 1
RESAMPLES = 10_000  # of the bootstrap
CLIENT_CORE, SERVER_CORE = 1, 0
HEADING = "## Measured\n"
METRICS = ("throughput", "mean TTFT", "mean TPOT")


class Pair(NamedTuple):
    """Two runs, one after the other."""

    vlmctl: Run
    vllm: Run

    @property
    def ratios(self) -> tuple[float, ...]:
        """vlmctl's figures over vLLM's."""
        return tuple(ours / theirs for ours, theirs in zip(self.vlmctl.figures, self.vllm.figures, strict=True))


class Interval(NamedTuple):
    """A median with its 95% interval."""

    low: float
    median: float
    high: float

    @property
    def agrees(self) -> bool:
        """Whether all of it lies within the limit."""
        return abs(self.low - 1) <= LIMIT and abs(self.high - 1) <= LIMIT


def intervals(pairs: Sequence[Pair]) -> dict[str, Interval]:
    """The median ratio of each figure, by resampling whole pairs (percentile bootstrap)."""
    ratios = np.array([pair.ratios for pair in pairs])
    picks = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), (2.5, 97.5), axis=0)
    middle = np.median(ratios, axis=0)
    return {name: Interval(*values) for name, *values in zip(METRICS, low, middle, high, strict=True)}


def compare(vlmctl: Vlmctl, vllm: Vllm, load: Load, *, count: int) -> list[Pair]:
    """So many pairs. One before them warms up, and tells by how many tokens vLLM's text must be longer for prompts of
    the same length.
    """
    ours, theirs = vlmctl.run(), vllm.run()
    vllm.input_tokens += round((ours.prompt_tokens - theirs.prompt_tokens) / load.requests)
    pairs: list[Pair] = []
    for number in range(count):
        if number % 2:
            theirs, ours = vllm.run(), vlmctl.run()
        else:
            ours, theirs = vlmctl.run(), vllm.run()
        same_load(ours, theirs, load)
        pairs.append(Pair(vlmctl=ours, vllm=theirs))
        shown = "  ".join(f"{name} {ratio:.3f}" for name, ratio in zip(METRICS, pairs[-1].ratios, strict=True))
        print(f"pair {number + 1}: {shown}  ({ours.requests_per_second:.1f}/s)", file=sys.stderr, flush=True)
    return pairs


def same_load(ours: Run, theirs: Run, load: Load) -> None:
    """Raises RuntimeError where the two did not send the same: requests, output tokens, prompt tokens within 2%."""
    wanted = load.requests * load.output_tokens
    for run in (ours, theirs):
        if (run.completed, run.output_tokens) != (load.requests, wanted):
            raise RuntimeError(f"{run.completed} requests with {run.output_tokens} tokens ended, not all")
    if abs(ours.prompt_tokens / theirs.prompt_tokens - 1) > 0.02:
        raise RuntimeError(f"prompts had {ours.prompt_tokens} and {theirs.prompt_tokens} tokens: not the same load")


def page(pairs: Sequence[Pair], load: Load, vllm_version: str, *, pinned: bool) -> str:
    """The table that is printed and kept."""
    (width, height), middle = load.image_size, np.median([(*a.figures, *b.figures) for a, b in pairs], axis=0)
    prompt = np.median([[run.prompt_tokens for run in pair] for pair in pairs], axis=0) / load.requests
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}; {len(pairs)} pairs of {load.requests} requests each, {load.concurrency} in "
        f"flight; an image of {width}x{height}, {prompt[0]:.0f} ({prompt[1]:.0f}) prompt tokens with the image's, "
        f"{load.output_tokens} output tokens; vlmctl {version('vlmctl')}, {vllm_version}, Python "
        f"{platform.python_version()}; {machine()}{', server and clients on a core of their own' if pinned else ''}.",
        "",
        "| figure | vlmctl, median | vLLM, median | median ratio | 95% interval | within 5% | ratios of single pairs |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    ratios = np.array([pair.ratios for pair in pairs])
    for place, (name, found) in enumerate(intervals(pairs).items()):
        unit, scale = ("requests/s", 1.0) if place == 0 else ("ms", 1000.0)
        low, high = np.percentile(ratios[:, place], (5, 95))
        lines.append(
            f"| {name}, {unit} | {middle[place] * scale:.2f} | {middle[place + len(METRICS)] * scale:.2f} | "
            f"{found.median:.3f} | {found.low:.3f} to {found.high:.3f} | {'yes' if found.agrees else 'no'} | "
            f"{low:.2f} to {high:.2f} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """What it ran on, and how busy that was."""
    model = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), "")
    busy = f"load average {os.getloadavg()[1]:.1f}, nice {os.nice(0)}"
    return f"{os.cpu_count()} cores {model or platform.machine()}, {busy}"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def pinned_to(core: int, *, wanted: bool) -> list[str]:
    """What stands before a command so that it keeps to a core."""
    return ["taskset", "-c", str(core)] if wanted else []


def write(path: Path, table: str) -> None:
    """Put the table under the last heading of a page, in place of the one there."""
    before, found, _ = path.read_text().partition(HEADING)
    if not found:
        raise RuntimeError(f"{path} has no heading {HEADING.strip()!r} to write under")
    path.write_text(f"{before}{HEADING}\n{table}\n")


def main() -> int:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, default=Path(".venv-engine/bin/python"), help="Python that has vLLM")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--requests", type=int, default=40, help="of a run; many short runs beat few long ones")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--pin", action="store_true", help="the server and the clients each to a core")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # or the server would outlive it
    load = Load(options.requests, options.concurrency, prompt_tokens=64, output_tokens=32, image_size=(448, 336))
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        model, noise = Path(scratch, "model"), Path(scratch, "noise")
        noise.mkdir()
        making = [str(options.engine), str(HERE / "tiny_vlm.py"), str(model)]
        subprocess.run(making, check=True, env=os.environ | ENVIRONMENT)
        log = stack.enter_context(Path(scratch, "server.log").open("w"))
        on_server, on_client = (pinned_to(core, wanted=options.pin) for core in (SERVER_CORE, CLIENT_CORE))
        url = stack.enter_context(serving(options.engine, model, load, on_server, log))
        vllm = stack.enter_context(contextlib.closing(Vllm(url, options.engine, model, load, on_client)))
        pairs = compare(Vlmctl(url, noise, load, on_client), vllm, load, count=options.pairs)
    table = page(pairs, load, vllm.version, pinned=options.pin)
    print(table)
    if options.write is not None:
        write(options.write, table)
    return 0 if all(each.agrees for each in intervals(pairs).values()) else 1


if __name__ == "__main__":
    sys.exit(main())
