"""Which loads a run climbs through: around the planned knee, then on while throughput rises and objectives hold."""

from __future__ import annotations

from collections.abc import Sequence

from vlmctl.bench.figures import StepFigures
from vlmctl.bench.statistics import Distribution
from vlmctl.bench.steps import BY_ERRORS
from vlmctl.specs.workload import Objectives

BRACKET = (0.5, 1.0, 1.5)  # of the planned concurrency
RISE = 1.05  # throughput over that of the step before, below which it is flat
STEPS_EXPECTED = 4  # of a ladder without a plan, for dividing its time
MAXIMUM_CONCURRENCY = 1024
OBJECTIVE_SHARE = 0.95  # of requests that an objective is for


def bracket(planned: int) -> tuple[int, ...]:
    """Half, once, and one and a half times the planned concurrency."""
    return tuple(sorted({max(1, round(share * planned)) for share in BRACKET}))


def next_concurrency(
    done: Sequence[StepFigures],
    *,
    planned: int | None,
    objectives: Objectives,
    maximum: int = MAXIMUM_CONCURRENCY,
) -> int | None:
    """The concurrency of the next step; None where another would tell nothing new."""
    if not done:
        return min(bracket(planned)[0] if planned is not None else 1, maximum)
    last = done[-1].shape.concurrency or 1
    if done[-1].ended_by == BY_ERRORS or not done[-1].completed or last >= maximum:
        return None
    if planned is not None:
        above = [each for each in bracket(planned) if each > last]
        if above:
            return min(above[0], maximum)
    if not keeps(done[-1], objectives) or (len(done) > 1 and not rises(done[-2], done[-1])):
        return None
    return min(2 * last, maximum)


def rises(before: StepFigures, after: StepFigures) -> bool:
    """Whether more in flight still brought more."""
    if before.requests_per_second is None or after.requests_per_second is None:
        return False
    return after.requests_per_second.value > RISE * before.requests_per_second.value


def keeps(step: StepFigures, objectives: Objectives) -> bool:
    """Whether the 95th percentiles are within the objectives; more than 5% overdue at the end would put them beyond."""
    if step.overdue > (1.0 - OBJECTIVE_SHARE) * (step.completed + step.overdue):
        return False
    pairs: tuple[tuple[float | None, Distribution | None], ...] = (
        (objectives.ttft_seconds, step.ttft),
        (objectives.tpot_seconds, step.tpot),
    )
    return all(limit is None or (seen is not None and seen.p95.value <= limit) for limit, seen in pairs)


def knee(done: Sequence[StepFigures], objectives: Objectives) -> StepFigures | None:
    """The step with the highest throughput of those that keep the objectives, else of all; None without throughput."""
    known = [step for step in done if step.requests_per_second is not None and step.completed]
    kept = [step for step in known if keeps(step, objectives)] or known
    return max(kept, key=lambda step: step.requests_per_second.value if step.requests_per_second else 0.0, default=None)


def steps_left(done: Sequence[StepFigures], planned: int | None) -> int:
    """About how many steps are still to come, at least one, for dividing the time that is left."""
    expected = len(bracket(planned)) if planned is not None else STEPS_EXPECTED
    return max(expected - len(done), 1)
