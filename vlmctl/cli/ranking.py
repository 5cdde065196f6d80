"""A recommendation for people: the ranking with what its columns mean, near misses, the rejected, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vlmctl.cli import wording
from vlmctl.cli.output import Block, Facts, Heading, Table, Text
from vlmctl.library import Question
from vlmctl.specs.answers import Answer, Breach, Evidence, NearMiss, Quality, Recommendation, SmallerTool
from vlmctl.specs.error_bands import ErrorBand, Novelty, Workloads
from vlmctl.specs.estimates import Basis, SpeedEstimate
from vlmctl.specs.workload import Requirements
from vlmctl.units import show_seconds, show_usd

NEAR_MISSES = 5  # shown; JSON holds all
PARETO_MARK = "*"


def ranking_blocks(question: Question, found: Recommendation) -> list[Block]:
    """Everything `vlmctl recommend` says, the answer first."""
    asked = question.requirements
    blocks: list[Block] = [Text(request_line(asked)), *(Text(note) for note in found.notes)]
    blocks += [Text(_smaller(tool)) for tool in found.smaller_tools]
    shown = found.answers[: asked.top]
    if shown:
        title = f"{len(found.answers)} of {len(question.catalog.models)} models meet every requirement"
        blocks += [Heading(title + (f", the best {len(shown)}:" if len(shown) < len(found.answers) else ":"))]
        blocks += [_answer_table(shown, question), *_legend(_plainest(shown), question), *_front(found.answers)]
        blocks += _remarks(shown)
    return [*blocks, *_near_miss_blocks(found.near_misses), *_rejected_blocks(found), *_next_steps(shown)]


def _smaller(tool: SmallerTool) -> str:
    return (
        f"You may not need a VLM: {tool.tool} does {tool.task}. What is lost: {tool.loses}. "
        f"A VLM is right when {tool.needs_vlm_when}."
    )


def request_line(asked: Requirements) -> str:
    """The request in a sentence, so that a reader can check what was understood."""
    workload = asked.workload
    parts = [", ".join(asked.tasks) or "any task"]
    if asked.languages:
        parts.append(f"in {', '.join(asked.languages)}")
    parts += [f"{image.count} x {image.width_pixels}x{image.height_pixels} pixels" for image in workload.images]
    parts += [f"{video.seconds:g} s of video ({video.frames} frames)" for video in workload.videos]
    parts.append(f"{workload.prompt_tokens} prompt and {workload.output_tokens} output tokens")
    if workload.requests_per_second is not None:
        parts.append(f"{workload.requests_per_second:,.10g} requests/s")
    if workload.concurrency is not None:
        parts.append(f"{workload.concurrency} requests in flight")
    for name, seconds in (("TTFT", asked.objectives.ttft_seconds), ("TPOT", asked.objectives.tpot_seconds)):
        if seconds is not None:
            parts.append(f"p95 {name} up to {show_seconds(seconds)}")
    if asked.license != "any":
        parts.append(f"{asked.license.value} licence")
    return f"Asked for: {', '.join(parts)}."


def _answer_table(answers: Sequence[Answer], question: Question) -> Table:
    rows = [
        (
            f"{rank}{PARETO_MARK if answer.pareto else ''}",
            answer.model + ("" if answer.verified else " (unverified)"),
            _quality(answer.quality),
            show_usd(answer.usd_per_1k_requests),
            show_seconds(answer.ttft_p95_seconds),
            f"{answer.requests_per_second:.1f}",
            wording.gpus(answer.gpu, answer.gpu_count, answer.replicas),
            answer.quantization,
            str(_held_at_once(answer, question)),
        )
        for rank, answer in enumerate(answers, start=1)
    ]
    headers = ("#", "Model", "Quality", "$/1k", "TTFT", "req/s", "GPU", "Weights", "Fits")
    return Table(headers, rows, right=("$/1k", "TTFT", "req/s", "Fits"))


def _quality(quality: Quality) -> str:
    if quality.points is None:
        return "?"
    return f"{quality.worth:.0f} ({quality.points:.0f} x {quality.confidence:.0%})"


def _held_at_once(answer: Answer, question: Question) -> int:
    """Requests of this size that the GPUs' memory holds at once."""
    report = question.fit(answer.model, answer.gpu, gpu_count=answer.gpu_count, quantization=answer.quantization)
    return report.maximum_concurrency


def _legend(answer: Answer, question: Question) -> list[Block]:
    rate = question.requirements.workload.requests_per_second
    load = f"at {rate:,.10g} requests/s" if rate is not None else "with each replica 80% busy"
    prices = "on your own GPUs" if question.owned else f"prices of {wording.price_dates(question.catalog.offers)}"
    pairs = [
        (
            "Quality",
            "points x confidence: from 0, the lowest published score for this in the catalog, to 100, the highest; "
            "times the share of the evidence that exists",
        ),
        ("$/1k", f"US dollars per 1,000 requests {load}, {prices}"),
        ("TTFT", "time to the first token of an answer, 95th percentile"),
        ("req/s", "requests per second that one replica serves within what was asked"),
        ("GPU", "replicas x GPUs of one replica"),
        ("Fits", "requests of this size that the memory of one replica holds at once"),
        (PARETO_MARK, "no other model is both better and cheaper"),
    ]
    return [
        Facts(pairs),
        Text(band_of(answer, question.catalog.error_bands)),
    ]


def _plainest(answers: Sequence[Answer]) -> Answer:
    """The first answer that rests on estimates alone, since the others say what they rest on; else the first."""
    return next((each for each in answers if each.basis is Basis.ESTIMATED), answers[0])


def _front(answers: Sequence[Answer]) -> list[Block]:
    """The choices worth weighing: every other answer is beaten in quality and price by one of them."""
    front = sorted((each for each in answers if each.pareto), key=lambda each: each.usd_per_1k_requests)
    named = [f"{each.model} ({each.quality.worth:.0f}, {show_usd(each.usd_per_1k_requests)})" for each in front]
    title = f"Best for the money ({PARETO_MARK}), with quality and $/1k, cheapest first"
    return [Text(f"{title}: {', '.join(named)}.")] if named else []


def band_of(shown: Answer | SpeedEstimate, bands: Sequence[ErrorBand]) -> str:
    """How far the figures are to be trusted, in words."""
    if shown.error_median is None or shown.error_p90 is None:
        return f"Speed and cost are {shown.basis.value}."
    parts = [
        f"Speed and cost are {shown.basis.value}: half of such throughputs are within {shown.error_median:.0%} of what "
        f"was measured, nine in ten within {shown.error_p90:.0%}"
    ]
    for name, error in (("TTFT", shown.ttft_error), ("TPOT", shown.tpot_error)):
        if error is not None:
            parts.append(f"{name}: {error.median:.0%} and {error.p90:.0%}")
    if shown.basis is not Basis.ESTIMATED:
        return "; ".join(parts) + ", with your own measurements near them: `vlmctl explain` names those."
    band = next((each for each in bands if each.id == shown.error_band), None)
    return "; ".join(parts) + (f". {_band_origin(band)}" if band is not None else ".")


def _band_origin(band: ErrorBand) -> str:
    """What the band rests on, and what a reader of one for images must know."""
    lacking = {Novelty.MODEL: "This model was never measured: f", Novelty.GPU: "This GPU was never measured: f"}
    text = f"{lacking.get(band.novelty, 'F')}rom {band.rows:,} measured runs, {band.basis}."
    if band.workloads is Workloads.IMAGES and band.current is not None:
        text += (
            f" Only {band.current_rows} of them are of current engines, with a median error of "
            f"{band.current.median:.0%}; the band is no narrower than theirs."
        )
    return text


def _remarks(answers: Sequence[Answer]) -> list[Block]:
    """What each answer is rented as, and what to mind about it."""
    lines = []
    for answer in answers:
        offer = answer.cost.offer
        rented = (
            f"{offer.instance_type} of {offer.provider}, {offer.kind.value}, "
            f"{show_usd(answer.cost.usd_per_hour)}/h in all, price of {wording.price_dates((offer,))}"
        )
        said = (rented, *_measured(answer), *answer.quality.doubts, *answer.warnings, *answer.license_conditions)
        lines.append(Text(f"{answer.model}: {'; '.join(said)}.", bullet=True))
    return [Heading("Rented as, and to mind"), *lines]


def _measured(answer: Answer) -> tuple[str, ...]:
    """What your own measurements did to the answer; nothing where there are none near it."""
    if answer.basis is Basis.ESTIMATED:
        return ()
    error = "" if answer.error_median is None else f", half of such throughputs within {answer.error_median:.0%}"
    return (f"speed and cost are {answer.basis.value} by your own runs{error}",)


def _near_miss_blocks(near_misses: Sequence[NearMiss]) -> list[Block]:
    if not near_misses:
        return []
    rows = [
        (
            near.model,
            near.breach.requirement,
            near.breach.found,
            near.breach.wanted + (f" ({near.breach.by})" if near.breach.by else ""),
            _quality(near.answer.quality) if near.answer else "",
            show_usd(near.answer.usd_per_1k_requests) if near.answer else "",
        )
        for near in near_misses[:NEAR_MISSES]
    ]
    headers = ("Model", "Requirement", "Has", "Asked for", "Quality", "$/1k")
    more = f", {NEAR_MISSES} of {len(near_misses)}" if len(near_misses) > NEAR_MISSES else ""
    return [Heading(f"Near misses: these break one requirement only{more}"), Table(headers, rows, right=("$/1k",))]


def _rejected_blocks(found: Recommendation) -> list[Block]:
    if not found.rejected:
        return []
    counts = Counter(each.breaches[0].requirement for each in found.rejected)
    reasons = ", ".join(f"{count} {REASONS.get(name, name)}" for name, count in counts.most_common())
    return [Text(f"Rejected: {len(found.rejected)} models, by their first reason: {reasons}.")]


REASONS = {
    "vision": "read no images",
    "served": "not served by vLLM",
    "known": "lack facts to estimate from",
    "license": "for the licence",
    "include-unverified": "with unverified facts",
    "max-params": "too large",
    "min-context": "with too short a context",
    "multi-image": "not known to take several images",
    "workload": "cannot take the request",
    "images": "cannot take so many images",
    "language": "for the language",
    "needs": "for an ability",
    "min-score": "for a score",
    "family": "of other families",
}


def _next_steps(answers: Sequence[Answer]) -> list[Block]:
    steps = "`--why MODEL` says why a model stands where it does."
    if answers:
        steps += f" `vlmctl plan {answers[0].model}` with the same options writes its deployment."
    return [Text(steps)]


def why_blocks(model: str, found: Recommendation) -> list[Block]:
    """Why one model stands where it does: its evidence, or every requirement that it breaks."""
    blocks: list[Block] = [Heading(f"Why {model}"), Text(found.why(model))]
    answer = next((each for each in found.answers if each.model == model), None)
    near = next((each for each in found.near_misses if each.model == model), None)
    rejected = next((each for each in found.rejected if each.model == model), None)
    breaches: tuple[Breach, ...] = (near.breach,) if near else rejected.breaches if rejected else ()
    if breaches:
        rows = [(each.requirement, each.found, each.wanted, each.by) for each in breaches]
        blocks.append(Table(("Requirement", "Has", "Asked for", "By"), rows))
    shown = answer or (near.answer if near else None)
    if shown is not None:
        blocks += [*_evidence_blocks(shown.quality), Facts(_figures(shown))]
    return blocks


def _evidence_blocks(quality: Quality) -> list[Block]:
    if not quality.evidence:
        return [Text("No published score counts for this task.")]
    rows = [_evidence_row(each) for each in quality.evidence]
    headers = ("Benchmark", "Score", "In range", "Weight", "Reported by", "Source")
    doubts = [Text(doubt, bullet=True) for doubt in quality.doubts]
    return [Table(headers, rows, right=("Score", "In range", "Weight")), *doubts]


def _evidence_row(each: Evidence) -> tuple[str, ...]:
    name = wording.score_key(each.benchmark, each.split, each.mode)
    return (
        name,
        wording.number(each.value),
        f"{each.relative:.0f}",
        f"{each.weight:g}",
        each.reporter,
        each.source,
    )


def _figures(answer: Answer) -> list[tuple[str, str]]:
    offer = answer.cost.offer
    return [
        (
            "Placement",
            f"{wording.gpus(answer.gpu, answer.gpu_count, answer.replicas)}, "
            f"{answer.quantization} weights of {answer.checkpoint}",
        ),
        ("Price", f"{show_usd(answer.cost.usd_per_hour)} per hour at {offer.provider} ({offer.instance_type})"),
        ("Per request", f"{answer.image_tokens:,} image tokens of {answer.request_tokens:,} in all"),
        ("Latency", f"TTFT {show_seconds(answer.ttft_seconds)} mean, TPOT {show_seconds(answer.tpot_seconds)} mean"),
        ("Licence", "; ".join((answer.license, *answer.license_conditions))),
    ]
