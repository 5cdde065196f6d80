"""`vlmctl recommend`: which model, on which GPU, at what price, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption, complete_models
from vlmctl.cli.output import Output
from vlmctl.cli.question_options import BUDGET, MODEL_CONDITIONS, OWNERSHIP, PLACE, WORKLOAD, asking
from vlmctl.errors import NothingFits

if TYPE_CHECKING:
    from vlmctl.library import Question
    from vlmctl.specs.answers import Answer, Recommendation

app = options.command_app()

NAMES = (*WORKLOAD, *MODEL_CONDITIONS, *BUDGET, *PLACE, *OWNERSHIP)


@app.command()
@asking(NAMES)
def recommend(
    context: typer.Context,
    require: options.RequireOption = None,
    top: Annotated[int | None, options.option("Answers to show, 5 if not said.", metavar="N")] = None,  # noqa: ARG001  # a wish, too
    why: Annotated[
        list[str] | None,
        options.option(
            "Say why this model stands where it does; repeatable.", metavar="MODEL", autocompletion=complete_models
        ),
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Rank models and GPUs for a task.

    Answers from published evidence, prices and estimates: the ranking, the front of quality against cost, near misses
    with the one requirement that each breaks, and what is rejected. Exit code 3 where nothing meets all requirements.

    Tasks: document-ocr, chart, grounding, general-vqa, captioning, video, multi-image, reasoning, gui-agent, counting,
    spatial, hallucination, multilingual; transcription, classification, detection, image-search and text-only are
    answered with the smaller tool too.

    JSON: an object with requirements, assumptions, notes, answers (each with model, gpu, gpu_count, quantization,
    replicas, usd_per_1k_requests, usd_per_month, ttft_seconds, ttft_p95_seconds, requests_per_second, quality, basis
    and more), pareto, near_misses (model, breach, answer), rejected (model, breaches), smaller_tools, why and
    prices_as_of.
    """
    from vlmctl import library

    question = library.Question(
        options.wishes(context, (*NAMES, "top"), require), catalog=library.load_catalog(catalog)
    )
    answer(question, Output(output), why=why or ())


def answer(question: Question, out: Output, *, why: Sequence[str] = ()) -> None:
    """Rank, show, and raise NothingFits with the requirement to relax where there is no answer."""
    from vlmctl import library
    from vlmctl.cli.ranking import ranking_blocks, why_blocks

    asked = [library.find_model(name, catalog=question.catalog).id for name in why]
    found = question.recommend()
    blocks = ranking_blocks(question, found) if out.for_people else []
    for model in asked if out.for_people else ():
        blocks += why_blocks(model, found)
    shown = found.answers[: question.requirements.top]
    out.show(_data(question, found, asked), blocks, rows=[_row(rank, each) for rank, each in enumerate(shown, start=1)])
    if not found.answers:
        raise NothingFits("no model meets all requirements.", remedy=library.what_to_relax(found))


def _data(question: Question, found: Recommendation, why: Sequence[str]) -> dict[str, Any]:
    from vlmctl.cli.wording import price_dates

    return {
        "requirements": question.requirements,
        "assumptions": question.assumptions,
        "notes": found.notes,
        "answers": found.answers[: question.requirements.top],
        "pareto": found.pareto,
        "near_misses": found.near_misses,
        "rejected": found.rejected,
        "smaller_tools": found.smaller_tools,
        "why": {model: found.why(model) for model in why},
        "prices_as_of": price_dates(question.catalog.offers),
    }


def _row(rank: int, answer: Answer) -> dict[str, Any]:
    """One answer as a line of CSV: the columns that fit in a cell."""
    return {
        "rank": rank,
        "model": answer.model,
        "quality_points": answer.quality.points,
        "quality_confidence": answer.quality.confidence,
        "usd_per_1k_requests": answer.usd_per_1k_requests,
        "usd_per_month": answer.usd_per_month,
        "ttft_p95_seconds": answer.ttft_p95_seconds,
        "requests_per_second": answer.requests_per_second,
        "gpu": answer.gpu,
        "gpu_count": answer.gpu_count,
        "replicas": answer.replicas,
        "quantization": answer.quantization,
        "license": answer.license,
        "pareto": answer.pareto,
        "basis": answer.basis,
    }
