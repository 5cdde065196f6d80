"""What `vlmctl accuracy` answers: how far predictions are from measurements, over all of them and by group."""

from vlmctl.specs.record import Record


class Summary(Record, frozen=True, kw_only=True):
    """Relative errors |predicted - measured| / measured; None where no row measured the quantity."""

    rows: int = 0
    median: float | None = None
    mean: float | None = None
    p90: float | None = None


class Group(Record, frozen=True, kw_only=True):
    """The rows that agree in one thing. `by`: model, gpu, engine_version or images."""

    by: str
    value: str
    rows: int
    answered: int
    quantities: dict[str, Summary]


class Quantiles(Record, frozen=True, kw_only=True):
    """Errors in the quantity's own unit."""

    median: float
    mean: float
    p90: float


class MemorySummary(Record, frozen=True, kw_only=True):
    """Relative errors; `absolute_gib`: the same in GiB, None for tokens. None where no case printed the quantity."""

    rows: int = 0
    median: float | None = None
    mean: float | None = None
    p90: float | None = None
    absolute_gib: Quantiles | None = None


class Verdicts(Record, frozen=True, kw_only=True):
    """Starts and failures told apart, or not. `missed`: ran out of memory, and were said to start."""

    rows: int = 0
    right: int = 0
    missed: int = 0
    false_alarms: int = 0


class StartErrors(Record, frozen=True, kw_only=True):
    """Errors of the figures that an engine prints at start, by name, and of whether it starts."""

    figures: dict[str, MemorySummary]
    oom: Verdicts


class StartGroup(Record, frozen=True, kw_only=True):
    """The starts of models of one modality: text or vision."""

    by: str
    value: str
    rows: int
    answered: int
    errors: StartErrors


class Refused(Record, frozen=True, kw_only=True):
    """A row that could not be read or predicted."""

    id: str
    reason: str


class AccuracyReport(Record, frozen=True, kw_only=True):
    """Errors over all rows and by group, serving runs and starts apart; each holds every quantity of its kind."""

    rows: int
    answered: int
    serving: dict[str, Summary]
    groups: tuple[Group, ...]
    starts: StartErrors
    start_groups: tuple[StartGroup, ...]
    refused: tuple[Refused, ...]
