"""A cluster's deployments judged from its objects: which GPUs count, at what price, and what is advised."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.support.deployments import (
    ALL,
    CAPTIONS,
    CHARTS,
    FORMS,
    NODES,
    RECEIPTS,
    USD_PER_GPU_HOUR,
    benchmark_spec,
    condition,
    ready,
)
from tests.support.gpu_nodes import node
from vlmctl import library
from vlmctl.errors import UnknownName
from vlmctl.library.deployments import Deployment, read_deployment, running
from vlmctl.library.exported import KeptBenchmark
from vlmctl.library.market import PAID, market
from vlmctl.library.standing import standing
from vlmctl.library.watching import Watch, judge
from vlmctl.planning.changes import Outlook, Verdict
from vlmctl.specs.estimates import Basis
from vlmctl.specs.measurements import Load, Measured, MeasuredWorkload, Measurement, Parallelism

CATALOG = library.load_catalog()


def read(*bodies: dict[str, Any]) -> list[Deployment]:
    return [read_deployment(each) for each in bodies]


def changed(body: dict[str, Any], **status: Any) -> dict[str, Any]:
    """The object with parts of its status replaced; None takes one out."""
    made = deepcopy(body)
    made["status"] |= status
    made["status"] = {name: value for name, value in made["status"].items() if value is not None}
    return made


def advised(found: Watch, name: str) -> Outlook:
    return next(each.outlook for each in found.deployments if each.deployment.name == name)


class TestRunning:
    def test_the_status_is_taken_at_its_word(self) -> None:
        """Rates, prices and what is realised are the operator's."""
        run = running(read_deployment(RECEIPTS))
        assert run is not None
        assert (run.gpu, run.gpu_count, run.replicas, run.gpus) == ("L4", 4, 1, 4)
        assert (run.planned_per_second, run.measured_per_second) == (0.638, 0.61)
        assert run.usd_per_hour == pytest.approx(3.2)
        assert run.usd_per_1k == pytest.approx(1.457, rel=1e-3)
        assert run.idle_share == pytest.approx(1 - 1.457 / 2.1, rel=1e-3)

    def test_scaled_to_zero_it_has_a_price_and_costs_nothing(self) -> None:
        """The price of a replica follows from that of its requests."""
        none = changed(RECEIPTS, ready="0/0", cost={**RECEIPTS["status"]["cost"], "hourlyUSD": "0"})
        run = running(read_deployment(none))
        assert run is not None
        assert (run.usd_per_hour, run.gpus, run.waste_usd_per_hour) == (0.0, 0, 0.0)
        assert run.usd_per_hour_of_replica == pytest.approx(3.2, rel=1e-3)

    def test_replicas_that_are_not_paid_for_lower_no_price(self) -> None:
        """A budget holds two of the eight that are asked for: each costs what it costs, and so do other people's."""
        capped = changed(CAPTIONS, ready="2/8", cost={**CAPTIONS["status"]["cost"], "replicas": 2})
        run = running(read_deployment(capped))
        assert run is not None
        assert (run.replicas, run.gpus) == (2, 2)
        assert run.usd_per_hour_of_replica == pytest.approx(4.2)
        offers = market(CATALOG, nodes=NODES["items"], runs=[run]).offers
        assert offers["H100-SXM"][0].usd_per_gpu_hour == pytest.approx(4.2)

    def test_an_hour_without_a_request_is_idle(self) -> None:
        """All of it, whatever was paid per request before."""
        quiet = changed(CAPTIONS, cost={**CAPTIONS["status"]["cost"], "idle": True})
        run = running(read_deployment(quiet))
        assert run is not None
        assert (run.idle_share, run.waste_usd_per_hour) == (1.0, pytest.approx(8.4))

    @pytest.mark.parametrize(
        ("part", "figures"),
        [
            ("plan", {"requestsPerSecond": "x"}),
            ("plan", {"basis": "guessed"}),
            ("plan", {"ttft": "soon"}),
            ("cost", {"hourlyUSD": "8,40"}),
            ("ready", "some"),
        ],
    )
    def test_a_figure_that_is_none_makes_one_unreadable(self, part: str, figures: Any) -> None:
        """It is said which, and the others are shown."""
        figures = figures if isinstance(figures, str) else {**RECEIPTS["status"][part], **figures}
        found = judge(CATALOG, read(changed(RECEIPTS, **{part: figures}), CHARTS))
        assert f"$.{part}" in found.deployments[0].deployment.unreadable
        assert found.deployments[1].running is not None

    def test_after_a_rollback_the_plan_is_not_what_runs(self) -> None:
        """The status has the plan of the revision that failed: its GPUs are not those that are paid for."""
        back = [condition("Degraded", "True", "RolledBack", "An earlier revision runs.")]
        run = running(read_deployment(changed(RECEIPTS, conditions=back)))
        assert run is not None
        assert (run.gpu, run.gpus, run.planned_per_second, run.drift) == (None, None, None, None)
        assert run.usd_per_hour == pytest.approx(3.2)

    def test_while_a_revision_takes_over_no_plan_is_what_runs(self) -> None:
        """The status has the plan that is to be: what is paid and held is known, and no price of its GPU follows."""
        body = changed(RECEIPTS, updateRevision="receipts-0000000000")
        body["status"]["cost"] |= {"replicas": 2, "gpus": 5, "hourlyUSD": "5.06"}
        run = running(read_deployment(body))
        assert run is not None
        assert (run.gpu, run.gpus, run.requests_per_second, run.usd_per_1k) == (None, 5, None, None)
        assert run.usd_per_hour == pytest.approx(5.06)
        assert market(CATALOG, runs=[run]).offers == {}

    def test_a_refused_change_leaves_the_cost_of_what_runs(self) -> None:
        """There is no plan for the new spec, and the old replicas are still paid for."""
        run = running(read_deployment(changed(RECEIPTS, plan=None)))
        assert run is not None
        assert (run.usd_per_hour, run.gpu) == (pytest.approx(3.2), None)

    def test_what_was_never_planned_does_not_run(self) -> None:
        """It costs nothing, and nothing is known of it."""
        assert running(read_deployment(FORMS)) is None

    def test_one_of_a_newer_operator_is_said_to_be_unreadable(self) -> None:
        """The others are still shown."""
        found = judge(CATALOG, read(changed(CHARTS, surprise=1), RECEIPTS))
        assert "operator of another version" in found.deployments[0].deployment.unreadable
        assert "operator of another version" in found.deployments[0].outlook.reason
        assert found.deployments[1].running is not None


class TestMarket:
    RUNS = tuple(run for run in (running(each) for each in read(*ALL)) if run is not None)

    def test_nodes_say_which_gpus_there_are(self) -> None:
        """Each number of GPUs that a node holds is an offer; all nodes together bound what is advised."""
        found = market(CATALOG, nodes=NODES["items"], runs=self.RUNS)
        assert list(found.offers) == ["H100-SXM", "L4", "L40S"]
        assert [offer.gpu_count for offer in found.offers["L40S"]] == [1, 2, 4]
        assert found.most_gpus == {"H100-SXM": 8, "L4": 12, "L40S": 8}

    def test_a_gpu_costs_what_deployments_pay(self) -> None:
        """The dearest of them; a GPU that none uses costs its list price, and it is said whose."""
        dearer = ready("dear", "internvl3-8b", "L4", planned=1.0)
        dearer["status"]["cost"]["hourlyUSD"] = "1.1"
        runs = [*self.RUNS, running(read_deployment(dearer))]
        found = market(CATALOG, nodes=[*NODES["items"], node("NVIDIA-A10G", 1)], runs=[each for each in runs if each])
        assert {gpu: offers[0].usd_per_gpu_hour for gpu, offers in found.offers.items()} == pytest.approx(
            {**USD_PER_GPU_HOUR, "L4": 1.1, "A10G": found.offers["A10G"][0].usd_per_hour}
        )
        assert found.offers["L4"][0].source == PAID
        assert "not this cluster's" in found.offers["A10G"][0].source

    def test_without_nodes_it_is_what_runs(self) -> None:
        """No more GPUs to a replica than some replica has, and no bound on all of them."""
        found = market(CATALOG, runs=self.RUNS)
        assert list(found.offers) == ["H100-SXM", "L4", "L40S"]
        assert [offer.gpu_count for offer in found.offers["L4"]] == [1, 2, 4]
        assert [offer.gpu_count for offer in found.offers["L40S"]] == [1]
        assert found.most_gpus == {}

    def test_names_widen_and_narrow_it(self) -> None:
        """A GPU that the cluster lacks costs what it is offered for."""
        found = market(CATALOG, asked=["l40s", "A10G"], nodes=NODES["items"], runs=self.RUNS)
        assert list(found.offers) == ["A10G", "L40S"]
        assert found.offers["L40S"][0].source == PAID
        assert "list price of" in found.offers["A10G"][0].source
        every = market(CATALOG, asked=["all"], runs=self.RUNS)
        assert set(every.offers) >= {offer.gpu for offer in CATALOG.offers if offer.kind.value == "on-demand"}
        with pytest.raises(UnknownName):
            market(CATALOG, asked=["L44"])


class TestAdvice:
    def test_one_change_each(self) -> None:
        """Only what the planner finds cheaper on the cluster's GPUs, with the model and the objectives kept."""
        found = judge(CATALOG, read(*ALL), nodes=NODES["items"])
        verdicts = {each.deployment.name: each.outlook.verdict for each in found.deployments}
        assert verdicts == {
            "captions": Verdict.FEWER_REPLICAS,
            "charts": Verdict.CHEAPEST,
            "forms": Verdict.UNKNOWN,
            "receipts": Verdict.RECOMMENDED,
        }
        change = advised(found, "receipts").change
        assert change is not None
        assert (change.gpu, change.gpu_count, change.precision) == ("L40S", 1, "bf16")
        answer = library.plan(
            "qwen3-vl-8b-instruct", gpu="L40S", image="1680x2240", prompt_tokens=64, output_tokens=256, ttft=5, tpot=0.1
        )
        assert change.requests_per_second == pytest.approx(answer.speed.requests_per_second)
        assert change.usd_per_hour == pytest.approx(1.86)

    def test_gpus_that_are_named_bound_it(self) -> None:
        """Nothing else is looked at."""
        found = judge(CATALOG, read(RECEIPTS), nodes=NODES["items"], gpus=["L4"])
        assert found.gpus == ("L4",)
        assert advised(found, "receipts").change is None or advised(found, "receipts").change.gpu == "L4"  # type: ignore[union-attr]

    def test_objectives_are_kept(self) -> None:
        """What no other GPU can answer in time is not advised."""
        hurried = deepcopy(RECEIPTS)
        hurried["spec"]["objectives"] = {"ttft": "1ms"}
        assert advised(judge(CATALOG, read(hurried), nodes=NODES["items"]), "receipts").verdict is Verdict.CHEAPEST

    def test_measurements_of_the_cluster_are_taken_in(self) -> None:
        """A replica measured on the other GPU makes the advice measured, with less error."""
        before = advised(judge(CATALOG, read(RECEIPTS), nodes=NODES["items"], gpus=["L40S"]), "receipts").change
        assert before is not None
        row = Measurement(
            id="here",
            source="a replica",
            model="qwen3-vl-8b-instruct",
            weights="bf16",
            gpu="L40S",
            gpu_count=1,
            parallelism=Parallelism(),
            engine="vllm",
            engine_version="0.32.0",
            workload=MeasuredWorkload(
                prompt_tokens=64, output_tokens=256, images=1, image_width=1680, image_height=2240
            ),
            load=Load(kind="closed", concurrency=10),
            measured=Measured(requests_per_second=0.9),
        )
        found = judge(
            CATALOG, read(RECEIPTS), nodes=NODES["items"], gpus=["L40S"], benchmarks=[kept("qwen3-vl-8b", row)]
        )
        change = advised(found, "receipts").change
        assert change is not None
        assert (before.basis, change.basis) == (Basis.ESTIMATED, Basis.MEASURED)
        assert change.error < before.error
        assert change.requests_per_second > before.requests_per_second
        assert found.measurements == 1
        alien = judge(CATALOG, read(RECEIPTS), nodes=NODES["items"], benchmarks=[kept("of-no-catalog", row)])
        assert alien.measurements == 0

    def test_a_checkpoint_of_ones_own_keeps_its_precision(self) -> None:
        """The volume holds one precision: another GPU may be advised, another precision not."""
        own = deepcopy(RECEIPTS)
        own["spec"]["model"]["source"] = {"pvc": {"claimName": "weights"}}
        own["status"]["plan"]["precision"] = "fp8"
        change = advised(judge(CATALOG, read(own), nodes=NODES["items"]), "receipts").change
        assert change is not None
        assert change.precision == "fp8"

    def test_a_model_that_nobody_knows_gets_no_advice(self) -> None:
        """It is described in its own spec."""
        outlook = advised(judge(CATALOG, read(changed(CHARTS, model="in-house-vl")), nodes=NODES["items"]), "charts")
        assert (outlook.verdict, outlook.reason) == (Verdict.UNKNOWN, "the catalog does not hold the model")

    def test_the_totals_are_those_of_all(self) -> None:
        """Deployments that nobody pays for are counted, and cost nothing."""
        sums = judge(CATALOG, read(*ALL), nodes=NODES["items"]).totals
        assert (sums.deployments, sums.gpus, sums.unpriced, sums.unknown_load) == (4, 7, 0, 1)
        assert sums.usd_per_hour == pytest.approx(2 * 4.2 + 1.86 + 3.2)


def kept(model: str, row: Measurement) -> KeptBenchmark:
    """A VLMBenchmark with one load."""
    return KeptBenchmark(namespace="documents", name="b", spec=benchmark_spec(model), rows=(row,))


class TestStanding:
    def test_figures_stand_beside_each_other(self) -> None:
        """Planned, measured, their ratio, and the most that is asked for."""
        found = standing(read_deployment(RECEIPTS))
        rate, ttft = found.figures.requests_per_second, found.figures.ttft_seconds
        assert (rate.planned, rate.measured, rate.ratio) == (0.638, 0.61, pytest.approx(0.61 / 0.638))
        assert (ttft.planned, ttft.measured, ttft.objective) == (3.14, 2.9, 5.0)
        assert found.money.usd_per_month == pytest.approx(3.2 * 730)
        assert found.access.model == "qwen3-vl-8b-instruct"
        assert (found.access.secret, found.access.key) == ("receipts-api-key", "api-key")

    def test_steps_come_in_their_order_with_what_each_took(self) -> None:
        """Weights may be there before the pod is: what was first has no duration, and the rest add up."""
        steps = standing(read_deployment(RECEIPTS)).timeline
        assert [step.name for step in steps] == [
            "weights_ready",
            "scheduled",
            "image_pulled",
            "engine_ready",
            "benchmarked",
        ]
        assert [step.seconds for step in steps] == [None, 30.0, 130.0, 210.0, 110.0]

    def test_a_key_of_ones_own_is_named(self) -> None:
        """The Secret and the key in it that the spec says."""
        own = deepcopy(RECEIPTS)
        own["spec"]["apiKey"] = {"name": "mine", "key": "token"}
        own["status"]["apiKeySecret"] = "mine"
        access = standing(read_deployment(own)).access
        assert (access.secret, access.key) == ("mine", "token")

    @pytest.mark.parametrize("words", [["--served-model-name", "reader", "spare"], ["--served-model-name=reader"]])
    def test_requests_ask_for_the_first_served_name(self, words: list[str]) -> None:
        """However the argument is spelled."""
        plan = {**RECEIPTS["status"]["plan"], "arguments": ["x", *words]}
        assert standing(read_deployment(changed(RECEIPTS, plan=plan))).access.model == "reader"

    @pytest.mark.parametrize("body", [*ALL, changed(CHARTS, surprise=1)], ids=lambda body: body["metadata"]["name"])
    def test_every_state_can_be_shown(self, body: dict[str, Any]) -> None:
        """Nothing is missing that is not said to be unknown."""
        found = standing(read_deployment(body))
        assert found.name == body["metadata"]["name"]
        assert msgspec.to_builtins(found)


def test_another_order_of_deployments_says_the_same_of_each() -> None:
    """Nothing that is said of one depends on its place."""
    one = judge(CATALOG, read(*ALL), nodes=NODES["items"])
    other = judge(CATALOG, read(*reversed(ALL)), nodes=NODES["items"])
    assert tuple(reversed(other.deployments)) == one.deployments
    assert replace(other, deployments=()) == replace(one, deployments=())
