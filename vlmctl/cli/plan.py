"""`vlmctl plan`: the chosen placement, written out for those who run it, compared, and kept in budget."""

# ruff: noqa: ARG001  # the options are read from the context, all at once

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption, complete_models
from vlmctl.cli.output import Block, Heading, Output, Pre, Table, Text
from vlmctl.errors import InvalidFile, OverBudget
from vlmctl.serving.forms import Form
from vlmctl.units import split_commas

if TYPE_CHECKING:
    from vlmctl.planning.explain import Section
    from vlmctl.serving.engine_args import ServeArgument
    from vlmctl.serving.summary import PlanDiff, PlanSummary
    from vlmctl.specs.estimates import Plan

app = options.command_app()

NAMES = (*options.WORKLOAD, *options.PLACE, *options.OWNERSHIP, *options.MODEL_CONDITIONS)


@app.command()
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
    image: options.ImageOption = None,
    images: options.ImagesOption = None,
    video: options.VideoOption = None,
    prompt_tokens: options.PromptTokensOption = None,
    output_tokens: options.OutputTokensOption = None,
    task: options.TaskOption = None,
    language: options.LanguageOption = None,
    license: options.LicenseOption = None,
    max_params: options.MaxParamsOption = None,
    min_context: options.MinContextOption = None,
    multi_image: options.MultiImageOption = False,
    needs: options.NeedsOption = None,
    min_score: options.MinScoreOption = None,
    family: options.FamilyOption = None,
    include_unverified: options.UnverifiedOption = False,
    prefer: options.PreferOption = None,
    rps: options.RpsOption = None,
    concurrency: options.ConcurrencyOption = None,
    ttft: options.TtftOption = None,
    tpot: options.TpotOption = None,
    gpu: options.GpuOption = None,
    max_gpus: options.MaxGpusOption = None,
    provider: options.ProviderOption = None,
    region: options.RegionOption = None,
    spot: options.SpotOption = False,
    quantization: options.QuantizationOption = None,
    owned: options.OwnedOption = None,
    purchase_usd: options.PurchaseOption = None,
    years: options.YearsOption = None,
    pue: options.PueOption = None,
    power_share: options.PowerShareOption = None,
    kwh_usd: options.KwhOption = None,
    ops_usd_per_month: options.OpsOption = None,
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
    from vlmctl.files import write_atomically
    from vlmctl.serving import manifest, summary
    from vlmctl.serving.engine_args import ServeOptions, engine_arguments

    known = library.load_catalog(catalog)
    question = library.Question(options.wishes(context, NAMES, require), catalog=known)
    chosen = question.plan(model) if model is not None else question.plan_best(allow_remote_code=allow_remote_code)
    spec = library.find_model(chosen.placement.model, catalog=known)
    wanted = ServeOptions(
        needs=tuple(need for need in question.requirements.needs if need in ("thinking", "tools")),
        allow_remote_code=allow_remote_code,
        checkpoint=checkpoint,
        media_domains=split_commas(media_domain),
    )
    gpu_spec = library.find_gpu(chosen.placement.gpu, catalog=known)
    text = manifest.render(chosen, spec, gpu_spec, form, wanted)
    figures = summary.summary(chosen)
    change = summary.diff(_earlier(diff), figures) if diff is not None else None
    arguments = engine_arguments(chosen, spec, gpu_spec, wanted)
    sections = question.explain(spec)[1] if explain else None
    data = {
        "plan": chosen,
        "assumptions": question.assumptions,
        "summary": figures,
        "diff": change,
        "arguments": arguments,
        "sections": sections,
        "text": text,
    }
    out = Output(output)
    if write is not None:
        write_atomically(write, text.encode())
        out.note(f"wrote {write}")
    shown = [] if change is None else _changes(change)
    if sections is not None:
        shown += _explained(chosen, arguments, sections)
    if output is Format.TABLE and not shown and write is None:
        out.raw(text)
    elif write is None or output is not Format.TABLE or shown:
        out.show(data, shown or [Pre(text.rstrip())], rows=[_row(figures, change)])
    _guard(chosen, max_usd_per_1k=max_usd_per_1k, max_usd_per_month=max_usd_per_month)


def _earlier(path: Path) -> PlanSummary:
    from vlmctl.serving.summary import read_plan_summary

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidFile(str(path), f"cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidFile(str(path), "is not text.", remedy="Give a file that `vlmctl plan` wrote.") from error
    return read_plan_summary(text, path=str(path))


def _row(figures: PlanSummary, change: PlanDiff | None) -> dict[str, Any]:
    from vlmctl.cli.output import plain

    row: dict[str, Any] = plain(figures)
    if change is not None:
        row |= {f"diff_{name}": value for name, value in plain(change).items() if name != "changed"}
    return row


def _explained(plan: Plan, arguments: Sequence[ServeArgument], sections: Sequence[Section]) -> list[Block]:
    """The engine's whole command line with its reasons, and the terms of the estimate."""
    from vlmctl.cli.explain import term_tables, title
    from vlmctl.serving.engine_args import ENGINE_VERSION

    cells = [(" ".join(each.words), each.reason) for each in arguments]
    words = Table(("Argument", "Reason"), cells)
    return [Text(title(plan)), Heading(f"Arguments of vLLM {ENGINE_VERSION}"), words, *term_tables(sections)]


def _changes(change: PlanDiff) -> list[Block]:
    from vlmctl.units import show_gib

    rows = [
        ("GPUs", f"{change.gpus:+d}"),
        ("memory taken by the engine", _signed(change.reserved_bytes, show_gib)),
        ("of it weights, activations and graphs", _signed(change.occupied_bytes, show_gib)),
        ("$ per hour", _signed_usd(change.usd_per_hour)),
        ("$ per 1,000 requests", _signed_usd(change.usd_per_1k_requests)),
        ("$ per month", _signed_usd(change.usd_per_month)),
    ]
    blocks: list[Block] = [Heading("Against the earlier plan"), Table(("What", "Change"), rows, right=("Change",))]
    if change.changed:
        blocks.append(Table(("Setting", "Before", "Now"), change.changed))
    else:
        blocks.append(Text("Model, checkpoint, GPU and replicas are the same."))
    return blocks


def _signed(value: float, show: Any) -> str:
    return f"{'-' if value < 0 else '+'}{show(abs(value))}"


def _signed_usd(value: float | None) -> str:
    from vlmctl.units import show_usd

    return "unknown" if value is None else _signed(value, show_usd)


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
