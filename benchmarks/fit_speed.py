"""Fits the constants of the speed model to measured rows, and says what they are worth on rows they have not seen.

Run by `make fit`: prints the constants fitted to all rows, the errors with one term after another taken out, and writes
catalog/measurements/leave_one_out.yaml. The constants in the code are these, rounded; nothing here changes them.

Each model weighs alike, and every constant is held near a physical value (ridge regression of its logarithm), so that a
model left out does not let two constants run away from each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from scipy.optimize import least_squares

from vlmctl.catalog.load import load_catalog
from vlmctl.library.judging import Predicted, distinct_runs, judge, read_file, summaries
from vlmctl.library.left_out import leave_one_out, write_leave_one_out
from vlmctl.planning.accuracy import errors, predict
from vlmctl.planning.engines import FIRST_VLLM, Engine, engine_of
from vlmctl.planning.speed import CONSTANTS, SpeedConstants
from vlmctl.specs.measurements import Measurement

FOLDER = Path("catalog/measurements")
FILES = ("text_serving.yaml", "vlm_serving.yaml")
RIDGE = 3.0  # how firmly the constants are held; 1 and 10 move the left-out errors by less than a point
TTFT_WEIGHT = 0.3  # of a first token beside a throughput: it has its own noise, the opening burst
DIFFERENCE = 1e-3  # of the logarithm of a constant, for the derivatives


class Prior(NamedTuple):
    """A physical value, and how far the constant may well lie from it (standard deviation of its logarithm)."""

    value: float
    spread: float


# For text rows: what data sheets, kernel traces and HTTP servers suggest before any row is looked at.
TEXT: Mapping[str, Prior] = {
    "bandwidth_share": Prior(0.85, 0.1),
    "expert_bandwidth_share": Prior(0.85, 0.15),
    "kv_bandwidth_share": Prior(0.7, 0.2),
    "compute_share": Prior(0.55, 0.2),
    "expert_compute_share": Prior(0.35, 0.3),
    "step_seconds": Prior(0.0006, 0.3),
    "kernel_seconds": Prior(0.0000045, 0.3),
    "sequence_seconds": Prior(0.000005, 0.4),
    "prefill_step_seconds": Prior(0.008, 0.5),
    "request_seconds": Prior(0.03, 0.3),
    "all_reduce_share": Prior(0.4, 0.3),
}
# For rows of the first vLLM with images: `layer_seconds` and `pixel_seconds` belong to the engine.
IMAGES: Mapping[str, Prior] = {
    "encoder_share": Prior(0.35, 0.4),
    "gddr_bandwidth_share": Prior(0.95, 0.05),
    "layer_seconds": Prior(0.0001, 0.4),
    "pixel_seconds": Prior(5e-8, 0.7),
}
# What the ablation sets a constant to, so that its term vanishes or loses what sets it apart.
WITHOUT: Mapping[str, Callable[[SpeedConstants], SpeedConstants]] = {
    "time per kernel": lambda c: replace(c, kernel_seconds=1e-12),
    "time per step": lambda c: replace(c, step_seconds=1e-12),
    "time per sequence and step": lambda c: replace(c, sequence_seconds=1e-12),
    "step of a prefill": lambda c: replace(c, prefill_step_seconds=1e-12),
    "time outside the GPU": lambda c: replace(c, request_seconds=1e-12),
    "cost of all-reduces": lambda c: replace(c, all_reduce_share=1e6),
    "experts' own bandwidth": lambda c: replace(c, expert_bandwidth_share=c.bandwidth_share),
    "experts' own compute": lambda c: replace(c, expert_compute_share=c.compute_share),
    "reading the KV cache": lambda c: replace(c, kv_bandwidth_share=1e6),
}


def main() -> None:
    """Fit, ablate, leave out, write."""
    catalog = load_catalog()
    files = [read_file(FOLDER / name) for name in FILES]
    rows = distinct_runs(judge(files, catalog).predicted)
    text = [each for each in rows if not each.row.workload.images and each.row.engine == "vllm"]
    text = [each for each in text if each.row.source.startswith("NVIDIA AIConfigurator")]
    images = [each for each in rows if each.row.workload.images]
    constants, engine = _fitted(text, images)
    _show_constants(constants, engine)
    _show_ablation(text)
    folds: dict[tuple[str, str], list[Predicted]] = {}
    for by, name in (("model", _model_of), ("gpu", _gpu_of)):
        for value in sorted({name(each.row) for each in [*text, *images]}):
            kept = [[each for each in group if name(each.row) != value] for group in (text, images)]
            refitted = _fitted(*kept)
            folds[by, value] = [_again(each, *refitted) for each in [*text, *images] if name(each.row) == value]
            print(f"without {value}: {_figures(folds[by, value])}", flush=True)
    found = leave_one_out(folds)
    write_leave_one_out(found, FOLDER / "leave_one_out.yaml")
    for fold in found.folds:
        if fold.value == "every":
            print(f"each {fold.by} left out, {fold.workloads}: throughput {fold.throughput}")


def _model_of(row: Measurement) -> str:
    return row.model


def _gpu_of(row: Measurement) -> str:
    return row.gpu


def _fitted(text: Sequence[Predicted], images: Sequence[Predicted]) -> tuple[SpeedConstants, Engine]:
    """The constants of the text rows first, then with them those of the first vLLM's rows with images."""
    values = _fit(TEXT, text, lambda found: (replace(CONSTANTS, **found), FIRST_VLLM))
    constants = replace(CONSTANTS, **values)
    old = [each for each in images if engine_of(each.row.engine, each.row.engine_version) is FIRST_VLLM]
    values = _fit(IMAGES, old, lambda found: _with_images(constants, found))
    return _with_images(constants, values)


def _with_images(constants: SpeedConstants, values: Mapping[str, float]) -> tuple[SpeedConstants, Engine]:
    engine = {name: value for name, value in values.items() if name in Engine.__struct_fields__}
    rest = {name: value for name, value in values.items() if name not in engine}
    return replace(constants, **rest), replace(FIRST_VLLM, **engine)


def _fit(
    priors: Mapping[str, Prior],
    rows: Sequence[Predicted],
    build: Callable[[dict[str, float]], tuple[SpeedConstants, Engine]],
) -> dict[str, float]:
    """The constants that make the logarithms of predicted / measured smallest."""
    names = list(priors)
    start = np.log([priors[name].value for name in names])
    spread = np.array([priors[name].spread for name in names])
    counts = Counter(each.row.model for each in rows)

    def residuals(logs: np.ndarray) -> np.ndarray:
        constants, engine = build(dict(zip(names, np.exp(logs).tolist(), strict=True)))
        found = []
        for each in rows:
            weight = 30.0 / counts[each.row.model] ** 0.5
            ratios = _ratios(_again(each, constants, engine))
            found += [weight * (TTFT_WEIGHT if name == "ttft" else 1.0) * np.log(ratio) for name, ratio in ratios]
        return np.concatenate([np.array(found), RIDGE * (logs - start) / spread])

    result = least_squares(residuals, start, loss="soft_l1", diff_step=DIFFERENCE, max_nfev=12)
    return dict(zip(names, np.exp(result.x).tolist(), strict=True))


def _ratios(each: Predicted) -> list[tuple[str, float]]:
    measured, said = each.row.measured, each.prediction
    pairs = [
        ("throughput", said.requests_per_second, each.row.requests_per_second),
        ("ttft", said.ttft_seconds * 1000, measured.ttft_ms),
        ("tpot", said.tpot_seconds * 1000, measured.tpot_ms),
    ]
    return [(name, predicted / seen) for name, predicted, seen in pairs if seen]


def _again(each: Predicted, constants: SpeedConstants, engine: Engine) -> Predicted:
    own = engine_of(each.row.engine, each.row.engine_version)
    said = predict(each.row, each.model, each.gpu, constants=constants, engine=engine if own is FIRST_VLLM else own)
    return each._replace(prediction=said, errors=errors(each.row, said))


def _figures(rows: Sequence[Predicted]) -> str:
    found = summaries(rows)["throughput"]
    if found.median is None or found.mean is None or found.p90 is None:
        return "no throughput measured"
    return f"{found.rows} rows, throughput {found.median:.1%} median, {found.mean:.1%} mean, {found.p90:.1%} p90"


def _show_constants(constants: SpeedConstants, engine: Engine) -> None:
    for name in TEXT:
        print(f"{name:24} {getattr(constants, name):.3g}  (in the code {getattr(CONSTANTS, name):.3g})")
    for name in IMAGES:
        now, kept = (engine, FIRST_VLLM) if hasattr(engine, name) else (constants, CONSTANTS)
        print(f"{name:24} {getattr(now, name):.3g}  (in the code {getattr(kept, name):.3g})")


def _show_ablation(rows: Sequence[Predicted]) -> None:
    """The error on text rows without each term; the others stay as they are."""
    print(f"\n{'all terms':28} {_figures([_again(each, CONSTANTS, FIRST_VLLM) for each in rows])}")
    for name, take_out in WITHOUT.items():
        print(f"without {name:20} {_figures([_again(each, take_out(CONSTANTS), FIRST_VLLM) for each in rows])}")


if __name__ == "__main__":
    main()
