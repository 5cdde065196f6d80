"""`vlmctl fit`: the memory ledger of a model on a GPU as bars, and the ways out where it does not fit."""

# ruff: noqa: ARG001  # the options are read from the context, all at once

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, ModelArgument, OutputOption
from vlmctl.cli.output import Block, Heading, Output, Pre, Table, Text
from vlmctl.errors import NothingFits
from vlmctl.units import split_commas

if TYPE_CHECKING:
    from vlmctl.specs.answers import FitReport

app = options.command_app()

BAR_WIDTH = 30  # columns of the bar that stands for the whole GPU
LABEL_WIDTH = 20
REMARK_WIDTH = 38  # what is left of a page
NAMES = ("task", "image", "images", "video", "prompt_tokens", "output_tokens")


@app.command()
def fit(
    context: typer.Context,
    model: ModelArgument,
    gpu: options.GpuOption = None,
    gpu_count: Annotated[
        int | None, options.option("GPUs of one replica (tensor parallel).", min=1, max=1024, metavar="N")
    ] = None,
    quantization: Annotated[
        str | None,
        options.option("Precision of the checkpoint, such as fp8; the model's own if not said.", metavar="NAME"),
    ] = None,
    image: options.ImageOption = None,
    images: options.ImagesOption = None,
    video: options.VideoOption = None,
    prompt_tokens: options.PromptTokensOption = None,
    output_tokens: options.OutputTokensOption = None,
    task: options.TaskOption = None,
    require: options.RequireOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say whether a model fits a GPU.

    The memory ledger as bars, the largest concurrency and context, and when it does not fit the shortfall and the
    nearest ways out, each checked again. Without --gpu: the fewest of each GPU that hold it. Exit code 3 where it does
    not fit.

    JSON: an object with models, assumptions and reports (each with model, gpu, gpu_count, quantization, fits, memory,
    host, shortfall_bytes, maximum_concurrency, maximum_context_tokens, runs, ways_out). CSV: one line a report.
    """
    from vlmctl import library

    known = library.load_catalog(catalog)
    models = library.find_models([model], catalog=known)
    question = library.Question(options.wishes(context, NAMES, require), catalog=known)
    gpus = split_commas(gpu)
    reports: list[FitReport] = []
    blocks: list[Block] = [Text(f"Assumed: {'; '.join(question.assumptions)}.")] if question.assumptions else []
    for spec in models:
        if gpus:
            found = [question.fit(spec, each, gpu_count=gpu_count or 1, quantization=quantization) for each in gpus]
            blocks += [block for report in found for block in _report_blocks(report)]
        else:
            found = list(question.fit_everywhere(spec, gpu_count=gpu_count, quantization=quantization))
            blocks += _overview(spec.id, found)
        reports += found
    data = {"models": [spec.id for spec in models], "assumptions": question.assumptions, "reports": reports}
    Output(output).show(data, blocks, rows=[_row(report) for report in reports])
    if not any(report.fits for report in reports):
        raise _refusal(reports[0]) if gpus else NothingFits(f"{model} fits no GPU of the catalog.")


def _row(report: FitReport) -> dict[str, object]:
    names = ("model", "gpu", "gpu_count", "quantization", "fits", "request_tokens", "image_tokens")
    more = ("shortfall_bytes", "maximum_concurrency", "maximum_context_tokens", "runs")
    return {name: getattr(report, name) for name in (*names, *more)}


def _report_blocks(report: FitReport) -> list[Block]:
    from vlmctl.units import show_gib

    memory = report.memory
    title = f"{report.model}, {report.quantization}, on {report.gpu_count}x {report.gpu}: memory of one GPU"
    blocks: list[Block] = [Heading(title), Pre(_bars(report))]
    request = f"{report.request_tokens:,} tokens ({report.image_tokens:,} of images)"
    if report.runs:
        blocks.append(Text(f"The engine does not run it: {report.runs}."))
    elif report.fits:
        blocks.append(
            Text(
                f"It fits: {report.maximum_concurrency} requests of {request} at once, or one sequence of "
                f"{report.maximum_context_tokens:,} tokens. One request holds {show_gib(memory.kv_bytes_per_sequence)} "
                "of KV cache."
            )
        )
    else:
        left = max(0, memory.kv_cache_bytes)
        blocks.append(
            Text(
                f"It does not fit: {show_gib(left)} are left for the KV cache, and one request of {request} takes "
                f"{show_gib(memory.kv_bytes_per_sequence)}. In all {show_gib(report.shortfall_bytes)} short per GPU."
            )
        )
    if report.ways_out:
        rows = [
            (way.change, f"{way.gpu_count}x {way.gpu}", way.quantization, str(way.concurrency))
            for way in report.ways_out
        ]
        headers = ("Change", "GPU", "Weights", "Requests at once")
        blocks += [Heading("Ways out, each checked again"), Table(headers, rows, right=("Requests at once",))]
    blocks.append(Text(_host(report)))
    return [*blocks, *(Text(warning, bullet=True) for warning in report.warnings)]


def _host(report: FitReport) -> str:
    from vlmctl.units import show_gib

    items = ", ".join(f"{item.name} {show_gib(item.bytes)}" for item in report.host.items)
    return f"Host memory of one replica: {show_gib(report.host.memory_bytes)} for the pod, with a margin ({items})."


def _bars(report: FitReport) -> str:
    """The ledger, a line an item, drawn to the scale of one GPU's memory."""
    memory = report.memory
    lines = [_bar(item.name, item.bytes, memory.gpu_bytes, item.formula) for item in memory.items]
    lines.append(_bar("KV cache", memory.kv_cache_bytes, memory.gpu_bytes, "what is left"))
    lines.append(
        _bar("outside the engine", memory.gpu_bytes - memory.budget_bytes, memory.gpu_bytes, "not given to it")
    )
    lines.append(_bar("GPU memory", memory.gpu_bytes, memory.gpu_bytes, ""))
    return "\n".join(lines)


def _bar(name: str, count: int, whole: int, remark: str) -> str:
    from vlmctl.units import show_gib

    length = round(BAR_WIDTH * max(0, min(count, whole)) / whole)
    bar = ("#" * length or ("-" if count < 0 else ".")).ljust(BAR_WIDTH)
    short = remark if len(remark) <= REMARK_WIDTH else remark[: REMARK_WIDTH - 3] + "..."
    return f"{name:<{LABEL_WIDTH}}{bar}{show_gib(count):>10}  {short}".rstrip()


def _overview(model: str, reports: Sequence[FitReport]) -> list[Block]:
    rows = [
        (
            report.gpu,
            str(report.gpu_count),
            report.quantization,
            "yes" if report.fits else report.runs or "no",
            str(report.maximum_concurrency) if report.fits else "-",
            f"{report.maximum_context_tokens:,}" if report.fits else "-",
        )
        for report in reports
    ]
    headers = ("GPU", "Count", "Weights", "Fits", "Requests at once", "Longest context")
    table = Table(headers, rows, right=("Count", "Requests at once", "Longest context"))
    note = "Count: the fewest GPUs of one machine that hold it. `vlmctl fit MODEL --gpu GPU` draws the ledger."
    warnings = dict.fromkeys(warning for report in reports for warning in report.warnings)
    return [Heading(model), table, Text(note), *(Text(warning, bullet=True) for warning in warnings)]


def _refusal(report: FitReport) -> NothingFits:
    from vlmctl.units import show_gib

    where = f"{report.gpu_count}x {report.gpu}"
    reason = report.runs or f"{show_gib(report.shortfall_bytes)} short per GPU"
    remedy = f"Nearest way out: {report.ways_out[0].change}." if report.ways_out else ""
    return NothingFits(f"{report.model} does not fit {where}: {reason}.", remedy=remedy)
