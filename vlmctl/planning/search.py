"""The search for a model's cheapest placement: candidates in the order of a lower bound of their price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlmctl.planning.architecture import ModelFigures, model_figures
from vlmctl.planning.choices import Choice, Found, Setting
from vlmctl.planning.corrected import NO_CORRECTION, corrected_closed_loop, corrected_open_loop
from vlmctl.planning.cost import cheapest_offer, cost_estimate, usd_per_1k_requests
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.error_bands import error_band
from vlmctl.planning.placement import (
    Evaluation,
    Obstacle,
    is_large,
    runs_on,
    settings_by_size,
    usable_rate,
)
from vlmctl.planning.placement_near import evaluate_near
from vlmctl.planning.requirements import THINKING_ROOM_TOKENS
from vlmctl.planning.speed import speed
from vlmctl.planning.throughput import highest_rate
from vlmctl.specs.answers import Breach
from vlmctl.specs.estimates import CostEstimate, EngineSettings
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec, Precision
from vlmctl.specs.workload import Requirements
from vlmctl.units import GIB, show_seconds

if TYPE_CHECKING:  # loaded only where there are measurements
    from vlmctl.planning.circumstances import Circumstances

ROUNDING = 1e-9  # relative slack where two ways to the same figure may differ in the last digit


def checkpoints(model: ModelSpec, quantizations: Sequence[str]) -> tuple[tuple[Precision, str], ...]:
    """Precision and repository of the checkpoints that may be used.

    Without a wish: the model's own precision, and quantised ones whose quality was published. `any` opens all.
    """
    own = (model.precision, model.repository)
    wished = {name.lower() for name in quantizations}
    published = [(each.precision, each.repository, each.quality_published) for each in model.quantizations]
    if not wished or wished == {"auto"}:
        return (own, *((precision, name) for precision, name, shown in published if shown))
    every = [own, *((precision, name) for precision, name, _ in published)]
    return tuple(each for each in every if "any" in wished or each[0].value in wished)


def cheapest_placement(model: ModelSpec, demand: RequestDemand, setting: Setting) -> tuple[Choice | None, Breach]:
    """The cheapest placement that serves the load, or None and the obstacle that comes nearest to being met.

    Candidates come in the order of a lower bound of their price; those whose bound is above the best price found are
    passed over, by a rough bound first and a closer one after it.
    """
    candidates, reason = _candidates(model, setting)
    nearest: tuple[float, Breach] = (math.inf, reason)
    best: Found | None = None
    both = _both_settings(model, demand, setting)
    for bound, figures, checkpoint, gpu, count in candidates:
        settings = both[is_large(gpu)]
        if best is not None and not setting.exhaustive:
            highest = best.usd_per_1k_requests * (1 + ROUNDING)
            if bound > highest:
                break
            if _price_bound(figures, gpu, count, demand, settings, setting) > highest:
                continue
        evaluation, near = evaluate_near(
            model,
            figures,
            gpu,
            demand,
            settings,
            gpu_count=count,
            requirements=setting.requirements,
            calibration=setting.calibration,
        )
        if evaluation.obstacle is not None:
            excess, breach = _obstacle(evaluation, gpu, count)
            if excess < nearest[0]:
                nearest = (excess, breach)
            continue
        found = _priced(figures, checkpoint, gpu, count, evaluation, near, setting)
        if found is None:
            breach = Breach(requirement="owned", found="more GPUs needed than are owned", wanted="the owned GPUs")
            nearest = min(nearest, (1.0, breach), key=lambda pair: pair[0])
        elif best is None or found.order < best.order:
            best = found
    if best is None:
        return None, nearest[1]
    return _choice(best, demand, both[is_large(best.gpu)], setting), nearest[1]


def _choice(found: Found, demand: RequestDemand, settings: EngineSettings, setting: Setting) -> Choice:
    """The placement that was taken, with what is only worth working out for one."""
    requirements, correction = setting.requirements, NO_CORRECTION
    if found.near is not None and setting.calibration is not None:
        correction = setting.calibration.correction(found.near)
    coefficients = speed(found.figures, found.gpu, demand, settings, gpu_count=found.gpu_count)
    evaluation, factors = found.evaluation, correction.factors
    usable, concurrency = evaluation.rate, requirements.workload.concurrency
    if concurrency is None:
        load = corrected_open_loop(coefficients, usable, factors, maximum=evaluation.sequences)
        usable = usable_rate(coefficients, evaluation.sequences, requirements.objectives, factors)
    else:
        load = corrected_closed_loop(coefficients, concurrency, factors)
    return Choice(
        figures=found.figures,
        checkpoint=found.checkpoint,
        gpu=found.gpu,
        gpu_count=found.gpu_count,
        settings=settings,
        coefficients=coefficients,
        evaluation=evaluation,
        offer=found.offer,
        usd_per_hour=found.usd_per_hour,
        usd_per_1k_requests=found.usd_per_1k_requests,
        usable=max(usable, evaluation.rate),
        load=load,
        near=found.near,
        correction=correction,
        error_band=error_band(
            setting.error_bands, model=found.figures.model, gpu=found.gpu.id, has_images=demand.image_tokens > 0
        ),
    )


def _both_settings(model: ModelSpec, demand: RequestDemand, setting: Setting) -> dict[bool, EngineSettings]:
    """The engine's settings on large GPUs (True) and on others: all that they depend on besides model and request."""
    asked, context = setting.requirements, setting.requirements.minimum_context_tokens or 0
    if demand.output_tokens > asked.workload.output_tokens:  # it reasons, now and then far longer than planned
        context = max(context, demand.total_tokens + THINKING_ROOM_TOKENS)
    return {
        large: settings_by_size(model, asked.workload, demand, large_gpu=large, context_tokens=context)
        for large in (False, True)
    }


def _candidates(
    model: ModelSpec, setting: Setting
) -> tuple[list[tuple[float, ModelFigures, str, GpuSpec, int]], Breach]:
    """Placements worth evaluating with a rough lower bound of their USD per 1,000 requests, lowest bound first.

    The bound is the price of one replica at the asked rate; without a rate nothing bounds it yet. Beside them, the
    reason to give where there is none.
    """
    requirements = setting.requirements
    wanted = requirements.workload.requests_per_second
    reason = _no_placement(model, requirements)
    found = []
    for precision, checkpoint in checkpoints(model, requirements.quantizations):
        figures = model_figures(model, precision)
        weights = figures.language_bytes + figures.vision_bytes
        for name, offers in setting.offers.items():
            gpu = setting.gpus[name]
            for count in setting.gpu_counts:
                cheapest = cheapest_offer(offers, gpu_count=count, replicas=1)
                if cheapest is None or count > (requirements.maximum_gpus or count):
                    break
                if weights > gpu.memory_bytes * count:
                    continue
                refusal = runs_on(figures, gpu, count)
                if refusal is not None:
                    reason = Breach(requirement="gpu", found=refusal, wanted="a GPU that the engine serves it on")
                    continue
                bound = usd_per_1k_requests(cheapest[1], wanted) if wanted else 0.0
                found.append((bound, figures, checkpoint, gpu, count))
    found.sort(key=lambda each: (each[0], each[4], each[3].id, each[2]))
    return found, reason


def _price_bound(
    figures: ModelFigures, gpu: GpuSpec, count: int, demand: RequestDemand, settings: EngineSettings, setting: Setting
) -> float:
    """USD per 1,000 requests that the placement cannot go below: fixed work per request alone, memory ignored."""
    wanted = setting.requirements.workload.requests_per_second
    rate = highest_rate(speed(figures, gpu, demand, settings, gpu_count=count))
    if setting.calibration is not None:
        rate *= setting.calibration.fastest
    replicas = None if wanted is None else max(1, math.ceil(wanted / rate - ROUNDING))
    found = cheapest_offer(setting.offers[gpu.id], gpu_count=count, replicas=replicas)
    return usd_per_1k_requests(found[1], rate if wanted is None else wanted) if found else math.inf


def _priced(
    figures: ModelFigures,
    checkpoint: str,
    gpu: GpuSpec,
    count: int,
    evaluation: Evaluation,
    near: Circumstances | None,
    setting: Setting,
) -> Found | None:
    asked = setting.requirements.workload.requests_per_second
    replicas = None if asked is None else evaluation.replicas
    found = cheapest_offer(setting.offers[gpu.id], gpu_count=count, replicas=replicas)
    if found is None:
        return None
    offer, hourly = found
    return Found(
        figures=figures,
        checkpoint=checkpoint,
        gpu=gpu,
        gpu_count=count,
        evaluation=evaluation,
        offer=offer,
        usd_per_hour=hourly,
        usd_per_1k_requests=usd_per_1k_requests(hourly, evaluation.rate * evaluation.replicas),
        near=near,
    )


def _obstacle(evaluation: Evaluation, gpu: GpuSpec, count: int) -> tuple[float, Breach]:
    """How far from serving, as a ratio, and the breach for people."""
    where = f"on {count}x {gpu.id}"
    if evaluation.obstacle is Obstacle.MEMORY:
        short = (evaluation.limit - evaluation.value) / GIB
        breach = Breach(
            requirement="memory",
            found=f"{evaluation.value / GIB:.1f} GiB left for KV {where}",
            wanted=f"{evaluation.limit / GIB:.1f} GiB for one request",
            by=f"{short:.1f} GiB short per GPU",
        )
        return 1e6 + short, breach
    if evaluation.obstacle is Obstacle.CONCURRENCY:
        breach = Breach(
            requirement="concurrency",
            found=f"at most {evaluation.value:.0f} at once {where}",
            wanted=f"{evaluation.limit:.0f}",
            by=f"{evaluation.limit / evaluation.value:.2f}x",
            excess=evaluation.limit / evaluation.value,
        )
        return evaluation.limit / evaluation.value, breach
    name = "ttft" if evaluation.obstacle is Obstacle.TTFT else "tpot"
    ratio = evaluation.value / evaluation.limit
    breach = Breach(
        requirement=name,
        found=f"p95 {show_seconds(evaluation.value)} at best {where}",
        wanted=f"at most {show_seconds(evaluation.limit)}",
        by=f"{ratio:.2f}x",
        excess=ratio,
    )
    return ratio, breach


def _no_placement(model: ModelSpec, requirements: Requirements) -> Breach:
    if requirements.quantizations and not checkpoints(model, requirements.quantizations):
        return Breach(
            requirement="quantization", found="no such checkpoint", wanted=" or ".join(requirements.quantizations)
        )
    return Breach(requirement="gpu", found="weights larger than any allowed placement", wanted="a placement that fits")


def choice_cost(choice: Choice, demand: RequestDemand, setting: Setting) -> CostEstimate:
    """Money for the choice under the load of the requirements."""
    evaluation = choice.evaluation
    return cost_estimate(
        choice.offer,
        usd_per_hour=choice.usd_per_hour,
        replicas=evaluation.replicas,
        gpu_count=choice.gpu_count,
        capacity_per_replica=evaluation.capacity,
        served_per_second=evaluation.rate * evaluation.replicas,
        workload=setting.requirements.workload,
        tokens_per_request=demand.total_tokens,
    )
