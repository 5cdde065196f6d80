"""What the measurements of a catalog, the user's own, say of estimates near them."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from vlmctl.errors import VlmctlError
from vlmctl.specs.hardware import Catalog

if TYPE_CHECKING:  # what only a catalog with measurements needs
    from vlmctl.planning.calibration import Calibration


def calibration_of(catalog: Catalog) -> Calibration | None:
    """What the catalog's measurements say of estimates near them; None where it holds none that can be used."""
    if not catalog.measurements:
        return None
    from vlmctl.catalog.measured_models import MeasuredModels
    from vlmctl.catalog.names import resolve_gpu
    from vlmctl.planning.calibration import Calibration
    from vlmctl.planning.evidence import evidence_of, without_repeats
    from vlmctl.serving.engine_args import ENGINE_VERSION

    models, gpu_of = MeasuredModels(catalog), cache(partial(resolve_gpu, catalog))
    found = []
    for row in catalog.measurements:
        try:
            found.append(evidence_of(row, models.find(row.model), gpu_of(row.gpu))[0])
        except VlmctlError:  # `vlmctl calibrate` named it, and `vlmctl catalog check` does
            continue
    return Calibration(without_repeats(found), engine_version=ENGINE_VERSION) if found else None
