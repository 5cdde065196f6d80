"""What a start of a replica takes, and what stopping idle replicas saves and costs."""

from enum import StrEnum

from vlmctl.specs.estimates import Term
from vlmctl.specs.record import Record


class Storage(StrEnum):
    """Where the checkpoint lies when a replica starts."""

    HUB = "hub"  # downloaded from the Hugging Face hub, then read
    NETWORK = "network"  # a network file system or a claim on one
    NVME = "nvme"  # a disk of the node
    PAGE_CACHE = "page-cache"  # memory of the node: the replica was here a moment ago


class StartConditions(Record, frozen=True, kw_only=True):
    """What a start finds. `machine_seconds`: until a machine is there; None: not known, and left out.

    `storage_gb_per_second`: 10^9 bytes per second that one process reads (or, from the hub, downloads); None: what was
    published for that kind of storage. `benchmark`: the replica measures itself before it takes traffic.
    """

    storage: Storage = Storage.HUB
    storage_gb_per_second: float | None = None
    image_cached: bool = False
    compile_cached: bool = False
    machine_seconds: float | None = None
    benchmark: bool = False


class ColdStart(Record, frozen=True, kw_only=True):
    """Seconds from the decision to start one replica until it serves.

    `terms` are in seconds, in the order in which they happen; `unknown` names what nobody said and is left out.
    `error_median`, `error_p90`: relative error over published starts that the constants were not fitted to; 0 where the
    seconds were given.
    """

    terms: tuple[Term, ...]
    unknown: tuple[str, ...] = ()
    error_median: float
    error_p90: float

    @property
    def seconds(self) -> float:
        """All terms together."""
        return sum(float(term.value) for term in self.terms)


class ScaleToZero(Record, frozen=True, kw_only=True):
    """A service that stops when idle and starts with the next request, against one that always runs.

    Paid seconds are those of starting, idle (running, nothing in flight) and busy. `waiting_share`: share of requests
    that come while it is stopped or starting. `first_ttft_seconds`: from the request that wakes it to its first token.
    """

    cold_start: ColdStart
    idle_timeout_seconds: float
    starts_per_day: float
    paid_seconds_per_day: float
    starting_seconds_per_day: float
    idle_seconds_per_day: float
    busy_seconds_per_day: float
    waiting_share: float
    first_ttft_seconds: float
    usd_per_day: float
    always_on_usd_per_day: float
