"""Which error band an estimate carries."""

from __future__ import annotations

import pytest

from vlmctl.planning.error_bands import error_band
from vlmctl.specs.error_bands import ErrorBand, Novelty, Spread, Workloads

MEASURED = ErrorBand(
    id="text",
    workloads=Workloads.TEXT,
    novelty=Novelty.NONE,
    basis="of measured models",
    rows=100,
    throughput=Spread(median=0.05, p90=0.2),
    models=("known",),
    gpus=("H100-SXM",),
)


def _band(novelty: Novelty) -> ErrorBand:
    return ErrorBand(
        id=f"text-new-{novelty.value}",
        workloads=Workloads.TEXT,
        novelty=novelty,
        basis="left out",
        rows=100,
        throughput=Spread(median=0.1, p90=0.4),
    )


BANDS = (_band(Novelty.GPU), MEASURED, _band(Novelty.MODEL))


@pytest.mark.parametrize(
    ("model", "gpu", "expected"),
    [
        pytest.param("known", "H100-SXM", "text", id="both-measured"),
        pytest.param("unknown", "H100-SXM", "text-new-model", id="new-model"),
        pytest.param("known", "L4", "text-new-gpu", id="new-gpu"),
        pytest.param("unknown", "L4", "text-new-gpu", id="both-new"),
    ],
)
def test_what_was_never_measured_decides(model: str, gpu: str, expected: str) -> None:
    """An estimate carries the band of what is new about it."""
    found = error_band(BANDS, model=model, gpu=gpu, has_images=False)
    assert found is not None
    assert found.id == expected


def test_nothing_is_promised_where_nothing_was_measured() -> None:
    """Without measurements of such requests there is no band."""
    assert error_band(BANDS, model="known", gpu="H100-SXM", has_images=True) is None
    assert error_band((), model="known", gpu="H100-SXM", has_images=False) is None


def test_the_measured_band_stands_in() -> None:
    """Without a band for what is new, that of what was measured is shown."""
    assert error_band([MEASURED], model="unknown", gpu="L4", has_images=False) is MEASURED
