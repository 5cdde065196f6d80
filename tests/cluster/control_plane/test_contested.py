"""Somebody else writes into what the operator owns again and again: soon after he stops, all is as it should be."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from vlm_operator import names
from vlm_operator.kinds import BY_KIND, VLMDEPLOYMENT

from tests.cluster.control_plane.operators import Space, eventually, running, settled

NAME = "vision"
STORM_SECONDS = 8.0
RIGHT_SECONDS = 45.0  # after a fight the operator waits for up to 30 s
PAUSE_SECONDS = 0.05


def test_all_is_right_soon_after_a_storm(space: Space, tmp_path: Path) -> None:
    """A budget for disruptions is the hardest: it may not have both of its limits, so an apply of ours is refused."""
    with running(space, tmp_path):
        space.make(NAME)
        settled(space)
        before = {kind: space.find(BY_KIND[kind], NAME)["spec"] for kind in ("PodDisruptionBudget", "Service")}
        until, count = time.monotonic() + STORM_SECONDS, 0
        while time.monotonic() < until:
            count += 1
            space.change(VLMDEPLOYMENT, NAME, {"metadata": {"annotations": {"example.com/count": str(count)}}})
            space.change(BY_KIND["ServiceAccount"], NAME, {"automountServiceAccountToken": True})
            wrong = {"spec": {"minAvailable": count % 2, "maxUnavailable": None}}
            space.change(BY_KIND["PodDisruptionBudget"], NAME, wrong)
            space.change(BY_KIND["Service"], NAME, {"spec": {"selector": {"nobody": "has-this"}}})
            time.sleep(PAUSE_SECONDS)

        def check() -> None:
            for kind, spec in before.items():
                assert space.find(BY_KIND[kind], NAME)["spec"] == spec
            assert space.find(BY_KIND["ServiceAccount"], NAME)["automountServiceAccountToken"] is False

        eventually(check, seconds=RIGHT_SECONDS)


@pytest.mark.parametrize("by", ["Helm", None])
def test_a_child_whose_labels_were_changed_is_taken_back(space: Space, tmp_path: Path, by: str | None) -> None:
    """As by a Helm release that adopts it, or by hand: the operator does not see it any more, and owns it."""
    with running(space, tmp_path):
        space.make(NAME)
        settled(space)
        uid = space.find(BY_KIND["NetworkPolicy"], NAME)["metadata"]["uid"]
        space.change(BY_KIND["NetworkPolicy"], NAME, {"metadata": {"labels": {names.MANAGED_BY: by}}})

        def check() -> None:
            metadata = space.find(BY_KIND["NetworkPolicy"], NAME)["metadata"]
            assert (metadata["labels"].get(names.MANAGED_BY), metadata["uid"]) == (names.FIELD_MANAGER, uid)

        eventually(check)
        settled(space)
