"""A placement evaluated with what was measured near it taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlmctl.planning.architecture import ModelFigures
from vlmctl.planning.corrected import UNCORRECTED, Factors
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.placement import Evaluation, Obstacle, evaluate
from vlmctl.specs.estimates import EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.workload import Requirements

if TYPE_CHECKING:  # loaded only where there are measurements
    from vlmctl.planning.calibration import Calibration
    from vlmctl.planning.circumstances import Circumstances


def evaluate_near(
    model: ModelSpec,
    figures: ModelFigures,
    gpu: GpuSpec,
    demand: RequestDemand,
    settings: EngineSettings,
    *,
    gpu_count: int,
    requirements: Requirements,
    calibration: Calibration | None,
) -> tuple[Evaluation, Circumstances | None]:
    """The placement under the load that is asked for; with its circumstances, where measurements corrected it.

    Measurements are compared at the concurrency that was asked for, else at that of the placement's own estimate.
    """
    asked = requirements.workload

    def under(factors: Factors) -> Evaluation:
        return evaluate(
            figures,
            gpu,
            demand,
            settings,
            gpu_count=gpu_count,
            objectives=requirements.objectives,
            requests_per_second_asked=asked.requests_per_second,
            concurrency=asked.concurrency,
            factors=factors,
        )

    estimated = under(UNCORRECTED)
    if calibration is None or estimated.obstacle is Obstacle.MEMORY:
        return estimated, None
    from vlmctl.planning.circumstances import circumstances

    near = circumstances(
        model,
        figures.precision,
        gpu,
        demand,
        gpu_count=gpu_count,
        concurrency=asked.concurrency or estimated.batch,
        engine="vllm",
        engine_version=calibration.engine_version,
    )
    factors = calibration.factors(near)
    return (estimated, None) if factors is UNCORRECTED else (under(factors), near)
