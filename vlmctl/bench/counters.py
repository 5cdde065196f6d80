"""What the server counts itself: its metrics in Prometheus' text form, before, after and while a load runs.

Names: vLLM 0.32, /metrics. Several engines behind one address are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vlmctl.specs.record import Record

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV_CACHE = "vllm:kv_cache_usage_perc"
PREEMPTIONS = "preemptions"
# Name here, name there.
COUNTERS = {
    "prompt_tokens": "vllm:prompt_tokens_total",
    "output_tokens": "vllm:generation_tokens_total",
    "requests": "vllm:request_success_total",
    PREEMPTIONS: "vllm:num_preemptions_total",
    "prefix_cache_queries": "vllm:prefix_cache_queries_total",
    "prefix_cache_hits": "vllm:prefix_cache_hits_total",
    "image_cache_queries": "vllm:mm_cache_queries_total",
    "image_cache_hits": "vllm:mm_cache_hits_total",
}
WANTED = frozenset((RUNNING, WAITING, KV_CACHE, *COUNTERS.values()))
DISAGREEMENT = 0.05  # of what the server counted, beyond which it is reported


class ServerState(Record, frozen=True, kw_only=True):
    """The counters at one time, in monotonic seconds; None: the server does not tell.

    `kv_cache`: share in use of the fullest engine. `totals`: since the server started.
    """

    at: float
    running: float | None = None
    waiting: float | None = None
    kv_cache: float | None = None
    totals: dict[str, float] = {}  # noqa: RUF012  # msgspec gives each record its own


class Reading(Record, frozen=True, kw_only=True):
    """What the server told `seconds` into a step. `preemptions`: since the step began."""

    seconds: float
    running: float | None
    waiting: float | None
    kv_cache: float | None
    preemptions: float | None


class ServerLoad(Record, frozen=True, kw_only=True):
    """What the server told over a step: means and maxima of `samples` readings while it ran, None of a step that was
    over before the first; what its counters rose by; and the readings, those before and after the step included.
    """

    samples: int
    mean_running: float | None
    mean_waiting: float | None
    mean_kv_cache: float | None
    maximum_kv_cache: float | None
    rises: dict[str, float]
    readings: tuple[Reading, ...] = ()


class Disagreement(Record, frozen=True, kw_only=True):
    """A count of the client's that is more than 5% off the server's own."""

    quantity: str
    client: float
    server: float

    @property
    def text(self) -> str:
        """One line for people."""
        name = self.quantity.replace("_", " ")
        return (
            f"The server counted {self.server:,.0f} {name} where the answers tell of {self.client:,.0f}: others use it "
            "too, or requests that failed were worked on."
        )


def read_state(text: str, at: float) -> ServerState:
    """The wanted counters of a page of metrics; unknown lines are passed over."""
    found: dict[str, list[float]] = {}
    for line in text.splitlines():
        name, value = _line(line)
        if name in WANTED and value is not None:
            found.setdefault(name, []).append(value)
    sums = {name: sum(values) for name, values in found.items()}
    return ServerState(
        at=at,
        running=sums.get(RUNNING),
        waiting=sums.get(WAITING),
        kv_cache=max(found.get(KV_CACHE, ()), default=None),
        totals={here: sums[there] for here, there in COUNTERS.items() if there in sums},
    )


def _line(line: str) -> tuple[str, float | None]:
    """Name and value of a sample: ``name{labels} value [timestamp]``; a label may hold spaces and braces."""
    end = line.find("{")
    if end < 0:
        name, _, rest = line.partition(" ")
    else:
        name, rest = line[:end], line[line.rfind("}") + 1 :]
    try:
        return name, float(rest.split()[0])
    except (ValueError, IndexError):
        return name, None


def server_load(states: Sequence[ServerState]) -> ServerLoad | None:
    """The readings of a step in short, the first taken before it and the last after; None without two."""
    if len(states) < 2 or not any(state.totals for state in states):
        return None
    during = states[1:-1]  # the server was idle at the first and the last
    first, last = states[0].totals, states[-1].totals
    kv_cache = [state.kv_cache for state in during if state.kv_cache is not None]
    return ServerLoad(
        samples=len(during),
        mean_running=_mean(state.running for state in during),
        mean_waiting=_mean(state.waiting for state in during),
        mean_kv_cache=_mean(kv_cache),
        maximum_kv_cache=max(kv_cache, default=None),
        rises={name: last[name] - first[name] for name in last if name in first},
        readings=tuple(_reading(state, states[0]) for state in states),
    )


def _reading(state: ServerState, first: ServerState) -> Reading:
    then, now = first.totals.get(PREEMPTIONS), state.totals.get(PREEMPTIONS)
    return Reading(
        seconds=round(state.at - first.at, 3),
        running=state.running,
        waiting=state.waiting,
        kv_cache=state.kv_cache,
        preemptions=now - then if now is not None and then is not None else None,
    )


def restarted(states: Iterable[ServerState]) -> bool:
    """Whether a counter fell, which it only does when the server starts anew."""
    highest: dict[str, float] = {}
    for state in states:
        for name, value in state.totals.items():
            if value < highest.get(name, 0.0):
                return True
            highest[name] = value
    return False


def disagreements(seen: dict[str, float], rises: dict[str, float]) -> tuple[Disagreement, ...]:
    """Counts of the client's that are too far from how much the server's own rose."""
    return tuple(
        Disagreement(quantity=name, client=client, server=rises[name])
        for name, client in seen.items()
        if name in rises and abs(client - rises[name]) > DISAGREEMENT * max(rises[name], 1.0)
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
