"""How far the estimates are from published serving measurements: bounded here, shown in docs/accuracy.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmctl.catalog.load import load_catalog
from vlmctl.library.judging import Judged, judge, read_file, summaries
from vlmctl.library.left_out import read_leave_one_out
from vlmctl.specs.error_bands import Workloads
from vlmctl.specs.estimates import Basis

FOLDER = Path("catalog/measurements")
TEXT_MEDIAN, TEXT_MEAN, IMAGES_MEDIAN = 0.10, 0.15, 0.20  # relative throughput errors that are promised
ANSWERED = 0.95  # share of rows


@pytest.fixture(scope="module")
def text() -> Judged:
    return judge([read_file(FOLDER / "text_serving.yaml")], load_catalog())


@pytest.fixture(scope="module")
def vision() -> Judged:
    return judge([read_file(FOLDER / "vlm_serving.yaml")], load_catalog())


def _answered(judged: Judged) -> float:
    return len(judged.predicted) / (len(judged.predicted) + len(judged.refused) + len(judged.unread))


def test_text_rows(text: Judged) -> None:
    """Text throughput stays within 10% at the median and 15% on average, over nearly all rows."""
    throughput = summaries(text.predicted)["throughput"]
    assert throughput.median is not None
    assert throughput.mean is not None
    assert throughput.median <= TEXT_MEDIAN
    assert throughput.mean <= TEXT_MEAN
    assert _answered(text) >= ANSWERED


def test_image_rows(vision: Judged) -> None:
    """Throughput with images stays within 20% at the median, over nearly all rows."""
    images = [each for each in vision.predicted if each.row.workload.images]
    throughput = summaries(images)["throughput"]
    assert throughput.median is not None
    assert throughput.median <= IMAGES_MEDIAN
    assert _answered(vision) >= ANSWERED


@pytest.mark.parametrize("by", ["model", "gpu"])
def test_rows_left_out_of_the_fit(by: str) -> None:
    """The bounds hold where each model, or each GPU, was left out of the fit before its rows were predicted."""
    found = read_leave_one_out(FOLDER / "leave_one_out.yaml")
    assert found is not None
    text, images = found.every(by, Workloads.TEXT), found.every(by, Workloads.IMAGES)
    assert text is not None
    assert images is not None
    assert text.throughput.median is not None
    assert text.throughput.mean is not None
    assert images.throughput.median is not None
    assert text.throughput.median <= TEXT_MEDIAN
    assert text.throughput.mean <= TEXT_MEAN
    assert images.throughput.median <= IMAGES_MEDIAN


def test_measurements_nearby_help(vision: Judged) -> None:
    """With the other rows at hand the errors are smaller; the rows answered are the same."""
    file = read_file(FOLDER / "vlm_serving.yaml")
    calibrated = judge([file], load_catalog(), basis=Basis.CALIBRATED)
    alone, helped = (summaries(each.predicted)["throughput"] for each in (vision, calibrated))
    assert helped.rows == alone.rows
    assert alone.median is not None
    assert helped.median is not None
    assert helped.median < alone.median
