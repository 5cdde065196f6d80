"""The scheduler's words: what is short, whatever the counts of nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.reasons import AvailableReason
from vlm_operator.scheduling import unschedulable

from tests.vlm_operator.test_diagnosis import FIT, found
from tests.vlm_operator.worlds import observed, pod

AFTER = " no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            f"{FIT}1 Insufficient cpu, 2 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {{a: b}}.{AFTER}",
            AvailableReason.INSUFFICIENT_GPU,
        ),
        (f"{FIT}4 Insufficient amd.com/gpu.{AFTER}", AvailableReason.INSUFFICIENT_GPU),
        (
            f"{FIT}1 Insufficient cpu, 3 node(s) didn't match Pod's node affinity/selector.{AFTER}",
            AvailableReason.INSUFFICIENT_CPU,
        ),
        (f"{FIT}1 Insufficient memory, 3 node(s) were unschedulable.{AFTER}", AvailableReason.INSUFFICIENT_MEMORY),
        (f"{FIT}4 Insufficient ephemeral-storage.{AFTER}", AvailableReason.INSUFFICIENT_STORAGE),
        (f"{FIT}4 Too many pods.{AFTER}", AvailableReason.TOO_MANY_PODS),
        (f"{FIT}4 node(s) didn't match Pod's node affinity/selector.{AFTER}", AvailableReason.NO_MATCHING_NODE),
        (
            f"{FIT}1 node(s) had untolerated taint {{dedicated: gpu}}, 3 node(s) didn't match Pod's node "
            f"affinity/selector.{AFTER}",
            AvailableReason.UNTOLERATED_TAINT,
        ),
        (f"{FIT}4 node(s) were unschedulable.{AFTER}", AvailableReason.NODE_UNSCHEDULABLE),
        (
            f"{FIT}pod has unbound immediate PersistentVolumeClaims. not found",
            AvailableReason.VOLUME_UNAVAILABLE,
        ),
        (f'{FIT}persistentvolumeclaim "weights" not found.', AvailableReason.VOLUME_UNAVAILABLE),
        (f"{FIT}2 node(s) had volume node affinity conflict.{AFTER}", AvailableReason.VOLUME_UNAVAILABLE),
        (f"{FIT}4 node(s) didn't satisfy plugin(s) [Custom].", AvailableReason.UNSCHEDULABLE),
        ("", AvailableReason.UNSCHEDULABLE),
    ],
)
def test_the_schedulers_message_names_what_is_short(message: str, reason: AvailableReason) -> None:
    """Of all that keeps nodes from taking a pod, the nearest to being put right is told."""
    finding = found(observed(pod(unschedulable=message or " ")))
    assert finding.reason == reason
    assert finding.remedy


@given(counts=st.lists(st.integers(1, 5000), min_size=4, max_size=4))
def test_a_cluster_that_grows_does_not_change_what_is_said(counts: list[int]) -> None:
    """The scheduler counts nodes; the message does not, so that it stays while the reason does."""
    a, b, c, d = counts
    text = (
        f"0/{a} nodes are available: {b} Insufficient nvidia.com/gpu, {c} node(s) had untolerated taint {{x: y}}, "
        f"{d} node(s) didn't match Pod's node affinity/selector.{AFTER}"
    )
    assert unschedulable(text) == unschedulable(f"{FIT}1 Insufficient nvidia.com/gpu.")
