"""How far estimates are off: the error bands that answers carry."""

from __future__ import annotations

# Relative error of the throughput on the rows of catalog/measurements: median and 90th percentile. A test compares
# them with what `make accuracy` measures.
TEXT_ERROR = (0.10, 0.37)
IMAGE_ERROR = (0.15, 0.47)

# What a reader of the image band must know: of current engines only eight rows with images are published.
IMAGE_CAVEAT = "With images nearly all measured rows are of vLLM 0.7; the few of current engines were slower than this."


def error_band(*, has_images: bool) -> tuple[float, float]:
    """Median and 90th percentile of the relative throughput error that an estimate carries."""
    return IMAGE_ERROR if has_images else TEXT_ERROR
