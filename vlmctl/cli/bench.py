"""`vlmctl bench`: load-test a server with images: throughput, latencies, dollars, and the error of the estimate."""

# ruff: noqa: ARG001  # the options are read from the context, by groups

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Block, Output
from vlmctl.errors import CannotWrite, InvalidValue, NotReachable

if TYPE_CHECKING:
    from vlmctl.bench.endpoint import Endpoint
    from vlmctl.bench.run import Report

app = options.command_app()

LADDER = "steps around the planned knee or doubling, until throughput is flat or an objective breaks"


@app.command()
def bench(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="An OpenAI-compatible server, such as http://HOST:8000.")],
    model: Annotated[str | None, options.option("The model, where several are served.", metavar="NAME")] = None,
    key: Annotated[str | None, options.option("Environment variable with the API key.", metavar="VARIABLE")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Trust any certificate.")] = False,
    image: Annotated[
        list[str] | None,
        options.option(
            "Size of an image in each request, or a mixture: 1280x720=70,640x480=30; repeatable.", metavar="WxH"
        ),
    ] = None,
    images: options.ImagesOption = None,
    content: Annotated[
        list[str] | None, options.option("What images show: photo, document or chart; repeatable.", metavar="WHAT")
    ] = None,
    image_format: Annotated[str | None, options.option("jpeg, if not said, or png.", metavar="NAME")] = None,
    quality: Annotated[int | None, options.option("Of JPEG, 1 to 100; 85 if not said.", metavar="N")] = None,
    folder: Annotated[Path | None, options.option("Images of your own instead.", metavar="DIR")] = None,
    reuse_images: Annotated[
        int | None, options.option("So many different images in all, to measure caches; else each is new.", metavar="N")
    ] = None,
    prompt_tokens: options.PromptTokensOption = None,
    shared_prefix: Annotated[
        int | None, options.option("Of them the same in all requests, to measure the prefix cache.", metavar="N")
    ] = None,
    output_tokens: Annotated[int | None, options.option("Tokens of an answer, 256 if not said.", metavar="N")] = None,
    workload: Annotated[
        Path | None, options.option("All of this from a YAML file; options given here win.", metavar="FILE")
    ] = None,
    against: Annotated[
        Path | None,
        options.option("A plan: its requests, objectives and knee, and how far it is off.", metavar="PLAN"),
    ] = None,
    concurrency: Annotated[
        list[int] | None, options.option(f"Requests in flight; repeatable. Else {LADDER}.", metavar="N")
    ] = None,
    rate: Annotated[
        list[float] | None, options.option("Requests sent per second, answered or not; repeatable.", metavar="N")
    ] = None,
    arrival: Annotated[
        str | None, options.option("Of --rate: poisson, if not said, gamma or constant.", metavar="NAME")
    ] = None,
    burstiness: Annotated[
        float | None, options.option("Of gamma: 1 is Poisson, below it burstier.", metavar="N")
    ] = None,
    trace: Annotated[
        str | None, options.option("Replay a trace's requests at its times: a CSV file or its name.", metavar="TRACE")
    ] = None,
    scale: Annotated[str | None, options.option("Times as many requests of the trace.", metavar="FACTOR")] = None,
    requests: Annotated[
        int | None, options.option("Requests of each step, instead of by time and interval.", metavar="N")
    ] = None,
    step: Annotated[str | None, options.option("Time of a step at most, 60s if not said.", metavar="DURATION")] = None,
    deadline: Annotated[
        str | None, options.option("Time of all steps together, 10m if not said.", metavar="DURATION")
    ] = None,
    interval: Annotated[
        float | None,
        options.option("Half the 95% interval of the throughput over it that ends a step; 0.05.", metavar="SHARE"),
    ] = None,
    max_errors: Annotated[
        float | None, options.option("Share of failed requests that ends the run; 0.1.", metavar="SHARE")
    ] = None,
    max_concurrency: Annotated[
        int | None, options.option("Highest step of the ladder, 256 if not said.", metavar="N")
    ] = None,
    warm_up: Annotated[int | None, options.option("Requests before anything is measured; 2.", metavar="N")] = None,
    seed: Annotated[int | None, options.option("Send the requests of an earlier run again.", metavar="N")] = None,
    ttft: options.TtftOption = None,
    tpot: options.TpotOption = None,
    price: Annotated[
        str | None, options.option("Dollars per hour of the server; else the plan's.", metavar="USD")
    ] = None,
    catalog_model: Annotated[
        str | None, options.option("The catalog's name of the model, for the results.", metavar="MODEL")
    ] = None,
    model_revision: Annotated[str | None, options.option("Of the checkpoint, for the results.", metavar="NAME")] = None,
    weights: Annotated[str | None, options.option("Precision, bf16 if not said.", metavar="NAME")] = None,
    gpu: Annotated[str | None, options.option("What it runs on, for the results.", metavar="GPU")] = None,
    gpu_count: Annotated[int | None, options.option("How many of them.", metavar="N")] = None,
    engine_argument: Annotated[
        list[str] | None, options.option("An argument of the engine, for the results; repeatable.", metavar="ARG")
    ] = None,
    write: Annotated[
        Path | None, options.option("Write the results, for `vlmctl calibrate` and `accuracy`.", metavar="FILE")
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Load-test a server with images.

    Prompts and images are new in every request, so that no cache flatters. Each figure has its 95% interval and the
    number of requests behind it; with --rate or --trace latency counts from when a request was to be sent. Ctrl-C keeps
    what was measured. Needs the `bench` extra.

    JSON: an object with url, model, server, workload, objectives, seed, steps, best (place in steps), drift, money,
    notes, interrupted and measurements. CSV: the steps. Exit code 4 where no request was answered or too many failed.
    """
    from vlmctl.bench.results import measurements, write_results
    from vlmctl.cli import bench_page, bench_setup
    from vlmctl.cli.bench_progress import Progress

    said = {name: value for name, value in context.params.items() if value is not None}
    planned = bench_setup.planned(against)
    settings, arrivals = bench_setup.settings(said, planned)
    about = bench_setup.about(said, planned, catalog)
    usd_per_hour = bench_setup.usd_per_hour(price, planned)
    endpoint = _endpoint(url, model, key, insecure=insecure)
    if write is not None and not write.parent.is_dir():
        raise CannotWrite(f"cannot write {write}: there is no folder {write.parent}.")
    report = bench_setup.run(endpoint, settings, arrivals, Progress())
    now = bench_setup.now()
    rows = measurements(report, about, now=now)
    out = Output(output)
    found = bench_page.Found(report=report, about=about, planned=planned, usd_per_hour=usd_per_hour, rows=rows)
    blocks: list[Block] = bench_page.blocks(found, write) if out.for_people else []
    if report.steps:
        out.show(bench_page.data(found), blocks, rows=bench_page.flat(found))
    if write is not None and rows:
        write_results(write, rows)
        out.note(f"wrote {write}")
    _end(report)


def _endpoint(url: str, model: str | None, key: str | None, *, insecure: bool) -> Endpoint:
    from vlmctl.bench.endpoint import Endpoint

    if key is not None and key not in os.environ:
        raise InvalidValue(f"there is no environment variable {key}.", remedy="Set it to the API key.")
    return Endpoint(url=url, model=model, api_key=os.environ[key] if key is not None else None, verify_tls=not insecure)


def _end(report: Report) -> None:
    """Exit as the run ended; raises NotReachable where the server failed."""
    from vlmctl.bench.steps import BY_ERRORS
    from vlmctl.cli.errors import EXIT_INTERRUPTED

    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    failed = [failure for each in report.steps for failure in each.failures]
    answered = sum(each.completed for each in report.steps)
    if report.steps and (not answered or report.steps[-1].ended_by == BY_ERRORS):
        count = sum(each.count for each in failed)
        why = failed[-1].message if failed else "time was up before the first answer; raise --deadline and --step."
        raise NotReachable(f"{count} of {count + answered} requests failed: {why}")
