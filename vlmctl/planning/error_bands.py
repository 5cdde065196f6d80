"""Which error band an estimate carries."""

from __future__ import annotations

from collections.abc import Iterable

from vlmctl.specs.error_bands import ErrorBand, Novelty, Workloads


def error_band(bands: Iterable[ErrorBand], *, model: str, gpu: str, has_images: bool) -> ErrorBand | None:
    """The band for a model on a GPU: wider where the model was never measured, and wider still where the GPU was not.

    None where nothing was measured at all.
    """
    kind = Workloads.IMAGES if has_images else Workloads.TEXT
    alike = {band.novelty: band for band in bands if band.workloads is kind}
    measured = alike.get(Novelty.NONE)
    if measured is None:
        return None
    if gpu not in measured.gpus:
        return alike.get(Novelty.GPU, measured)
    return measured if model in measured.models else alike.get(Novelty.MODEL, measured)
