"""How many random cases the comparison with the models' own processors runs, and how many it ran for each family."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from math import ceil

from hypothesis import HealthCheck, seed, settings

CASES = int(os.environ.get("VLMCTL_ORACLE_CASES", "20000"))  # over all families together, each once or more
SEED = os.environ.get("VLMCTL_ORACLE_SEED")  # unset: the same cases on every run
CASES_PER_PIXEL_RUN = 100  # real pixels take milliseconds to seconds, counts microseconds

Property = Callable[..., None]
counted: Counter[str] = Counter()
ran: Counter[str] = Counter()


def per_case(parts: int) -> int:
    """Cases for each of `parts` comparisons, so that all of them together are at least `CASES`."""
    return ceil(CASES / parts)


def per_pixel_run(parts: int) -> int:
    """Runs on real pixels for each of `parts` processors, at least two."""
    return max(2, CASES // CASES_PER_PIXEL_RUN // parts)


def cases(number: int) -> Callable[[Property], Property]:
    """The settings under which a property sees `number` cases, as a decorator."""
    chosen = settings(
        max_examples=number,
        deadline=None,
        derandomize=SEED is None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    return chosen if SEED is None else lambda test: seed(int(SEED))(chosen(test))


def lines() -> list[str]:
    """What was compared, a family a line."""
    names = sorted(counted | ran)
    told = [f"{name:<24}{counted[name]:>8,} counted{ran[name]:>6,} on real pixels" for name in names]
    total = f"{f'{len(names)} families':<24}{counted.total():>8,} counted{ran.total():>6,} on real pixels"
    return [*told, total] if names else []
