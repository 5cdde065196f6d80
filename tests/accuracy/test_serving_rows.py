"""How far the estimates are from published serving measurements: printed by `make accuracy`, bounded here."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.measurements import read_measurements
from vlmctl.catalog.names import resolve_gpu, resolve_model
from vlmctl.errors import VlmctlError
from vlmctl.planning.accuracy import ErrorSummary, errors, predict, summarize, text_model
from vlmctl.planning.error_bands import error_band
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.measurements import Measurement
from vlmctl.specs.model import ModelSpec

FOLDER = Path("catalog/measurements")
BAND_TOLERANCE = 0.05  # between the error band that estimates carry and the one measured here

Errors = dict[str, list[float]]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def _predict_all(catalog: Catalog, name: str) -> tuple[dict[str, Errors], Counter[str]]:
    """Errors by group and quantity, and why the other rows were not answered."""
    file = read_measurements(FOLDER / name)
    own = {repository: text_model(*found) for repository, found in file.models.items()}
    groups: dict[str, Errors] = defaultdict(lambda: defaultdict(list))
    refused: Counter[str] = Counter()
    for row in file.rows:
        try:
            found = errors(row, predict(row, own.get(row.model) or _model(catalog, row), resolve_gpu(catalog, row.gpu)))
        except VlmctlError as error:
            refused[str(error)] += 1
            continue
        kind = "images" if row.workload.images else "text"
        for group in (f"all {kind}", f"{kind}, {row.engine} {row.engine_version}", f"{kind}, {row.model}"):
            for quantity, value in found.items():
                groups[group][quantity].append(value)
    return groups, refused


def _model(catalog: Catalog, row: Measurement) -> ModelSpec:
    return resolve_model(catalog, row.model)


def _show(groups: dict[str, Errors], refused: Counter[str]) -> None:
    print(f"\n{'group':56} {'quantity':11} {'rows':>5} {'median':>7} {'mean':>7} {'p90':>7}")
    for group, quantities in sorted(groups.items()):
        for quantity, found in sorted(quantities.items()):
            summary = summarize(found)
            figures = f"{summary.median:7.1%} {summary.mean:7.1%} {summary.p90:7.1%}"
            print(f"{group[:56]:56} {quantity:11} {summary.rows:5} {figures}")
    for reason, rows in refused.most_common():
        print(f"not answered: {rows:4} rows: {reason}")


def _near_band(summary: ErrorSummary, *, has_images: bool) -> bool:
    median, p90 = error_band(has_images=has_images)
    return abs(summary.median - median) <= BAND_TOLERANCE and abs(summary.p90 - p90) <= BAND_TOLERANCE


def test_text_rows(catalog: Catalog) -> None:
    """Text throughput stays within 15% at the median, at least 85% of rows are answered, and the band is the truth."""
    groups, refused = _predict_all(catalog, "text_serving.yaml")
    _show(groups, refused)
    summary = summarize(groups["all text"]["throughput"])
    assert summary.median < 0.15
    assert summary.rows / (summary.rows + refused.total()) >= 0.85
    assert _near_band(summary, has_images=False)


def test_image_rows(catalog: Catalog) -> None:
    """The band that estimates with images carry is the one measured on the open rows, old engines included."""
    groups, refused = _predict_all(catalog, "vlm_serving.yaml")
    _show(groups, refused)
    summary = summarize(groups["all images"]["throughput"])
    assert summary.rows / (summary.rows + refused.total()) >= 0.6
    assert _near_band(summary, has_images=True)
