"""When the first replica reached each step: the earliest that is known, and never later than was said before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.results import AgentResult
from vlm_operator.timeline import timeline

from tests.vlm_operator.worlds import CREATING, RUNNING, SERVING, container, job, measured, pod, terminated
from vlmctl.api import v1alpha1 as api

STEPS = api.Timeline.__struct_fields__
MOMENTS = st.none() | st.integers(0, 59).map(lambda minute: f"2026-11-18T10:{minute:02}:00Z")
EARLIER = st.none() | st.builds(api.Timeline, **dict.fromkeys(STEPS, MOMENTS))
RESULTS = st.none() | st.builds(AgentResult, engine_ready=MOMENTS, opened=MOMENTS)
WORLDS = st.lists(st.tuples(st.sampled_from([pod(), pod(SERVING), pod(CREATING)]), RESULTS), max_size=3)


def test_each_step_is_read_where_it_is_told() -> None:
    """The scheduler, the kubelet, the download Job and the agent each tell a part."""
    (download,) = job(complete=True)["Job"].values()
    assert timeline([(pod(SERVING), measured()["uid-reader-a"])], download, None) == api.Timeline(
        scheduled="2026-11-18T09:59:00Z",
        image_pulled="2026-11-18T10:00:00Z",
        weights_ready="2026-11-18T09:58:00Z",
        engine_ready="2026-11-18T10:03:00Z",
        benchmarked="2026-11-18T10:05:00Z",
    )


def test_a_restart_makes_no_step_later() -> None:
    """An engine that was started again had its image before."""
    again = {"running": {"startedAt": "2026-11-18T10:30:00Z"}}
    found = timeline([(pod(container(again, last=terminated(1), restarts=1)), None)], None, None)
    assert found is not None
    assert found.image_pulled == RUNNING["running"]["startedAt"]


def test_nothing_is_known_before_there_is_a_node() -> None:
    """What has not happened is not there, and what nothing tells is not made up."""
    assert timeline([(pod(unschedulable="0/1 nodes are available"), None)], None, None) is None
    found = timeline([(pod(SERVING), None)], None, None)
    assert found is not None
    assert found.weights_ready is None


@given(WORLDS, WORLDS, EARLIER)
def test_a_step_that_was_reached_stays_and_is_the_earliest(
    first: list[tuple[dict[str, object], AgentResult | None]],
    second: list[tuple[dict[str, object], AgentResult | None]],
    before: api.Timeline | None,
) -> None:
    """Pods come and go; the timeline keeps the first that reached each step, in whatever order they are seen."""
    found = timeline(second, None, timeline(first, None, before))
    assert found == timeline(first, None, timeline(second, None, before))
    for step in STEPS:
        told = [getattr(each, step) for each in (before, timeline(first, None, None)) if each is not None]
        assert all(getattr(found, step) <= moment for moment in told if moment is not None)
