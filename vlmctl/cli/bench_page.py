"""What `vlmctl bench` found, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vlmctl.bench.about import About
from vlmctl.bench.drift import Drift, Money, Planned, drift, money, step_at
from vlmctl.bench.figures import LATE_SECONDS, StepFigures
from vlmctl.bench.results import usable
from vlmctl.bench.run import Report
from vlmctl.bench.statistics import Distribution, Estimate, requests_needed
from vlmctl.cli.output import Block, Facts, Heading, Table, Text
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Objectives
from vlmctl.units import show_seconds, show_usd

LATENCIES = ("ttft", "tpot", "itl", "e2e")
SHOWN = ("p50", "p90", "p95", "p99")


class Found(Record, frozen=True, kw_only=True):
    """Everything that a page is made of."""

    report: Report
    about: About
    planned: Planned | None
    usd_per_hour: float | None
    rows: tuple[Measurement, ...]

    @property
    def drift(self) -> tuple[Drift, ...]:
        """Against the plan, at the step that is nearest to its concurrency."""
        step = None if self.planned is None else step_at(self.report.steps, self.planned.concurrency)
        return drift(self.planned, step) if self.planned is not None and step is not None else ()

    @property
    def money(self) -> Money | None:
        """Of the best step."""
        best = self.report.best
        return money(best, self.usd_per_hour) if best is not None and self.usd_per_hour is not None else None


def data(found: Found) -> dict[str, Any]:
    """The answer for machines."""
    report = found.report
    best = report.best
    return {
        "url": report.url,
        "model": report.model,
        "server": report.server,
        "workload": report.workload,
        "objectives": report.objectives,
        "seed": report.seed,
        "shape": {"template_tokens": report.shape[0], "tokens_per_word": report.shape[1]},
        "steps": report.steps,
        "best": report.steps.index(best) if best is not None else None,
        "drift": [{**_plain(each), "error": each.error} for each in found.drift],
        "money": found.money,
        "notes": [*report.notes, *_remarks(found)],
        "interrupted": report.interrupted,
        "measurements": found.rows,
    }


def flat(found: Found) -> list[dict[str, Any]]:
    """A line of CSV for each step; seconds."""
    return [_flat(step) for step in found.report.steps]


def _flat(step: StepFigures) -> dict[str, Any]:
    row: dict[str, Any] = {
        "load": step.shape.label,
        "completed": step.completed,
        "failed": step.failed,
        "unfinished": step.unfinished,
        "overdue": step.overdue,
        **_estimate("requests_per_second", step.requests_per_second),
        **_estimate("goodput_per_second", step.goodput_per_second),
        **_estimate("output_tokens_per_second", step.output_tokens_per_second),
    }
    for name in LATENCIES:
        found: Distribution | None = getattr(step, name)
        for figure in ("mean", *SHOWN):
            row[f"{name}_{figure}"] = getattr(found, figure).value if found is not None else None
    return row | {"prompt_tokens": step.tokens.prompt_tokens, "output_tokens": step.tokens.output_tokens}


def _estimate(name: str, found: Estimate | None) -> dict[str, float | None]:
    low, high = (found.low, found.high) if found is not None else (None, None)
    return {name: found.value if found is not None else None, f"{name}_low": low, f"{name}_high": high}


def _plain(value: object) -> dict[str, Any]:
    from vlmctl.cli.output import plain

    plained: dict[str, Any] = plain(value)
    return plained


def blocks(found: Found, write: Path | None) -> list[Block]:
    """The page for people."""
    report = found.report
    server = report.server
    engine = f"{server.engine} {server.engine_version}".strip()
    listed: list[Block] = [
        Text(f"{report.model} at {report.url} ({engine}), seed {report.seed}"),
        *([_loads(report), _latencies(report.steps)] if report.steps else [Text("Nothing was measured.")]),
        *_best(found),
        *_failures(report.steps),
        *_drift(found),
    ]
    remarks = [*report.notes, *_remarks(found), *([usable(found.about)] if write is not None else [])]
    return [*listed, *(Text(each, bullet=True) for each in remarks if each)]


def _loads(report: Report) -> Table:
    objectives = report.objectives != Objectives()
    headers = ("Load", "Requests", "Failed", "req/s", "95% interval", "In flight", "Output tok/s", "KV used", "Goodput")
    rows = [
        (
            step.shape.label,
            f"{step.completed:,}",
            str(step.failed),
            _rate(step.requests_per_second),
            _interval(step.requests_per_second),
            f"{step.mean_in_flight:.1f}",
            _tokens_rate(step.output_tokens_per_second),
            f"{step.server.maximum_kv_cache:.0%}" if step.server and step.server.maximum_kv_cache is not None else "-",
            _goodput(step),
        )
        for step in report.steps
    ]
    shown = len(headers) if objectives else len(headers) - 1
    return Table(headers[:shown], [row[:shown] for row in rows], right=headers[1:])


def _tokens_rate(rate: Estimate | None) -> str:
    """With half its interval, where there is one."""
    if rate is None:
        return "-"
    half = (rate.high - rate.low) / 2 if rate.low is not None and rate.high is not None else None
    return f"{rate.value:,.0f}" if half is None else f"{rate.value:,.0f} ± {half:,.0f}"


def _goodput(step: StepFigures) -> str:
    """How many a second, and the share that was asked, with its interval."""
    met, rate = step.met, step.goodput_per_second
    if met is None or rate is None:
        return "-"
    band = f" ({met.low:.0%} to {met.high:.0%})" if met.low is not None and met.high is not None else ""
    return f"{rate.value:.3g}/s, {met.value:.0%}{band}"


def _latencies(steps: Sequence[StepFigures]) -> Table:
    headers = ("Load", "", "Mean", *SHOWN, "95% interval of p95")
    rows = []
    for step in steps:
        label = step.shape.label
        for name in LATENCIES:
            found: Distribution | None = getattr(step, name)
            if found is not None:
                cells = (show_seconds(getattr(found, figure).value) for figure in ("mean", *SHOWN))
                rows.append((label, name.upper(), *cells, _bounds(found.p95)))
                label = ""
    return Table(headers, rows, right=headers[2:])


def _bounds(estimate: Estimate) -> str:
    """The interval of a latency; an open end where there were too few requests."""
    low = show_seconds(estimate.low) if estimate.low is not None else "?"
    return f"{low} to {show_seconds(estimate.high) if estimate.high is not None else '?'}"


def _best(found: Found) -> Iterator[Block]:
    best, costs = found.report.best, found.money
    if best is None:
        return
    pairs = [("Most within the objectives" if found.report.objectives != Objectives() else "Most", _best_line(best))]
    if best.tokens.prompt_tokens is not None:
        pairs.append(("Tokens of a request", _token_line(best)))
    if costs is not None:
        each = (
            (costs.usd_per_1k_requests, "1,000 requests"),
            (costs.usd_per_1k_images, "1,000 images"),
            (costs.usd_per_million_tokens, "million tokens"),
        )
        line = ", ".join(_price(usd, what) for usd, what in each if usd is not None)
        pairs.append((f"At {show_usd(costs.usd_per_hour)} an hour", line))
    yield Facts(pairs)


def _price(usd: Estimate, what: str) -> str:
    band = f" ({show_usd(usd.low)} to {show_usd(usd.high)})" if usd.low and usd.high else ""
    return f"{show_usd(usd.value)} per {what}{band}"


def _best_line(best: StepFigures) -> str:
    return f"{_rate(best.requests_per_second)} requests/s at {best.shape.label}"


def _token_line(step: StepFigures) -> str:
    tokens, done = step.tokens, step.completed
    line = f"{(tokens.prompt_tokens or 0) / done:,.0f} in"
    if tokens.image_tokens is not None and tokens.text_tokens is not None and step.images:
        how = " by difference" if tokens.image_tokens_by_difference else ""
        line += f" ({tokens.image_tokens / done:,.0f} of images{how}, {tokens.text_tokens / done:,.0f} of text)"
    if tokens.cached_tokens:
        line += f", {tokens.cached_tokens / done:,.0f} found in a cache"
    return f"{line}, {tokens.output_tokens / done:,.1f} out"


def _failures(steps: Sequence[StepFigures]) -> list[Block]:
    lines = [
        Text(f"{step.shape.label}: {each.count} {each.kind.replace('_', ' ')}: {each.message}", bullet=True)
        for step in steps
        for each in step.failures
    ]
    return [Heading("Failed"), *lines] if lines else []


def _drift(found: Found) -> list[Block]:
    plan = found.planned
    if plan is None or not found.drift:
        return []
    headers = ("Figure", "Planned", "Measured", "Measured/planned", "Error of the plan")
    rows = [
        (
            each.quantity.replace("_", " ").replace(" seconds", ""),
            _figure(each.quantity, each.planned),
            _figure(each.quantity, each.measured.value),
            f"{each.ratio:.2f}",
            f"{each.error:.1%}",
        )
        for each in found.drift
    ]
    step = step_at(found.report.steps, plan.concurrency)
    where = step.shape.label if step is not None else ""
    return [Heading(f"Against the plan, at {where}"), Table(headers, rows, right=headers[1:])]


def _figure(quantity: str, value: float) -> str:
    return show_seconds(value) if quantity.endswith("seconds") else f"{value:,.4g}"


def _remarks(found: Found) -> Iterator[str]:
    """What to keep in mind of the figures."""
    report = found.report
    if found.planned is not None and report.steps and not found.drift:
        yield (
            "The plan says what a replica does with so many requests in flight: measured with --rate or --trace there "
            "is nothing to set beside it."
        )
    few = [step for step in report.steps if 0 < step.completed < requests_needed(0.95)]
    if few:
        counts = ", ".join(f"{step.shape.label}: {step.completed}" for step in few)
        yield (
            f"Too few requests to bound a p95 from above ({counts}; it takes {requests_needed(0.95)}): such a p95 is a "
            "guess."
        )
    if any(step.tokens.image_tokens_by_difference for step in report.steps):
        yield "Image tokens are by difference: vLLM tells them with --enable-prompt-tokens-details."
    if report.steps and all(step.server is None for step in report.steps):
        yield "The server shows no /metrics, so its KV cache, queue and preemptions are not told; all else is complete."
    for step in report.steps:
        if step.late_p99_seconds > LATE_SECONDS:
            late = show_seconds(step.late_p99_seconds)
            yield f"{step.shape.label}: requests were sent up to {late} late (p99): this machine is too busy."
        if step.server is not None and step.server.rises.get("preemptions"):
            yield f"{step.shape.label}: {step.server.rises['preemptions']:.0f} preemptions: the KV cache was full."
        if step.unfinished:
            missed = f"; {step.overdue} of them count as missed" if step.overdue else ", and count nowhere"
            yield f"{step.shape.label}: {step.unfinished} requests were cut off when time was up{missed}."
        yield from (f"{step.shape.label}: {each.text}" for each in step.disagreements)
    if report.interrupted:
        yield "Interrupted: this is what was measured until then."


def _rate(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.3g}"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return "too short"
    return f"{estimate.low:.3g} to {estimate.high:.3g}"
