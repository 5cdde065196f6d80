"""`vlmctl plan`: the chosen placement, written out for those who run it, compared, and kept in budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption, complete_models
from vlmctl.cli.output import Output, Pre
from vlmctl.cli.question_options import MODEL_CONDITIONS, OWNERSHIP, PLACE, WORKLOAD, asking
from vlmctl.errors import InvalidFile, OverBudget
from vlmctl.serving.forms import Form
from vlmctl.units import split_commas

if TYPE_CHECKING:
    from vlmctl.cli.plan_page import Written
    from vlmctl.library import Question
    from vlmctl.serving.engine_args import ServeOptions
    from vlmctl.serving.summary import PlanSummary
    from vlmctl.specs.estimates import Plan

app = options.command_app()

NAMES = (*WORKLOAD, *MODEL_CONDITIONS, *PLACE, *OWNERSHIP)


@app.command()
@asking(NAMES)
def plan(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="Without one, what recommend ranks first.", autocompletion=complete_models
        ),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="What to write.")] = Form.VLMDEPLOYMENT,
    diff: Annotated[
        Path | None, options.option("Show the change against an earlier plan's file instead.", metavar="FILE")
    ] = None,
    write: Annotated[
        Path | None, options.option("Write the plan to this file, whole or not at all.", metavar="FILE")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the engine's arguments and every term of the estimate instead.")
    ] = False,
    max_usd_per_1k: options.MaxUsdPer1kOption = None,
    max_usd_per_month: options.MaxUsdPerMonthOption = None,
    allow_remote_code: Annotated[
        bool, typer.Option("--allow-remote-code", help="Let code from the model's repository run in the engine.")
    ] = False,
    media_domain: Annotated[
        list[str] | None, options.option("Host that image URLs may name; repeatable.", metavar="HOST")
    ] = None,
    checkpoint: Annotated[
        str | None, options.option("Folder with the downloaded checkpoint, instead of its repository.", metavar="DIR")
    ] = None,
    require: options.RequireOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Write the deployment of a model.

    The cheapest placement that meets the requirements, with every engine argument and its reason: a VLMDeployment for
    the operator, or with --format a shell command, a compose file or Kubernetes objects. --diff shows what changes
    against an earlier plan, --explain what it is made of. --max-usd-per-1k and --max-usd-per-month are a guard: exit
    code 5 above them.

    JSON: an object with plan (placement, workload, memory, speed, cost and more), assumptions, summary, diff (null
    without one), arguments (of the engine: flag, values, reason), sections (null without --explain; else as those of
    `vlmctl explain`) and text.
    """
    from vlmctl import library
    from vlmctl.serving.engine_args import ServeOptions

    known = library.load_catalog(catalog)
    question = library.Question(options.wishes(context, NAMES, require), catalog=known)
    chosen = question.plan(model) if model is not None else question.plan_best(allow_remote_code=allow_remote_code)
    wanted = ServeOptions(
        needs=tuple(need for need in question.requirements.needs if need in ("thinking", "tools")),
        allow_remote_code=allow_remote_code,
        checkpoint=checkpoint,
        media_domains=split_commas(media_domain),
    )
    found = _written(question, chosen, wanted, form=form, earlier=diff, explain=explain)
    _show(found, Output(output), write)
    _guard(chosen, max_usd_per_1k=max_usd_per_1k, max_usd_per_month=max_usd_per_month)


def _written(
    question: Question, chosen: Plan, wanted: ServeOptions, *, form: Form, earlier: Path | None, explain: bool
) -> Written:
    """The plan in the form that is asked for, and what is to be shown of it."""
    from vlmctl import library
    from vlmctl.cli.plan_page import Written
    from vlmctl.serving import manifest, summary
    from vlmctl.serving.engine_args import engine_arguments

    spec = library.find_model(chosen.placement.model, catalog=question.catalog)
    gpu = library.find_gpu(chosen.placement.gpu, catalog=question.catalog)
    figures = summary.summary(chosen)
    return Written(
        plan=chosen,
        assumptions=question.assumptions,
        summary=figures,
        diff=summary.diff(_earlier(earlier), figures) if earlier is not None else None,
        arguments=engine_arguments(chosen, spec, gpu, wanted),
        sections=question.explain(spec)[1] if explain else None,
        text=manifest.render(chosen, spec, gpu, form, wanted),
    )


def _show(found: Written, out: Output, write: Path | None) -> None:
    """Into a file where one is named; shown where none is, or where more than the plan is asked for."""
    from vlmctl.cli import plan_page
    from vlmctl.files import write_atomically

    if write is not None:
        write_atomically(write, found.text.encode())
        out.note(f"wrote {write}")
    blocks = plan_page.blocks(found)
    if out.format is Format.TABLE and not blocks:
        if write is None:
            out.raw(found.text)
        return
    out.show(found._asdict(), blocks or [Pre(found.text.rstrip())], rows=[plan_page.row(found)])


def _earlier(path: Path) -> PlanSummary:
    from vlmctl.files import read_whole
    from vlmctl.serving.summary import read_plan_summary

    try:
        text = read_whole(path).decode()
    except UnicodeDecodeError as error:
        raise InvalidFile(str(path), "is not text.", remedy="Give a file that `vlmctl plan` wrote.") from error
    return read_plan_summary(text, path=str(path))


def _guard(plan: Plan, *, max_usd_per_1k: float | None, max_usd_per_month: float | None) -> None:
    """Raise OverBudget where the plan costs more than a limit."""
    from vlmctl.units import show_usd

    cost = plan.cost
    if cost is None:
        return
    for what, found, limit in (
        ("per 1,000 requests", cost.usd_per_1k_requests, max_usd_per_1k),
        ("per month", cost.usd_per_month, max_usd_per_month),
    ):
        if limit is not None and found > limit:
            raise OverBudget(
                f"{plan.placement.model} costs {show_usd(found)} {what}, above {show_usd(limit)}.",
                remedy="Raise the limit, or ask `vlmctl recommend` with it.",
            )
