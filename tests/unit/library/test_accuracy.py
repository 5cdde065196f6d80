"""Predictions beside measurements: which model a row means, what is refused, and how errors are summed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.configs import LLAMA_8B
from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.measured_models import MeasuredModels, spellings
from vlmctl.catalog.measurements import MeasurementFile, SetAside
from vlmctl.errors import UnknownName, UnsupportedModel
from vlmctl.library.accuracy_report import report
from vlmctl.library.judging import PERCENTILES, QUANTITIES, Judged, Predicted, distinct_runs, judge, summaries
from vlmctl.library.judging_memory import JudgedStarts
from vlmctl.library.left_out import leave_one_out, read_leave_one_out, write_leave_one_out
from vlmctl.library.measured_bands import measured_bands
from vlmctl.specs.error_bands import Novelty, Workloads
from vlmctl.specs.estimates import Basis
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.measurements import DescribedModel, Load, Measured, MeasuredWorkload, Measurement, Parallelism

OWN = {"meta-llama/Llama-3.1-8B": DescribedModel(config=LLAMA_8B), "broken/Model": DescribedModel()}
NO_STARTS = JudgedStarts((), (), ())


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def _row(name: str = "row", **changes: Any) -> Measurement:
    row = Measurement(
        id=name,
        source="a test",
        model="meta-llama/Llama-3.1-8B",
        weights="bf16",
        gpu="H100-SXM",
        gpu_count=1,
        parallelism=Parallelism(),
        engine="vllm",
        engine_version="0.19.0",
        workload=MeasuredWorkload(prompt_tokens=1000, output_tokens=200),
        load=Load(kind="closed", concurrency=16),
        measured=Measured(ttft_ms=100.0, tpot_ms=10.0),
    )
    return msgspec.structs.replace(row, **changes)


def _judge(catalog: Catalog, *rows: Measurement, basis: Basis = Basis.ESTIMATED) -> Judged:
    return judge([MeasurementFile(rows=rows, models=OWN)], catalog, basis=basis)


class TestModels:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            pytest.param("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl-7b", id="repository"),
            pytest.param("qwen/qwen2.5-vl-7b-instruct", "qwen2.5-vl-7b", id="case"),
            pytest.param("qwen2.5-vl-7b", "qwen2.5-vl-7b", id="catalog-id"),
            pytest.param("RedHatAI/Qwen2.5-VL-7B-Instruct-FP8-dynamic", "qwen2.5-vl-7b", id="quantised"),
            pytest.param("neuralmagic/Qwen2.5-VL-7B-Instruct-quantized.w4a16", "qwen2.5-vl-7b", id="dotted"),
            pytest.param("Qwen/Qwen2.5-VL-7B", "qwen2.5-vl-7b", id="base"),
            pytest.param("mirror/Qwen2.5-VL-72B-Instruct-AWQ", "qwen2.5-vl-72b", id="mirror"),
            pytest.param("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B", id="own"),
            pytest.param("META-LLAMA/llama-3.1-8b", "meta-llama/Llama-3.1-8B", id="own-case"),
            pytest.param("nvidia/Llama-3.1-8B-Instruct-FP8", "meta-llama/Llama-3.1-8B", id="own-instruct"),
            pytest.param("redhatai/Meta-Llama-3.1-8B-FP8-dynamic", "meta-llama/Llama-3.1-8B", id="publisher"),
            pytest.param("any/Meta-Llama-3.1-8B-Instruct-g128-sym", "meta-llama/Llama-3.1-8B", id="publisher-tuned"),
            pytest.param("someone/Llama-3.1-8B-AWQ-4bit", "meta-llama/Llama-3.1-8B", id="4bit"),
            pytest.param("someone/Llama-3.1-8B-unquantized-8-bit", "meta-llama/Llama-3.1-8B", id="8-bit"),
            pytest.param("RedHatAI/Llama-3.1-8B-quantized.w8a8", "meta-llama/Llama-3.1-8B", id="own-dotted"),
            pytest.param("Inferact/Qwen3.8-27B-NVFP4", "qwen3.8-27b", id="checkpoint"),
        ],
    )
    def test_a_name_means_the_same_however_it_was_served(self, catalog: Catalog, written: str, meant: str) -> None:
        """Case, owner, precision and tuning of a repository's name do not hide its model."""
        assert MeasuredModels(catalog, OWN).find(written).id == meant

    def test_another_size_is_another_model(self, catalog: Catalog) -> None:
        """A model that nobody described is refused rather than taken for a relative."""
        with pytest.raises(UnknownName, match=r"Llama-3\.1-405B"):
            MeasuredModels(catalog, OWN).find("meta-llama/Llama-3.1-405B")

    def test_a_model_without_its_configuration_is_refused(self, catalog: Catalog) -> None:
        """A file that names a model without describing it gives a reason."""
        with pytest.raises(UnsupportedModel, match="hf_config"):
            MeasuredModels(catalog, OWN).find("broken/Model")

    def test_models_of_the_catalogs_own_measurements_are_known(self, catalog: Catalog) -> None:
        """What an overlay describes beside its measurements serves files that do not; their own comes first."""
        with_overlay = msgspec.structs.replace(catalog, described=OWN)
        assert MeasuredModels(with_overlay).find("meta-llama/Llama-3.1-8B").id == "meta-llama/Llama-3.1-8B"
        wider = {"meta-llama/Llama-3.1-8B": DescribedModel(config={**LLAMA_8B, "vocab_size": 200_000})}
        found = MeasuredModels(with_overlay, wider).find("meta-llama/Llama-3.1-8B")
        assert found.language is not None
        assert found.language.vocabulary == 200_000

    def test_spellings_end(self) -> None:
        """A name that is nothing but packaging is still looked up as it is."""
        assert spellings("x/-fp8") == ("x/-fp8", "-fp8")


class TestJudging:
    def test_errors_are_relative_to_what_was_measured(self, catalog: Catalog) -> None:
        """Each measured quantity has its error; requests per second only where they were measured themselves."""
        judged = _judge(catalog, _row("a"), _row("b", measured=Measured(requests_per_second=2.0)))
        first, second = judged.predicted
        assert set(first.errors) == {"throughput", "ttft", "tpot"}
        assert set(second.errors) == {"throughput", "requests_per_second"}
        assert first.errors["tpot"] == pytest.approx(abs(first.prediction.tpot_seconds * 1000 - 10.0) / 10.0)

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"model": "nobody/Nothing-1B"}, id="model"),
            pytest.param({"gpu": "Abacus 9000"}, id="gpu"),
            pytest.param({"weights": "int3"}, id="weights"),
            pytest.param({"load": Load(kind="closed")}, id="concurrency"),
            pytest.param({"workload": MeasuredWorkload(prompt_tokens=9, output_tokens=9, images=1)}, id="image-size"),
        ],
    )
    def test_what_cannot_be_predicted_is_refused_with_a_reason(self, catalog: Catalog, change: dict[str, Any]) -> None:
        """One such row neither counts as answered nor hides the others."""
        judged = _judge(catalog, _row("good"), _row("bad", **change))
        found = report(judged, NO_STARTS)
        assert (found.rows, found.answered) == (2, 1)
        assert [each.id for each in found.refused] == ["bad"]
        assert found.refused[0].reason

    def test_rows_that_could_not_be_read_count_as_rows(self, catalog: Catalog) -> None:
        """The share of answered rows is of all that the file holds."""
        file = MeasurementFile(rows=(_row(),), models=OWN, set_aside=(SetAside("broken", "is no measurement"),))
        found = report(judge([file], catalog), NO_STARTS)
        assert (found.rows, found.answered) == (2, 1)
        assert found.refused[0].id == "broken"

    def test_ranks_share_the_requests_in_flight(self, catalog: Catalog) -> None:
        """One request in flight is answered by one of eight ranks; eight times as many, by all of them."""
        one, eight = (
            _row(
                str(count),
                gpu_count=8,
                parallelism=Parallelism(data=8),
                load=Load(kind="closed", concurrency=count),
                measured=Measured(requests_per_second=1.0),
            )
            for count in (1, 8)
        )
        alone, together = (each.prediction for each in _judge(catalog, one, eight).predicted)
        assert alone.requests_per_second == pytest.approx(1 / alone.e2e_seconds)
        assert together.requests_per_second == pytest.approx(8 * alone.requests_per_second)

    def test_a_saturating_load_is_at_least_a_large_one(self, catalog: Catalog) -> None:
        """As many requests as the engine takes are answered as fast as a few hundred; few, slower."""
        loads = (
            Load(kind="closed", concurrency=256),
            Load(kind="saturating"),
            Load(kind="saturating", requests=16),
        )
        rows = [_row(str(index), load=load) for index, load in enumerate(loads)]
        large, most, few = (each.prediction.requests_per_second for each in _judge(catalog, *rows).predicted)
        assert few < large < most

    @pytest.mark.parametrize("times", [2, 6])
    def test_requests_sent_at_once_wait_for_a_place(self, catalog: Catalog, times: int) -> None:
        """With N times as many as run at once, the mean wait is (N - 1) / 2 rounds; the rate stays."""
        read = Measured(requests_per_second=1.0)
        fits, most = (
            _judge(catalog, _row(load=Load(kind="saturating", requests=requests), measured=read)).predicted[0]
            for requests in (1, 10**6)
        )
        assert fits.prediction.ttft_seconds < 1
        rate = most.prediction.requests_per_second
        endless = _judge(catalog, _row(load=Load(kind="saturating"), measured=read)).predicted[0].prediction
        assert rate == endless.requests_per_second
        places = round(rate * endless.e2e_seconds)
        load = Load(kind="saturating", requests=times * places)
        queued = _judge(catalog, _row(load=load, measured=read)).predicted[0].prediction
        wait = (times - 1) / 2 * places / rate
        assert queued.requests_per_second == rate
        assert queued.ttft_seconds - endless.ttft_seconds == pytest.approx(wait)
        assert queued.e2e_seconds - endless.e2e_seconds == pytest.approx(wait)
        assert queued.tpot_seconds == endless.tpot_seconds
        assert wait < queued.ttft_p95_seconds - endless.ttft_p95_seconds < 2 * wait

    def test_a_run_may_exceed_the_stated_context(self, catalog: Catalog) -> None:
        """What was measured is predicted, though the model's configuration allows less."""
        longer = MeasuredWorkload(prompt_tokens=140_000, output_tokens=100)
        assert len(_judge(catalog, _row(workload=longer)).predicted) == 1

    def test_names_of_engines_mean_the_same_in_capitals(self, catalog: Catalog) -> None:
        """`vLLM v0.6.3` is the first engine as `vllm 0.6.3` is."""
        rows = [
            _row(name, engine=name, engine_version=version) for name, version in (("vLLM", "v0.6.3"), ("vllm", "0.6.3"))
        ]
        first, second = (each.prediction for each in _judge(catalog, *rows).predicted)
        assert first == second
        assert first != _judge(catalog, _row()).predicted[0].prediction

    def test_percentiles_are_judged_where_they_were_measured(self, catalog: Catalog) -> None:
        """A row of percentiles alone is answered; they are told beside the five quantities, and only then."""
        read = Measured(ttft_p95_ms=200.0, tpot_p95_ms=15.0, e2e_p50_ms=2000.0, e2e_p95_ms=2500.0)
        judged = _judge(catalog, _row("means"), _row("percentiles", gpu="A100-80GB-SXM", measured=read))
        means, percentiles = judged.predicted
        assert set(percentiles.errors) == set(PERCENTILES)
        said = percentiles.prediction
        assert percentiles.errors["ttft_p95"] == pytest.approx(abs(said.ttft_p95_seconds - 0.2) / 0.2)
        assert percentiles.errors["e2e_p50"] == pytest.approx(abs(said.e2e_p50_seconds - 2.0) / 2.0)
        assert said.ttft_seconds <= said.ttft_p95_seconds < said.e2e_p50_seconds < said.e2e_p95_seconds
        assert said.tpot_seconds < said.tpot_p95_seconds
        assert set(summaries([means])) == set(QUANTITIES)
        assert set(summaries([means, percentiles])) == {*QUANTITIES, *PERCENTILES}

    def test_a_row_with_nothing_to_judge_is_not_answered(self, catalog: Catalog) -> None:
        """A row that measured nothing, or only zeros, is refused with the reason."""
        judged = _judge(catalog, _row("none", measured=Measured()), _row("zero", measured=Measured(ttft_p95_ms=0.0)))
        assert judged.predicted == ()
        assert {reason for _, reason in judged.refused} == {"it states no figure that is predicted."}

    def test_groups_cover_every_row(self, catalog: Catalog) -> None:
        """By model, GPU, engine and images alike, the groups' rows add up to all."""
        rows = [_row("a"), _row("b", gpu="A100-80GB-SXM"), _row("c", engine_version=""), _row("d", gpu="Abacus")]
        found = report(_judge(catalog, *rows), NO_STARTS)
        for by in ("model", "gpu", "engine_version", "images"):
            assert sum(group.rows for group in found.groups if group.by == by) == len(rows)
            assert sum(group.answered for group in found.groups if group.by == by) == found.answered

    def test_no_row_corrects_itself(self, catalog: Catalog) -> None:
        """A row that is alone with its repeats is predicted as if nothing had been measured."""
        rows = [_row("a"), _row("b")]
        alone = _judge(catalog, *rows)
        calibrated = _judge(catalog, *rows, basis=Basis.CALIBRATED)
        assert [each.prediction for each in calibrated.predicted] == [each.prediction for each in alone.predicted]

    def test_rows_of_two_files_may_share_an_id(self, catalog: Catalog) -> None:
        """Of two files with equal ids each row is corrected by the other's, as if their ids were different."""
        slow = Measured(ttft_ms=400.0, tpot_ms=40.0)
        near = Load(kind="closed", concurrency=24)

        def second(name: str) -> list[Predicted]:
            files = [
                MeasurementFile(rows=(row,), models=OWN)
                for row in (_row("a", measured=slow), _row(name, load=near, measured=slow))
            ]
            return list(judge(files, catalog, basis=Basis.CALIBRATED).predicted)

        same, different = second("a"), second("b")
        assert [each.prediction for each in same] == [each.prediction for each in different]
        alone = _judge(catalog, _row("a", measured=slow)).predicted[0]
        assert same[0].prediction.tpot_seconds > alone.prediction.tpot_seconds
        assert same[0].prediction.tpot_p95_seconds > alone.prediction.tpot_p95_seconds

    def test_other_rows_correct_a_row(self, catalog: Catalog) -> None:
        """A measurement nearby moves a prediction towards what it says."""
        slow = Measured(ttft_ms=400.0, tpot_ms=40.0)
        near = _row("near", load=Load(kind="closed", concurrency=24), measured=slow)
        row = _row("asked", measured=slow)
        alone = _judge(catalog, row).predicted[0].prediction
        helped = _judge(catalog, row, near, basis=Basis.CALIBRATED).predicted[0].prediction
        assert helped.tpot_seconds > alone.tpot_seconds
        assert helped.requests_per_second < alone.requests_per_second


class TestBands:
    def _predicted(self, catalog: Catalog, *errors: float, gpu: str = "H100-SXM", model: str = "a") -> list[Predicted]:
        """Predictions that are off by so much, of runs that differ."""
        (one,) = _judge(catalog, _row()).predicted
        spec = msgspec.structs.replace(one.model, id=model)
        card = msgspec.structs.replace(one.gpu, id=gpu)
        runs = [_row(gpu=gpu, measured=Measured(ttft_ms=100.0 + index, tpot_ms=10.0)) for index in range(len(errors))]
        return [
            one._replace(row=run, errors={"throughput": error}, model=spec, gpu=card)
            for run, error in zip(runs, errors, strict=True)
        ]

    def test_what_is_new_is_never_surer(self, catalog: Catalog) -> None:
        """The band of an unmeasured model, or GPU, is at least as wide as that of measured ones."""
        rows = self._predicted(catalog, *[0.05] * 40) + self._predicted(catalog, *[0.5] * 12, gpu="L4", model="b")
        bands = {band.novelty: band.throughput for band in measured_bands(rows, None)}
        assert bands[Novelty.NONE].median == 0.05
        assert bands[Novelty.MODEL].p90 >= bands[Novelty.NONE].p90
        assert bands[Novelty.GPU].median >= bands[Novelty.NONE].median

    def test_leaving_out_widens(self, catalog: Catalog) -> None:
        """Where leaving models out of the fit gave larger errors, the band for new models is those."""
        rows = self._predicted(catalog, *[0.05] * 40)
        folds = leave_one_out({("model", "a"): self._predicted(catalog, *[0.3] * 40)})
        bands = {band.novelty: band for band in measured_bands(rows, folds)}
        assert bands[Novelty.NONE].throughput.median == 0.05
        assert bands[Novelty.MODEL].throughput.median == pytest.approx(0.3)
        assert bands[Novelty.NONE].models == ("a",)

    def test_a_copied_run_counts_once(self, catalog: Catalog) -> None:
        """A run that was published for two models is one run."""
        runs = self._predicted(catalog, *[0.1] * 30)
        again = [each._replace(row=msgspec.structs.replace(each.row, id="x", model="another/Name")) for each in runs]
        assert distinct_runs([*runs, *again]) == runs
        assert measured_bands([*runs, *again], None)[0].rows == len(runs)

    def test_few_rows_promise_nothing(self, catalog: Catalog) -> None:
        """A handful of rows makes no band."""
        assert measured_bands(self._predicted(catalog, 0.1, 0.2), None) == ()


class TestLeaveOneOut:
    def test_what_is_written_is_read(self, catalog: Catalog, tmp_path: Path) -> None:
        """The file holds every fold and all of them together."""
        predicted = _judge(catalog, _row("a"), _row("b")).predicted
        found = leave_one_out({("model", "x"): predicted[:1], ("model", "y"): predicted[1:]})
        path = tmp_path / "folds.yaml"
        write_leave_one_out(found, path)
        assert read_leave_one_out(path) == found
        together = found.every("model", Workloads.TEXT)
        assert together is not None
        assert together.throughput == summaries(predicted)["throughput"]
        assert found.every("gpu", Workloads.TEXT) is None

    def test_no_file_is_no_folds(self, tmp_path: Path) -> None:
        """Without the file nothing is claimed."""
        assert read_leave_one_out(tmp_path / "none.yaml") is None
