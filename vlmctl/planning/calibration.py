"""What measurements say of estimates near them: corrections that shrink to none as the distance grows.

The logarithm of measured over estimated is taken as a Gaussian process with mean 0 over the circumstances of a
measurement (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2.2): at a measured point the estimate
moves nearly to what was measured, near it a part of the way, far from it not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest
from operator import mul
from typing import TypeVar

from vlmctl.planning.circumstances import Circumstances, is_measured, kin, similarity
from vlmctl.planning.corrected import NO_CORRECTION, UNCORRECTED, Correction, Factors, Influence
from vlmctl.specs.estimates import Basis
from vlmctl.specs.record import Record

NOISE = 0.3  # standard deviation of what one run tells of its own circumstances, over that of the errors themselves

NEAREST = 0.3  # similarity of the nearest measurement below which an estimate is left alone
NEIGHBOURS = 32  # measurements that one correction is worked out from, the nearest; more hardly change it
SYSTEMS_KEPT = 256  # sets of neighbours whose equations stay solved
QUANTITIES = ("throughput", "ttft", "tpot")

_K = TypeVar("_K")
_V = TypeVar("_V")


class Evidence(Record, frozen=True, kw_only=True):
    """A measured run, all repeats together. `residuals`: ln(measured / estimated) by quantity; throughput always."""

    ids: tuple[str, ...]
    at: Circumstances
    residuals: dict[str, float]


class Calibration:
    """Measured runs, ready to correct estimates near them. The order in which they are given does not matter.

    `engine_version`: the release of vLLM that a planner's own estimates are for.
    """

    def __init__(self, evidence: Iterable[Evidence], *, engine_version: str = "") -> None:
        self.engine_version = engine_version
        self.evidence = tuple(sorted(evidence, key=lambda each: each.ids))
        ratios = [each.residuals["throughput"] for each in self.evidence]
        self._range = {
            name: _range(each.residuals[name] for each in self.evidence if name in each.residuals)
            for name in QUANTITIES
        }
        self.fastest = math.exp(max((0.0, *ratios)))  # no throughput is corrected upwards by more than this
        self._kin: dict[tuple[str, str, bool], list[int]] = {}  # places of measurements that may be alike at all
        for place, each in enumerate(self.evidence):
            self._kin.setdefault(kin(each.at), []).append(place)
        self._factored: dict[tuple[int, ...], list[list[float]]] = {}
        self._weighted: dict[tuple[tuple[int, ...], str], list[float]] = {}

    def factors(self, question: Circumstances) -> Factors:
        """The factors alone: `correction` without what only a reader needs."""
        near = self._near(question)
        return self._factors(near) if near else UNCORRECTED

    def correction(self, question: Circumstances, *, without: Callable[[Evidence], bool] | None = None) -> Correction:
        """The correction of an estimate; `without` leaves measurements out, for judging the method."""
        near = self._near(question, without)
        if not near:
            return NO_CORRECTION
        lower = self._covariance(tuple(place for _, place in near))
        explained = sum(part * part for part in _forward(lower, [alike for alike, _ in near]))
        return Correction(
            factors=self._factors(near),
            basis=self._basis(question, near),
            spread=math.sqrt(max(0.0, 1.0 - explained)),
            influences=tuple(self._influence(*each) for each in sorted(near, key=lambda each: (-each[0], each[1]))),
        )

    def _near(
        self, question: Circumstances, without: Callable[[Evidence], bool] | None = None
    ) -> list[tuple[float, int]]:
        """Similarity and place of the nearest measurements, by place; empty where even the nearest is too far."""
        found = [
            (-similarity(question, self.evidence[place].at), place)
            for place in self._kin.get(kin(question), ())
            if without is None or not without(self.evidence[place])
        ]
        if not found or -min(found)[0] < NEAREST:
            return []
        return sorted(((-alike, place) for alike, place in nsmallest(NEIGHBOURS, found)), key=lambda each: each[1])

    def _factors(self, near: Sequence[tuple[float, int]]) -> Factors:
        return Factors(**{name: math.exp(self._mean(near, name)) for name in QUANTITIES})

    def _mean(self, near: Sequence[tuple[float, int]], quantity: str) -> float:
        """Expected ln(measured / estimated), never beyond what was measured.

        A latency that none of them measured is expected to go with the throughput, which all of them did.
        """
        known = [each for each in near if quantity in self.evidence[each[1]].residuals]
        if not known:
            return -self._mean(near, "throughput")
        weights = self._weights(tuple(place for _, place in known), quantity)
        lowest, highest = self._range[quantity]
        expected = sum(alike * weight for (alike, _), weight in zip(known, weights, strict=True))
        return min(max(expected, lowest), highest)

    def _weights(self, places: tuple[int, ...], quantity: str) -> list[float]:
        """What a similarity to each of the measurements is multiplied with."""
        key = (places, quantity)
        if key not in self._weighted:
            lower = self._covariance(places)
            halfway = _forward(lower, [self.evidence[place].residuals[quantity] for place in places])
            _keep(self._weighted, key, _backward(lower, halfway))
        return self._weighted[key]

    def _covariance(self, places: tuple[int, ...]) -> list[list[float]]:
        """The Cholesky factor of the measurements' covariance. Questions nearby share their measurements."""
        if places not in self._factored:
            _keep(self._factored, places, _cholesky([self.evidence[place].at for place in places]))
        return self._factored[places]

    def _basis(self, question: Circumstances, near: Sequence[tuple[float, int]]) -> Basis:
        measured = any(is_measured(question, self.evidence[index].at) for _, index in near)
        return Basis.MEASURED if measured else Basis.CALIBRATED

    def _influence(self, alike: float, index: int) -> Influence:
        each = self.evidence[index]
        return Influence(ids=each.ids, similarity=alike, throughput_ratio=math.exp(each.residuals["throughput"]))


def _range(found: Iterable[float]) -> tuple[float, float]:
    values = (0.0, *found)
    return min(values), max(values)


def _keep(cache: dict[_K, _V], key: _K, value: _V) -> None:
    if len(cache) >= SYSTEMS_KEPT:
        cache.clear()
    cache[key] = value


def _cholesky(measured: Sequence[Circumstances]) -> list[list[float]]:
    """Lower triangle L with L L' = similarities + NOISE^2 on the diagonal, row by row."""
    lower: list[list[float]] = []
    for one in measured:
        row: list[float] = []
        for other, before in zip(measured, lower, strict=False):
            row.append((similarity(one, other) - sum(map(mul, row, before))) / before[-1])
        row.append(math.sqrt(1.0 + NOISE**2 - sum(part * part for part in row)))
        lower.append(row)
    return lower


def _forward(lower: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """x of L x = right."""
    found: list[float] = []
    for row, value in zip(lower, right, strict=True):
        found.append((value - sum(map(mul, row, found))) / row[-1])
    return found


def _backward(lower: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """x of L' x = right."""
    found = list(right)
    for index in range(len(found) - 1, -1, -1):
        found[index] /= lower[index][-1]
        for column in range(index):
            found[column] -= lower[index][column] * found[index]
    return found
