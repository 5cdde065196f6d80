"""Results: rows that the catalog reads, with everything that made them; drift and dollars from their figures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support import virtual_time
from tests.support.servers import ScriptedServer, serving
from vlmctl.bench.about import About
from vlmctl.bench.drift import Planned, drift, money, step_at
from vlmctl.bench.endpoint import Endpoint
from vlmctl.bench.figures import StepFigures
from vlmctl.bench.ladder import bracket, keeps, knee, next_concurrency, rises
from vlmctl.bench.load import Arrival, LoadShape
from vlmctl.bench.results import measurements, usable, write_results
from vlmctl.bench.run import Report, Settings, run
from vlmctl.bench.statistics import Distribution, Estimate
from vlmctl.bench.workload import BenchWorkload, Replayed, parse_slot, replayed
from vlmctl.catalog.measurements import read_measurements
from vlmctl.catalog.results import read_results
from vlmctl.errors import CannotWrite
from vlmctl.planning.arrivals import Arrivals
from vlmctl.specs.measurements import Parallelism
from vlmctl.specs.workload import Objectives, Workload

NOW = datetime(2026, 11, 20, 12, 30, 5, tzinfo=UTC)
ABOUT = About(model="qwen2.5-vl-7b", gpu="L4", gpu_count=2, arguments=("--max-num-seqs=8",), model_revision="abc")


@pytest.fixture(scope="module")
def report() -> Report:
    """A run of two closed steps and an open one."""
    shapes = (
        LoadShape(arrival=Arrival.CLOSED, concurrency=2),
        LoadShape(arrival=Arrival.CLOSED, concurrency=4),
        LoadShape(arrival=Arrival.POISSON, requests_per_second=100.0),
    )
    workload = BenchWorkload(slots=(parse_slot("64x48", count=2),), prompt_tokens=20, output_tokens=4)
    settings = Settings(workload=workload, shapes=shapes, requests=20, seed=1)

    async def load() -> Report:
        async with serving(ScriptedServer(delay=lambda _: 0.02, gap=lambda _: 0.005)) as url:
            return await run(Endpoint(url=url, api_key="secret"), settings)

    return virtual_time.run(load())


def test_a_result_is_read_strictly_by_the_catalog_and_by_accuracy(report: Report, tmp_path: Path) -> None:
    """The same rows come back; closed ones can be judged, an open one tells no concurrency."""
    path = tmp_path / "results.yaml"
    rows = measurements(report, ABOUT, now=NOW)
    write_results(path, rows)
    read = read_results(path).rows
    assert sorted(row.id for row in read) == sorted(row.id for row in rows)
    assert len({row.id for row in rows}) == 3
    assert [row.load.concurrency for row in rows] == [2, 4, None]
    assert len(read_measurements(path).rows) == 3
    first = rows[0]
    assert first.workload.images == 2
    assert (first.workload.image_width, first.workload.image_height) == (64, 48)
    assert (first.workload.prompt_tokens, first.workload.output_tokens) == (20, 4)
    assert first.parallelism == Parallelism(tensor=2)
    assert first.measured.ttft_ms == pytest.approx(20, abs=15)
    assert first.measured.tpot_ms == pytest.approx(5, abs=3)


def test_tokens_that_come_in_one_piece_tell_no_time_between_them(report: Report, tmp_path: Path) -> None:
    """A TPOT of 0 would be refused where the row is read: no time was seen, which is not a time of 0."""
    nothing = Estimate(value=1e-9, low=0.0, high=0.0)
    at_once = Distribution(count=20, mean=nothing, p50=nothing, p90=nothing, p95=nothing, p99=nothing)
    steps = tuple(replace(step, tpot=at_once) for step in report.steps)
    path = tmp_path / "results.yaml"
    write_results(path, measurements(replace(report, steps=steps), ABOUT, now=NOW))
    measured = [row.measured for row in read_results(path).rows]
    assert all(row.tpot_ms is None and row.tpot_p95_ms is None and row.ttft_ms is not None for row in measured)


def test_a_result_says_what_made_it(report: Report) -> None:
    """Revision, engine, arguments, workload and its hash, seed, date, intervals; never the key."""
    row = measurements(report, ABOUT, now=NOW)[0]
    made = row.flags
    assert made["arguments"] == ["--max-num-seqs=8"]
    assert (made["model_revision"], made["seed"], made["workload_hash"]) == ("abc", 1, report.workload.digest)
    assert made["date"] == "2026-11-20T12:30:05+00:00"
    assert made["server"]["engine_version"] == row.engine_version == "0.32.0"
    assert made["step"]["requests_per_second"]["value"] == row.measured.requests_per_second
    assert made["step"]["ttft"]["count"] == 20
    assert "secret" not in str(row)


def test_a_row_of_mixed_images_says_that_its_size_is_a_mean(report: Report) -> None:
    """One size of image stands for all in a row: where there were several, that is said beside it."""
    alike, mixed = (measurements(replace(report, mixed_sizes=mixed), ABOUT, now=NOW)[0] for mixed in (False, True))
    assert not any("several sizes" in note for note in alike.flags["notes"])
    assert any("several sizes" in note for note in mixed.flags["notes"])


def test_a_row_of_a_trace_says_which_and_how_many_images_it_had(report: Report) -> None:
    """Not what the workload would have sent; another trace is another hash, and so are other pictures of a folder."""
    trace = Replayed(name="t.csv", scale=2.0, sha256="ab")
    step = replace(report.steps[2], completed=20, images=65)
    traced = replace(report, steps=(step,), trace=trace)
    row = measurements(traced, ABOUT, now=NOW)[0]
    assert row.workload.images == 3
    assert row.flags["trace"] == {"name": "t.csv", "scale": 2.0, "sha256": "ab"}
    assert any("3.25 on average" in note for note in row.flags["notes"])
    others = (replace(traced, trace=replace(trace, sha256="cd")), replace(report, folder_sha256="ab"))
    hashes = {each.digest for each in (report, traced, *others, replace(report, folder_sha256="cd"))}
    assert len(hashes) == 5
    assert row.flags["workload_hash"] == traced.digest
    assert traced.digest in row.id


def test_a_trace_is_told_from_others_by_all_that_it_holds() -> None:
    """Its times, tokens and images; the same again has the same digest."""
    arrivals = Arrivals(seconds=[0.0, 1.0], duration_seconds=1.0, prompt_tokens=[1, 2], output_tokens=[3, 4])
    others = (
        replace(arrivals, seconds=[0.0, 0.5]),
        replace(arrivals, prompt_tokens=[1, 3]),
        replace(arrivals, output_tokens=[4, 4]),
        replace(arrivals, images=[0, 1]),
    )
    assert len({replayed(each, name="t", scale=1.0).sha256 for each in (arrivals, *others)}) == 5
    assert replayed(arrivals, name="t", scale=1.0) == replayed(replace(arrivals), name="t", scale=1.0)


def test_requests_that_hang_break_an_objective(report: Report) -> None:
    """Those that were done are quick; one in 20 cut off after the objective is borne, more are not."""
    step = climbed(report, (1, 1.0, 0.1))[0]
    objectives = Objectives(ttft_seconds=0.5)
    assert keeps(replace(step, completed=19, overdue=1), objectives)
    assert not keeps(replace(step, completed=18, overdue=1), objectives)


def test_what_nobody_said_is_unknown_and_the_way_to_say_it_is_told(report: Report) -> None:
    """A row without GPU is written, named unusable, and not passed off as one with."""
    rows = measurements(report, About(), now=NOW)
    assert (rows[0].model, rows[0].gpu) == ("org/Scripted-7B", "unknown")
    assert "--catalog-model and --gpu" in usable(About())
    assert usable(ABOUT) == ""


def test_results_are_written_whole_or_not_at_all(report: Report, tmp_path: Path) -> None:
    """A place that cannot be written is an error; no rows are an empty list."""
    with pytest.raises(CannotWrite):
        write_results(tmp_path / "none" / "r.yaml", ())
    write_results(tmp_path / "r.yaml", ())
    assert read_measurements(tmp_path / "r.yaml").rows == ()


def test_drift_compares_at_the_planned_concurrency(report: Report) -> None:
    """The nearest step, the figures that both have, and the error of the plan as accuracy defines it."""
    planned = Planned(
        model="m", weights="bf16", gpu="L4", gpu_count=1, workload=Workload(), requests_per_second=1.0, concurrency=3,
        image_tokens=100,
    )  # fmt: skip
    step = step_at(report.steps, 5)
    assert step is report.steps[1]
    assert step_at(report.steps[2:], 5) is None
    found = {each.quantity: each for each in drift(planned, step)}
    assert set(found) == {"requests_per_second", "image_tokens"}
    assert found["image_tokens"].ratio == pytest.approx(2.0)
    assert found["image_tokens"].error == pytest.approx(0.5)


@pytest.mark.parametrize("told", [200, 203, 206])
def test_drift_counts_image_tokens_as_plans_do(report: Report, told: int) -> None:
    """With all markers, however many of them the server takes for the image's own."""
    step = report.steps[1]
    assert step.tokens.beyond_text_tokens == 200 * step.completed
    tokens = replace(step.tokens, image_tokens=told * step.completed, beyond_text_tokens=206 * step.completed)
    planned = Planned(model="m", weights="bf16", gpu="L4", gpu_count=1, workload=Workload(), image_tokens=206)
    (found,) = drift(planned, replace(step, tokens=tokens))
    assert found.ratio == 1.0


def test_dollars_follow_from_the_throughput(report: Report) -> None:
    """By hand: $3.60 an hour at r requests a second are $1 / r per 1,000; the interval turns around."""
    step = report.steps[1]
    rate = step.requests_per_second
    assert rate is not None
    found = money(step, 3.6)
    assert found is not None
    assert found.usd_per_1k_requests.value == pytest.approx(1 / rate.value)
    assert found.usd_per_1k_images is not None
    assert found.usd_per_1k_images.value == pytest.approx(0.5 / rate.value)
    assert found.usd_per_million_tokens is not None
    assert found.usd_per_million_tokens.value == pytest.approx(1000 / rate.value / (20 + 200 + 4))
    known = replace(step, requests_per_second=Estimate(value=10.0, low=8.0, high=12.5))
    bounded = money(known, 3.6)
    assert bounded is not None
    for each, one in (
        (bounded.usd_per_1k_requests, 1.0),
        (bounded.usd_per_1k_images, 0.5),
        (bounded.usd_per_million_tokens, 1000 / (20 + 200 + 4)),
    ):
        assert each is not None
        assert (each.low, each.high) == pytest.approx((one / 12.5, one / 8.0))


def climbed(report: Report, *points: tuple[int, float, float]) -> list[StepFigures]:
    """Steps of (concurrency, requests/s, p95 of TTFT)."""
    steps = []
    for concurrency, rate, ttft in points:
        each = Estimate(value=ttft)
        steps.append(
            replace(
                report.steps[0],
                shape=LoadShape(arrival=Arrival.CLOSED, concurrency=concurrency),
                requests_per_second=Estimate(value=rate),
                ttft=Distribution(count=9, mean=each, p50=each, p90=each, p95=each, p99=each),
                ended_by="time",
            )
        )
    return steps


@pytest.mark.parametrize(
    ("planned", "points", "following"),
    [
        (None, (), 1),
        (None, ((1, 1.0, 0.1),), 2),
        (None, ((1, 1.0, 0.1), (2, 1.9, 0.1)), 4),
        (None, ((1, 1.0, 0.1), (2, 1.04, 0.1)), None),
        (None, ((1, 1.0, 0.1), (2, 2.0, 0.6)), None),
        (8, (), 4),
        (8, ((4, 1.0, 0.6),), 8),
        (8, ((4, 1.0, 0.1), (8, 1.0, 0.1)), 12),
        (8, ((4, 1.0, 0.1), (8, 2.0, 0.1), (12, 3.0, 0.1)), 24),
        (8, ((4, 1.0, 0.1), (8, 2.0, 0.1), (12, 2.0, 0.1)), None),
        (1, (), 1),
        (1, ((1, 1.0, 0.1),), 2),
        (None, ((16, 1.0, 0.1),), None),
    ],
)
def test_the_ladder_goes_where_something_is_to_be_learnt(
    report: Report, planned: int | None, points: tuple[tuple[int, float, float], ...], following: int | None
) -> None:
    """Through the bracket in any case; on only while throughput rises, the objective of 0.5 s holds, and up to 16."""
    objectives = Objectives(ttft_seconds=0.5)
    maximum = 16 if points == ((16, 1.0, 0.1),) else 1024
    steps = climbed(report, *points)
    assert next_concurrency(steps, planned=planned, objectives=objectives, maximum=maximum) == following


def test_a_step_that_failed_ends_the_ladder(report: Report) -> None:
    """More load would only fail more."""
    failed = replace(climbed(report, (1, 1.0, 0.1))[0], ended_by="errors")
    assert next_concurrency([failed], planned=8, objectives=Objectives()) is None


def test_the_best_step_keeps_the_objectives_where_one_does(report: Report) -> None:
    """The fastest of those, else the fastest of all; none of none."""
    steps = climbed(report, (1, 1.0, 0.1), (2, 2.0, 0.4), (4, 3.0, 0.9))
    assert knee(steps, Objectives(ttft_seconds=0.5)) is steps[1]
    assert knee(steps, Objectives(ttft_seconds=0.01)) is steps[2]
    assert knee([], Objectives()) is None
    assert rises(steps[0], steps[1])
    assert not keeps(steps[2], Objectives(ttft_seconds=0.5))
    assert bracket(1) == (1, 2)
    assert bracket(16) == (8, 16, 24)
