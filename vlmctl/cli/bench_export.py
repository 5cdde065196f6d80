"""`vlmctl bench export`: what replicas measured of themselves in a cluster, as a measurement file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.options import Format, OutputOption
from vlmctl.cli.output import Block, Output, Table, Text
from vlmctl.errors import InvalidValue
from vlmctl.files import read_whole

if TYPE_CHECKING:
    from vlmctl.library.exported import KeptBenchmark

app = options.command_app()

STDIN = "-"
UNPLACED = (
    "`vlmctl calibrate` cannot use the rows of {}: the catalog does not hold it, and no VLMDeployment that was read "
    "gives its spec.model.facts. Its config.json may stand in the file, under `models`."
)


@app.command()
def export(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="What `kubectl get vlmbenchmarks -o json` or yaml wrote, - for stdin; else the cluster is asked.",
            show_default=False,
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Only these; else of all namespaces.", show_default=False)
    ] = None,
    write: Annotated[
        Path | None, options.option("Write the measurements, for `vlmctl calibrate` and `accuracy`.", metavar="FILE")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Export measurements from a cluster.

    The operator keeps what replicas measured before they took traffic. Written to a file and taken in with `vlmctl
    calibrate`, they turn the answers near them to measured. Asking the cluster needs the `cluster` extra.

    Models that the catalog does not hold are written along as the VLMDeployments there describe them; of a file, where
    it holds these too.

    JSON: an object with benchmarks (each with namespace, name and spec without its rows), measurements and models. CSV:
    the benchmarks.
    """
    from vlmctl import library
    from vlmctl.bench.results import write_results
    from vlmctl.library.exported import cluster_benchmarks, read_benchmarks, unplaced

    found = cluster_benchmarks(namespace) if file is None else read_benchmarks(_content(file), file)
    kept = tuple(each for each in found.benchmarks if namespace is None or each.namespace == namespace)
    if not kept:
        where = f" in namespace {namespace}" if namespace is not None else ""
        raise InvalidValue(f"there is no VLMBenchmark{where}.", remedy="See `kubectl get vlmbenchmarks -A`.")
    rows = [row for each in kept for row in each.rows]
    out = Output(output)
    table = [_line(each) for each in kept]
    data = {"benchmarks": [_plain(each) for each in kept], "measurements": rows, "models": found.described}
    out.show(data, _blocks(table, write), rows=table)
    if write is not None:
        write_results(write, rows, found.described)
        out.note(f"wrote {write}")
    if missing := unplaced(found._replace(benchmarks=kept), library.load_catalog()):
        out.note(UNPLACED.format(", ".join(missing)))


def _content(file: str) -> bytes:
    if file == STDIN:
        return sys.stdin.buffer.read()
    return read_whole(Path(file))


def _plain(kept: KeptBenchmark) -> dict[str, Any]:
    from vlmctl.cli.output import plain

    data: dict[str, Any] = plain(kept)
    del data["rows"], data["spec"]["rows"]
    return data


def _line(kept: KeptBenchmark) -> dict[str, Any]:
    key, spec = kept.spec.key, kept.spec
    return {
        "namespace": kept.namespace,
        "name": kept.name,
        "model": key.model,
        "gpu": spec.gpu,
        "gpu_count": key.gpu_count,
        "precision": key.precision,
        "concurrency": spec.concurrency,
        "requests_per_second": spec.requests_per_second,
        "interval": spec.interval,
        "measured": spec.measured,
        "rows": len(kept.rows),
    }


def _blocks(lines: list[dict[str, Any]], write: Path | None) -> list[Block]:
    from vlmctl.cli.wording import gpus

    headers = ("Model", "On", "Weights", "In flight", "req/s", "95% interval", "Measured", "Rows")
    rows = [
        (
            each["model"],
            gpus(each["gpu"], each["gpu_count"], 1),
            each["precision"],
            str(each["concurrency"]),
            each["requests_per_second"],
            each["interval"],
            each["measured"],
            str(each["rows"]),
        )
        for each in lines
    ]
    use = "" if write is not None else "--write FILE writes them for `vlmctl calibrate` and `accuracy`."
    table = Table(headers, rows, right=("In flight", "req/s", "95% interval", "Rows"))
    return [table, Text(use)] if use else [table]
