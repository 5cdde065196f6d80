"""Count the placements that the planner evaluates in a second of one core: every model, checkpoint, GPU and count.

A placement whose weights alone are too large is not counted: the search never evaluates it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import NamedTuple

from vlmctl import load_catalog
from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning.architecture import ModelFigures, model_figures
from vlmctl.planning.demand import RequestDemand, request_demand
from vlmctl.planning.placement import GPU_COUNTS, Evaluation, engine_settings, evaluate, runs_on
from vlmctl.planning.search import checkpoints
from vlmctl.specs.hardware import Catalog, GpuSpec
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.workload import ImageInput, Objectives, Workload

BUDGET_PER_SECOND = 20_000
IMAGES = (ImageInput(width_pixels=1680, height_pixels=2240),)


class Load(NamedTuple):
    """A question to the planner: what is sent, and how fast the answers must come."""

    name: str
    workload: Workload
    objectives: Objectives


class Candidate(NamedTuple):
    """What `evaluate` is called with; the model and workload are for the settings, decided anew each time."""

    model: ModelSpec
    figures: ModelFigures
    gpu: GpuSpec
    gpu_count: int
    demand: RequestDemand


LOADS = (
    Load(
        "2 requests/s within 2 s to first token",
        Workload(images=IMAGES, requests_per_second=2),
        Objectives(ttft_seconds=2),
    ),
    Load(
        "50 requests/s within 500 ms and 30 ms/token",
        Workload(images=IMAGES, requests_per_second=50),
        Objectives(ttft_seconds=0.5, tpot_seconds=0.03),
    ),
    Load("16 requests in flight", Workload(images=IMAGES, concurrency=16), Objectives()),
    Load("saturation", Workload(images=IMAGES), Objectives()),
)


def candidates(catalog: Catalog, workload: Workload) -> list[Candidate]:
    """Every placement of the catalog that the engine runs and whose weights are no larger than the GPUs."""
    found = []
    for model in catalog.models:
        try:
            demand = request_demand(model, workload, output_tokens=workload.output_tokens)
            figures = [model_figures(model, precision) for precision, _ in checkpoints(model, ("any",))]
            engine_settings(model, catalog.gpus[0], workload, demand)
        except (UnsupportedModel, InvalidValue):
            continue
        found += [
            Candidate(model, each, gpu, count, demand)
            for each in figures
            for gpu in catalog.gpus
            for count in GPU_COUNTS
            if runs_on(each, gpu, count) is None and each.language_bytes + each.vision_bytes <= gpu.memory_bytes * count
        ]
    return found


def evaluate_all(chosen: list[Candidate], load: Load) -> list[Evaluation]:
    """One pass over all placements, settings included, as the search does it."""
    return [
        evaluate(
            figures,
            gpu,
            demand,
            engine_settings(model, gpu, load.workload, demand),
            gpu_count=count,
            objectives=load.objectives,
            requests_per_second_asked=load.workload.requests_per_second,
            concurrency=load.workload.concurrency,
        )
        for model, figures, gpu, count, demand in chosen
    ]


def cpu_seconds(chosen: list[Candidate], load: Load) -> float:
    """CPU time of one pass; the planner has one thread, so this is one core."""
    start = time.process_time()
    evaluate_all(chosen, load)
    return time.process_time() - start


def main() -> int:
    """Measure and print; with --assert, exit 1 when a load is below the budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="passes over all placements (default: %(default)s)")
    parser.add_argument("--assert", dest="strict", action="store_true", help="exit 1 when below the budget")
    options = parser.parse_args()
    catalog = load_catalog()
    print(f"Python {sys.version.split()[0]}, one core, median of {options.runs}; budget {BUDGET_PER_SECOND:,} a second")
    print(f"{'load':<46}{'placements':>12}{'fit':>8}{'a second':>12}{'fitting only':>14}")
    slowest = float("inf")
    for load in LOADS:
        chosen = candidates(catalog, load.workload)
        results = evaluate_all(chosen, load)
        fitting = [each for each, result in zip(chosen, results, strict=True) if result.sequences > 0]
        rates = [
            len(subset) / statistics.median(cpu_seconds(subset, load) for _ in range(options.runs))
            for subset in (chosen, fitting)
        ]
        slowest = min(slowest, *rates)
        print(f"{load.name:<46}{len(chosen):>12,}{len(fitting):>8,}{rates[0]:>12,.0f}{rates[1]:>14,.0f}")
    print(f"slowest: {slowest:,.0f} a second" + ("" if slowest >= BUDGET_PER_SECOND else "  below the budget"))
    return 1 if options.strict and slowest < BUDGET_PER_SECOND else 0


if __name__ == "__main__":
    sys.exit(main())
