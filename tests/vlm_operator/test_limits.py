"""What holds a plan back once it is made: budgets, licences, revisions that cannot be read. What runs is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.actions import Verb
from vlm_operator.decisions import Decision
from vlm_operator.policy import Policy
from vlm_operator.reasons import DegradedReason, PlanReason
from vlm_operator.records import Observed

from tests.vlm_operator.children import NAME, PARENT, PLANNED, SPEC
from tests.vlm_operator.deciding import asked, never, running
from vlmctl.api import v1alpha1 as api

PRICED = replace(PLANNED, usd_per_gpu_hour=1.0)  # $730 a month for each replica
TWO = api.Budget(max_usd_per_month="1500")  # which pays for two


def at(replicas: int) -> Observed:
    """A deployment that runs with so many replicas, at a price."""
    observed = running(plan=lambda _: PRICED)
    observed.children["Deployment"][NAME]["spec"]["replicas"] = replicas
    return observed


def scaled(decision: Decision) -> list[int | None]:
    return [action.replicas for action in decision.actions if action.verb is Verb.SCALE]


@pytest.mark.parametrize(
    ("there", "wanted", "written"),
    [(1, 2, [2]), (1, 5, [2]), (2, 3, []), (4, 5, []), (4, 4, []), (4, 3, [3]), (4, 0, [0])],
)
def test_replicas_beyond_the_budget_are_not_made(there: int, wanted: int, written: list[int]) -> None:
    """Those that it pays for are; those that run already stay, and may go; the figure is said."""
    decision = asked(at(there), replace(SPEC, replicas=wanted, budget=TWO), never)
    assert scaled(decision) == written
    assert {action.verb for action in decision.actions} <= {Verb.SCALE}
    held = decision.findings.lesser
    assert (held is not None) is (wanted > 2)
    if held is not None:
        assert held.reason == DegradedReason.OVER_BUDGET
        assert f"{wanted} replicas cost ${wanted * 730:,.2f} a month, above the $1,500.00" in held.message
    assert decision.findings.refused is None


@given(there=st.integers(0, 9), wanted=st.integers(0, 9), limit=st.integers(0, 9))
def test_no_replica_is_added_beyond_a_limit(there: int, wanted: int, limit: int) -> None:
    """Whatever is asked for: never more than asked for, never more than paid for unless they were there, and never
    fewer than there were unless that is asked for.
    """
    spec = replace(SPEC, replicas=wanted, budget=api.Budget(max_usd_per_month=str(730 * limit)))
    replicas = asked(AT[there], spec, never).replicas
    assert replicas <= wanted
    assert replicas <= max(limit, there)
    assert replicas >= min(wanted, there)
    assert replicas == wanted or replicas == max(limit, there)


AT = [at(replicas) for replicas in range(10)]


def test_the_clusters_limit_holds_too() -> None:
    """The administrator's policy needs no word in the spec."""
    decision = asked(at(1), replace(SPEC, replicas=3), never, policy=Policy(max_usd_per_month=800.0))
    assert scaled(decision) == []
    assert decision.findings.lesser is not None
    assert "the cluster's policy" in decision.findings.lesser.message


def test_a_plan_that_is_not_allowed_any_more_runs_on() -> None:
    """Its replicas stay and may be fewer, none is added, nothing else is touched, and the condition tells why."""
    for wanted, written in ((5, []), (2, [2]), (3, [])):
        decision = asked(at(3), replace(SPEC, replicas=wanted), never, denied="the licence is no good.")
        assert scaled(decision) == written
        refused = decision.findings.refused
        assert refused is not None
        assert (refused.reason, refused.message) == (PlanReason.LICENSE_DENIED, "the licence is no good.")
        assert decision.rollout.wanted == decision.rollout.carried == at(3).revisions[0]


def test_what_was_denied_before_it_ran_never_runs() -> None:
    """A revision whose plan is not allowed by the time that its pods could be made gets none."""
    first = asked(Observed(now=0.0, parent=PARENT))
    kept = tuple(replace(each, uid="u") for each in first.rollout.revisions)
    decision = asked(Observed(now=0.0, parent=PARENT, revisions=kept), SPEC, never, denied="no.")
    assert "Deployment" not in {action.kind for action in decision.actions}
    assert decision.findings.refused is not None


def test_an_earlier_plan_that_is_denied_is_not_gone_back_to() -> None:
    """Asking again for a spec whose plan is not allowed any more leaves what runs."""
    before = running()
    other = replace(SPEC, workload=api.Workload(output_tokens=7))
    now = asked(before, other)
    revisions = tuple(replace(each, uid=each.uid or "u") for each in now.rollout.revisions)
    decision = asked(replace(before, revisions=revisions), other, never, denied="no.")
    assert decision.rollout.carried is not None
    assert decision.rollout.carried.digest == before.revisions[0].digest


def unreadable(observed: Observed) -> Observed:
    """The same, with no revision that can be read."""
    why = {each.digest: f"ControllerRevision {each.name}: cannot be read." for each in observed.revisions}
    return replace(observed, revisions=(), unreadable=why)


def test_a_revision_that_cannot_be_read_leaves_what_runs() -> None:
    """Nothing is planned, written or deleted but the scale, and the condition says which one it is."""
    observed = unreadable(running())
    del observed.children["Service"][NAME]
    decision = asked(observed, replace(SPEC, replicas=4), never)
    assert [(action.verb, action.replicas) for action in decision.actions] == [(Verb.SCALE, 4)]
    refused = decision.findings.refused
    assert refused is not None
    assert refused.reason == PlanReason.UNREADABLE_REVISION
    assert "cannot be read" in refused.message


def test_another_spec_leads_out_of_a_revision_that_cannot_be_read() -> None:
    """A new plan is made for it, and what runs stays until its revision is kept."""
    observed = unreadable(running())
    spec = replace(SPEC, workload=api.Workload(output_tokens=7))
    first = asked(observed, spec)
    assert first.findings.refused is None
    assert "Deployment" not in {action.kind for action in first.actions}
    kept = tuple(replace(each, uid="u") for each in first.rollout.revisions)
    second = asked(replace(observed, revisions=kept), spec, never)
    (deployment,) = [action for action in second.actions if action.kind == "Deployment"]
    assert deployment.body is not None
    assert deployment.body["spec"]["template"]["metadata"]["labels"][names.REVISION] == kept[0].digest


def test_an_older_revision_that_cannot_be_read_is_nobodys_concern() -> None:
    """Where another one runs and is wanted, nothing is different."""
    observed = running()
    damaged = replace(observed, unreadable={"0000000000": "ControllerRevision: no."})
    assert asked(damaged, SPEC, never) == asked(observed, SPEC, never)
