"""Whether a difference is more than luck: intervals by bootstrap, paired tests, and a correction for many comparisons.

The case is the unit throughout: repeats of a case are averaged first, since they are no further cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeVar

from vlmctl.specs.record import Record

ALPHA = 0.05  # chance of calling any of the compared alike ones different, over all pairs together
BOOTSTRAP_DRAWS = 4_000  # the ends of an interval repeat to about half a percent of its width
PERMUTATION_DRAWS = 10_000  # a p value of 0.05 repeats to 0.002
EXACT_LIMIT = 20  # differing cases up to which all sign patterns are tried: 2^20 sums
Z_95 = 1.959964  # standard normal quantile at 0.975

Key = TypeVar("Key")


class Interval(Record, frozen=True, kw_only=True):
    """A mean with its 95% interval over `cases` cases; None where there are none."""

    mean: float
    low: float
    high: float
    cases: int


class Paired(Record, frozen=True, kw_only=True):
    """Two sides on the same cases: `difference` is the mean of first minus second, with its 95% interval.

    `p` is two-sided and for this pair alone; `adjusted_p` counts that other pairs were compared too.
    """

    first: str
    second: str
    cases: int
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


def mean_interval(scores: Sequence[float], *, seed: int = 0) -> Interval | None:
    """The mean of case scores with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Where all cases scored alike the bootstrap sees no spread; scores of 0 or 1 then get Wilson's interval (1927).
    """
    import numpy as np

    if not scores:
        return None
    values = np.asarray(scores, dtype=float)
    mean, count = float(values.mean()), len(scores)
    low, high = _bootstrap_ends(values, seed)
    if low == high and mean in (0.0, 1.0):
        low, high = _wilson(mean, count)
    return Interval(mean=mean, low=min(low, mean), high=max(high, mean), cases=count)


def compare_pairs(
    scores: Mapping[str, Mapping[Key, float]], *, seed: int = 0, pairs: Sequence[tuple[str, str]] | None = None
) -> tuple[Paired, ...]:
    """Each pair of sides on the cases that both have, with Holm's correction over all of them.

    `scores`: by side, the score of each case. `pairs`: those to compare, all if not said. The test is McNemar's, exact,
    where every difference is as large as the others, as with right and wrong; else a permutation of signs. Sides that
    share no case make no pair.
    """
    found = []
    for first, second in pairs if pairs is not None else combinations(scores, 2):
        shared = [case for case in scores[first] if case in scores[second]]
        if shared:
            differences = [scores[first][case] - scores[second][case] for case in shared]
            found.append(_paired(first, second, differences, seed))
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

    All patterns of signs up to 20 differing cases, else 10,000 random ones and the observed one among them.
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
        rows = min(left, max(1, 4_000_000 // len(values)))  # about 32 MB at once
        signs = rng.integers(0, 2, size=(rows, len(values)), dtype=np.int8) * 2 - 1
        hits += int((np.abs(signs @ values) >= observed).sum())
        left -= rows
    return (hits + 1) / (PERMUTATION_DRAWS + 1)


def smallest_possible_p(cases: int) -> float:
    """The p of the clearest result that so many cases can give: all of them differ, all the same way."""
    return min(2.0 ** (1 - cases), 1.0)


def _paired(first: str, second: str, differences: Sequence[float], seed: int) -> Paired:
    import numpy as np

    sizes = {abs(each) for each in differences if each != 0}
    if len(sizes) <= 1:
        p = mcnemar_exact(sum(each > 0 for each in differences), sum(each < 0 for each in differences))
        test = "McNemar, exact"
    else:
        p, test = sign_permutation(differences, seed=seed), "permutation of signs"
    low, high = _bootstrap_ends(np.asarray(differences, dtype=float), seed)
    return Paired(
        first=first,
        second=second,
        cases=len(differences),
        difference=math.fsum(differences) / len(differences),
        low=low,
        high=high,
        p=p,
        adjusted_p=p,
        test=test,
    )


def _bootstrap_ends(values: object, seed: int) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the mean of as many cases drawn with replacement."""
    import numpy as np

    array, rng = np.asarray(values, dtype=float), np.random.default_rng(seed)
    rows = max(1, 4_000_000 // len(array))  # about 32 MB at once
    means = np.concatenate(
        [
            array[rng.integers(0, len(array), size=(min(rows, BOOTSTRAP_DRAWS - start), len(array)))].mean(axis=1)
            for start in range(0, BOOTSTRAP_DRAWS, rows)
        ]
    )
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927)."""
    spread = Z_95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return max(centre - half, 0.0), min(centre + half, 1.0)
