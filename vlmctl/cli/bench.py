"""`vlmctl bench`: load-test a server with images: throughput, latencies, dollars, and the error of the estimate."""

# ruff: noqa: ARG001  # the options are read from the context, by groups

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vlmctl.cli import bench_options as own
from vlmctl.cli import options
from vlmctl.cli.extras import needing_bench
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Block, Output
from vlmctl.errors import CannotWrite, NotReachable

if TYPE_CHECKING:
    from vlmctl.bench.endpoint import Endpoint
    from vlmctl.bench.run import Report
    from vlmctl.cli.bench_page import Found

app = options.command_app()


@app.command()
def bench(
    context: typer.Context,
    url: own.UrlArgument,
    model: options.ServedModelOption = None,
    key: options.KeyOption = None,
    header: options.HeaderOption = None,
    insecure: own.InsecureOption = False,
    image: own.MixedImageOption = None,
    images: options.ImagesOption = None,
    content: own.ContentOption = None,
    image_format: own.ImageFormatOption = None,
    quality: own.QualityOption = None,
    folder: own.FolderOption = None,
    reuse_images: own.ReuseImagesOption = None,
    prompt_tokens: options.PromptTokensOption = None,
    shared_prefix: own.SharedPrefixOption = None,
    output_tokens: own.OutputTokensOption = None,
    workload: own.WorkloadOption = None,
    against: own.AgainstOption = None,
    concurrency: own.ConcurrencyOption = None,
    rate: own.RateOption = None,
    arrival: own.ArrivalOption = None,
    burstiness: own.BurstinessOption = None,
    trace: own.TraceOption = None,
    scale: own.ScaleOption = None,
    requests: own.RequestsOption = None,
    step: own.StepOption = None,
    deadline: own.DeadlineOption = None,
    interval: own.IntervalOption = None,
    max_errors: own.MaxErrorsOption = None,
    max_concurrency: own.MaxConcurrencyOption = None,
    warm_up: own.WarmUpOption = None,
    seed: own.SeedOption = None,
    ttft: options.TtftOption = None,
    tpot: options.TpotOption = None,
    price: own.PriceOption = None,
    catalog_model: own.CatalogModelOption = None,
    model_revision: own.ModelRevisionOption = None,
    weights: own.WeightsOption = None,
    gpu: own.GpuOption = None,
    gpu_count: own.GpuCountOption = None,
    engine_argument: own.EngineArgumentOption = None,
    write: own.WriteOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Load-test a server with images.

    Prompts and images are new in every request, so that no cache flatters. Each figure has its 95% interval and the
    number of requests behind it; with --rate or --trace latency counts from when a request was to be sent. Ctrl-C keeps
    what was measured. Needs the `bench` extra.

    JSON: an object with url, model, server, workload, objectives, seed, shape, steps, best (place in steps), drift,
    money, notes, interrupted and measurements; progress on stderr, where that is no terminal, is one a line too. CSV:
    the steps. Exit code 4 where no request was answered or too many failed.
    """
    from vlmctl.bench import endpoint

    said = {name: value for name, value in context.params.items() if value is not None}
    server = endpoint.Endpoint(
        url=url,
        model=model,
        api_key=endpoint.key_from(key),
        verify_tls=not insecure,
        headers=endpoint.parse_headers(header or ()),
    )
    out = Output(output)
    found = _measured(server, said, against, catalog, write, machine=output is Format.JSON)
    _show(found, write, out)
    _end(found.report)


def _measured(
    server: Endpoint,
    said: Mapping[str, Any],
    against: Path | None,
    catalog: list[Path] | None,
    write: Path | None,
    *,
    machine: bool,
) -> Found:
    """The run that the options ask for, whose every mistake is told before the first request."""
    with needing_bench("benchmarking"):
        from vlmctl.bench.results import measurements
        from vlmctl.cli import bench_page, bench_setup
        from vlmctl.cli.bench_progress import Progress

    planned = bench_setup.planned(against)
    settings, arrivals = bench_setup.settings(said, planned)
    about = bench_setup.about(said, planned, catalog)
    usd_per_hour = bench_setup.usd_per_hour(said.get("price"), planned)
    if write is not None and not write.parent.is_dir():
        raise CannotWrite(f"cannot write {write}: there is no folder {write.parent}.")
    report = bench_setup.run(server, settings, arrivals, Progress(machine=machine))
    rows = measurements(report, about, now=bench_setup.now())
    return bench_page.Found(report=report, about=about, planned=planned, usd_per_hour=usd_per_hour, rows=rows)


def _show(found: Found, write: Path | None, out: Output) -> None:
    """Show the answer, and write the file that was asked for."""
    from vlmctl.bench.results import write_results
    from vlmctl.cli import bench_page

    blocks: list[Block] = bench_page.blocks(found, write) if out.for_people else []
    out.show(bench_page.data(found), blocks, rows=bench_page.flat(found))
    if write is not None and found.rows:
        write_results(write, found.rows)
        out.note(f"wrote {write}")
    elif write is not None:
        out.note(f"did not write {write}: no step was answered")


def _end(report: Report) -> None:
    """Exit as the run ended; raises NotReachable where the server failed."""
    from vlmctl.bench.steps import BY_ERRORS
    from vlmctl.cli.errors import EXIT_INTERRUPTED

    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not report.steps:
        raise NotReachable("time was up before the first step.", remedy="Raise --deadline.")
    failed = [failure for each in report.steps for failure in each.failures]
    answered = sum(each.completed for each in report.steps)
    if not answered or report.steps[-1].ended_by == BY_ERRORS:
        count = sum(each.count for each in failed)
        why = failed[-1].message if failed else "time was up before the first answer; raise --deadline and --step."
        raise NotReachable(f"{count} of {count + answered} requests failed: {why}")
