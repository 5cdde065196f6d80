"""`vlmctl calibrate`: your own measurements correct the estimates that are near them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Block, Heading, Output, Table, Text

if TYPE_CHECKING:
    from vlmctl.library.calibrating import AnswerSide, Calibrated, ChangedAnswer, Point

app = options.command_app()

ROWS_NAMED = 3  # of those left out for one reason; JSON names every row


@app.command()
def calibrate(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="Files of schema vlmctl.dev/measurements/v1.")
    ],
    catalog_overlay: Annotated[
        Path | None,
        options.option("Overlay to keep them in, made where it is not there; else your data folder.", metavar="DIR"),
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Take your own measurements in.

    They are kept in an overlay of the catalog, and from then on the answers of recommend, cost, plan and explain that
    are near them say measured or calibrated: a measurement moves its own answer nearly all the way, near ones a part of
    it, far ones not at all. Rows of the same id replace earlier ones; removing a row takes it back. Models that the
    catalog does not hold are those that the file describes; rows that cannot be predicted are named and left out.

    JSON: an object with path, points (each with id, model, weights, gpu, gpu_count, basis and requests_per_second,
    ttft_seconds and tpot_seconds as estimated, measured and calibrated), answers (model, gpu, the request, before and
    after) and refused (id, reason). CSV: the points.
    """
    from vlmctl import library
    from vlmctl.cli.output import plain

    overlays = [*(catalog or []), *([catalog_overlay] if catalog_overlay and catalog_overlay.is_dir() else [])]
    found = library.calibrate(results, overlay=catalog_overlay, catalog=library.load_catalog(overlays))
    rows = [_flat(plain(point)) for point in found.points]
    Output(output).show(found, _blocks(found, catalog_overlay), rows=rows)


def _flat(point: dict[str, object]) -> dict[str, object]:
    """One point as a line of CSV."""
    flat: dict[str, object] = {}
    for name, value in point.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{figure}": number for figure, number in value.items()}
        else:
            flat[name] = value
    return flat


def _blocks(found: Calibrated, overlay: Path | None) -> list[Block]:
    headers = ("Measurement", "Model", "On", "Figure", "Estimated", "Measured", "Now", "Basis")
    rows = [row for point in found.points for row in _point_rows(point)]
    blocks: list[Block] = []
    if found.points:
        blocks = [Table(headers, rows, right=("Estimated", "Measured", "Now")), *_answer_blocks(found.answers)]
    if found.refused:
        blocks.append(Heading(f"Left out: {len(found.refused):,} of {len(found.refused) + len(found.points):,} rows"))
        blocks += [Text(text, bullet=True) for text in _reasons(found)]
    if not found.points:
        return [*blocks, Text("Nothing was taken in.")]
    use = f"Answers with `--catalog {overlay}` take them in." if overlay is not None else "Answers now take them in."
    count = len(found.points)
    are = "measurement is" if count == 1 else "measurements are"
    return [*blocks, Text(f"{count:,} {are} kept in {found.path}. {use}")]


def _reasons(found: Calibrated) -> list[str]:
    """Each reason once, with the rows that it is of, or the first and how many more."""
    ids: dict[str, list[str]] = {}
    for each in found.refused:
        ids.setdefault(each.reason, []).append(each.id)
    return [
        f"{', '.join(rows) if len(rows) <= ROWS_NAMED else f'{rows[0]} and {len(rows) - 1:,} more'}: {reason}"
        for reason, rows in ids.items()
    ]


def _point_rows(point: Point) -> list[tuple[str, ...]]:
    """A line for each figure that was measured."""
    from vlmctl.cli.wording import gpus
    from vlmctl.units import show_seconds

    sides = (point.estimated, point.measured, point.calibrated)
    lines: list[tuple[str, list[float | None], Callable[[float], str]]] = [
        ("req/s", [each.requests_per_second for each in sides], _rate),
        ("TTFT", [each.ttft_seconds for each in sides], show_seconds),
        ("TPOT", [each.tpot_seconds for each in sides], show_seconds),
    ]
    where = f"{gpus(point.gpu, point.gpu_count, 1)}, {point.weights}"
    found: list[tuple[str, ...]] = []
    for figure, values, show in lines:
        if values[1] is not None:
            about = (point.id, point.model, where) if not found else ("", "", "")
            shown = [show(value) if value is not None else "" for value in values]
            found.append((*about, figure, *shown, point.basis.value if not found else ""))
    return found


def _answer_blocks(answers: Sequence[ChangedAnswer]) -> list[Block]:
    if not answers:
        return [Text("No answer to the requests that were measured changes.")]
    headers = ("Answer", "Request", "", "GPU", "req/s", "TTFT p95", "$/1k", "Basis")
    rows = []
    for each in answers:
        limit = f" on {each.gpu}" if each.gpu is not None else ""
        request = f"{each.image_tokens:,} image, {each.prompt_tokens:,} in, {each.output_tokens:,} out"
        rows.append((each.model + limit, request, "before", *_side(each.before)))
        rows.append(("", "", "now", *_side(each.after)))
    title = "Some answers that change (the cheapest placement, 80% busy)"
    return [Heading(title), Table(headers, rows, right=("req/s", "TTFT p95", "$/1k"))]


def _side(side: AnswerSide) -> tuple[str, ...]:
    from vlmctl.cli.wording import gpus
    from vlmctl.units import show_seconds, show_usd

    band = f", half within {side.error_median:.0%}" if side.error_median is not None else ""
    return (
        f"{gpus(side.gpu, side.gpu_count, 1)}, {side.quantization}",
        _rate(side.requests_per_second),
        show_seconds(side.ttft_p95_seconds),
        show_usd(side.usd_per_1k_requests) if side.usd_per_1k_requests is not None else "",
        side.basis.value + band,
    )


def _rate(requests_per_second: float) -> str:
    return f"{requests_per_second:.3g}"
