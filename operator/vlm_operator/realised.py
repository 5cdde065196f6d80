"""What requests really cost: money for replicas that were there, idle or not, over the requests that they answered.

A closed window of time counts once requests were answered in it, so nothing moves without traffic.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from vlmctl.specs.record import Record
from vlmctl.units import SECONDS_PER_HOUR

WINDOW_SECONDS = 300.0  # after which the figure may change
WINDOWS = 12  # that count: an hour
LONGEST_GAP_SECONDS = 300.0  # between looks; longer, and nobody knows what was paid in between
FEWEST_REQUESTS = 20.0  # that a figure is said of
SIGNIFICANT = 2  # digits: it changes when the cost does, not with each request


class Realised(Record, frozen=True, kw_only=True):
    """What is remembered. `windows`: (USD, answered) of those that are closed, the oldest first; `usd`, `answered`: of
    the one since `began`. `at`: of the last look, `counters`: what each replica had answered then. `usd_per_1k`: the
    figure, None as long as there is none.
    """

    began: float
    at: float
    counters: Mapping[str, float] = {}
    usd: float = 0.0
    answered: float = 0.0
    windows: tuple[tuple[float, float], ...] = ()
    usd_per_1k: float | None = None


def look(
    before: Realised | None, counters: Mapping[str, float], *, usd_per_hour: float, alive: frozenset[str], now: float
) -> Realised:
    """Another look at `now`, in seconds. `counters`: by replica, what it has answered since its proxy started.

    `usd_per_hour`: what is paid for all replicas; `alive`: all that are there, told or not. A replica that was not
    there before counts from 0, as does one whose counter went back.
    """
    if before is None or now - before.at > LONGEST_GAP_SECONDS:
        kept = () if before is None else before.windows
        known = None if before is None else before.usd_per_1k
        return Realised(began=now, at=now, counters=dict(counters), windows=kept, usd_per_1k=known)
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


def _more(before: float, count: float) -> float:
    return count - before if count >= before else count


def _closed(state: Realised, now: float) -> Realised:
    """The window ends, and the figure is worked out anew if anything was answered in it."""
    windows = (*state.windows, (state.usd, state.answered))[-WINDOWS:]
    usd, answered = (sum(each[place] for each in windows) for place in (0, 1))
    figure = state.usd_per_1k
    if state.answered > 0 and answered >= FEWEST_REQUESTS:
        figure = float(f"{usd / answered * 1000:.{SIGNIFICANT}g}")
    return replace(state, began=now, usd=0.0, answered=0.0, windows=windows, usd_per_1k=figure)
