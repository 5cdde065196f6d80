"""What requests really cost: money for replicas that were there, idle or not, over the requests that they answered.

A closed window of time counts once requests were answered in it, so that without traffic one thing alone is said, and
once: that an hour was paid for and nobody asked.
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
LONGEST_GAP_SECONDS = 300.0  # between looks; longer, and nobody knows what was paid in between
FEWEST_REQUESTS = 20.0  # that a figure is said of
SIGNIFICANT = 2  # digits: it changes when the cost does, not with each request


class Window(NamedTuple):
    """What was paid in so many seconds, and how many requests were answered."""

    seconds: float
    usd: float
    answered: float


class Realised(Record, frozen=True, kw_only=True):
    """What is remembered. `windows`: those that are closed, the oldest first: a day in hours, the last one in windows;
    `usd`, `answered`: of the one since `began`. `at`: of the last look, `counters`: what each replica had answered
    then, None for one that was there and has told nothing yet.

    `usd_per_1k`: the figure, None as long as there is none; `usd_per_hour`: what was paid on average in its time.
    `idle`: whether an hour was paid for in which nothing was answered; None as long as nobody has watched that long.
    """

    began: float
    at: float
    counters: Mapping[str, float | None] = {}
    usd: float = 0.0
    answered: float = 0.0
    windows: tuple[Window, ...] = ()
    usd_per_1k: float | None = None
    usd_per_hour: float | None = None
    idle: bool | None = None


def look(
    before: Realised | None, counters: Mapping[str, float], *, usd_per_hour: float, alive: frozenset[str], now: float
) -> Realised:
    """Another look at `now`, in seconds. `counters`: by replica, what it has answered since its proxy started.

    `usd_per_hour`: what is paid for all replicas; `alive`: all that are there, told or not. A replica that was not
    there before counts from 0, as does one whose counter went back; one that was there and had told nothing counts from
    what it tells first.
    """
    if before is None or now - before.at > LONGEST_GAP_SECONDS:
        told: dict[str, float | None] = {**dict.fromkeys(alive), **counters}
        if before is None:
            return Realised(began=now, at=now, counters=told)
        return replace(before, began=now, at=now, counters=told, usd=0.0, answered=0.0)
    more = sum(_more(before.counters.get(each, 0.0), count) for each, count in counters.items())
    silent = {each: count for each, count in before.counters.items() if each in alive and each not in counters}
    after = replace(
        before,
        at=now,
        counters={**silent, **counters},
        usd=before.usd + usd_per_hour * (now - before.at) / SECONDS_PER_HOUR,
        answered=before.answered + more,
    )
    return _closed(after, now) if now - after.began >= WINDOW_SECONDS else after


def _more(before: float | None, count: float) -> float:
    if before is None:
        return 0.0
    return count - before if count >= before else count


def _closed(state: Realised, now: float) -> Realised:
    """The window ends, and the figure is worked out anew if anything was answered in it."""
    windows = _kept((*state.windows, Window(now - state.began, state.usd, state.answered)))
    after = replace(state, began=now, usd=0.0, answered=0.0, windows=windows)
    if state.answered > 0:
        found = _figures(windows) or (state.usd_per_1k, state.usd_per_hour)
        return replace(after, usd_per_1k=found[0], usd_per_hour=found[1], idle=False)
    hour = windows[-WINDOWS:]
    if len(hour) == WINDOWS and sum(each.usd for each in hour) > 0 and not any(each.answered for each in hour):
        return replace(after, usd_per_1k=None, usd_per_hour=None, idle=True)
    return after


def _kept(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """The last hour window by window; what leaves it is put together by the hour."""
    older, hour = windows[:-WINDOWS], windows[-WINDOWS:]
    if len(older) > 1 and older[-2].seconds + older[-1].seconds <= SECONDS_PER_HOUR:
        older = (*older[:-2], Window(*(sum(pair) for pair in zip(*older[-2:], strict=True))))
    return (*older[-HOURS:], *hour)


def _figures(windows: Sequence[Window]) -> tuple[float, float] | None:
    """USD per 1,000 requests and USD per hour of the last hour, and of as much before it as it takes to hold enough
    requests; None where all do not.
    """
    seconds = usd = answered = 0.0
    for place, each in enumerate(reversed(windows), start=1):
        seconds, usd, answered = seconds + each.seconds, usd + each.usd, answered + each.answered
        if place >= min(WINDOWS, len(windows)) and answered >= FEWEST_REQUESTS:
            return _rounded(usd / answered * 1000), _rounded(usd / seconds * SECONDS_PER_HOUR)
    return None


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT}g}")
