"""What VLMBenchmarks say of plans near them: their rows as measurements beside a catalog's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from vlm_operator import tolerant
from vlm_operator.model_source import Source
from vlm_operator.results import odd_row
from vlmctl.api import v1alpha1 as api
from vlmctl.library.calibration import calibration_of
from vlmctl.planning.calibration import Calibration
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.measurements import Measurement


class Measurements:
    """The measurements of a cluster. What they say is worked out once for as long as they are the same."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._ids = frozenset(model.id for model in catalog.models)
        self._known: tuple[tuple[str, ...], ...] | None = None
        self._calibration: Calibration | None = None

    def calibration(self, benchmarks: Sequence[api.VLMBenchmark], source: Source) -> Calibration | None:
        """What they say of estimates for the model; None where there are none of use.

        A model that the catalog does not hold is judged by its own measurements alone: they are read by its facts.
        """
        if source.described is not None:
            own = _rows(each for each in benchmarks if each.spec.key.model == source.model.id)
            described = {source.model.id: source.described}
            return calibration_of(replace(self._catalog, measurements=tuple(own), described=described))
        held = [each for each in benchmarks if each.spec.key.model in self._ids]
        known = tuple(_identity(each) for each in held)
        if known != self._known:
            rows = (*self._catalog.measurements, *_rows(held))
            self._calibration = calibration_of(replace(self._catalog, measurements=rows))
            self._known = known
        return self._calibration


def _identity(benchmark: api.VLMBenchmark) -> tuple[str, ...]:
    """What tells a measurement from others: its object never changes."""
    return (benchmark.metadata.namespace or "", benchmark.metadata.name, benchmark.spec.measured)


def _rows(benchmarks: Iterable[api.VLMBenchmark]) -> Iterator[Measurement]:
    """Their rows; one that this version cannot read, or that nobody can have measured, is left out."""
    for benchmark in benchmarks:
        for row in benchmark.spec.rows:
            try:
                read = tolerant.convert(row, Measurement)
            except msgspec.ValidationError:
                continue
            if not odd_row(read):
                yield read
