"""Whether a difference is more than luck: intervals by bootstrap, paired tests, and a correction for many comparisons.

What is drawn and permuted is the cluster: all cases that ask about one image, since a model that cannot read it is
wrong in all of them. Repeats of a case are averaged first.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from statistics import NormalDist
from typing import Any, NamedTuple, TypeVar

from vlmctl.bench.statistics import NORMAL, student
from vlmctl.specs.record import Record

ALPHA = 0.05  # chance of calling any of the compared alike ones different, over all pairs together
BOOTSTRAP_DRAWS = 4_000  # the ends of an interval repeat to about half a percent of its width
PERMUTATION_DRAWS = 10_000  # a p value of 0.05 repeats to 0.002
EXACT_LIMIT = 20  # differing clusters up to which all sign patterns are tried: 2^20 sums
NUMBERS_AT_ONCE = 4_000_000  # about 32 MB
T_UP_TO = 9  # clusters: so few draw too few different means, and their percentiles lie too near
T_OF_TWO = 12.706205  # the 0.975 quantile of Student's t at one degree of freedom
ALIKE = 1e-9  # between means of clusters, below which only rounding tells them apart
MCNEMAR, PERMUTATION, BY_IMAGE = "McNemar, exact", "permutation of signs", "permutation of signs by image"

Key = TypeVar("Key", bound=Hashable)
Clusters = Mapping[Any, Hashable]  # of a case, the cluster it is in; a case that is not named is one of its own


class Interval(Record, frozen=True, kw_only=True):
    """A mean with its 95% interval over `cases` cases in `clusters` clusters; None where there are none."""

    mean: float
    low: float
    high: float
    cases: int
    clusters: int


class Paired(Record, frozen=True, kw_only=True):
    """Two sides on the same cases: `difference` is the mean of first minus second, with its 95% interval.

    `p` is two-sided and for this pair alone; `adjusted_p` counts that other pairs were compared too.
    """

    first: str
    second: str
    cases: int
    clusters: int
    difference: float
    low: float
    high: float
    p: float
    adjusted_p: float
    test: str

    def better(self, alpha: float = ALPHA) -> str | None:
        """The side that is better beyond luck; None where neither is."""
        if self.adjusted_p >= alpha or self.difference == 0:
            return None
        return self.first if self.difference > 0 else self.second


def mean_interval(scores: Mapping[Key, float], clusters: Clusters | None = None, *, seed: int = 0) -> Interval | None:
    """The mean score of cases, 0 to 1 each, with its bootstrap interval over clusters; None without cases."""
    if not scores:
        return None
    sums = _by_cluster(scores, clusters or {})
    low, high = _bootstrap_ends(sums, (0.0, 1.0), seed)
    mean = sum(sums.totals) / len(scores)
    return Interval(mean=mean, low=min(low, mean), high=max(high, mean), cases=len(scores), clusters=len(sums.sizes))


def compare_pairs(
    scores: Mapping[str, Mapping[Key, float]],
    clusters: Clusters | None = None,
    *,
    seed: int = 0,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> tuple[Paired, ...]:
    """Each pair of sides on the cases that both have, with Holm's correction over all of them.

    `scores`: by side, the score of each case, 0 to 1. `pairs`: those to compare, all if not said. The test is
    McNemar's, exact, where every case has an image of its own and every difference is as large as the others, as with
    right and wrong; else a permutation of the signs of the clusters' differences. Sides without a shared case make no
    pair.
    """
    found = []
    for first, second in pairs if pairs is not None else combinations(scores, 2):
        shared = [case for case in scores[first] if case in scores[second]]
        if shared:
            differences = {case: scores[first][case] - scores[second][case] for case in shared}
            found.append(_paired(first, second, differences, clusters or {}, seed))
    return with_holm(found)


def with_holm(pairs: Sequence[Paired]) -> tuple[Paired, ...]:
    """The pairs, in their order, with p values adjusted by Holm's step-down method (Holm 1979).

    Calling what stays below alpha different errs in any of them with a chance of at most alpha.
    """
    from msgspec.structs import replace

    adjusted, highest = dict[int, float](), 0.0
    for rank, index in enumerate(sorted(range(len(pairs)), key=lambda each: pairs[each].p)):
        highest = max(highest, min((len(pairs) - rank) * pairs[index].p, 1.0))
        adjusted[index] = highest
    return tuple(replace(pair, adjusted_p=adjusted[index]) for index, pair in enumerate(pairs))


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Two-sided exact p of McNemar's test: so many cases only the first got right, so many only the second.

    The binomial test that a case on which the two differ goes either way alike (McNemar 1947; Edwards 1948).
    """
    differing = first_only + second_only
    tail = sum(math.comb(differing, count) for count in range(min(first_only, second_only) + 1))
    return float(min(2 * tail / 2**differing, 1.0))


def sign_permutation(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p that the mean difference is luck: how often random signs give one as large (Fisher 1935).

    `differences`: of independent clusters. All patterns of signs up to 20 that differ, else 10,000 random ones and the
    observed one among them.
    """
    import numpy as np

    values = np.asarray([each for each in differences if each != 0], dtype=float)
    if not len(values):
        return 1.0
    observed = abs(float(values.sum())) * (1 - 1e-12)  # sums in another order differ in their last bits
    if len(values) <= EXACT_LIMIT:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate((sums + value, sums - value))
        return float((np.abs(sums) >= observed).mean())
    rng, hits, left = np.random.default_rng(seed), 0, PERMUTATION_DRAWS
    while left > 0:
        rows = min(left, max(1, NUMBERS_AT_ONCE // len(values)))
        signs = rng.integers(0, 2, size=(rows, len(values)), dtype=np.int8) * 2 - 1
        hits += int((np.abs(signs @ values) >= observed).sum())
        left -= rows
    return (hits + 1) / (PERMUTATION_DRAWS + 1)


def smallest_possible_p(clusters: int) -> float:
    """The p of the clearest result that so many clusters can give: all of them differ, all the same way."""
    return min(2.0 ** (1 - clusters), 1.0)


def decidable(pair: Paired, pairs: Sequence[Paired], alpha: float) -> bool:
    """Whether the clearest result of a pair's clusters would be significant, the other `pairs` being as they are."""
    from msgspec.structs import replace

    clearest = replace(pair, p=smallest_possible_p(pair.clusters))
    return with_holm([clearest, *(other for other in pairs if other is not pair)])[0].adjusted_p < alpha


class _Sums(NamedTuple):
    """Of each cluster, what its cases add up to, and how many they are."""

    totals: tuple[float, ...]
    sizes: tuple[int, ...]


def _by_cluster(values: Mapping[Key, float], clusters: Clusters) -> _Sums:
    found: dict[tuple[bool, Hashable], list[float]] = {}
    for case, value in values.items():
        found.setdefault((case in clusters, clusters.get(case, case)), []).append(value)
    return _Sums(tuple(map(math.fsum, found.values())), tuple(map(len, found.values())))


def _paired(first: str, second: str, differences: Mapping[Key, float], clusters: Clusters, seed: int) -> Paired:
    sums = _by_cluster(differences, clusters)
    alone = len(sums.sizes) == len(differences)
    if len({abs(each) for each in sums.totals if each != 0}) <= 1:  # as many sums as there are ways to count signs
        p = mcnemar_exact(sum(each > 0 for each in sums.totals), sum(each < 0 for each in sums.totals))
        test = MCNEMAR if alone else BY_IMAGE
    else:
        p, test = sign_permutation(sums.totals, seed=seed), PERMUTATION if alone else BY_IMAGE
    low, high = _bootstrap_ends(sums, (-1.0, 1.0), seed)
    return Paired(
        first=first,
        second=second,
        cases=len(differences),
        clusters=len(sums.sizes),
        difference=math.fsum(sums.totals) / len(differences),
        low=low,
        high=high,
        p=p,
        adjusted_p=p,
        test=test,
    )


def _bootstrap_ends(sums: _Sums, bounds: tuple[float, float], seed: int) -> tuple[float, float]:
    """Ends of the mean over cases when as many clusters are drawn with replacement (Efron and Tibshirani 1993, 13).

    The percentiles lie further out the fewer the clusters are, as those of Student's t do from the normal ones
    (Hesterberg, arXiv:1411.5279, section 5.3). Of very few clusters the interval is Student's own. Where all clusters
    came out alike there is no spread to see.
    """
    import numpy as np

    totals, sizes, count = np.asarray(sums.totals), np.asarray(sums.sizes), len(sums.sizes)
    if np.ptp(totals / sizes) < ALIKE:
        return _ends_of_alike(float(totals.sum() / sizes.sum()), count, bounds)
    if count <= T_UP_TO:
        return _student_ends(sums, bounds)
    rng, rows = np.random.default_rng(seed), max(1, NUMBERS_AT_ONCE // count)
    means = []
    for start in range(0, BOOTSTRAP_DRAWS, rows):
        drawn = rng.integers(0, count, size=(min(rows, BOOTSTRAP_DRAWS - start), count))
        means.append(totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    tail = NormalDist().cdf(-math.sqrt(count / (count - 1)) * student(count - 1))
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def _ends_of_alike(mean: float, clusters: int, bounds: tuple[float, float]) -> tuple[float, float]:
    """How far from what all clusters show the truth may be: a share of others, at the bounds of a score, went unseen.

    That share is the upper end of Wilson's interval of none among so many (Wilson 1927).
    """
    unseen = NORMAL**2 / (clusters + NORMAL**2)
    return mean - unseen * (mean - bounds[0]), mean + unseen * (bounds[1] - mean)


def _student_ends(sums: _Sums, bounds: tuple[float, float]) -> tuple[float, float]:
    """The ends of Student's interval of the mean over cases, by the variance of a ratio of sums over clusters.

    Cochran, Sampling Techniques (1977), equation 2.39; within the bounds of a score.
    """
    count, cases = len(sums.sizes), math.fsum(sums.sizes)
    mean = math.fsum(sums.totals) / cases
    off = math.fsum((total - mean * size) ** 2 for total, size in zip(sums.totals, sums.sizes, strict=True))
    point = student(count - 1) if count > 2 else T_OF_TWO
    half = point * math.sqrt(off * count / (count - 1)) / cases
    return max(mean - half, bounds[0]), min(mean + half, bounds[1])
