"""docs/accuracy.md: how far estimates are from every open measurement, and from published claims about speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from docs.generate import _measured
from docs.generate._speed_claims import claims_table
from vlmctl.library.judging import Predicted, engine_name, group_keys, summaries
from vlmctl.library.judging_memory import PredictedStart, memory_summaries
from vlmctl.library.left_out import EVERY
from vlmctl.library.measured_bands import is_current
from vlmctl.planning.circumstances import release
from vlmctl.specs.accuracy import Summary
from vlmctl.specs.error_bands import Workloads
from vlmctl.specs.estimates import Basis

PAGE = "accuracy.md"
RECENT_RELEASE = (
    17  # of vLLM 0.x, from which activations take less than half of what they did (engine_memory.yaml, meta)
)
QUANTITIES = {"throughput": "throughput", "ttft": "TTFT", "tpot": "TPOT", "e2e": "E2E latency"}
INTRODUCTION = """\
# How far estimates are from measurements

<!-- Written by `make accuracy`; edit docs/generate/accuracy.py. -->

Every row of the open measurements (`catalog/measurements`) is predicted from its model, GPUs, engine, requests and
load, never looked up, and compared: error = |predicted - measured| / measured. `vlmctl accuracy FILE...` does the same
with any file of that form. Throughput is that of one replica; where only latencies were measured it follows from them
(concurrency / E2E latency).

{answered} of {rows} serving runs are answered ({share})."""
PLOT = "![Predicted against measured requests per second, both on logarithmic axes](accuracy.svg)"
CALIBRATED = """\
## With the other rows at hand

`--basis calibrated` corrects each estimate by what the other rows say of similar models, GPUs and loads; a row, and
repeats of its run, never correct themselves. This is what a user gets after `vlmctl calibrate` with measurements as
near as these; it says nothing of models and GPUs that nobody measured."""
LEFT_OUT = """\
## Left out of the fit

The few constants of the speed model were fitted to these rows, so errors on them flatter. Here the constants are fitted
again without a model, or without a GPU, and only its rows are predicted; each is left out in turn."""
NOT_LEFT_OUT = """\
## Left out of the fit

The constants were not fitted again without each model and each GPU: the errors above are of rows that the fit saw."""
IMAGES = """\
## Images, by engine version

{old} of the {every} rows with images are of vLLM 0.7.2, an engine of early 2025 that prepared images inside its own
loop. A few constants of that engine explain most of them, so the error there says little about engines of today.

Of current engines there are {current} rows of {models} models, all of SGLang: their median error is {median}, and the
worst is off by {worst}. No row with images is of a current vLLM. There the estimate is the text model, which {text}
text rows of current vLLM check, with an encoder and a host term in front of it, which only those {current} rows check:
measure before you rely on it (`vlmctl calibrate`)."""
MEMORY = """\
## Memory at start

What vLLM itself prints when it starts, beside the ledger; all of it per GPU. Of near-duplicate runs only one counts.
Text models and vision models apart: for most of the latter the source leaves out settings that decide."""
CLAIMS = """\
## Published claims about speed

Claims about speed ([published-claims.md](published-claims.md)) beside the estimate for a current vLLM and the nearest
measured run. An image whose size the claim does not state is taken as 1024x1024 pixels."""
BANDS = """\
## The bands that answers carry

`recommend`, `cost` and `plan` show a median and a 90th percentile of these (`catalog/error_bands.yaml`), by whether the
requests have images, and whether the model and the GPU were measured at all. With images, old and current engines weigh
alike, and the band is no narrower than that of the rows of current engines by themselves, few as they are. Where the
model (or the GPU) was never measured it is the wider of two: the rows above with each model (or GPU) weighing alike,
and those of leaving it out of the fit. A dash: too few rows."""


def render() -> str:
    """The page."""
    judged = _measured.serving()
    rows = len(judged.predicted) + len(judged.refused) + len(judged.unread)
    answered = len(judged.predicted)
    introduction = INTRODUCTION.format(answered=f"{answered:,}", rows=f"{rows:,}", share=f"{answered / rows:.1%}")
    parts = [
        introduction,
        _by_workload(judged),
        PLOT,
        *_left_out(),
        _images(),
        *_groups(judged.predicted),
        CALIBRATED,
        _by_workload(_measured.serving(Basis.CALIBRATED)),
        *_memory(),
        CLAIMS,
        claims_table(),
        BANDS,
        _bands(),
        *_refused(),
    ]
    return "\n\n".join(parts) + "\n"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first hold figures."""
    rule = "|---|" + "---:|" * (len(headers) - 1)
    return "\n".join([f"| {' | '.join(headers)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def percent(error: float | None) -> str:
    """A relative error; a dash where there is none."""
    return "-" if error is None else f"{error:.1%}"


def _by_workload(judged: _measured.Judged) -> str:
    rows = [
        (f"{kind}: {title}", str(each.rows), percent(each.median), percent(each.mean), percent(each.p90))
        for kind, found in (("text", _measured.text_rows(judged)), ("images", _measured.image_rows(judged)))
        for name, title in QUANTITIES.items()
        if (each := summaries(found)[name]).rows
    ]
    return table(("quantity", "rows", "median", "mean", "90th percentile"), rows)


def _left_out() -> list[str]:
    found = _measured.left_out()
    if found is None:
        return [NOT_LEFT_OUT]
    rows = [
        (
            f"**every {fold.by}**" if fold.value == EVERY else f"{fold.by} {fold.value}",
            fold.workloads.value,
            str(fold.throughput.rows),
            *(percent(value) for value in _three(fold.throughput)),
            percent(fold.ttft.median),
            percent(fold.tpot.median),
        )
        for by in ("model", "gpu")
        for fold in sorted(found.folds, key=lambda each: (each.value != EVERY, each.value))
        if fold.by == by
    ]
    headers = ("left out", "requests", "rows", "throughput: median", "mean", "90th percentile", "TTFT", "TPOT")
    return [LEFT_OUT, table(headers, rows)]


def _three(errors: Summary) -> tuple[float | None, float | None, float | None]:
    return (errors.median, errors.mean, errors.p90)


def _images() -> str:
    rows = _measured.image_rows(_measured.serving())
    current = [each for each in rows if is_current(each)]
    text = IMAGES.format(
        old=len(rows) - len(current),
        every=len(rows),
        current=len(current),
        models=len({each.model.id for each in current}),
        median=percent(summaries(current)["throughput"].median),
        worst=percent(max(each.errors["throughput"] for each in current)),
        text=sum(1 for each in _measured.text_rows(_measured.serving()) if each.row.engine == "vllm"),
    )
    return f"{text}\n\n{_grouped('engine', rows, lambda each: engine_name(each.row))}"


class Grouping(NamedTuple):
    """A heading, and the group that its table is by."""

    heading: str
    column: str
    by: str


GROUPINGS = (
    Grouping("By model", "model", "model"),
    Grouping("By GPU", "GPU", "gpu"),
    Grouping("By engine", "engine", "engine_version"),
)


def _groups(predicted: Sequence[Predicted]) -> list[str]:
    parts = []
    for grouping in GROUPINGS:
        by = grouping.by
        body = _grouped(grouping.column, predicted, lambda each, by=by: dict(group_keys(each.row))[by])  # type: ignore[misc]
        parts += [f"## {grouping.heading}", body]
    return parts


def _grouped(title: str, predicted: Sequence[Predicted], value: Callable[[Predicted], str]) -> str:
    members: dict[str, list[Predicted]] = {}
    for each in predicted:
        members.setdefault(value(each), []).append(each)
    rows = []
    for name, found in sorted(members.items()):
        errors = summaries(found)
        others = (percent(errors[quantity].median) for quantity in ("ttft", "tpot", "e2e"))
        rows.append((name, str(len(found)), *(percent(each) for each in _three(errors["throughput"])), *others))
    headers = (title, "rows", "throughput: median", "mean", "90th percentile", "TTFT", "TPOT", "E2E latency")
    return table(headers, rows)


def _memory() -> list[str]:
    judged = _measured.starts()
    rows = []
    for name, sees in (("text", False), ("vision", True)):
        found = [each for each in judged.predicted if each.case.is_vlm is sees]
        recent = [each for each in found if (release(each.case.version) or 0.0) >= RECENT_RELEASE]
        rows += [*_memory_rows(name, found), *_memory_rows(f"{name}, vLLM 0.{RECENT_RELEASE} and newer", recent)]
    headers = ("figure", "starts", "median", "mean", "90th percentile", "mean, GiB")
    answered, every = len(judged.predicted), len(judged.predicted) + len(judged.refused) + len(judged.unread)
    return [MEMORY, table(headers, rows), f"{answered} of {every} starts are answered."]


def _memory_rows(name: str, found: Sequence[PredictedStart]) -> list[tuple[str, ...]]:
    errors = memory_summaries(found)
    titles = {"weights_gib": "weights", "available_kv_gib": "KV cache memory", "kv_cache_tokens": "KV cache tokens"}
    rows = [
        (
            f"{name}: {title}",
            str(each.rows),
            percent(each.median),
            percent(each.mean),
            percent(each.p90),
            f"{each.absolute_gib.mean:.2f}" if each.absolute_gib else "-",
        )
        for key, title in titles.items()
        for each in (errors.figures[key],)
    ]
    oom = errors.oom
    verdict = f"{oom.right} right, {oom.missed} missed, {oom.false_alarms} false alarms"
    return [*rows, (f"{name}: runs out of memory ({verdict})", str(oom.rows), "-", "-", "-", "-")]


def _bands() -> str:
    novelties = {"none": "measured", "model": "model never measured", "gpu": "GPU never measured"}
    names = {Workloads.TEXT: "text", Workloads.IMAGES: "images"}
    rows = [
        (
            f"{names[band.workloads]}: {novelties[band.novelty.value]}",
            *(
                "-" if spread is None else f"{spread.median:.0%}, {spread.p90:.0%}"
                for spread in (band.throughput, band.ttft, band.tpot)
            ),
        )
        for band in _measured.bands()
    ]
    return table(("estimates for", "throughput", "TTFT", "TPOT"), rows)


def _refused() -> list[str]:
    serving, starts = _measured.serving(), _measured.starts()
    pairs = [(row.id, reason) for row, reason in serving.refused]
    pairs += [(case.id, reason) for case, reason in starts.refused]
    pairs += [(each.id, each.reason) for each in (*serving.unread, *starts.unread)]
    if not pairs:
        return ["## Not answered\n\nNothing."]
    reasons = Counter(_general(name, reason) for name, reason in pairs)
    examples: Mapping[str, str] = {_general(name, reason): name for name, reason in reversed(pairs)}
    lines = [
        f"- {count} {'row' if count == 1 else 'rows'}, such as `{examples[reason]}`: {reason}"
        for reason, count in sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    ]
    return ["## Not answered", "\n".join(lines)]


def _general(name: str, reason: str) -> str:
    """A reason without the name of the row, so that like ones count together."""
    return reason.removeprefix(f"{name}: ")
