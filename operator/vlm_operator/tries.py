"""What was written for VLMDeployments lately and came to nothing: it is tried again, less and less often.

Passes go on meanwhile, as agents are to be heard whatever the API server refuses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import NamedTuple

import msgspec

from vlm_operator.actions import Action, Verb
from vlm_operator.cluster import ApiError
from vlm_operator.kinds import SECRET
from vlm_operator.records import Key

FIRST_PAUSE_SECONDS = 1.0
MOST_PAUSE_SECONDS = 30.0  # so that all is tried, and time left to do it, within a minute of an outage's end
LONG_AGO_SECONDS = 120.0  # after it could be tried again, what is still wanted has been
FIGHT_SECONDS = 30.0  # in which somebody who repairs an object by hand does not change it back `FIGHT_WRITES` times
FIGHT_WRITES = 5

_Write = tuple[str, str, str]  # verb, kind, name


class _Refused(NamedTuple):
    """A write that the API server did not take, `times` in a row; it is not tried again before `until`."""

    content: int
    error: ApiError
    times: int
    until: float


class _Repeated(NamedTuple):
    """When the same was written to an object that was there."""

    content: int
    at: tuple[float, ...]


class Tries:
    """In memory alone: a process that is new tries everything at once. `clock`: monotonic, in seconds."""

    def __init__(self, *, rng: Random | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rng = rng or Random()
        self._clock = clock
        self._refused: dict[Key, dict[_Write, _Refused]] = {}
        self._repeated: dict[Key, dict[_Write, _Repeated]] = {}

    def check(self, key: Key, action: Action) -> None:
        """Raise ApiError, as it was answered last, where the same was refused a moment ago."""
        known = self._refused.get(key, {}).get(_write(action))
        if known is not None and known.content == _content(action) and self._clock() < known.until:
            error = known.error
            raise ApiError(error.message, status=error.status, reason=error.reason, about=error.about)

    def refused(self, key: Key, action: Action, error: ApiError) -> None:
        """The API server did not take it."""
        writes = self._refused.setdefault(key, {})
        known = writes.get(_write(action))
        times = known.times + 1 if known is not None and known.content == _content(action) else 1
        longest = min(MOST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(times - 1, 16))
        until = self._clock() + longest * self._rng.uniform(0.5, 1.0)  # spreads those that were refused together
        # Another error than the one that was raised: that one holds all that the pass knew.
        kept = ApiError(error.message, status=error.status, reason=error.reason, about=error.about)
        writes[_write(action)] = _Refused(_content(action), kept, times, until)

    def done(self, key: Key, action: Action) -> None:
        """It was taken. What is written to an object that is there is counted."""
        self._refused.get(key, {}).pop(_write(action), None)
        if (action.verb is Verb.APPLY and action.forced) or action.verb is Verb.SCALE:
            self._note(key, action, 1)

    def changed(self, key: Key, action: Action) -> None:
        """It was taken, and the object was another one at once."""
        self._note(key, action, FIGHT_WRITES)

    def is_fought(self, key: Key, action: Action) -> bool:
        """Whether somebody else changes the object back whenever this is written."""
        known = self._repeated.get(key, {}).get(_write(action))
        return known is not None and known.content == _content(action) and len(self._recent(known)) >= FIGHT_WRITES

    def due_seconds(self, key: Key, waiting: Iterable[Action]) -> float | None:
        """Until one of those that wait can be tried again; None where none does."""
        refused, repeated = self._refused.get(key, {}), self._repeated.get(key, {})
        due = list[float]()
        for write in map(_write, waiting):
            recent = self._recent(repeated[write]) if write in repeated else ()
            fought = recent[-FIGHT_WRITES] + FIGHT_SECONDS if len(recent) >= FIGHT_WRITES else self._clock()
            due.append(refused[write].until if write in refused else fought)
        return max(FIRST_PAUSE_SECONDS, min(due) - self._clock()) if due else None

    def keep(self, there: Collection[Key]) -> None:
        """Forget all other VLMDeployments, and what was long ago."""
        now = self._clock()
        self._refused = {
            key: waiting
            for key, writes in self._refused.items()
            if key in there
            and (waiting := {write: each for write, each in writes.items() if now < each.until + LONG_AGO_SECONDS})
        }
        self._repeated = {
            key: recent
            for key, writes in self._repeated.items()
            if key in there and (recent := {write: each for write, each in writes.items() if self._recent(each)})
        }

    def _note(self, key: Key, action: Action, times: int) -> None:
        writes = self._repeated.setdefault(key, {})
        known = writes.get(_write(action))
        recent = self._recent(known) if known is not None and known.content == _content(action) else ()
        writes[_write(action)] = _Repeated(_content(action), (*recent, *(self._clock(),) * times)[-FIGHT_WRITES:])

    def _recent(self, known: _Repeated) -> tuple[float, ...]:
        return tuple(moment for moment in known.at if moment > self._clock() - FIGHT_SECONDS)


def _write(action: Action) -> _Write:
    return action.verb.value, action.kind, action.name


def _content(action: Action) -> int:
    """The same for the same content; each try of a Secret has another key, and is the same try."""
    body = None if action.kind == SECRET.kind else action.body
    return hash((msgspec.msgpack.encode(body), action.replicas, action.uid))
