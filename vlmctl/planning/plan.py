"""From a placement that was chosen to the Plan that manifests and engine arguments are made of."""

from __future__ import annotations

from msgspec.structs import replace

from vlmctl.errors import NothingFits, UnsupportedModel
from vlmctl.planning.choices import Choice, Setting
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.host_memory import host_memory
from vlmctl.planning.latencies import latencies
from vlmctl.planning.memory import memory_ledger
from vlmctl.planning.requirements import (
    check_requirements,
    license_conditions,
    model_breaches,
    planned_demand,
    relaxing,
    serving_breach,
)
from vlmctl.planning.search import cheapest_placement, choice_cost
from vlmctl.planning.throughput import bottleneck
from vlmctl.specs.estimates import Placement, Plan, SpeedEstimate
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.workload import Objectives


def plan_model(model: ModelSpec, setting: Setting) -> Plan:
    """The cheapest placement of one model for the requirements, as a Plan; raises as `choose` does."""
    demand, choice = choose(model, setting)
    return plan_choice(model, demand, choice, setting)


def choose(model: ModelSpec, setting: Setting) -> tuple[RequestDemand, Choice]:
    """The request on one model, and the cheapest placement that serves it.

    Raises UnsupportedModel where vLLM does not serve the model, NothingFits where it breaks a requirement or no
    placement meets them.
    """
    check_requirements(setting.requirements)
    breach = serving_breach(model)
    if breach is not None:
        note = f" ({model.serving.note})" if model.serving.note else ""
        raise UnsupportedModel(f"{model.id} cannot be planned: {breach.found}{note}.")
    # Who names a model accepts what nobody verified of it; everything else that was asked still holds.
    asked = replace(setting.requirements, include_unverified=True, families=())
    for broken in model_breaches(model, asked, setting.minimums):
        raise NothingFits(f"{model.id}: {broken.text}.", remedy=f"{relaxing(broken.requirement)}.")
    demand = planned_demand(model, asked.workload, needs=asked.needs)
    choice, obstacle = cheapest_placement(model, demand, setting)
    if choice is None:
        raise NothingFits(f"{model.id}: {obstacle.text}.", remedy=f"{relaxing(obstacle.requirement)}.")
    return demand, choice


def plan_choice(model: ModelSpec, demand: RequestDemand, choice: Choice, setting: Setting) -> Plan:
    """The Plan of a placement that was taken."""
    requirements = setting.requirements
    ledger = memory_ledger(choice.figures, choice.gpu, demand, choice.settings, gpu_count=choice.gpu_count)
    return Plan(
        placement=Placement(
            model=model.id,
            repository=choice.checkpoint,
            precision=choice.figures.precision,
            gpu=choice.gpu.id,
            gpu_count=choice.gpu_count,
            settings=choice.settings,
        ),
        workload=requirements.workload,
        objectives=requirements.objectives,
        request_tokens=demand.total_tokens,
        image_tokens=demand.image_tokens,
        marker_tokens=demand.marker_tokens,
        memory=ledger,
        host=host_memory(
            choice.figures,
            requirements.workload,
            demand,
            choice.settings,
            gpu_count=choice.gpu_count,
            sequences=max(1, min(ledger.maximum_sequences, choice.settings.max_num_seqs)),
        ),
        speed=speed_estimate(choice, demand, requirements.objectives),
        cost=choice_cost(choice, demand, setting),
        warnings=license_conditions(model.license),
    )


def speed_estimate(choice: Choice, demand: RequestDemand, objectives: Objectives) -> SpeedEstimate:
    """Speed of one replica of the choice at the load it is given."""
    evaluation = choice.evaluation
    shown = latencies(choice.load, objectives, output_tokens=demand.output_tokens)
    error = choice.error("throughput")
    return SpeedEstimate(
        concurrency=max(1, round(evaluation.batch)),
        ttft_seconds=evaluation.ttft,
        ttft_p95_seconds=evaluation.ttft_p95,
        tpot_seconds=evaluation.tpot,
        tpot_p95_seconds=evaluation.tpot_p95,
        e2e_seconds=evaluation.ttft + evaluation.tpot * (demand.output_tokens - 1),
        requests_per_second=choice.usable,
        bottleneck=bottleneck(choice.coefficients, max(1.0, evaluation.batch)),
        ttft_p50_seconds=shown.ttft_p50,
        tpot_p50_seconds=shown.tpot_p50,
        e2e_p50_seconds=shown.e2e_p50,
        e2e_p95_seconds=shown.e2e_p95,
        goodput=shown.goodput,
        basis=choice.correction.basis,
        error_median=error.median if error else None,
        error_p90=error.p90 if error else None,
        ttft_error=choice.error("ttft"),
        tpot_error=choice.error("tpot"),
        error_band=choice.error_band.id if choice.error_band else None,
    )
