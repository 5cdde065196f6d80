"""Measurements as objects: what they hold for, what is written, and which pod is told to measure."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.benchmarks import (
    UNPINNED,
    assignments,
    benchmark,
    benchmark_key,
    benchmark_name,
    decimal,
    find_benchmark,
    standing_word,
)
from vlm_operator.records import Planned
from vlm_operator.results import AgentResult, Ladder, Stage, Task, Word, read_word

from tests.support.plans import PLAN
from tests.vlm_operator.test_results import FIGURES, ROW
from vlmctl.api import v1alpha1 as api
from vlmctl.bench.about import About
from vlmctl.serving.engine_args import ServeArgument
from vlmctl.specs.model import Precision

PLANNED = Planned(
    plan=PLAN,
    model="tinyvl-2.5-7b",
    served_name="tinyvl",
    repository="Tiny/TinyVL-2.5-7B",
    image="vllm/vllm-openai:v0.32.0",
    arguments=(ServeArgument(flag="--max-num-seqs", values=("128",), reason="planned"),),
    gpu_resource="nvidia.com/gpu",
    node_label="nvidia.com/gpu.product",
    node_products=("NVIDIA-L4", "NVIDIA-L4-SHARED"),
    revision="abc123",
)
ASKED = api.BenchmarkSpec()
OWN_ROW = replace(ROW, model=PLAN.placement.model, gpu=PLAN.placement.gpu, weights=PLAN.placement.precision.value)
KEY = benchmark_key(PLANNED, "NVIDIA-L4")
MEASURED = AgentResult(
    stage=Stage.OPEN,
    opened="2026-11-20T12:32:00Z",
    engine_version="0.32.0",
    ladder=Ladder(best=FIGURES, rows=(OWN_ROW,)),
)
STORED = benchmark(MEASURED, KEY, PLANNED, namespace="team")
assert STORED is not None
NODES = {"l4-a": "NVIDIA-L4", "l4-b": "NVIDIA-L4", "shared": "NVIDIA-L4-SHARED"}


def test_without_a_word_the_slowest_product_is_what_counts() -> None:
    """A pod does not know its node's GPU, so no healthy one is kept away; nothing holds where nothing was measured."""
    assert STORED is not None
    slower = replace(
        STORED,
        spec=replace(STORED.spec, key=benchmark_key(PLANNED, "NVIDIA-L4-SHARED"), requests_per_second="1.5"),
    )
    word = read_word(standing_word(PLANNED, (STORED, slower), ASKED))
    assert word == Word(task=Task.PROBE, requests_per_second="1.5", concurrency=8, minimum_of_measured="0.7")
    assert standing_word(PLANNED, (), ASKED) == ""
    assert standing_word(replace(PLANNED, arguments=()), (STORED, slower), ASKED) == ""
    assert standing_word(PLANNED, (STORED,), api.BenchmarkSpec(policy=api.BenchmarkPolicy.NONE)) == ""


def planned_as(about: About) -> Planned:
    """The plan of a replica whose agent says this of it."""
    precision = Precision(about.weights)
    own = replace(PLAN.placement, model=about.model, gpu=about.gpu, gpu_count=about.gpu_count, precision=precision)
    return replace(PLANNED, plan=replace(PLAN, placement=own))


def pod(
    name: str,
    *,
    node: str | None = "l4-a",
    told: str | None = None,
    ready: bool = False,
    waiting: str | None = None,
    deleted: bool = False,
    phase: str = "Running",
    age: int = 0,
) -> dict[str, Any]:
    """A pod as the API server tells it; a higher `age` is younger."""
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": f"2026-11-20T12:00:{age:02}Z",
            "labels": {names.COMPONENT: names.ENGINE},
            **({"annotations": {names.BENCHMARK: told}} if told is not None else {}),
            **({"deletionTimestamp": "2026-11-20T13:00:00Z"} if deleted else {}),
        },
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "containerStatuses": [{"name": "engine", "ready": ready, "state": state}]},
    }


def told(
    *pods: dict[str, Any],
    stored: tuple[api.VLMBenchmark, ...] = (),
    asked: api.BenchmarkSpec = ASKED,
    results: dict[str, AgentResult] | None = None,
) -> dict[str, Task]:
    """What pods are told anew, by name."""
    found = assignments(pods, PLANNED, stored, asked, NODES.get, results=results)
    words = {name: read_word(text) for name, text in found.items()}
    return {name: word.task for name, word in words.items() if word is not None}


def annotated(*pods: dict[str, Any], **given: Any) -> list[dict[str, Any]]:
    """The pods with what they were told written to them."""
    written = assignments(pods, PLANNED, given.get("stored", ()), ASKED, NODES.get, results=given.get("results"))
    return [
        {**each, "metadata": {**each["metadata"], "annotations": {names.BENCHMARK: written[each["metadata"]["name"]]}}}
        if each["metadata"]["name"] in written
        else each
        for each in pods
    ]


LADDER, SMOKE = '{"task":"ladder","budget":"90s"}', '{"task":"smoke"}'


class TestKeys:
    def test_each_part_of_a_key_makes_another_measurement(self) -> None:
        """Another value of any field has another name; the same key always the same one, fit for an object."""
        others = (
            benchmark_key(PLANNED, "NVIDIA-L4-SHARED"),
            benchmark_key(replace(PLANNED, image="vllm/vllm-openai:v0.33.0"), "NVIDIA-L4"),
            benchmark_key(replace(PLANNED, revision=None), "NVIDIA-L4"),
            benchmark_key(replace(PLANNED, repository="Tiny/Other"), "NVIDIA-L4"),
            benchmark_key(replace(PLANNED, arguments=()), "NVIDIA-L4"),
            benchmark_key(
                replace(PLANNED, plan=replace(PLAN, workload=replace(PLAN.workload, images=()))), "NVIDIA-L4"
            ),
        )
        found = {benchmark_name(key) for key in (KEY, *others)}
        assert len(found) == 1 + len(others)
        assert benchmark_name(benchmark_key(PLANNED, "NVIDIA-L4")) == benchmark_name(KEY)
        assert re.fullmatch(r"tinyvl-2-5-7b-[0-9a-f]{16}", benchmark_name(KEY))

    def test_the_load_that_was_planned_for_is_no_part_of_it(self) -> None:
        """More requests a second need more replicas, not another measurement."""
        plan = replace(PLAN, workload=replace(PLAN.workload, requests_per_second=50.0))
        assert benchmark_key(replace(PLANNED, plan=plan), "NVIDIA-L4") == KEY

    @given(model=st.text(max_size=300))
    def test_any_model_has_a_name_that_objects_may_have(self, model: str) -> None:
        """A DNS label, whatever the model is called."""
        name = benchmark_name(replace(KEY, model=model))
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= 63


@pytest.mark.parametrize(
    ("changes", "revision"),
    [
        ({"revision": "a" * 40}, "a" * 40),
        ({"revision": "main"}, "main"),
        ({"revision": None}, UNPINNED),
        ({"revision": None, "repository": "pvc://weights/own"}, UNPINNED),
        ({"revision": None, "repository": "oci://registry.example/weights:1/"}, UNPINNED),
        ({"revision": None, "repository": f"oci://registry.example/weights@sha256:{'a' * 64}/"}, None),
    ],
)
def test_a_key_says_what_pins_the_weights(changes: dict[str, Any], revision: str | None) -> None:
    """A measurement of whatever a repository held is none of a commit, and none of a digest."""
    assert benchmark_key(replace(PLANNED, **changes), "NVIDIA-L4").revision == revision


class TestObjects:
    def test_a_measurement_is_kept_with_its_rows(self) -> None:
        """Figures as text, the interval, when, and every row as it was measured; JSON leads back to it."""
        assert STORED is not None
        spec = STORED.spec
        assert (spec.requests_per_second, spec.interval, spec.concurrency) == ("3.1", "2.9-3.3", 8)
        assert (spec.gpu, spec.engine_version, spec.measured) == ("L4", "0.32.0", FIGURES.measured)
        assert msgspec.convert(spec.rows[0], type(ROW)) == OWN_ROW
        assert msgspec.json.decode(msgspec.json.encode(STORED), type=api.VLMBenchmark) == STORED
        assert (STORED.metadata.name, STORED.metadata.namespace) == (benchmark_name(KEY), "team")

    @pytest.mark.parametrize(
        "other", [{"model": "qwen2.5-vl-7b"}, {"gpu": "H100"}, {"gpu_count": 8}, {"weights": "fp8"}]
    )
    def test_rows_of_something_else_are_not_kept(self, other: dict[str, Any]) -> None:
        """A replica vouches for no other model and no other GPU: estimates would be made with it."""
        said = replace(MEASURED, ladder=Ladder(best=FIGURES, rows=(replace(OWN_ROW, **other), OWN_ROW)))
        kept = benchmark(said, KEY, PLANNED, namespace="team")
        assert kept == STORED

    def test_nothing_measured_is_nothing_kept(self) -> None:
        """A ladder without a figure makes no object."""
        assert benchmark(AgentResult(ladder=Ladder(attempts=2)), KEY, PLANNED, namespace="team") is None

    def test_an_open_interval_is_unknown(self) -> None:
        """Too few requests bound no rate."""
        result = replace(MEASURED, ladder=Ladder(best=replace(FIGURES, high=None)))
        kept = benchmark(result, KEY, PLANNED, namespace="team")
        assert kept is not None
        assert kept.spec.interval == "unknown"

    def test_latencies_are_durations_above_0(self) -> None:
        """As the schema wants them; tokens that came in one piece have none."""
        best = replace(FIGURES, ttft_p95_seconds=0.25, tpot_p95_seconds=1e-9)
        kept = benchmark(replace(MEASURED, ladder=Ladder(best=best)), KEY, PLANNED, namespace="team")
        assert kept is not None
        assert (kept.spec.ttft, kept.spec.tpot) == ("250ms", None)

    def test_the_latest_of_exactly_this_key_is_found(self) -> None:
        """Of several the latest; of another key none."""
        assert STORED is not None
        later = replace(
            STORED,
            metadata=replace(STORED.metadata, name="mine"),
            spec=replace(STORED.spec, measured="2026-11-21T00:00:00Z"),
        )
        assert find_benchmark((later, STORED), KEY) is later
        assert find_benchmark((STORED,), replace(KEY, gpu_count=2)) is None

    @given(value=st.floats(0, 1e6))
    def test_numbers_have_no_exponent(self, value: float) -> None:
        """As the schema wants them, in four digits and to a millionth."""
        assert re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", decimal(value))
        assert float(decimal(value)) == pytest.approx(value, rel=5.1e-4, abs=1e-6)


class TestAssignments:
    def test_one_pod_of_a_new_key_measures_and_the_others_do_not(self) -> None:
        """The oldest one climbs the ladder; told again, nothing is to be written."""
        pods = (pod("b", age=2), pod("a", age=1, node="l4-b"), pod("c", age=3))
        assert told(*pods) == {"a": Task.LADDER, "b": Task.SMOKE, "c": Task.SMOKE}
        assert told(*annotated(*pods)) == {}

    def test_each_product_is_measured(self) -> None:
        """Pods of one revision on two kinds of nodes are two keys."""
        assert told(pod("a"), pod("b", node="shared")) == {"a": Task.LADDER, "b": Task.LADDER}

    def test_a_pod_without_a_node_is_told_nothing_yet(self) -> None:
        """Nobody knows what it will run on; where no node can be read, the planned GPU stands in."""
        assert told(pod("a", node=None)) == {}
        assert told(pod("a", node="unreadable")) == {"a": Task.LADDER}

    def test_a_measured_key_is_probed(self) -> None:
        """With what was measured, at its concurrency, and the share of it that must be reached."""
        assert STORED is not None
        (text,) = assignments([pod("a")], PLANNED, (STORED,), ASKED, NODES.get).values()
        word = read_word(text)
        assert word is not None
        assert (word.task, word.requests_per_second, word.concurrency, word.minimum_of_measured) == (
            Task.PROBE, "3.1", 8, "0.7",
        )  # fmt: skip

    def test_the_policy_none_only_smokes(self) -> None:
        """Measured or not, and before there is a node."""
        assert STORED is not None
        asked = api.BenchmarkSpec(policy=api.BenchmarkPolicy.NONE)
        for stored in ((), (STORED,)):
            assert told(pod("a"), pod("b", node=None), stored=stored, asked=asked) == {
                "a": Task.SMOKE, "b": Task.SMOKE,
            }  # fmt: skip

    @pytest.mark.parametrize(
        "ended",
        [{"deleted": True}, {"phase": "Failed"}, {"waiting": "CrashLoopBackOff"}, {"waiting": "ImagePullBackOff"}],
    )
    def test_another_pod_measures_where_the_first_one_ends(self, ended: dict[str, Any]) -> None:
        """Whether it is deleted, has failed, or does not start; one that comes back does not measure as well."""
        first, second = pod("a", told=LADDER, age=1, **ended), pod("b", told=SMOKE, age=2)
        after = told(first, second)
        assert after["b"] is Task.LADDER
        if "waiting" in ended:
            assert after["a"] is Task.SMOKE

    def test_the_only_pod_keeps_its_task_through_a_crash(self) -> None:
        """Nobody else could do it."""
        assert told(pod("a", told=LADDER, waiting="CrashLoopBackOff")) == {}

    def test_a_pod_that_takes_traffic_is_left_alone(self) -> None:
        """It is never told to measure, and while the one that was told to is there nobody else is."""
        assert told(pod("a", told=SMOKE, ready=True)) == {}
        assert told(pod("a", told=LADDER, ready=True), pod("b", age=1)) == {"b": Task.SMOKE}

    def test_a_ladder_without_a_result_goes_to_a_pod_that_takes_no_traffic(self) -> None:
        """The one that opened unmeasured is over; what it did before is not done again."""
        opened = AgentResult(stage=Stage.OPEN, opened="2026-11-20T12:32:00Z", ladder=Ladder(attempts=2))
        pods = (pod("a", told=LADDER, ready=True), pod("b", told=SMOKE, ready=True), pod("c", age=1))
        assert told(*pods, results={"uid-a": opened}) == {"c": Task.LADDER}

    def test_an_engine_that_restarts_in_its_pod_is_told_nothing_new(self) -> None:
        """It took traffic once, so its agent sends a smoke request whatever it is told."""
        opened = AgentResult(stage=Stage.WAITING, opened="2026-11-20T12:32:00Z")
        assert told(pod("a", told=SMOKE), results={"uid-a": opened}) == {}

    def test_what_was_measured_meanwhile_is_told_to_those_that_wait(self) -> None:
        """A pod that was to send a smoke request has a figure to reach now; the one that measures is not disturbed."""
        assert STORED is not None
        climbing = AgentResult(stage=Stage.LADDER)
        pods = (pod("a", told=LADDER), pod("b", told=SMOKE, age=1))
        assert told(*pods, stored=(STORED,), results={"uid-a": climbing}) == {"b": Task.PROBE}

    @given(
        pods=st.lists(
            st.builds(
                pod,
                name=st.uuids().map(str),
                node=st.sampled_from([None, *NODES]),
                told=st.sampled_from([None, LADDER, SMOKE, "by hand"]),
                ready=st.booleans(),
                waiting=st.sampled_from([None, "CrashLoopBackOff", "ContainerCreating"]),
                deleted=st.booleans(),
                phase=st.sampled_from(["Pending", "Running", "Failed"]),
                age=st.integers(0, 59),
            ),
            max_size=8,
        )
    )
    def test_never_two_of_a_product_and_settled_at_once(self, pods: list[dict[str, Any]]) -> None:
        """From any state: of the pods that take no traffic at most one per product is told to measure, whatever their
        order, and one reading more changes nothing.
        """
        written = annotated(*pods)
        live = [
            each
            for each in written
            if each["status"]["phase"] != "Failed" and "deletionTimestamp" not in each["metadata"]
        ]
        for product in {*NODES.values()}:
            climbing = [
                each
                for each in live
                if NODES.get(each["spec"].get("nodeName", "")) == product
                and not each["status"]["containerStatuses"][0]["ready"]
                and each["metadata"].get("annotations", {}).get(names.BENCHMARK) == LADDER
            ]
            assert len(climbing) <= 1
        assert told(*written) == {}
        assert told(*pods) == told(*reversed(pods))
