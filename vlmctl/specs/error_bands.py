"""How far estimates were from measurements: the bands that answers carry, worked out by `make accuracy`."""

from enum import StrEnum

from vlmctl.specs.record import Record


class Workloads(StrEnum):
    """Whether the requests had images."""

    TEXT = "text"
    IMAGES = "images"


class Novelty(StrEnum):
    """What of an estimate's circumstances was measured: the further from it, the wider the band."""

    NONE = "none"  # the model and the GPU were both measured
    MODEL = "model"  # the GPU was measured, with other models
    GPU = "gpu"


class Spread(Record, frozen=True, kw_only=True):
    """Median and 90th percentile of a relative error."""

    median: float
    p90: float


class ErrorBand(Record, frozen=True, kw_only=True):
    """The errors of estimates for `workloads` where `novelty` is new. `basis`: how they were found, in words.

    `rows`: measurements; `current_rows`: those of engines that are still current, with `current`, their throughput
    error. `models` and `gpus`: ids of what was measured.
    """

    id: str
    workloads: Workloads
    novelty: Novelty
    basis: str
    rows: int
    throughput: Spread
    ttft: Spread | None = None
    tpot: Spread | None = None
    current_rows: int = 0
    current: Spread | None = None
    models: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
