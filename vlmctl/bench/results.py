"""What a run measured, in the form of all measurements, with everything that made it: written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from vlmctl.bench.about import About
from vlmctl.bench.figures import StepFigures
from vlmctl.bench.load import Arrival
from vlmctl.bench.run import Report
from vlmctl.bench.statistics import Estimate
from vlmctl.files import write_atomically
from vlmctl.planning.accuracy import OPEN
from vlmctl.specs.measurements import SCHEMA, DescribedModel, Load, Measured, MeasuredWorkload, Measurement, Parallelism
from vlmctl.version import __version__

UNKNOWN = "unknown"
MEAN_SIZE = "Images of several sizes: image_width and image_height have their mean area and mean shape."
MEAN_COUNT = "Requests had different numbers of images, {:.3g} on average."
_UNUSUAL = re.compile(r"[^a-z0-9.]+")


def measurements(report: Report, about: About, *, now: datetime) -> tuple[Measurement, ...]:
    """A row for each step that answered something."""
    return tuple(_row(step, report, about, now) for step in report.steps if step.completed and step.requests_per_second)


def write_results(path: Path, rows: Iterable[Measurement], models: Mapping[str, DescribedModel] | None = None) -> None:
    """Write rows as a file of schema vlmctl.dev/measurements/v1; raises CannotWrite.

    `models`: what is known of those that no catalog holds, by the name that rows give them.
    """
    from vlmctl.catalog.measurements import model_lines  # YAML, which running a benchmark does not need

    lines = "".join(f"- {msgspec.json.encode(row).decode()}\n" for row in rows)
    head = f"# Written by vlmctl {__version__}.\nschema: {SCHEMA}\n{model_lines(models or {})}measurements:"
    write_atomically(path, (f"{head}\n{lines}" if lines else f"{head} []\n").encode())


def usable(about: About) -> str:
    """Why `calibrate` and `accuracy` could not use the rows; nothing where they can."""
    missing = [name for name, value in (("--catalog-model", about.model), ("--gpu", about.gpu)) if value is None]
    return f"Say {' and '.join(missing)}, or `vlmctl calibrate` and `accuracy` cannot use the rows." if missing else ""


def _row(step: StepFigures, report: Report, about: About, now: datetime) -> Measurement:
    model = about.model or report.server.checkpoint or report.model
    gpu = about.gpu or UNKNOWN
    closed = step.shape.arrival is Arrival.CLOSED
    load = f"c{step.shape.concurrency}" if closed else step.shape.label
    words = (model, f"{about.gpu_count}x{gpu}", load, f"{now:%Y%m%dt%H%M%S}", report.digest)
    return Measurement(
        id="-".join(_UNUSUAL.sub("-", word.lower()).strip("-") for word in words),
        source=f"vlmctl {__version__} bench, {now:%Y-%m-%d}",
        model=model,
        weights=about.weights,
        gpu=gpu,
        gpu_count=about.gpu_count,
        parallelism=about.parallelism or Parallelism(tensor=about.gpu_count),
        engine=about.engine or report.server.engine,
        engine_version=about.engine_version or report.server.engine_version,
        workload=_workload(step, report),
        load=Load(
            kind="closed" if closed else OPEN,
            concurrency=step.shape.concurrency if closed else None,
            requests=step.completed,
        ),
        measured=_measured(step),
        flags=_made_by(step, report, about, now),
    )


def _workload(step: StepFigures, report: Report) -> MeasuredWorkload:
    """What was sent as the server counted it, else as it was asked for. Images of several sizes: their mean."""
    asked, tokens = report.workload, step.tokens
    images = round(step.images / step.completed)
    size = report.image_size if images else None
    text = tokens.text_tokens
    return MeasuredWorkload(
        prompt_tokens=max(round(text / step.completed), 0) if text is not None else asked.prompt_tokens,
        output_tokens=max(round(tokens.output_tokens / step.completed), 1),
        images=images,
        image_width=size[0] if size is not None else None,
        image_height=size[1] if size is not None else None,
    )


def _measured(step: StepFigures) -> Measured:
    rate = step.requests_per_second
    return Measured(
        ttft_ms=_ms(step.ttft.mean if step.ttft else None),
        tpot_ms=_ms(step.tpot.mean if step.tpot else None),
        e2e_ms=_ms(step.e2e.mean if step.e2e else None),
        requests_per_second=rate.value if rate is not None else None,
        ttft_p95_ms=_ms(step.ttft.p95 if step.ttft else None),
        tpot_p95_ms=_ms(step.tpot.p95 if step.tpot else None),
        e2e_p50_ms=_ms(step.e2e.p50 if step.e2e else None),
        e2e_p95_ms=_ms(step.e2e.p95 if step.e2e else None),
    )


def _made_by(step: StepFigures, report: Report, about: About, now: datetime) -> dict[str, Any]:
    """Everything that made the row, and its figures with their intervals, for people and later tools."""
    return {
        "arguments": list(about.arguments),
        "model_revision": about.model_revision or UNKNOWN,
        "served_model": report.model,
        "server": msgspec.to_builtins(report.server),
        "date": now.isoformat(timespec="seconds"),
        "vlmctl": __version__,
        "seed": report.seed,
        "workload_hash": report.digest,
        "workload": msgspec.to_builtins(report.workload),
        "trace": msgspec.to_builtins(report.trace),
        "folder_sha256": report.folder_sha256,
        "step": msgspec.to_builtins(step),
        "notes": [
            *report.notes,
            *([MEAN_SIZE] if report.mixed_sizes else []),
            *([MEAN_COUNT.format(step.images / step.completed)] if step.images % step.completed else []),
        ],
        "interrupted": report.interrupted,
    }


def _ms(estimate: Estimate | None) -> float | None:
    """Milliseconds; None for what is below a microsecond: tokens that came in one piece tell no time between them."""
    return (round(estimate.value * 1000, 3) or None) if estimate is not None else None
