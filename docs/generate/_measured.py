"""The open measurements with what is predicted of them: worked out once for all pages that show it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from vlmctl.catalog.load import load_catalog
from vlmctl.library.accuracy_report import read_files
from vlmctl.library.judging import Judged, Predicted, judge
from vlmctl.library.judging_memory import JudgedStarts, judge_starts
from vlmctl.library.left_out import LeaveOneOut, read_leave_one_out
from vlmctl.library.measured_bands import measured_bands
from vlmctl.specs.error_bands import ErrorBand
from vlmctl.specs.estimates import Basis

FOLDER = Path(__file__).resolve().parents[2] / "catalog" / "measurements"
FILES = ("text_serving.yaml", "vlm_serving.yaml", "engine_memory.yaml")


@cache
def serving(basis: Basis = Basis.ESTIMATED) -> Judged:
    """Every serving row of the open files."""
    return judge(read_files([FOLDER / name for name in FILES])[0], load_catalog(), basis=basis)


@cache
def starts() -> JudgedStarts:
    """Every start-up log of the open files."""
    return judge_starts(read_files([FOLDER / name for name in FILES])[1], load_catalog())


@cache
def left_out() -> LeaveOneOut | None:
    """The folds of the fit; None where they were not made."""
    return read_leave_one_out(FOLDER / "leave_one_out.yaml")


@cache
def bands() -> tuple[ErrorBand, ...]:
    """The error bands that follow."""
    return measured_bands(serving().predicted, left_out())


def text_rows(judged: Judged) -> list[Predicted]:
    """The predicted rows without images."""
    return [each for each in judged.predicted if not each.row.workload.images]


def image_rows(judged: Judged) -> list[Predicted]:
    """The predicted rows with images."""
    return [each for each in judged.predicted if each.row.workload.images]
