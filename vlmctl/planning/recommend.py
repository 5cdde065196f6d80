"""Which model, on what, at what price, and why not the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning.advise import smaller_tools
from vlmctl.planning.choices import Choice, Setting, setting_of
from vlmctl.planning.demand import RequestDemand
from vlmctl.planning.languages import Match, language_match, reads_text
from vlmctl.planning.latencies import latencies
from vlmctl.planning.quality import mode_of, model_quality, yardsticks
from vlmctl.planning.requirements import (
    check_requirements,
    license_conditions,
    model_breaches,
    planned_demand,
)
from vlmctl.planning.search import cheapest_placement, choice_cost
from vlmctl.specs.answers import Answer, Breach, NearMiss, Quality, Recommendation, Rejected
from vlmctl.specs.hardware import Catalog, GpuSpec, Offer
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.workload import Preference, Requirements, Task
from vlmctl.units import show_usd

if TYPE_CHECKING:  # loaded only where there are measurements
    from vlmctl.planning.calibration import Calibration

# How many quality points a user gives up to halve the price (`--prefer`).
POINTS_PER_PRICE_DOUBLING = {Preference.QUALITY: 0.0, Preference.BALANCED: 3.0, Preference.COST: 10.0}
UNKNOWN_LANGUAGE_CONFIDENCE = 0.7  # kept where no source says whether the asked language is read
# Linear resolution that a task needs of the stated image: below half, 12-point print of a 200 dpi scan is under the
# 20-pixel capital height that OCR engines ask for (Tesseract documentation, "Improving the quality of the output").
READABLE_SCALE = {Task.DOCUMENT_OCR: 0.5, Task.TRANSCRIPTION: 0.5, Task.CHART: 0.4, Task.GUI_AGENT: 0.5}


def recommend(
    catalog: Catalog,
    requirements: Requirements,
    *,
    owned: Sequence[Offer] = (),
    exhaustive: bool = False,
    calibration: Calibration | None = None,
) -> Recommendation:
    """Answers, near misses and rejections for all models of the catalog.

    `owned`: GPUs that are there already, as offers. `exhaustive`: evaluate every placement instead of stopping when
    none left can be cheaper; the answer is the same. `calibration`: measurements that correct what is near them.
    Raises InvalidValue for requirements that contradict themselves.
    """
    check_requirements(requirements)
    tasks = requirements.tasks or {Task.GENERAL_VQA: 1.0}
    measures = yardsticks(
        catalog.benchmarks,
        catalog.models,
        tasks=tasks,
        languages=requirements.languages,
        mode=mode_of(requirements.needs),
    )
    setting = setting_of(catalog, requirements, owned=owned, calibration=calibration)
    setting = replace(setting, measures=measures, exhaustive=exhaustive)
    answers: list[Answer] = []
    near: list[NearMiss] = []
    rejected: list[Rejected] = []
    for model in sorted(catalog.models, key=lambda each: each.id):
        answer, breaches = consider(model, setting)
        if answer is not None and not breaches:
            answers.append(answer)
        elif len(breaches) == 1 and breaches[0].requirement not in _NOTHING_TO_RELAX:
            near.append(NearMiss(model=model.id, breach=breaches[0], answer=answer))
        else:
            rejected.append(Rejected(model=model.id, breaches=breaches))
    ranked = rank(answers, POINTS_PER_PRICE_DOUBLING[requirements.prefer])
    return Recommendation(
        answers=ranked,
        near_misses=tuple(sorted(near, key=_near_order)),
        rejected=tuple(rejected),
        smaller_tools=smaller_tools(tasks),
        notes=_notes(answers, tasks),
    )


# Breaches that no other requirement would mend: the model cannot be served, or cannot be estimated.
_NOTHING_TO_RELAX = frozenset({"vision", "served", "known", "workload"})


def consider(model: ModelSpec, setting: Setting) -> tuple[Answer | None, tuple[Breach, ...]]:
    """One model's answer and the requirements it breaks. With two or more static breaches no placement is looked at."""
    requirements = setting.requirements
    breaches = model_breaches(model, requirements, setting.minimums)
    if len(breaches) > 1 or any(breach.requirement in _NOTHING_TO_RELAX for breach in breaches):
        return None, breaches
    try:
        demand = planned_demand(model, requirements.workload, needs=requirements.needs)
        choice, obstacle = cheapest_placement(model, demand, setting)
    except (UnsupportedModel, InvalidValue) as error:
        return None, (*breaches, Breach(requirement="workload", found=error.message, wanted="the stated request"))
    if choice is None:
        return None, (*breaches, obstacle)
    answer = build_answer(model, demand, choice, setting)
    return answer, (*breaches, *price_breaches(answer, requirements))


def build_answer(model: ModelSpec, demand: RequestDemand, choice: Choice, setting: Setting) -> Answer:
    """The record that is shown, with quality, conditions and warnings."""
    requirements, evaluation = setting.requirements, choice.evaluation
    quality = task_quality(model, demand, setting, quantized=choice.figures.precision is not model.precision)
    cost = choice_cost(choice, demand, setting)
    error = choice.error("throughput")
    shown = latencies(choice.load, requirements.objectives, output_tokens=demand.output_tokens)
    return Answer(
        model=model.id,
        repository=model.repository,
        quantization=choice.figures.precision.value,
        checkpoint=choice.checkpoint,
        gpu=choice.gpu.id,
        gpu_count=choice.gpu_count,
        replicas=evaluation.replicas,
        usd_per_1k_requests=cost.usd_per_1k_requests,
        usd_per_month=cost.usd_per_month,
        ttft_seconds=evaluation.ttft,
        ttft_p95_seconds=evaluation.ttft_p95,
        tpot_seconds=evaluation.tpot,
        tpot_p95_seconds=evaluation.tpot_p95,
        requests_per_second=choice.usable,
        concurrency=max(1, round(evaluation.batch)),
        ttft_p50_seconds=shown.ttft_p50,
        tpot_p50_seconds=shown.tpot_p50,
        e2e_seconds=shown.e2e,
        e2e_p50_seconds=shown.e2e_p50,
        e2e_p95_seconds=shown.e2e_p95,
        goodput=shown.goodput,
        image_tokens=demand.image_tokens,
        request_tokens=demand.total_tokens,
        quality=quality,
        cost=cost,
        license=model.license.name,
        license_conditions=license_conditions(model.license),
        verified=model.verified,
        basis=choice.correction.basis,
        error_median=error.median if error else None,
        error_p90=error.p90 if error else None,
        ttft_error=choice.error("ttft"),
        tpot_error=choice.error("tpot"),
        error_band=choice.error_band.id if choice.error_band else None,
        warnings=_warnings(model, choice.gpu, demand, requirements),
    )


def task_quality(model: ModelSpec, demand: RequestDemand, setting: Setting, *, quantized: bool = False) -> Quality:
    """Evidence for the tasks, with the confidence lowered for unknown languages and shrunk images."""
    requirements = setting.requirements
    quality = model_quality(model, setting.measures)
    confidence, doubts = quality.confidence, list(quality.doubts)
    if quantized:
        doubts.append("scores are those of the unquantised weights")
    for language in requirements.languages:
        measured = any(language.split("-")[0] in each.languages for each in quality.evidence)
        match = language_match(model, language, in_image=reads_text(requirements))
        if match is Match.UNKNOWN and not measured:
            confidence *= UNKNOWN_LANGUAGE_CONFIDENCE
            doubts.append(f"no source says whether it reads {language}")
    needed = max((READABLE_SCALE.get(Task(task), 0.0) for task in requirements.tasks), default=0.0)
    if demand.scale < needed:
        confidence *= demand.scale / needed
        doubts.append(f"shrinks the image to {demand.scale:.0%} of its side; small print may be lost")
    return Quality(points=quality.points, confidence=confidence, evidence=quality.evidence, doubts=tuple(doubts))


def rank(answers: Sequence[Answer], points_per_price_doubling: float) -> tuple[Answer, ...]:
    """Best first: points x confidence, less `points_per_price_doubling` for every doubling over the cheapest answer.

    Verified models come before unverified ones of the same score; ties fall to the price, then to the name.
    """
    if not answers:
        return ()
    cheapest = min(answer.usd_per_1k_requests for answer in answers)
    front = _pareto(answers)
    scored = []
    for answer in answers:
        doublings = math.log2(answer.usd_per_1k_requests / cheapest) if cheapest > 0 else 0.0
        scored.append(
            replace(
                answer, score=answer.quality.worth - points_per_price_doubling * doublings, pareto=answer.model in front
            )
        )
    return tuple(
        sorted(scored, key=lambda each: (-each.score, not each.verified, each.usd_per_1k_requests, each.model))
    )


def price_breaches(answer: Answer, requirements: Requirements) -> tuple[Breach, ...]:
    """The price limits that even the cheapest placement breaks."""
    limits = (
        ("max-usd-per-1k", answer.usd_per_1k_requests, requirements.maximum_usd_per_1k_requests),
        ("max-usd-per-month", answer.usd_per_month, requirements.maximum_usd_per_month),
    )
    return tuple(
        Breach(
            requirement=name,
            found=show_usd(found),
            wanted=f"at most {show_usd(limit)}",
            by=f"{found / limit:.1f}x",
            excess=found / limit,
        )
        for name, found, limit in limits
        if limit is not None and found > limit
    )


def _warnings(model: ModelSpec, gpu: GpuSpec, demand: RequestDemand, requirements: Requirements) -> tuple[str, ...]:
    found = []
    extra = demand.output_tokens - requirements.workload.output_tokens
    if extra:
        found.append(f"thinks: {extra:,} reasoning tokens assumed before each answer")
    if model.serving.requires_remote_code:
        found.append("runs code from its repository (trust_remote_code)")
    if not model.verified:
        found.append(f"not verified: {', '.join(model.unverified)}")
    if not gpu.verified:
        found.append(f"the figures of {gpu.id} are not verified")
    return tuple(found)


def _notes(answers: Sequence[Answer], tasks: Iterable[str]) -> tuple[str, ...]:
    """What a reader must know of the ranking as a whole."""
    if not answers or any(answer.quality.points is not None for answer in answers):
        return ()
    return (f"No comparable published figures for {', '.join(sorted(tasks))}: the ranking is by price alone.",)


def _pareto(answers: Sequence[Answer]) -> frozenset[str]:
    """Models that no other answer beats in quality (points x confidence) and price together."""
    front: list[str] = []
    best = -math.inf
    for answer in sorted(answers, key=lambda each: (each.usd_per_1k_requests, -each.quality.worth, each.model)):
        if answer.quality.points is not None and answer.quality.worth > best:
            front.append(answer.model)
            best = answer.quality.worth
    return frozenset(front)


def _near_order(near: NearMiss) -> tuple[float, float, str]:
    if near.answer is None:
        return (0.0, math.inf, near.model)
    return (-near.answer.quality.worth, near.answer.usd_per_1k_requests, near.model)
