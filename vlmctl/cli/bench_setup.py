"""From the options of `vlmctl bench` to a run: requests, loads and limits, laid over those of a file and a plan."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from vlmctl.bench.about import About
from vlmctl.bench.drift import Planned
from vlmctl.bench.endpoint import Endpoint
from vlmctl.bench.load import Arrival, LoadShape
from vlmctl.bench.run import Progress, Report, Settings
from vlmctl.bench.run import run as run_bench
from vlmctl.bench.workload import BenchWorkload, Content, checked, parse_slot, read_workload, workload_from
from vlmctl.errors import InvalidValue
from vlmctl.library.planned import read_planned
from vlmctl.planning.arrivals import Arrivals
from vlmctl.specs.workload import Objectives
from vlmctl.units import USUAL_IMAGE, parse_duration_seconds, parse_usd_per_hour

Said = Mapping[str, Any]
DRAIN_AFTER_TRACE_SECONDS = 120.0  # for the last requests of a trace, where no deadline was said
MAXIMUM_CONCURRENCY, MAXIMUM_REQUESTS, MAXIMUM_SEED = 65_536, 10_000_000, 2**31 - 1
HIGHEST_RATE = 100_000.0  # requests per second
LOWEST_RATE = 1e-4
LIMITS: dict[str, tuple[float, float]] = {
    "interval": (0.001, 1.0),
    "max_errors": (0.0, 1.0),
    "max_concurrency": (1, MAXIMUM_CONCURRENCY),
    "requests": (1, MAXIMUM_REQUESTS),
    "warm_up": (0, 10_000),
    "seed": (0, MAXIMUM_SEED),
    "burstiness": (0.01, 1_000.0),
    "gpu_count": (1, 4_096),
}


def planned(path: Path | None) -> Planned | None:
    """The plan of a file; raises InvalidFile."""
    return None if path is None else read_planned(path)


def settings(said: Said, plan: Planned | None) -> tuple[Settings, Arrivals | None]:
    """The run that was asked for, and the requests of its trace; raises InvalidValue or InvalidFile."""
    for name, (low, high) in LIMITS.items():
        if name in said and not low <= said[name] <= high:
            raise InvalidValue(f"{_flag(name)} is out of range.", remedy=f"It is {low:g} to {high:g}.")
    arrivals = _arrivals(said)
    given = {
        "step_seconds": _seconds(said, "step"),
        "deadline_seconds": _seconds(said, "deadline"),
        "interval": said.get("interval"),
        "requests": said.get("requests"),
        "error_rate": said.get("max_errors"),
        "maximum_concurrency": said.get("max_concurrency"),
        "warm_up_requests": said.get("warm_up"),
        "seed": said.get("seed"),
    }
    if arrivals is not None:
        given |= {"trace_name": str(said["trace"]), "trace_scale": _scale(said)}
    if arrivals is not None and given["deadline_seconds"] is None:
        given["deadline_seconds"] = (arrivals.duration_seconds + DRAIN_AFTER_TRACE_SECONDS) * 1.25
    asked = Settings(
        workload=_workload(said, plan),
        shapes=_shapes(said, arrivals),
        planned_concurrency=plan.concurrency if plan is not None else None,
        objectives=_objectives(said, plan),
    )
    return replace(asked, **{name: value for name, value in given.items() if value is not None}), arrivals


def _workload(said: Said, plan: Planned | None) -> BenchWorkload:
    """Options over the file, over the plan, over one image of a usual size."""
    usual = BenchWorkload(slots=(parse_slot(USUAL_IMAGE),))
    below = usual if plan is None else workload_from(plan.workload)
    if "workload" in said:
        below = read_workload(Path(said["workload"]))
    count = said.get("images")
    slots = tuple(parse_slot(text, count=count or 1) for text in said.get("image") or ())
    if slots and "folder" in said:
        raise InvalidValue(
            "--image and --folder exclude each other.", remedy="Images of a folder have their own sizes."
        )
    if count is not None and not slots and "folder" not in said:
        slots = tuple(replace(slot, count=count) for slot in below.slots) if count else ()
    given = {
        "contents": tuple(_content(name) for name in said["content"]) if said.get("content") else None,
        "image_format": said.get("image_format"),
        "jpeg_quality": said.get("quality"),
        "folder": str(said["folder"]) if "folder" in said else None,
        "folder_images": count,
        "reuse_images": said.get("reuse_images"),
        "prompt_tokens": said.get("prompt_tokens"),
        "shared_prefix_tokens": said.get("shared_prefix"),
        "output_tokens": said.get("output_tokens"),
        "slots": slots if slots or count == 0 or "folder" in said else None,
    }
    return checked(replace(below, **{name: value for name, value in given.items() if value is not None}))


def _content(name: str) -> Content:
    try:
        return Content(name)
    except ValueError as error:
        raise InvalidValue(f"--content {name!r} is unknown.", remedy=f"It is {', '.join(Content)}.") from error


def _shapes(said: Said, arrivals: Arrivals | None) -> tuple[LoadShape, ...]:
    """The loads that were named; none: the ladder."""
    flights: Sequence[int] = said.get("concurrency") or ()
    rates: Sequence[float] = said.get("rate") or ()
    if sum(map(bool, (flights, rates, arrivals))) > 1:
        raise InvalidValue("--concurrency, --rate and --trace exclude each other.", remedy="Give one of them.")
    if not rates and ("arrival" in said or "burstiness" in said):
        raise InvalidValue("--arrival and --burstiness go with --rate.", remedy="Give a rate.")
    if not all(1 <= each <= MAXIMUM_CONCURRENCY for each in flights):
        raise InvalidValue("--concurrency is out of range.", remedy=f"It is 1 to {MAXIMUM_CONCURRENCY:,}.")
    if not all(LOWEST_RATE <= each <= HIGHEST_RATE for each in rates):
        raise InvalidValue("--rate is out of range.", remedy=f"It is {LOWEST_RATE:g} to {HIGHEST_RATE:,.0f} a second.")
    if arrivals is not None:
        return (LoadShape(arrival=Arrival.TRACE),)
    name = said.get("arrival", "gamma" if "burstiness" in said else "poisson")
    if name not in (Arrival.POISSON, Arrival.GAMMA, Arrival.CONSTANT):
        raise InvalidValue(f"--arrival {name!r} is unknown.", remedy="It is poisson, gamma or constant.")
    if "burstiness" in said and name != Arrival.GAMMA:
        raise InvalidValue("--burstiness goes with --arrival gamma.")
    closed = (LoadShape(arrival=Arrival.CLOSED, concurrency=each) for each in flights)
    burstiness = said.get("burstiness", 1.0)
    opened = (LoadShape(arrival=Arrival(name), requests_per_second=each, burstiness=burstiness) for each in rates)
    return (*closed, *opened)


def _arrivals(said: Said) -> Arrivals | None:
    from random import Random

    from vlmctl.library.arrivals import read_trace
    from vlmctl.planning.arrivals import scaled_arrivals

    if "trace" not in said:
        if "scale" in said:
            raise InvalidValue("--scale goes with --trace.", remedy="Name a trace.")
        return None
    arrivals = read_trace(said["trace"])
    if "scale" not in said:
        return arrivals
    return scaled_arrivals(arrivals, _scale(said), Random(said.get("seed", 0)))


def _scale(said: Said) -> float:
    from vlmctl.library.arrivals import parse_factor

    return parse_factor(said["scale"]) if "scale" in said else 1.0


def _objectives(said: Said, plan: Planned | None) -> Objectives:
    below = plan.objectives if plan is not None else Objectives()
    ttft, tpot = _seconds(said, "ttft"), _seconds(said, "tpot")
    return Objectives(
        ttft_seconds=below.ttft_seconds if ttft is None else ttft,
        tpot_seconds=below.tpot_seconds if tpot is None else tpot,
    )


def about(said: Said, plan: Planned | None, overlays: Sequence[Path] | None) -> About:
    """What the results say of the model and the machine: options over the plan; raises UnknownName."""
    from vlmctl import library

    catalog = library.load_catalog(overlays)
    model = said.get("catalog_model", plan.model if plan is not None else None)
    gpu = said.get("gpu", plan.gpu if plan is not None else None)
    return About(
        model=library.find_model(model, catalog=catalog).id if model is not None else None,
        model_revision=said.get("model_revision"),
        weights=said.get("weights", plan.weights if plan is not None else "bf16"),
        gpu=library.find_gpu(gpu, catalog=catalog).id if gpu is not None else None,
        gpu_count=said.get("gpu_count", plan.gpu_count if plan is not None else 1),
        arguments=tuple(said.get("engine_argument") or ()),
    )


def usd_per_hour(price: str | None, plan: Planned | None) -> float | None:
    """Dollars per hour from ``1.20`` or ``1.20/h``, else the plan's for one replica; raises InvalidValue."""
    if price is None:
        return plan.usd_per_hour if plan is not None else None
    try:
        return parse_usd_per_hour(price)
    except InvalidValue as error:
        remedy = "Write dollars per hour of the server, such as 1.20."
        raise InvalidValue(f"--price {price!r} is no price.", remedy=remedy) from error


def run(endpoint: Endpoint, asked: Settings, arrivals: Arrivals | None, progress: Callable[[Progress], None]) -> Report:
    """Run it; the first Ctrl-C ends it with what was measured, a second one at once."""

    async def work() -> Report:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def interrupt() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            stop.set()

        # On Windows, or outside the main thread, there is no handler: Ctrl-C then ends the process.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGINT, interrupt)
        return await run_bench(endpoint, asked, arrivals=arrivals, progress=progress, interrupted=stop)

    try:
        import uvloop
    except ImportError:
        return asyncio.run(work())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def now() -> datetime:
    """The time that the results are of."""
    return datetime.now(UTC)


def _seconds(said: Said, name: str) -> float | None:
    if name not in said:
        return None
    seconds = parse_duration_seconds(said[name])
    if seconds <= 0:
        raise InvalidValue(f"{_flag(name)} must be above 0.")
    return seconds


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
