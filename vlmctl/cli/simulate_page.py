"""A simulation as data and as a page for people: the policies side by side, and the cheapest one over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlmctl.cli import wording
from vlmctl.cli.output import Block, Facts, Heading, Pre, Table, Text, plain
from vlmctl.cli.ranking import band_of
from vlmctl.library.simulations import Simulation
from vlmctl.planning.outcomes import MISSES_ALLOWED, Outcome
from vlmctl.planning.policies import Comparison
from vlmctl.planning.scaling import ANSWERED_SECONDS
from vlmctl.specs.hardware import Catalog, OfferKind
from vlmctl.units import show_seconds, show_usd

BARS = " ▁▂▃▄▅▆▇█"  # nothing, then eighths
LABEL_WIDTH = 12  # columns before a line of bars
LOWEST_UTILIZATION, HIGHEST_UTILIZATION = 0.05, 1.0  # that a VLMDeployment takes
HIDDEN = ("policy", "timeline")  # of an outcome, in a row of CSV


def data(found: Simulation, catalog: Catalog) -> dict[str, Any]:
    """What machines read."""
    comparison = found.comparison
    return {
        "model": found.plan.placement.model,
        "plan": found.plan,
        "ladder_concurrency": found.ladder_concurrency,
        "assumptions": found.assumptions,
        "traffic": found.traffic,
        "replica": comparison.capacity,
        "cold_start_seconds": found.cold_start_seconds,
        "cold_start_unknown": found.cold_start_unknown,
        "seed": found.seed,
        "policies": comparison.outcomes,
        "cheapest": comparison.cheapest,
        "prices_as_of": wording.price_dates(catalog.offers),
    }


def rows(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What CSV holds: a line a policy, without its settings and its course."""
    found, concurrency = [], data["ladder_concurrency"]
    for each in data["policies"]:
        settings = {f"policy_{name}": getattr(each.policy, name) for name in ("target_in_flight", "idle_seconds")}
        settings["policy_target_utilization"] = target_utilization(each, concurrency)
        found.append({name: value for name, value in plain(each).items() if name not in HIDDEN} | settings)
    return found


def target_utilization(outcome: Outcome, concurrency: int) -> float | None:
    """The policy's target as a VLMDeployment has it: a share of the `concurrency` of the best step of a ladder, not of
    what one replica has in flight under random arrivals. None where nothing scales.
    """
    if outcome.utilization is None:
        return None
    share = outcome.policy.target_in_flight / concurrency
    return round(min(max(share, LOWEST_UTILIZATION), HIGHEST_UTILIZATION), 2)


def shown(comparison: Comparison) -> Outcome:
    """The policy that is drawn: the cheapest that keeps the objectives, else the one that misses least."""
    kept = (each for each in comparison.outcomes if each.name == comparison.cheapest)
    return next(kept, min(comparison.outcomes, key=lambda each: (each.missed, each.usd)))


def blocks(found: Simulation, catalog: Catalog) -> list[Block]:
    """The page."""
    comparison, best = found.comparison, shown(found.comparison)
    answers: list[Block] = [Text(_traffic(found)), Facts(_facts(found))]
    if found.assumptions:
        answers.append(Text(f"Assumed: {'; '.join(found.assumptions)}."))
    answers += [Heading("Policies, the cheapest first"), _table(comparison.outcomes), Facts(_legend(found))]
    answers += [Text(text, bullet=number > 0) for number, text in enumerate(_verdict(found, best))]
    answers += [Heading(f"Over time: {best.name}"), Pre(bars(best, found.traffic.duration_seconds))]
    band = band_of(found.plan.speed, catalog.error_bands)
    return [*answers, Text(f"{band} Prices of {wording.price_dates(catalog.offers)}.")]


def bars(outcome: Outcome, duration_seconds: float) -> str:
    """Requests, replicas and waiting requests over time, each to its own scale, with the highest value behind it."""
    points = outcome.timeline
    lines = [
        _bar_line("requests/s", [point.requests_per_second for point in points]),
        _bar_line("replicas", [point.replicas for point in points]),
        _bar_line("ready", [point.ready for point in points], highest=max(point.replicas for point in points)),
        _bar_line("waiting", [point.waiting for point in points]),
    ]
    end = show_seconds(duration_seconds)
    return "\n".join([*lines, " " * LABEL_WIDTH + "0" + end.rjust(len(points) - 1)])


def _bar_line(label: str, values: Sequence[float], *, highest: float | None = None) -> str:
    most = max(values) if highest is None else highest
    # What is there at all shows, however little it is.
    steps = [max(round(value / most * (len(BARS) - 1)), 1) if value > 0 else 0 for value in values]
    return f"{label:<{LABEL_WIDTH}}{''.join(BARS[step] for step in steps)}  {max(values):,.4g}"


def _traffic(found: Simulation) -> str:
    traffic, workload = found.traffic, found.plan.workload
    images = [f"{image.count} x {image.width_pixels}x{image.height_pixels} pixels" for image in workload.images]
    videos = [f"{video.seconds:g} s of video" for video in workload.videos]
    sizes = [*images, *videos, f"{traffic.prompt_tokens:,.0f} prompt and {traffic.output_tokens:,.0f} output tokens"]
    return (
        f"{traffic.requests:,} requests in {show_seconds(traffic.duration_seconds)}: "
        f"{traffic.requests_per_second:,.3g}/s on average, {traffic.busiest_requests_per_second:,.3g}/s in the busiest "
        f"five minutes; each of {', '.join(sizes)}{' on average' if _varied(found) else ''}."
    )


def _varied(found: Simulation) -> bool:
    traffic, workload = found.traffic, found.plan.workload
    means = (traffic.prompt_tokens, traffic.output_tokens)
    return means != (workload.prompt_tokens, workload.output_tokens)


def _facts(found: Simulation) -> list[tuple[str, str]]:
    placement, cost, capacity = found.plan.placement, found.plan.cost, found.comparison.capacity
    assert cost is not None  # plans that are made from offers always have one
    per_hour = f"{show_usd(cost.offer.usd_per_hour)}/h"
    machine = f"{cost.offer.instance_type} of {cost.offer.provider}, {cost.offer.kind.value}, {per_hour}"
    unknown = f", not counted: {', '.join(found.cold_start_unknown)}" if found.cold_start_unknown else ""
    return [
        ("Replica", f"{placement.model} ({placement.precision.value}) on {placement.gpu_count}x {placement.gpu}"),
        ("Machine", machine + (", paid at all times" if cost.offer.kind is OfferKind.OWNED else ", paid whole")),
        (
            "It serves",
            f"{capacity.requests_per_second:.3g} requests/s within the objectives, {capacity.in_flight:.3g} in flight, "
            f"{show_seconds(capacity.e2e_seconds)} each",
        ),
        ("Cold start", show_seconds(found.cold_start_seconds) + unknown),
    ]


def _table(outcomes: Iterable[Outcome]) -> Table:
    headers = ("Policy", "$/day", "Late", "TTFT p95", "TPOT p95", "Replicas", "Starts", "Queue")
    cells = [
        (
            each.name + (" *" if each.pareto else ""),
            show_usd(each.usd_per_day),
            f"{each.missed_share:.1%}" + ("" if each.keeps else " !"),
            _seconds(each.ttft_p95_seconds),
            _seconds(each.tpot_p95_seconds),
            f"{each.replicas_mean:.2f} ({each.replicas_peak})",
            str(each.cold_starts),
            str(each.waiting_peak),
        )
        for each in outcomes
    ]
    return Table(headers, cells, right=headers[1:])


def _legend(found: Simulation) -> list[tuple[str, str]]:
    objectives = found.plan.objectives
    limits = (("TTFT", objectives.ttft_seconds), ("TPOT", objectives.tpot_seconds))
    wanted = " or ".join(f"{name} above {show_seconds(limit)}" for name, limit in limits if limit is not None)
    return [
        ("Policy", "80%, 1 to 6: from 1 to 6 replicas, so that each has 80% of what it serves in flight"),
        ("Late", f"requests with {wanted}; ! where they are more than {MISSES_ALLOWED:.0%}"),
        ("Replicas", "paid for, mean (most)"),
        ("Starts", "cold starts of replicas"),
        ("Queue", "most requests that waited for their prefill at once"),
        ("*", "no other policy is both cheaper and less late"),
    ]


def _verdict(found: Simulation, best: Outcome) -> list[str]:
    """The answer in sentences: the cheapest, then the best of each other kind: always on, to zero, never to it."""
    outcomes = found.comparison.outcomes
    if not best.keeps:
        return [f"No policy keeps the objectives; {best.name} is late least often, {best.missed_share:.1%}."]
    price = f"{show_usd(best.usd_per_day)} a day"
    if best.usd_per_1k_requests is not None:
        price += f", {show_usd(best.usd_per_1k_requests)} per 1,000 requests"
    lines = [f"Cheapest that keeps the objectives: {best.name}, for {price}."]
    zero = [each for each in outcomes if each.policy.minimum_replicas == 0]
    for members in (
        [each for each in outcomes if each.utilization is None],
        zero,
        [each for each in outcomes if each.utilization is not None and each.policy.minimum_replicas],
    ):
        if members and best not in members:
            nearest = next((each for each in members if each.keeps), members[0])
            late = f"{nearest.missed_share:.1%} late{'' if nearest.keeps else ', more than the objectives allow'}"
            lines.append(f"{nearest.name}: {show_usd(nearest.usd_per_day)} a day, {late}.")
    share = target_utilization(best, found.ladder_concurrency)
    if share is not None:
        aimed, measured = f"{best.policy.target_in_flight:.3g} in flight", found.ladder_concurrency
        shares = f"{aimed}, of the {measured} that a replica is estimated to measure in time"
        if best.policy.target_in_flight > measured:
            shares = f"no more can be said: {measured} in flight, and this policy has {aimed}"
        lines.append(f'In a VLMDeployment: targetUtilization "{share}" ({shares}).')
    shortest = min((each.policy.idle_seconds for each in zero), default=0.0)
    if zero and found.traffic.longest_gap_seconds < shortest + ANSWERED_SECONDS:
        gap = show_seconds(found.traffic.longest_gap_seconds)
        lines.append(f"The longest time without a request was {gap}: no policy came down to zero.")
    return lines


def _seconds(value: float | None) -> str:
    return "-" if value is None else show_seconds(value)
