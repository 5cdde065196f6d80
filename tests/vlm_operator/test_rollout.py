"""Which revision runs: what is wanted, until it fails; and how pods follow each other where GPUs are scarce."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.download import job_name
from vlm_operator.reasons import AvailableReason
from vlm_operator.records import Finding, KubernetesObject, Revision, Verdict
from vlm_operator.rollout import CRASHES, HISTORY, Rollout, is_complete, target

from tests.vlm_operator.children import CACHED, NAME, SPEC, revision
from tests.vlm_operator.worlds import RUNNING, SERVING, UP, container, download_pod, pod, terminated, waiting
from vlmctl.api import v1alpha1 as api

LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}


def version(number: int, verdict: Verdict = Verdict.UNKNOWN, **changes: Any) -> Revision:
    """The `number`th revision, planned for a spec of its own."""
    spec = replace(SPEC, pod=api.PodOverrides(labels={"number": str(number)}))
    return revision(spec, number=number, verdict=verdict, **changes)


OLD, NEW = version(1, Verdict.GOOD), version(2)


def deployment(
    of: Revision, *, surge: int = 1, complete: bool = True, seen: bool = True, **status: Any
) -> KubernetesObject:
    """The Deployment with the template of a revision, in the middle of a rollout or at its end."""
    return {
        "metadata": {"name": NAME, "generation": 4},
        "spec": {
            "replicas": 2,
            "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1 - surge}},
            "template": of.template,
        },
        "status": {
            "observedGeneration": 4 if seen else 3,
            "replicas": 2,
            "updatedReplicas": 2 if complete else 1,
            "availableReplicas": 2,
            **status,
        },
    }


def go(
    *revisions: Revision, wanted: Revision = NEW, deployment: KubernetesObject | None = None, **seen: Any
) -> Rollout:
    return target(NAME, revisions, wanted.digest, deployment=deployment, **seen)


def verdicts(rollout: Rollout) -> dict[str, Verdict]:
    return {each.digest: each.verdict for each in rollout.revisions}


def test_a_new_revision_takes_over() -> None:
    """Once it is kept in the cluster, its template is the Deployment's."""
    rollout = go(OLD, NEW, deployment=deployment(OLD))
    assert rollout.carried == rollout.wanted == NEW
    assert not rollout.went_back


def test_a_revision_is_kept_before_it_is_carried() -> None:
    """Until its ControllerRevision has a uid, what runs runs on; it has the next number."""
    rollout = go(OLD, replace(NEW, uid="", number=0), deployment=deployment(OLD))
    assert rollout.carried == OLD
    assert rollout.wanted == rollout.revisions[-1]
    assert rollout.wanted is not None
    assert rollout.wanted.number == 2
    assert go(replace(NEW, uid="", number=0)).carried is None


def test_what_is_asked_for_again_is_the_newest_again() -> None:
    """Going back to an earlier spec makes no new plan, and what is good last is what ran last."""
    rollout = go(OLD, NEW, wanted=OLD, deployment=deployment(NEW))
    assert [each.digest for each in rollout.revisions] == [NEW.digest, OLD.digest]
    assert rollout.carried is not None
    assert (rollout.carried.digest, rollout.carried.number) == (OLD.digest, 3)
    assert go(*rollout.revisions, wanted=OLD, deployment=deployment(OLD)).revisions == rollout.revisions


def test_a_spec_without_a_plan_leaves_what_runs() -> None:
    """Refused or not yet planned: nothing is made of it, and nothing is taken away."""
    rollout = go(OLD, deployment=deployment(OLD))
    assert (rollout.wanted, rollout.carried) == (None, OLD)
    assert go(OLD).carried == OLD
    assert go(replace(OLD, verdict=Verdict.UNKNOWN)).carried is None
    assert go().revisions == ()


def test_pods_wait_for_their_weights() -> None:
    """As long as the Job downloads, the earlier revision runs, or none; then the new one does."""
    cached = revision(CACHED, number=2)
    name = job_name(NAME, cached)
    done = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    for state, carried in (({}, None), ({name: {"status": {}}}, None), ({name: done}, cached)):
        assert go(cached, wanted=cached, jobs=state).carried == carried
        assert go(OLD, cached, wanted=cached, jobs=state, deployment=deployment(OLD)).carried == (carried or OLD)
    assert go(cached, wanted=cached, deployment=deployment(cached)).carried == cached


def test_a_revision_is_good_once_a_pod_of_it_takes_traffic() -> None:
    """Ready is behind the latch; a download that runs, or a pod that goes, is no proof."""
    assert verdicts(go(NEW, pods=[pod(SERVING, of=NEW)]))[NEW.digest] is Verdict.GOOD
    for other in (pod(UP, of=NEW), pod(SERVING, of=NEW, deleted=True), _ready(download_pod(SERVING, job="j"))):
        assert verdicts(go(NEW, pods=[other]))[NEW.digest] is Verdict.UNKNOWN


def _ready(download: KubernetesObject) -> KubernetesObject:
    labels = {**download["metadata"]["labels"], names.REVISION: NEW.digest}
    status = {**download["status"], "conditions": [{"type": "Ready", "status": "True"}]}
    return {**download, "metadata": {**download["metadata"], "labels": labels}, "status": status}


def crashed(times: int) -> KubernetesObject:
    return pod(container(waiting("CrashLoopBackOff"), last=terminated(1), restarts=times), of=NEW)


@pytest.mark.parametrize(
    "seen",
    [
        {"deployment": deployment(NEW, complete=False, conditions=[LATE])},
        {"finding": Finding(reason=AvailableReason.INVALID_ARGUMENT, message="")},
        {"finding": Finding(reason=AvailableReason.UNSUPPORTED_ARCHITECTURE, message="")},
        {"pods": [pod(SERVING, name="a", of=OLD), crashed(CRASHES)]},
    ],
    ids=["late", "wrong argument", "architecture", "crash loop"],
)
def test_a_revision_that_fails_goes_back_to_the_last_good_one(seen: dict[str, Any]) -> None:
    """And stays failed: it is not tried again before a new plan is asked for."""
    rollout = go(OLD, NEW, **{"deployment": deployment(NEW, complete=False), **seen})
    assert verdicts(rollout) == {OLD.digest: Verdict.GOOD, NEW.digest: Verdict.FAILED}
    assert rollout.carried == OLD
    assert (rollout.goes_back, rollout.went_back) == (True, False)
    later = go(*rollout.revisions, deployment=deployment(OLD))
    assert later == replace(rollout, surge=later.surge, running=later.running, present=OLD.digest)
    assert later.went_back


@pytest.mark.parametrize(
    "seen",
    [
        {"deployment": deployment(NEW, complete=False, seen=False, conditions=[LATE])},
        {"deployment": deployment(OLD, conditions=[LATE])},
        {"deployment": deployment(OLD), "pods": [crashed(CRASHES)]},
        {"finding": Finding(reason=AvailableReason.IMAGE_PULL_FAILED, message="")},
        {"finding": Finding(reason=AvailableReason.INSUFFICIENT_GPU, message="")},
        {"pods": [crashed(CRASHES - 1)]},
        {"pods": [pod(container(RUNNING, ready=True, started=True, restarts=CRASHES), of=NEW)]},
    ],
    ids=["not of this template", "of the old one", "not carried", "image", "no GPU free", "two crashes", "serving"],
)
def test_what_may_still_succeed_is_waited_for(seen: dict[str, Any]) -> None:
    """A deadline of an earlier template, a registry that is away, a full cluster: none says that it cannot work."""
    rollout = go(OLD, NEW, **{"deployment": deployment(NEW, complete=False), **seen})
    assert verdicts(rollout)[NEW.digest] is not Verdict.FAILED
    assert rollout.carried == replace(NEW, verdict=verdicts(rollout)[NEW.digest])


def test_without_a_good_one_there_is_nothing_to_go_back_to() -> None:
    """The first revision stays, whatever is wrong with it: its state is told, and the user changes the spec."""
    rollout = go(NEW, deployment=deployment(NEW, conditions=[LATE]), pods=[crashed(9)])
    assert rollout.carried == NEW


def test_a_good_revision_that_fails_later_is_kept() -> None:
    """It served before, so its pods are not what is wrong."""
    rollout = go(OLD, wanted=OLD, deployment=deployment(OLD, conditions=[LATE]), pods=[crashed(9)])
    assert rollout.carried == OLD


def test_a_failed_one_in_the_middle_does_not_run_on() -> None:
    """While the weights of the next one are downloaded, the last good one runs."""
    cached = revision(CACHED, number=3)
    rollout = go(OLD, NEW, cached, wanted=cached, deployment=deployment(NEW, conditions=[LATE]))
    assert (rollout.wanted, rollout.carried) == (cached, OLD)


def test_what_carries_a_revision_that_cannot_be_read_stays() -> None:
    """No earlier one takes its place unasked, not even where the one that is wanted failed or is not ready yet."""
    runs = deployment(version(9))
    there = {"deployment": runs, "unreadable": {version(9).digest}}
    assert go(OLD, **there).carried is None
    assert go(OLD, replace(NEW, verdict=Verdict.FAILED), **there).carried is None
    assert go(OLD, replace(NEW, uid=""), **there).carried is None
    assert go(OLD, NEW, **there).carried == NEW


def test_old_revisions_go_and_those_in_use_stay() -> None:
    """The newest are kept, and the last good one, the carried one and those whose pods still run."""
    many = [version(number, Verdict.FAILED) for number in range(2, 9)]
    running = pod(SERVING, of=many[0], deleted=True)
    rollout = go(OLD, *many, wanted=many[-1], deployment=deployment(OLD), pods=[running])
    kept = {each.number for each in rollout.revisions}
    assert kept == {1, 2, *range(9 - HISTORY, 9)}
    assert set(rollout.pruned) == {each.name for each in many if each.number not in kept}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (deployment(NEW), True),
        (deployment(NEW, complete=False), False),
        (deployment(NEW, seen=False), False),
        (deployment(NEW, replicas=3), False),
        (deployment(NEW, availableReplicas=1), False),
    ],
)
def test_complete_means_all_new_and_none_old(state: KubernetesObject, expected: bool) -> None:
    """As `kubectl rollout status` has it."""
    assert is_complete(state) is expected


class Cluster(RuleBasedStateMachine):
    """Any spec after any other, pods that start or crash, weights that come or not: what holds at each moment."""

    def __init__(self) -> None:
        super().__init__()
        self.known: tuple[Revision, ...] = ()
        self.deployment: KubernetesObject | None = None
        self.pods: list[KubernetesObject] = []
        self.jobs: dict[str, KubernetesObject] = {}
        self.wanted = ""
        self.rollout = Rollout()

    @initialize()
    def the_first_spec(self) -> None:
        self.a_new_spec(cached=False)

    @rule(cached=st.booleans())
    def a_new_spec(self, cached: bool) -> None:
        spec = replace(CACHED if cached else SPEC, pod=api.PodOverrides(labels={"a": str(len(self.known))}))
        made = revision(spec, number=0, uid="")
        self.wanted = made.digest
        if made.digest not in {each.digest for each in self.known}:
            self.known = (*self.known, made)

    @rule(data=st.data())
    def an_old_spec(self, data: st.DataObject) -> None:
        self.wanted = data.draw(st.sampled_from([each.digest for each in self.known]))

    @rule()
    def weights_come(self) -> None:
        name = job_name(NAME, next(each for each in self.known if each.digest == self.wanted))
        self.jobs[name] = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}

    @rule(serves=st.booleans())
    def pods_start(self, serves: bool) -> None:
        carried = self.rollout.carried
        if carried is not None:
            self.pods = [pod(SERVING, of=carried) if serves else _crash(carried)]

    @rule()
    def time_is_up(self) -> None:
        if self.deployment is not None:
            self.deployment["status"]["conditions"] = [LATE]

    @invariant()
    def reconciled(self) -> None:
        before = {each.digest: each.verdict for each in self.known}
        carried = self.rollout.carried
        self.rollout = target(NAME, self.known, self.wanted, deployment=self.deployment, pods=self.pods, jobs=self.jobs)
        self.check(before, carried)
        self.known = tuple(replace(each, uid=each.uid or f"uid-{each.digest}") for each in self.rollout.revisions)
        if self.rollout.carried is not None and self.rollout.carried != carried:
            self.deployment = deployment(self.rollout.carried)
            self.pods = []

    def check(self, before: dict[str, Verdict], carried: Revision | None) -> None:
        rollout = self.rollout
        after = verdicts(rollout)
        good = [each for each in rollout.revisions if each.verdict is Verdict.GOOD]
        assert all(after.get(digest, verdict) is verdict for digest, verdict in before.items() if verdict != "Unknown")
        assert good or Verdict.GOOD not in before.values()
        assert Verdict.FAILED not in after.values() or good
        assert len(rollout.revisions) <= HISTORY + 3
        assert rollout.wanted is not None
        assert rollout.wanted == rollout.revisions[-1]
        if carried is not None:
            assert rollout.carried is not None
        if rollout.carried is not None:
            assert rollout.carried.uid
            assert rollout.carried.verdict is not Verdict.FAILED
            assert rollout.carried in rollout.revisions


def _crash(of: Revision) -> KubernetesObject:
    return pod(container(waiting("CrashLoopBackOff"), last=terminated(1), restarts=CRASHES), of=of)


Cluster.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
test_any_way_holds = Cluster.TestCase
