"""How far the estimates are off, from the accuracy report on published measurements (`make accuracy`)."""

from __future__ import annotations

# Relative error of the throughput against catalog/measurements: median and 90th percentile over the rows answered.
TEXT_ERROR = (0.30, 0.70)
IMAGE_ERROR = (0.40, 0.80)


def error_band(*, has_images: bool) -> tuple[float, float]:
    """Median and 90th percentile of the relative throughput error that an estimate carries."""
    return IMAGE_ERROR if has_images else TEXT_ERROR
