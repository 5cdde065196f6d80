"""Laws of calibration: what a measurement may do to estimates near it, far from it, and to its own."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.records import make_gpu, make_model
from vlmctl.errors import InvalidValue
from vlmctl.planning.accuracy import predict
from vlmctl.planning.calibration import QUANTITIES, Calibration, Evidence
from vlmctl.planning.circumstances import Circumstances, release, similarity
from vlmctl.planning.corrected import NO_CORRECTION, UNCORRECTED, Factors, corrected
from vlmctl.planning.evidence import corrected_prediction, evidence_of, without_repeats
from vlmctl.planning.throughput import Load
from vlmctl.planning.waiting import Distribution
from vlmctl.specs.error_bands import Spread
from vlmctl.specs.estimates import Basis
from vlmctl.specs.measurements import Load as MeasuredLoad
from vlmctl.specs.measurements import Measured, MeasuredWorkload, Measurement, Parallelism

HERE = Circumstances(
    model="toy-7b",
    family="Toy",
    sparse=False,
    precision="bf16",
    gpu="mid",
    generation="toy",
    split="tensor",
    engine="vllm",
    release=32.0,
    has_images=True,
    doublings=(0.0, 10.0, 8.0, 4.0),
)
# One step away in one respect; none of them is the measurement's own circumstances.
STEPS: dict[str, Any] = {
    "model": {"model": "toy-13b"},
    "family": {"model": "other-7b", "family": "Other"},
    "kind": {"model": "toy-moe", "sparse": True},
    "precision": {"precision": "fp8"},
    "gpu": {"gpu": "mid-2"},
    "generation": {"gpu": "big", "generation": "newer"},
    "split": {"split": "2 stages, 1 ranks"},
    "engine": {"engine": "sglang"},
    "release": {"release": 30.0},
    "unknown release": {"release": None},
    "images": {"has_images": False},
    "GPUs": {"doublings": (1.0, 10.0, 8.0, 4.0)},
    "input": {"doublings": (0.0, 12.0, 8.0, 4.0)},
    "output": {"doublings": (0.0, 10.0, 9.0, 4.0)},
    "concurrency": {"doublings": (0.0, 10.0, 8.0, 7.0)},
}
ROW = Measurement(
    id="ours-1",
    source="our cluster",
    model="toys/toy-7b",
    weights="bf16",
    gpu="mid",
    gpu_count=1,
    parallelism=Parallelism(),
    engine="vllm",
    engine_version="0.32.0",
    workload=MeasuredWorkload(prompt_tokens=64, output_tokens=128, images=1, image_width=448, image_height=448),
    load=MeasuredLoad(kind="closed", concurrency=8),
    measured=Measured(ttft_ms=500.0, tpot_ms=40.0, requests_per_second=1.4),
)
RESIDUALS = st.floats(-1.5, 1.5)
PLACES = st.builds(
    lambda model, gpu, release, input_, concurrency: replace(
        HERE, model=model, gpu=gpu, release=release, doublings=(0.0, input_, 8.0, concurrency)
    ),
    st.sampled_from(["toy-7b", "toy-13b"]),
    st.sampled_from(["mid", "mid-2"]),
    st.sampled_from([None, 20.0, 32.0]),
    st.floats(6.0, 14.0),
    st.floats(0.0, 8.0),
)


def measured(at: Circumstances = HERE, ratio: float = 0.5, name: str = "a") -> Evidence:
    """Everything measured `ratio` times as fast as estimated."""
    slower = -math.log(ratio)
    return Evidence(ids=(name,), at=at, residuals={"throughput": -slower, "ttft": slower, "tpot": slower})


class TestOneMeasurement:
    def test_its_own_answer_moves_nearly_all_the_way(self) -> None:
        """At the measured point the correction is close to what was measured, and never beyond it."""
        found = Calibration([measured()]).correction(HERE)
        assert 0.5 < found.factors.throughput < 0.55
        assert 1.8 < found.factors.tpot < 2.0
        assert found.basis is Basis.MEASURED

    @pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
    def test_it_moves_its_own_answer_most(self, step: dict[str, Any]) -> None:
        """Whatever differs, the answer there moves less than the measured one, in the same direction or not at all."""
        calibration = Calibration([measured()])
        own, other = calibration.factors(HERE), calibration.factors(replace(HERE, **step))
        assert own.throughput < other.throughput <= 1.0
        assert own.ttft > other.ttft >= 1.0

    @pytest.mark.parametrize(
        "step", [STEPS["family"], STEPS["kind"], STEPS["engine"]], ids=["family", "kind", "engine"]
    )
    def test_far_answers_stay_exactly_as_they_were(self, step: dict[str, Any]) -> None:
        """Another family, architecture or engine is not touched at all, and says `estimated` as before."""
        found = Calibration([measured()]).correction(replace(HERE, **step))
        assert found is NO_CORRECTION
        assert found.factors is UNCORRECTED
        assert found.factors == Factors(throughput=1.0, ttft=1.0, tpot=1.0)

    @given(near=st.floats(0.0, 3.0), further=st.floats(0.001, 20.0), dimension=st.integers(0, 3))
    def test_its_pull_falls_with_the_distance(self, near: float, further: float, dimension: int) -> None:
        """The further a load is from the measured one, the less it moves, down to nothing."""
        calibration = Calibration([measured()])

        def at(distance: float) -> float:
            doublings = tuple(value + distance * (place == dimension) for place, value in enumerate(HERE.doublings))
            return calibration.factors(replace(HERE, doublings=doublings)).throughput

        assert at(0.0) <= at(near) <= at(near + further) <= 1.0
        assert at(40.0) == 1.0

    def test_the_band_narrows_with_the_evidence_but_not_below_what_repeats_differ_by(self) -> None:
        """Measured is more certain than calibrated, which is more certain than estimated; nothing is certain."""
        calibration, band = Calibration([measured()]), Spread(median=0.2, p90=0.6)
        own = calibration.correction(HERE).narrowed(band)
        near = calibration.correction(replace(HERE, gpu="mid-2")).narrowed(band)
        far = calibration.correction(replace(HERE, engine="sglang")).narrowed(band)
        assert 0.03 <= own.median < near.median < far.median == band.median
        assert 0.10 <= own.p90 < near.p90 < far.p90 == band.p90
        tight = Spread(median=0.01, p90=0.02)
        assert calibration.correction(HERE).narrowed(tight) == tight

    def test_only_the_very_thing_is_measured(self) -> None:
        """Another GPU count, release or twice the concurrency is calibrated; a nearby concurrency still is measured."""
        calibration = Calibration([measured()])
        assert calibration.correction(replace(HERE, doublings=(0.0, 10.0, 8.0, 4.4))).basis is Basis.MEASURED
        for step in ("GPUs", "release", "input", "concurrency", "model", "gpu", "precision"):
            assert calibration.correction(replace(HERE, **STEPS[step])).basis is Basis.CALIBRATED, step


class TestSeveralMeasurements:
    @given(st.lists(st.tuples(PLACES, RESIDUALS), min_size=1, max_size=12), PLACES, st.randoms(use_true_random=False))
    def test_order_does_not_matter(
        self, found: list[tuple[Circumstances, float]], asked: Circumstances, rng: Random
    ) -> None:
        """The same measurements in any order give the same correction, to the last digit."""
        evidence = [measured(at, math.exp(value), str(index)) for index, (at, value) in enumerate(found)]
        shuffled = list(evidence)
        rng.shuffle(shuffled)
        assert Calibration(evidence).correction(asked) == Calibration(shuffled).correction(asked)

    @given(st.lists(st.tuples(PLACES, RESIDUALS), min_size=1, max_size=12, unique_by=lambda each: each[0]), PLACES)
    def test_no_answer_moves_further_than_was_measured(
        self, found: list[tuple[Circumstances, float]], asked: Circumstances
    ) -> None:
        """A correction stays between none and the largest that was measured, and the bound of the search holds."""
        calibration = Calibration(measured(at, math.exp(value), str(at)) for at, value in found)
        values = [0.0, *(value for _, value in found)]
        factor = math.log(calibration.factors(asked).throughput)
        assert min(values) - 1e-9 <= factor <= max(values) + 1e-9
        assert math.exp(factor) <= calibration.fastest * (1 + 1e-9)

    @given(st.lists(st.tuples(PLACES, RESIDUALS), min_size=1, max_size=40, unique_by=lambda each: each[0]), PLACES)
    def test_more_measurements_never_make_less_certain(
        self, found: list[tuple[Circumstances, float]], asked: Circumstances
    ) -> None:
        """What is left of the error does not grow as measurements are added."""
        evidence = [measured(at, math.exp(value), str(at)) for at, value in found]
        fewer = Calibration(evidence[: len(evidence) // 2]).correction(asked).spread
        assert Calibration(evidence).correction(asked).spread <= fewer + 0.02  # only the nearest of many are used

    def test_near_measurements_agree_more_than_they_add_up(self) -> None:
        """Ten alike runs nearby count little more than one: they tell the same thing again."""
        runs = [measured(replace(HERE, doublings=(0.0, 10.0 + n / 100, 8.0, 4.0)), name=str(n)) for n in range(10)]
        asked = replace(HERE, gpu="mid-2")
        one, ten = (Calibration(some).factors(asked).throughput for some in (runs[:1], runs))
        assert 0.9 * one < ten < one

    def test_latencies_that_were_not_measured_follow_the_throughput(self) -> None:
        """Where only throughput was measured, both latencies are longer by what it is lower."""
        alone = replace(measured(), residuals={"throughput": math.log(0.5)})
        factors = Calibration([alone]).factors(HERE)
        assert factors.ttft == factors.tpot == pytest.approx(1 / factors.throughput)
        load = corrected(LOAD, factors, output_tokens=100)
        assert load.tpot / LOAD.tpot == pytest.approx(LOAD.rate / load.rate)

    def test_leaving_a_run_out_hides_it(self) -> None:
        """A row that is judged is never corrected by itself."""
        calibration = Calibration([measured()])
        assert calibration.correction(HERE, without=lambda each: "a" in each.ids) is NO_CORRECTION


LOAD = Load(batch=8.0, rate=2.0, ttft=0.5, ttft_p95=0.9, tpot=0.03, tpot_p95=0.04)


@given(st.floats(0.2, 5.0), st.floats(0.2, 5.0), st.floats(0.2, 5.0), st.integers(1, 2000))
def test_a_corrected_load_keeps_littles_law(rate: float, ttft: float, tpot: float, tokens: int) -> None:
    """However TTFT and TPOT are corrected, throughput times the latency of an answer stays the same."""
    load = corrected(LOAD, Factors(throughput=rate, ttft=ttft, tpot=tpot), output_tokens=tokens)
    held = LOAD.rate * (LOAD.ttft + LOAD.tpot * (tokens - 1))
    assert load.rate * (load.ttft + load.tpot * (tokens - 1)) == pytest.approx(held)
    assert load.rate == pytest.approx(LOAD.rate * rate)


def test_distributions_go_with_their_means() -> None:
    """What a corrected load tells of how latencies are distributed fits its means: stretched, of the same shape."""
    spread = Distribution(least=0.2, mean=0.5, variance=0.04)
    load = corrected(replace(LOAD, first_token=spread), Factors(throughput=0.5, ttft=3.0, tpot=2.0), output_tokens=100)
    assert load.first_token is not None
    assert load.first_token.mean == pytest.approx(load.ttft)
    assert load.ttft_p95 / load.ttft == pytest.approx(LOAD.ttft_p95 / LOAD.ttft)
    assert load.first_token.variance / load.first_token.mean**2 == pytest.approx(spread.variance / spread.mean**2)


class TestSimilarity:
    @given(PLACES, PLACES)
    def test_it_is_a_correlation(self, one: Circumstances, other: Circumstances) -> None:
        """It is symmetric, between 0 and 1, and 1 only for the same."""
        alike = similarity(one, other)
        assert alike == similarity(other, one)
        assert 0.0 <= alike <= 1.0
        assert (alike == 1.0) == (one == other) or alike > 0.999

    def test_releases(self) -> None:
        """Versions are read as engines write them; a name that is none is unknown, not 0."""
        assert [release(text) for text in ("0.32.1", "v0.7.2", "0.5.6.post2", "1.2")] == [32.0, 7.0, 5.0, 102.0]
        assert release("nightly-5b8c30d") is release("") is None


class TestRows:
    MODEL, GPU = make_model(), make_gpu("mid")

    def test_a_corrected_prediction_meets_the_row(self) -> None:
        """With its own correction the planner says nearly what the row measured, in every quantity."""
        evidence, said = evidence_of(ROW, self.MODEL, self.GPU)
        assert said == predict(ROW, self.MODEL, self.GPU)
        factors = Calibration([evidence]).factors(evidence.at)
        now = corrected_prediction(said, factors, output_tokens=128)
        for before, after, seen in (
            (said.requests_per_second, now.requests_per_second, 1.4),
            (said.tpot_seconds, now.tpot_seconds, 0.04),
            (said.ttft_seconds, now.ttft_seconds, 0.5),
        ):
            assert abs(math.log(after / seen)) < 0.35 * abs(math.log(before / seen)) + 0.02

    def test_a_latency_that_was_not_measured_takes_the_rest(self) -> None:
        """Throughput and TTFT alone are both met: what is slower beyond them is the time per token."""
        said = predict(ROW, self.MODEL, self.GPU)
        half, twice = said.requests_per_second / 2, said.ttft_seconds * 2
        row = replace(ROW, measured=Measured(requests_per_second=half, ttft_ms=twice * 1000))
        evidence, _ = evidence_of(row, self.MODEL, self.GPU)
        now = corrected_prediction(said, Calibration([evidence]).factors(evidence.at), output_tokens=128)
        assert now.ttft_seconds == pytest.approx(twice, rel=0.1)
        assert now.requests_per_second == pytest.approx(half, rel=0.1)
        assert now.tpot_seconds > 1.5 * said.tpot_seconds

    def test_copies_of_a_run_count_once(self) -> None:
        """A row published twice weighs as one, and two different repeats weigh as their mean."""
        row, _ = evidence_of(ROW, self.MODEL, self.GPU)
        copies = [replace(row, ids=(name,)) for name in ("x", "y", "z")]
        (once,) = without_repeats(copies)
        assert once.ids == ("x", "y", "z")
        assert once.residuals == row.residuals
        slower = replace(row, ids=("slow",), residuals={name: row.residuals[name] - 0.4 for name in QUANTITIES})
        (mean,) = without_repeats([*copies, slower])
        assert mean.residuals["throughput"] == pytest.approx(row.residuals["throughput"] - 0.2)

    def test_a_throughput_follows_from_latencies(self) -> None:
        """A closed loop that measured TTFT and TPOT alone is evidence of throughput too."""
        row = replace(ROW, measured=Measured(ttft_ms=500.0, tpot_ms=40.0))
        assert "throughput" in evidence_of(row, self.MODEL, self.GPU)[0].residuals

    def test_a_slip_of_units_is_refused(self) -> None:
        """A throughput a hundred times what is expected is no evidence but a mistake, and is said to be one."""
        row = replace(ROW, measured=Measured(requests_per_second=1400.0))
        with pytest.raises(InvalidValue, match="more than tenfold"):
            evidence_of(row, self.MODEL, self.GPU)
