"""What a deployment that runs was planned for, serves, costs and leaves idle. What is not known stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vlmctl.planning.cost import usd_per_1k_requests
from vlmctl.specs.estimates import Basis
from vlmctl.specs.record import Record
from vlmctl.units import SECONDS_PER_HOUR


class Running(Record, frozen=True, kw_only=True):
    """Replicas that are paid for. Rates are requests per second of one replica, within the objectives.

    `held_gpus`: of all replicas; None: as many as each was planned with.
    `precision`, `gpu` and `gpu_count`: None where it is not known which of several plans runs. `fewest_replicas`: that
    are kept whatever the load. `basis`, `planned_error`: of the planned rate; the error is relative, the median of past
    ones. `usd_per_hour_of_replica` of None: no price is known. `realised_replica_hours_per_1k`: for 1,000 requests that
    were really answered, idle time included; None: nobody has counted them. `realised_usd_per_1k`: what these cost.
    `realised_replicas`: how many there were on average meanwhile.
    `answers_nothing`: replicas were there for an hour without any. `is_scaled`: replicas follow the load by themselves.
    `target_utilization`: share of a replica's rate that is to be asked of it.
    """

    replicas: int
    held_gpus: int | None = None
    fewest_replicas: int = 1
    precision: str | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    planned_per_second: float | None = None
    basis: Basis = Basis.ESTIMATED
    planned_error: float | None = None
    measured_per_second: float | None = None
    usd_per_hour_of_replica: float | None = None
    realised_usd_per_1k: float | None = None
    realised_replica_hours_per_1k: float | None = None
    realised_replicas: float | None = None
    answers_nothing: bool = False
    is_scaled: bool = False
    target_utilization: float = 1.0

    @property
    def requests_per_second(self) -> float | None:
        """What was measured, else what was planned."""
        return self.planned_per_second if self.measured_per_second is None else self.measured_per_second

    @property
    def error(self) -> float | None:
        """Relative error that the rate may have: none where it was measured here."""
        return self.planned_error if self.measured_per_second is None else 0.0

    @property
    def drift(self) -> float | None:
        """Measured over planned."""
        if self.measured_per_second is None or not self.planned_per_second:
            return None
        return self.measured_per_second / self.planned_per_second

    @property
    def gpus(self) -> int | None:
        """GPUs of all replicas."""
        if self.replicas == 0:
            return 0
        if self.held_gpus is not None:
            return self.held_gpus
        return None if self.gpu_count is None else self.replicas * self.gpu_count

    @property
    def usd_per_hour(self) -> float | None:
        """Dollars per hour of all replicas."""
        return None if self.usd_per_hour_of_replica is None else self.usd_per_hour_of_replica * self.replicas

    @property
    def usd_per_1k(self) -> float | None:
        """Dollars per 1,000 requests where replicas are never idle: the floor."""
        return self._usd_per_1k(self.requests_per_second)

    @property
    def planned_usd_per_1k(self) -> float | None:
        """The same at the planned rate."""
        return self._usd_per_1k(self.planned_per_second)

    @property
    def load_share(self) -> float | None:
        """Share of what the replicas could serve that is really asked of them."""
        if self.answers_nothing:
            return 0.0
        hours, rate = self.realised_replica_hours_per_1k, self.requests_per_second
        if not rate or not hours:
            return None
        return min(1.0, 1000 / (rate * hours * SECONDS_PER_HOUR))

    @property
    def idle_share(self) -> float | None:
        """The rest of it. Replicas that are not there are not idle."""
        if self.replicas == 0:
            return 0.0
        return None if self.load_share is None else 1.0 - self.load_share

    @property
    def idle_gpus(self) -> float | None:
        """GPUs that serve nothing, which is GPU-hours an hour."""
        return None if self.idle_share is None or self.gpus is None else self.gpus * self.idle_share

    @property
    def waste_usd_per_hour(self) -> float | None:
        """Dollars an hour for what serves nothing."""
        if self.idle_share is None or self.usd_per_hour is None:
            return None
        return self.usd_per_hour * self.idle_share

    def _usd_per_1k(self, rate: float | None) -> float | None:
        if self.usd_per_hour_of_replica is None or not rate:
            return None
        return usd_per_1k_requests(self.usd_per_hour_of_replica, rate)


class Totals(Record, frozen=True, kw_only=True):
    """Sums of what is known, and how many deployments each leaves out: GPUs, money, what is idle.

    `judged_usd_per_hour`: the money of those of which it is known what is idle.
    """

    deployments: int
    gpus: int
    unknown_gpus: int
    usd_per_hour: float
    unpriced: int
    idle_gpus: float
    waste_usd_per_hour: float
    judged_usd_per_hour: float
    unknown_load: int

    @property
    def waste_share(self) -> float | None:
        """Share of the money that is idle, where that is known."""
        return self.waste_usd_per_hour / self.judged_usd_per_hour if self.judged_usd_per_hour > 0 else None


def totals(found: Iterable[Running | None]) -> Totals:
    """All deployments together; None: one of which nothing is known yet, which is paid for nothing."""
    every = list(found)
    known = [each for each in every if each is not None]
    return Totals(
        deployments=len(every),
        gpus=sum(each.gpus or 0 for each in known),
        unknown_gpus=sum(each.gpus is None for each in known),
        usd_per_hour=_sum(known, lambda each: each.usd_per_hour),
        unpriced=sum(each.usd_per_hour is None for each in known),
        idle_gpus=_sum(known, lambda each: each.idle_gpus),
        waste_usd_per_hour=_sum(known, lambda each: each.waste_usd_per_hour),
        judged_usd_per_hour=_sum(known, lambda each: None if each.idle_share is None else each.usd_per_hour),
        unknown_load=sum(each.idle_share is None for each in known),
    )


def replica_usd_per_hour(
    *, usd_per_hour: float | None, replicas: int, usd_per_1k: float | None, requests_per_second: float | None
) -> float | None:
    """The price of one replica: of all of them over their number, or where there are none from that of a request."""
    if replicas and usd_per_hour is not None:
        return usd_per_hour / replicas
    if usd_per_1k is None or not requests_per_second:
        return None
    return usd_per_1k / 1000 * requests_per_second * SECONDS_PER_HOUR


def _sum(found: Iterable[Running], figure: Callable[[Running], float | None]) -> float:
    return sum(value for each in found if (value := figure(each)) is not None)
