"""What is known of a benchmarked server beside its answers. Apart from results.py, so that it is read without numpy."""

from __future__ import annotations

from vlmctl.specs.measurements import Parallelism
from vlmctl.specs.record import Record


class About(Record, frozen=True, kw_only=True):
    """What the one who runs a benchmark knows and the server does not tell. `model`: a name of the catalog's.

    `arguments`: of the engine, as they were given to it.
    """

    model: str | None = None
    model_revision: str | None = None
    weights: str = "bf16"
    gpu: str | None = None
    gpu_count: int = 1
    parallelism: Parallelism | None = None
    engine: str | None = None
    engine_version: str | None = None
    arguments: tuple[str, ...] = ()
