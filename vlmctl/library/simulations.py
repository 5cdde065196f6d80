"""A model's cheapest placement under traffic: scaling policies compared by dollars and by requests that come late."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from msgspec.structs import replace

from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.library.lookup import find_model
from vlmctl.library.questions import Asked, Question
from vlmctl.library.wishes import Wishes, laid_over, wishes_from
from vlmctl.planning import cold_start
from vlmctl.planning.arrivals import SECONDS_PER_DAY, Arrivals, RateCurve, random_arrivals
from vlmctl.planning.choices import Choice
from vlmctl.planning.corrected import corrected_closed_loop
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.outcomes import machine_of
from vlmctl.planning.plan import choose, plan_choice
from vlmctl.planning.policies import BUSY_WINDOW_SECONDS, Comparison, Grid, Progress, Scenario, compare_policies
from vlmctl.planning.replica import replica_speed
from vlmctl.planning.requirements import planned_demand
from vlmctl.specs.cold_start import StartConditions
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives, Requirements, Workload
from vlmctl.units import parse_duration_seconds

USUAL_TTFT = "2s"  # where no objective was asked for


class Traffic(Record, frozen=True, kw_only=True):
    """The requests in short. `busiest`: the highest rate over five minutes; means over all requests."""

    requests: int
    duration_seconds: float
    requests_per_second: float
    busiest_requests_per_second: float
    longest_gap_seconds: float
    prompt_tokens: float
    output_tokens: float
    images: float


class Simulation(Record, frozen=True, kw_only=True):
    """What was simulated and what came of it. `ladder_concurrency`: estimate of the requests in flight at the best step
    of a replica's own benchmark, of which `targetUtilization` is a share. `cold_start_unknown`: what is left out of it.
    """

    plan: Plan
    ladder_concurrency: int
    assumptions: tuple[str, ...]
    traffic: Traffic
    cold_start_seconds: float
    cold_start_unknown: tuple[str, ...]
    seed: int
    comparison: Comparison


def simulate(
    model: str | ModelSpec,
    traffic: Arrivals | RateCurve,
    asked: Asked = None,
    *,
    days: float = 1.0,
    catalog: Catalog | None = None,
    grid: Grid | None = None,
    cold_start_seconds: float | None = None,
    seed: int = 0,
    progress: Progress = lambda _: None,
    **wishes: Any,
) -> Simulation:
    """The cheapest scaling policy for a model under traffic, and all others that were tried.

    The placement is the cheapest for the mean rate. Sizes that a trace brings and that were not asked for are planned
    with their mean. Raises as `plan` does, and UnsupportedModel for a request longer than the model's context.
    """
    rng = Random(seed)
    arrivals = traffic if isinstance(traffic, Arrivals) else random_arrivals(traffic, days * SECONDS_PER_DAY, rng)
    wished, arrivals = _sized(_wishes(asked, wishes), arrivals)
    question = Question(wished, catalog=catalog)
    spec = model if isinstance(model, ModelSpec) else find_model(model, catalog=question.catalog)
    requirements, assumptions = _requirements(question, spec, arrivals)
    setting = question.setting(requirements)
    demand, choice = choose(spec, setting)
    workload, sequences = requirements.workload, choice.evaluation.sequences
    start = cold_start.start(choice.figures, choice.gpu, gpu_count=choice.gpu_count, conditions=StartConditions())
    machine = machine_of(choice.offer, choice.gpu_count)
    speed = replica_speed(
        choice.coefficients,
        demand,
        workload,
        sequences=sequences,
        factors=choice.correction.factors,
        rate=choice.evaluation.rate,
    )
    scenario = Scenario(
        arrivals=arrivals,
        speed=speed,
        objectives=requirements.objectives,
        machine=machine,
        cold_start_seconds=start.seconds if cold_start_seconds is None else cold_start_seconds,
        maximum_replicas=machine.replicas_per_machine if machine.owned else None,
    )
    return Simulation(
        plan=plan_choice(spec, demand, choice, setting),
        ladder_concurrency=_ladder_concurrency(choice, requirements.objectives),
        assumptions=assumptions,
        traffic=_summary(arrivals, workload),
        cold_start_seconds=scenario.cold_start_seconds,
        cold_start_unknown=start.unknown if cold_start_seconds is None else (),
        seed=seed,
        comparison=compare_policies(scenario, grid or Grid(), Random(seed), progress=progress),
    )


def _ladder_concurrency(choice: Choice, objectives: Objectives) -> int:
    """The most requests always in flight that are in time: more of them never make a replica slower on the whole."""
    ttft, tpot = objectives.ttft_seconds, objectives.tpot_seconds

    def is_late(concurrency: int) -> bool:
        load = corrected_closed_loop(choice.coefficients, concurrency, choice.correction.factors)
        return (ttft is not None and load.ttft_p95 > ttft) or (tpot is not None and load.tpot_p95 > tpot)

    return max(bisect_left(range(1, choice.evaluation.sequences + 1), True, key=is_late), 1)


def _wishes(asked: Asked, wishes: Mapping[str, Any]) -> Wishes:
    if isinstance(asked, Requirements):
        raise InvalidValue("a simulation takes options by name.", remedy="Give a mapping, or keywords.")
    below = asked if isinstance(asked, Wishes) else wishes_from(asked or {})
    return laid_over(below, wishes_from(wishes))


def _sized(wished: Wishes, arrivals: Arrivals) -> tuple[Wishes, Arrivals]:
    """The wishes with the means of the sizes that only the traffic knows, and the traffic without those asked for."""
    means = {
        "prompt_tokens": _mean(arrivals.prompt_tokens),
        "output_tokens": _mean(arrivals.output_tokens),
        "images": _mean(arrivals.images),
    }
    said = {name for name in means if getattr(wished, name) is not None}
    unsaid = {name: math.ceil(mean) for name, mean in means.items() if mean is not None and name not in said}
    if not unsaid.get("images", 1):  # a trace without a single image
        unsaid["images"] = 1
    kept = {name: None if name in said else getattr(arrivals, name) for name in means}
    return laid_over(wished, wishes_from(unsaid)), replace(arrivals, **kept)


def _requirements(question: Question, model: ModelSpec, arrivals: Arrivals) -> tuple[Requirements, tuple[str, ...]]:
    """What was asked, at the mean rate of the traffic and with room for its longest request; and what was assumed."""
    asked, assumptions = question.requirements, question.assumptions
    objectives = asked.objectives
    if objectives.ttft_seconds is None and objectives.tpot_seconds is None:
        objectives = Objectives(ttft_seconds=parse_duration_seconds(USUAL_TTFT))
        assumptions += (f"a first token within {USUAL_TTFT}, at the 95th percentile (--ttft, --tpot)",)
    rate = len(arrivals.seconds) / arrivals.duration_seconds
    workload = replace(asked.workload, requests_per_second=rate or None, concurrency=None)
    longest = _longest(planned_demand(model, workload, needs=asked.needs), workload, arrivals)
    if longest > model.context.tokens:
        raise UnsupportedModel(
            f"{model.id}: the longest request takes {longest:,} tokens and the context holds {model.context.tokens:,}.",
            remedy="Take a model with a longer context, or leave such requests out of the trace.",
        )
    context = max(asked.minimum_context_tokens or 0, longest)
    changed = replace(asked, workload=workload, objectives=objectives, minimum_context_tokens=context)
    return changed, assumptions


def _longest(demand: RequestDemand, workload: Workload, arrivals: Arrivals) -> int:
    """Tokens of the longest request: images and markers of the planned one, text and answer of the traffic's."""
    longest = demand.total_tokens
    if arrivals.prompt_tokens:
        longest += max(arrivals.prompt_tokens) - workload.prompt_tokens
    if arrivals.output_tokens:
        longest += max(arrivals.output_tokens) - demand.output_tokens
    if arrivals.images and workload.image_count:
        per_image = (demand.image_tokens + demand.marker_tokens) / workload.image_count
        longest += math.ceil((max(arrivals.images) - workload.image_count) * per_image)
    return longest


def _summary(arrivals: Arrivals, workload: Workload) -> Traffic:
    means = (_mean(arrivals.prompt_tokens), _mean(arrivals.output_tokens), _mean(arrivals.images))
    usual = (workload.prompt_tokens, workload.output_tokens, workload.image_count)
    prompt, output, images = (float(one) if mean is None else mean for mean, one in zip(means, usual, strict=True))
    return Traffic(
        requests=len(arrivals.seconds),
        duration_seconds=arrivals.duration_seconds,
        requests_per_second=len(arrivals.seconds) / arrivals.duration_seconds,
        busiest_requests_per_second=arrivals.busiest_rate(BUSY_WINDOW_SECONDS),
        longest_gap_seconds=arrivals.longest_gap_seconds(),
        prompt_tokens=prompt,
        output_tokens=output,
        images=images,
    )


def _mean(column: Sequence[int] | None) -> float | None:
    return sum(column) / len(column) if column else None
