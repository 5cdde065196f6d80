"""What requests really take: time of replicas that were there, idle or not, over the requests that they answered.

A closed window of time counts once requests were answered in it, so that without traffic one thing alone is said, and
once: that replicas were there for an hour and nobody asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from vlmctl.specs.record import Record
from vlmctl.units import SECONDS_PER_HOUR

WINDOW_SECONDS = 300.0  # after which the figure may change
WINDOWS = 12  # that count: an hour
HOURS = 23  # before it, of which as many count as it takes to hold the fewest requests
LONGEST_GAP_SECONDS = 300.0  # between looks; longer, and nobody knows what was there in between
FEWEST_REQUESTS = 20.0  # that a figure is said of
SIGNIFICANT = 2  # digits: a figure changes when the load does, not with each request


class Window(NamedTuple):
    """Of so many seconds: replicas times seconds that they were paid for, and how many requests were answered."""

    seconds: float
    replica_seconds: float
    answered: float


class Realised(Record, frozen=True, kw_only=True):
    """What is remembered. `windows`: those that are closed, the oldest first: a day in hours, the last one in windows;
    `replica_seconds`, `answered`: of the one since `began`. `at`: of the last look, `counters`: what each replica had
    answered then, None for one that was there and has told nothing yet.

    `replica_hours_per_1k`: hours of replicas for 1,000 requests, None as long as that is not known; `replicas`: how
    many there were on average in that time. `whole`: whether it is of an hour at least, so that no figure of less takes
    its place. `idle`: whether replicas were there for an hour in which nothing was answered; None as long as nobody has
    watched that long.
    """

    began: float
    at: float
    counters: Mapping[str, float | None] = {}
    replica_seconds: float = 0.0
    answered: float = 0.0
    windows: tuple[Window, ...] = ()
    replica_hours_per_1k: float | None = None
    replicas: float | None = None
    whole: bool = False
    idle: bool | None = None


def look(
    before: Realised | None, counters: Mapping[str, float], *, replicas: int, alive: frozenset[str], now: float
) -> Realised:
    """Another look at `now`, in seconds. `counters`: by replica, what it has answered since its proxy started.

    `replicas`: that are paid for; `alive`: all that are there, told or not. A replica that was not
    there before counts from 0, as does one whose counter went back; one that was there and had told nothing counts from
    what it tells first.
    """
    if before is None or now - before.at > LONGEST_GAP_SECONDS:
        told: dict[str, float | None] = {**dict.fromkeys(alive), **counters}
        if before is None:
            return Realised(began=now, at=now, counters=told)
        return replace(before, began=now, at=now, counters=told, replica_seconds=0.0, answered=0.0)
    more = sum(_more(before.counters.get(each, 0.0), count) for each, count in counters.items())
    silent = {each: count for each, count in before.counters.items() if each in alive and each not in counters}
    after = replace(
        before,
        at=now,
        counters={**silent, **counters},
        replica_seconds=before.replica_seconds + replicas * (now - before.at),
        answered=before.answered + more,
    )
    return _closed(after, now) if now - after.began >= WINDOW_SECONDS else after


def _more(before: float | None, count: float) -> float:
    if before is None:
        return 0.0
    return count - before if count >= before else count


def _closed(state: Realised, now: float) -> Realised:
    """The window ends, and the figure is worked out anew if anything was answered in it."""
    windows = _kept((*state.windows, Window(now - state.began, state.replica_seconds, state.answered)))
    after = replace(state, began=now, replica_seconds=0.0, answered=0.0, windows=windows)
    whole = len(windows) >= WINDOWS
    if state.answered > 0:
        found = _figures(windows) if whole or not state.whole else None
        if found is None:
            return replace(after, idle=False)
        return replace(after, replica_hours_per_1k=found[0], replicas=found[1], whole=whole, idle=False)
    hour = windows[-WINDOWS:]
    if whole and sum(each.replica_seconds for each in hour) > 0 and not any(each.answered for each in hour):
        return replace(after, replica_hours_per_1k=None, replicas=None, idle=True)
    return after


def _kept(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """The last hour window by window; what leaves it is put together by the hour."""
    older, hour = windows[:-WINDOWS], windows[-WINDOWS:]
    if len(older) > 1 and older[-2].seconds + older[-1].seconds <= SECONDS_PER_HOUR:
        older = (*older[:-2], Window(*(sum(pair) for pair in zip(*older[-2:], strict=True))))
    return (*older[-HOURS:], *hour)


def _figures(windows: Sequence[Window]) -> tuple[float, float] | None:
    """Hours of replicas for 1,000 requests, and replicas on average, of the last hour, and of as much before it as it
    takes to hold enough requests; None where all do not.
    """
    seconds = used = answered = 0.0
    for place, each in enumerate(reversed(windows), start=1):
        seconds, used, answered = seconds + each.seconds, used + each.replica_seconds, answered + each.answered
        if place >= min(WINDOWS, len(windows)) and answered >= FEWEST_REQUESTS:
            return _rounded(used / SECONDS_PER_HOUR / answered * 1000), _rounded(used / seconds)
    return None


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT}g}")
