"""What corrections by measurements nearby are worth on the open rows, each judged without what is like it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from statistics import fmean, median

import pytest

from vlmctl.catalog.load import load_catalog
from vlmctl.errors import VlmctlError
from vlmctl.library.judging import judge, read_file
from vlmctl.planning.calibration import Calibration, Evidence
from vlmctl.planning.circumstances import Circumstances
from vlmctl.planning.evidence import evidence_of, without_repeats

FOLDER = Path("catalog/measurements")
PAGE = Path("docs/calibrate.md")
TOLERANCE = 0.02  # between the page and what is measured here
ROW = re.compile(r"^\| (?P<left_out>[a-zA-Z ]+?) \| (?P<kind>text|images) \|(?P<figures>.*)\|$", re.MULTILINE)


def _setup(at: Circumstances) -> Hashable:
    return (at.model, at.gpu, at.precision, at.engine, at.release, at.split, at.doublings[0])


LEFT_OUT: dict[str, Callable[[Circumstances], Hashable]] = {
    "the model": lambda at: at.model,
    "the GPU": lambda at: at.gpu,
    "model on GPU": _setup,
    "the run": lambda at: at,
}


@pytest.fixture(scope="module")
def runs() -> tuple[Evidence, ...]:
    """The open runs, repeats together."""
    files = [read_file(FOLDER / name) for name in ("text_serving.yaml", "vlm_serving.yaml")]
    found = []
    for each in judge(files, load_catalog()).predicted:
        try:
            found.append(evidence_of(each.row, each.model, each.gpu)[0])
        except VlmctlError:
            continue
    return without_repeats(found)


def _errors(runs: tuple[Evidence, ...], like: Callable[[Circumstances], Hashable]) -> dict[str, list[float]]:
    """Relative throughput errors with corrections, by kind of workload."""
    calibration = Calibration(runs)
    found: dict[str, list[float]] = {"text": [], "images": []}
    for run in runs:
        same = like(run.at)
        factors = calibration.correction(run.at, without=lambda other, same=same: like(other.at) == same).factors
        kind = "images" if run.at.has_images else "text"
        found[kind].append(abs(factors.throughput / math.exp(run.residuals["throughput"]) - 1))
    return found


def _alone(runs: tuple[Evidence, ...]) -> dict[str, list[float]]:
    return {
        kind: [
            abs(math.exp(-run.residuals["throughput"]) - 1) for run in runs if run.at.has_images is (kind == "images")
        ]
        for kind in ("text", "images")
    }


@pytest.fixture(scope="module")
def table(runs: tuple[Evidence, ...]) -> dict[tuple[str, str], tuple[float, float, float, float]]:
    """Median without and with corrections, then mean without and with, by what was left out and kind of workload."""
    alone = _alone(runs)
    found = {}
    for name, like in LEFT_OUT.items():
        for kind, errors in _errors(runs, like).items():
            found[name, kind] = (median(alone[kind]), median(errors), fmean(alone[kind]), fmean(errors))
    return found


def test_runs_of_the_same_setup_correct_each_other(
    table: dict[tuple[str, str], tuple[float, float, float, float]],
) -> None:
    """The nearer what is left in, the more it helps: another load of the same setup more than other setups."""
    for kind in ("text", "images"):
        alone, by_run, mean_alone, mean_by_run = table["the run", kind]
        assert by_run < 0.6 * alone
        assert mean_by_run < 0.6 * mean_alone
        assert by_run < table["model on GPU", kind][1] < alone


def test_far_measurements_do_no_harm(table: dict[tuple[str, str], tuple[float, float, float, float]]) -> None:
    """Corrections from other models or other GPUs alone leave the errors no worse than a point, on the whole better."""
    changes = []
    for name in ("the model", "the GPU"):
        for kind in ("text", "images"):
            alone, helped, mean_alone, mean_helped = table[name, kind]
            assert helped < alone + 0.01, (name, kind)
            changes.append(mean_helped / mean_alone)
    assert fmean(changes) < 1.0


def test_the_page_says_what_was_found(table: dict[tuple[str, str], tuple[float, float, float, float]]) -> None:
    """The figures of docs/calibrate.md are those of today's estimates."""
    found = {(row["left_out"], row["kind"]): row["figures"] for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))}
    assert set(found) == set(table)
    for key, figures in found.items():
        said = [float(cell.strip(" %")) / 100 for cell in figures.split("|")]
        assert said == pytest.approx(table[key], abs=TOLERANCE), key
