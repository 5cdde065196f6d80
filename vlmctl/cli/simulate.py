"""`vlmctl simulate`: traffic against a placement and scaling policies: replicas, dollars, requests that come late."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from vlmctl.cli import options
from vlmctl.cli import simulate_options as own
from vlmctl.cli.options import CatalogOption, Format, ModelArgument, OutputOption
from vlmctl.cli.output import Block, Output
from vlmctl.cli.question_options import OWNERSHIP, PLACE, WORKLOAD, asking
from vlmctl.errors import InvalidValue, NothingFits

if TYPE_CHECKING:
    from vlmctl.planning.arrivals import Arrivals
    from vlmctl.planning.policies import Grid

app = options.command_app()

TRAFFIC = ("rps", "concurrency")  # of the workload, which traces and rates say instead
NAMES = tuple(name for name in (*WORKLOAD, *PLACE, *OWNERSHIP) if name not in TRAFFIC)
PROGRESS_REQUESTS = 200_000  # from which a policy takes long enough to say which one is at work
MAXIMUM_REPLICAS = 10_000  # beyond it, a slip of the keyboard
LOWEST_TARGET, HIGHEST_TARGET = 0.05, 5.0  # shares of what a replica serves within its objectives


@app.command()
@asking(NAMES)
def simulate(
    context: typer.Context,
    model: ModelArgument,
    trace: own.TraceOption = None,
    rate: own.RateOption = None,
    days: own.DaysOption = None,
    bursts: own.BurstsOption = None,
    weekend: own.WeekendOption = None,
    scale: own.ScaleOption = None,
    seed: own.SeedOption = 0,
    cold_start: options.ColdStartOption = None,
    target: own.TargetOption = None,
    min_replicas: own.MinReplicasOption = None,
    max_replicas: own.MaxReplicasOption = None,
    idle: own.IdleOption = None,
    scale_down_after: own.ScaleDownAfterOption = None,
    engine: own.EngineOption = own.Engine.OPERATOR,
    look_ahead: own.LookAheadOption = None,
    plot: own.PlotOption = None,
    require: options.RequireOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Replay traffic against scaling policies.

    Which policy keeps the objectives for the least: always on, between two numbers of replicas, or down to zero.
    Requests come from a trace or from a rate over the day, each with the images of the workload; the placement is the
    cheapest for the mean rate. Policies are tried at several loads, minimums and idle times, or at those given.

    JSON: an object with model, plan, ladder_concurrency (of which targetUtilization is a share), assumptions, traffic,
    replica (what one serves within the objectives), cold_start_seconds, cold_start_unknown, seed, policies (cheapest
    first, each with its timeline), cheapest and prices_as_of. CSV: the policies. Exit code 3 where no policy keeps the
    objectives.
    """
    from vlmctl import library
    from vlmctl.cli import simulate_page
    from vlmctl.files import write_atomically
    from vlmctl.library.simulations import simulate as run
    from vlmctl.units import parse_duration_seconds

    out, known = Output(output), library.load_catalog(catalog)
    arrivals = _arrivals(trace, rate, days=days, bursts=bursts, weekend=weekend, scale=scale, seed=seed)
    found = run(
        model,
        arrivals,
        options.wishes(context, NAMES, require),
        catalog=known,
        grid=_grid(target, min_replicas, max_replicas, idle, scale_down_after, engine, look_ahead),
        cold_start_seconds=parse_duration_seconds(cold_start) if cold_start is not None else None,
        seed=seed,
        progress=_progress(out, len(arrivals.seconds)),
    )
    data = simulate_page.data(found, known)
    shown = simulate_page.shown(found.comparison)
    if plot is not None:
        from vlmctl.cli.step_plot import svg

        write_atomically(plot, svg(shown, found.traffic.duration_seconds).encode())
        out.note(f"wrote {plot}")
    blocks: list[Block] = simulate_page.blocks(found, known) if out.for_people else []
    out.show(data, blocks, rows=simulate_page.rows(data))
    if found.comparison.cheapest is None:
        raise NothingFits("no policy keeps the objectives.", remedy="Raise --max-replicas, or loosen --ttft or --tpot.")


def _progress(out: Output, requests: int) -> Callable[[str], None]:
    """Says which policy is at work where it takes long enough to wonder."""
    if requests < PROGRESS_REQUESTS:
        return lambda _: None
    out.note(f"{requests:,} requests under each of some ten policies")
    return lambda name: out.note(f"simulating {name} ...")


def _arrivals(
    trace: str | None,
    rate: str | None,
    *,
    days: float | None,
    bursts: float | None,
    weekend: float | None,
    scale: str | None,
    seed: int,
) -> Arrivals:
    """The requests of the trace, or drawn at the rate."""
    from random import Random

    from msgspec.structs import replace

    from vlmctl.library.arrivals import MAXIMUM_DAYS, parse_factor, parse_rate, read_trace
    from vlmctl.planning.arrivals import SECONDS_PER_DAY, random_arrivals, scaled_arrivals

    factor, rng = parse_factor(scale) if scale is not None else 1.0, Random(seed)
    if (trace is None) == (rate is None):
        raise InvalidValue("a simulation needs --trace or --rate, one of them.", remedy="Try --rate daily:2.")
    if rate is None:
        if days is not None or bursts is not None or weekend is not None:
            raise InvalidValue("--days, --bursts and --weekend go with --rate.", remedy="Leave them out with --trace.")
        arrivals = read_trace(trace or "")
        return arrivals if scale is None else scaled_arrivals(arrivals, factor, rng)
    curve, usual_days = parse_rate(rate)
    length = usual_days if days is None else days
    if not 0 < length <= MAXIMUM_DAYS:
        raise InvalidValue(f"--days is {length:g}.", remedy=f"It must be above 0 and at most {MAXIMUM_DAYS}.")
    said = {"bursts_per_day": bursts, "weekend_share": weekend}
    given = {name: value for name, value in said.items() if value is not None}
    return random_arrivals(replace(curve, points=curve.scaled(factor), **given), length * SECONDS_PER_DAY, rng)


def _grid(
    targets: list[float] | None,
    minimums: list[int] | None,
    maximum: int | None,
    idle: list[str] | None,
    scale_down_after: str | None,
    engine: own.Engine,
    look_ahead: str | None,
) -> Grid:
    """The policies to try, narrowed by what was given; raises InvalidValue for what makes no policy."""
    from msgspec.structs import replace

    from vlmctl.planning.policies import IDLE_SECONDS, TARGETS, Grid
    from vlmctl.planning.scaling import DOWN, ScalingPolicy, check_policy
    from vlmctl.units import parse_duration_seconds

    for name, counts in (("--min-replicas", minimums or ()), ("--max-replicas", (maximum or 1,))):
        if not all(0 <= count <= MAXIMUM_REPLICAS for count in counts):
            raise InvalidValue(f"{name} is out of range.", remedy=f"It must be 0 to {MAXIMUM_REPLICAS:,}.")
    if not all(LOWEST_TARGET <= share <= HIGHEST_TARGET for share in targets or ()):
        raise InvalidValue("--target is out of range.", remedy=f"It is a share, {LOWEST_TARGET} to {HIGHEST_TARGET}.")
    _check_meaning(engine, minimums, idle, look_ahead)
    window = DOWN.stabilization_seconds if scale_down_after is None else parse_duration_seconds(scale_down_after)
    grid = Grid(
        targets=tuple(targets or TARGETS),
        minimums=tuple(dict.fromkeys(minimums)) if minimums else None,
        maximum=maximum,
        idle_seconds=tuple(map(parse_duration_seconds, idle)) if idle else IDLE_SECONDS,
        lead_seconds=parse_duration_seconds(look_ahead) if look_ahead is not None else None,
        external_metric=engine is not own.Engine.OPERATOR,
        to_zero=engine is not own.Engine.HPA,
        base=ScalingPolicy(target_in_flight=1.0, down=replace(DOWN, stabilization_seconds=window)),
    )
    most = MAXIMUM_REPLICAS if maximum is None else maximum
    bounds = replace(grid.base, minimum_replicas=max(minimums or (0,)), maximum_replicas=most)
    check_policy(replace(bounds, lead_seconds=grid.lead_seconds or 0.0))
    return grid


def _check_meaning(
    engine: own.Engine, minimums: list[int] | None, idle: list[str] | None, look_ahead: str | None
) -> None:
    """Raise InvalidValue for what this engine, or what else was given, would leave without a meaning."""
    if look_ahead is not None and engine is not own.Engine.OPERATOR:
        raise InvalidValue(
            f"--look-ahead goes with --engine Operator: {engine} does not.", remedy="Leave one of them out."
        )
    if engine is own.Engine.HPA and 0 in (minimums or ()):
        raise InvalidValue("--min-replicas is 0, and the HPA keeps 1.", remedy="Try --engine KEDA.")
    if idle and (engine is own.Engine.HPA or (minimums and 0 not in minimums)):
        keeps = "the HPA" if engine is own.Engine.HPA else "--min-replicas"
        raise InvalidValue(f"--idle says when the last replica goes, and {keeps} keeps it.", remedy="Leave one out.")
