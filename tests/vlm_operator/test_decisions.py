"""Decisions put together: what leads to a plan, to children in their order, to words for agents and to what is kept."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.actions import Verb
from vlm_operator.benchmarks import benchmark, benchmark_key
from vlm_operator.decisions import measured
from vlm_operator.reasons import PlanReason
from vlm_operator.records import Finding, KubernetesObject, Observed, Planned
from vlm_operator.refusal import Refused
from vlm_operator.results import AgentResult, Figures, Ladder, Stage, Task, Word, read_word

from tests.vlm_operator.children import NAME, PARENT, SPEC, ApiServer, revision
from tests.vlm_operator.deciding import asked, carried_out, never, refuse, running
from vlmctl.api import v1alpha1 as api


def pod(name: str, **status: Any) -> KubernetesObject:
    labels = {**names.labels(NAME, names.Component.ENGINE), names.REVISION: revision().digest}
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "labels": labels}
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": status}


READY = [{"name": names.ENGINE, "ready": True, "state": {"running": {}}}]
MEASURED_RESULT = AgentResult(
    stage=Stage.OPEN,
    ladder=Ladder(attempts=1, best=Figures(concurrency=8, requests_per_second=2.5, measured="2026-11-21T12:00:00Z")),
)


def test_a_new_vlmdeployment_is_right_after_some_rounds() -> None:
    """A plan is made once; the Deployment follows what it needs; then there is nothing to do."""
    server, observed = ApiServer(), Observed(now=0.0, parent=PARENT)
    first = asked(observed)
    assert "Deployment" not in {action.kind for action in first.actions}
    observed = carried_out(server, first, observed)
    second = asked(observed, plan=never)
    assert {"ConfigMap", "Deployment"} <= {action.kind for action in second.actions}
    observed = carried_out(server, second, observed)
    assert asked(observed, plan=never).actions == ()


def test_without_a_plan_nothing_is_made() -> None:
    """A refusal is told, and a VLMDeployment without any revision gets no children."""
    decision = asked(Observed(now=0.0, parent=PARENT), plan=refuse)
    assert decision.findings.refused == Finding(reason=PlanReason.NOTHING_FITS, message="nothing fits")
    assert decision.actions == ()


def test_a_refused_change_leaves_what_runs() -> None:
    """Where the new spec cannot be planned for, the earlier revision is kept right."""
    server, observed = ApiServer(), Observed(now=0.0, parent=PARENT)
    for _ in range(3):
        observed = carried_out(server, asked(observed), observed)
    changed = replace(SPEC, workload=api.Workload(output_tokens=7))
    decision = asked(observed, changed, plan=refuse)
    assert decision.findings.refused is not None
    assert decision.rollout.carried == observed.revisions[0]
    assert decision.actions == ()
    del server.objects["Service", NAME]
    again = asked(replace(observed, children=server.observed().children), changed, plan=refuse)
    assert [(action.verb, action.kind) for action in again.actions] == [(Verb.APPLY, "Service")]


def test_the_replan_annotation_asks_for_a_new_plan() -> None:
    """Another value is another digest, with the spec as it was."""
    annotated = {**PARENT, "metadata": {**PARENT["metadata"], "annotations": {names.REPLAN: "2026-11-21"}}}
    assert asked(Observed(now=0.0, parent=annotated)).digest != asked(Observed(now=0.0, parent=PARENT)).digest


def test_one_pod_measures() -> None:
    """Of several new pods one is told to measure; while paused nobody is told anything."""
    observed = running(pod("p1"), pod("p2"))
    words = asked(observed).words
    assert sorted(word.task for text in words.values() if (word := read_word(text[names.BENCHMARK]))) == [
        Task.LADDER,
        Task.SMOKE,
    ]
    assert asked(observed, replace(SPEC, paused=True)).words == {}


def test_what_was_measured_is_there_for_pods_that_nobody_tells() -> None:
    """In a ConfigMap of the revision, which follows the measurement and the spec's minimum; without a measurement it is
    not made, and emptied where it was; and right once is right.
    """
    server, observed = ApiServer(), Observed(now=0.0, parent=PARENT)
    for _ in range(3):
        observed = carried_out(server, asked(observed), observed)
    (carried,) = observed.revisions
    name = names.standing_word(NAME, carried.digest)
    kept = benchmark(MEASURED_RESULT, benchmark_key(carried.planned, "NVIDIA-L4"), carried.planned, namespace="team")
    assert kept is not None

    def word(spec: api.VLMDeploymentSpec, *benchmarks: api.VLMBenchmark) -> Word | None:
        nonlocal observed
        observed = replace(observed, benchmarks=benchmarks)
        decision = asked(observed, spec)
        assert {(action.kind, action.name) for action in decision.actions} <= {("ConfigMap", name)}
        observed = carried_out(server, decision, observed)
        assert asked(observed, spec).actions == ()
        made = server.objects.get(("ConfigMap", name))
        return None if made is None else read_word(made["data"][names.WORD_FILE])

    assert word(SPEC) is None
    assert ("ConfigMap", name) not in server.objects
    first = word(SPEC, kept)
    assert first == Word(task=Task.PROBE, requests_per_second="2.5", concurrency=8, minimum_of_measured="0.7")
    stricter = replace(SPEC, benchmark=api.BenchmarkSpec(minimum_of_measured="0.9"))
    assert word(stricter, kept) == replace(first, minimum_of_measured="0.9")
    assert word(replace(SPEC, benchmark=api.BenchmarkSpec(policy=api.BenchmarkPolicy.NONE)), kept) is None
    assert word(SPEC, kept) == first
    assert word(SPEC) is None
    assert server.objects["ConfigMap", name]["data"] == {names.WORD_FILE: ""}


def test_a_measurement_is_kept_once() -> None:
    """What an agent has measured becomes a VLMBenchmark, unless it is one already or the revision is unknown."""
    best = Figures(concurrency=8, requests_per_second=2.5, measured="2026-11-21T12:00:00Z")
    result = AgentResult(stage=Stage.OPEN, ladder=Ladder(attempts=1, best=best))
    observed = running(pod("p1"), pod("p2"), results={"uid-p1": result, "uid-p2": AgentResult()})
    (found,) = measured(observed, lambda _node, _label: "NVIDIA-L4")
    assert (found.spec.requests_per_second, found.metadata.namespace) == ("2.5", "team")
    assert found.spec.key.gpu_product == "NVIDIA-L4"
    assert not list(measured(replace(observed, benchmarks=(found,)), lambda _node, _label: "NVIDIA-L4"))
    assert not list(measured(replace(observed, revisions=()), lambda _node, _label: "NVIDIA-L4"))


def test_a_measurement_that_is_deleted_does_not_come_back() -> None:
    """Its pod is noted once it is kept, by one annotation; another measurement of the pod would be kept again."""
    observed = running(pod("p1", containerStatuses=READY), results={"uid-p1": MEASURED_RESULT})
    (found,) = measured(observed, lambda _node, _label: "NVIDIA-L4")
    assert names.MEASURED not in asked(observed).words.get("p1", {})
    kept = replace(observed, benchmarks=(found,))
    note = asked(kept).words["p1"]
    assert note == {names.MEASURED: "2026-11-21T12:00:00Z"}
    (noted,) = kept.pods
    noted["metadata"]["annotations"] = dict(note)
    assert asked(kept).words == {}
    deleted = replace(kept, benchmarks=())
    assert not list(measured(deleted, lambda _node, _label: "NVIDIA-L4"))
    assert asked(deleted).words == {}
    best = replace(MEASURED_RESULT.ladder.best, measured="2026-11-22T12:00:00Z")
    again = replace(MEASURED_RESULT, ladder=replace(MEASURED_RESULT.ladder, best=best))
    assert list(measured(replace(deleted, results={"uid-p1": again}), lambda _node, _label: "NVIDIA-L4"))


def test_a_key_that_was_deleted_is_made_again() -> None:
    """The operator may not look for the Secret, but the kubelet says that it is missing."""
    waiting = {"reason": "CreateContainerConfigError", "message": f'secret "{names.api_key(NAME)}" not found'}
    observed = running(pod("p1", containerStatuses=[{"name": names.ENGINE, "state": {"waiting": waiting}}]))
    assert [(action.verb, action.kind) for action in asked(observed).actions] == [(Verb.CREATE, "Secret")]
    assert asked(replace(observed, pods=())).actions == ()


@pytest.mark.parametrize("bug", [Refused, ValueError])
def test_a_bug_in_planning_is_no_refusal(bug: type[Exception]) -> None:
    """Only a refusal is one; everything else is let out, to be told as the bug that it is."""

    def broken(_: api.VLMDeploymentSpec) -> Planned:
        raise bug(PlanReason.UNSUPPORTED, "x")

    observed = Observed(now=0.0, parent=PARENT)
    if bug is Refused:
        assert asked(observed, plan=broken).findings.refused is not None
    else:
        with pytest.raises(ValueError, match="x"):
            asked(observed, plan=broken)
