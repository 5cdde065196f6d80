"""What holds a plan back once it is made, on a real API server: money, licences, revisions that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from vlm_operator import names
from vlm_operator.kinds import BY_KIND, DEPLOYMENT, VLMDEPLOYMENT

from tests.cluster.control_plane.operators import MANIFEST, Space, at_rest, eventually, running, settled, some

REVISION = BY_KIND["ControllerRevision"]
# Prices and plans are looked at again every two seconds instead of ten minutes.
HURRIED = """
import sys
from vlm_operator import __main__, running
running.RESYNC_SECONDS, running.SPREAD_SECONDS = 2.0, 0.1
sys.exit(__main__.main())
"""


def condition(space: Space, kind: str) -> dict[str, Any]:
    listed = space.find(VLMDEPLOYMENT, "vision")["status"]["conditions"]
    found: dict[str, Any] = next(each for each in listed if each["type"] == kind)
    return found


def says(space: Space, kind: str, reason: str) -> dict[str, Any]:
    found = condition(space, kind)
    assert found["reason"] == reason
    return found


def is_over(space: Space, figures: str) -> None:
    """Whether it is told beside what else is wrong: here no node takes the pods."""
    assert figures in condition(space, "Degraded")["message"]


def replicas(space: Space) -> int:
    found: int = space.find(DEPLOYMENT, "vision")["spec"]["replicas"]
    return found


def test_no_scaling_beyond_the_budget(space: Space, tmp_path: Path) -> None:
    """Whoever scales: as many replicas as the budget pays for are made, the rest is told, and fewer are fewer."""
    with running(space, tmp_path):
        space.make("vision", {**MANIFEST, "budget": {"maxUSDPerMonth": "1200"}})  # two at 0.7 USD an hour
        settled(space)
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"replicas": 5}}, "scale")
        eventually(lambda: is_over(space, "5 replicas cost $2,555.00 a month, above the $1,200.00"))
        assert replicas(space) == 2
        at_rest(space)
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"budget": {"maxUSDPerMonth": "3000"}}})
        eventually(lambda: some(replicas(space) == 5))
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"budget": {"maxUSDPerMonth": "1200"}}})
        eventually(lambda: is_over(space, "5 replicas cost $2,555.00 a month, above the $1,200.00"))
        at_rest(space)
        assert replicas(space) == 5  # those that run stay
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"replicas": 1}}, "scale")
        eventually(lambda: some(replicas(space) == 1))
        eventually(lambda: some("cost" not in condition(space, "Degraded")["message"]))
        assert len(space.all("ControllerRevision")) == 1


def test_limits_tightened_afterwards(space: Space, tmp_path: Path) -> None:
    """A licence or budget that the plan no longer keeps is told; pods stay as they are, and no revision is made."""
    with running(space, tmp_path):
        space.make("vision")
        settled(space)
        before = space.find(DEPLOYMENT, "vision")["spec"]
        for limit, reason in (
            ({"licensePolicy": "Permissive"}, "LicenseDenied"),
            ({"licensePolicy": None, "budget": {"maxUSDPerMonth": "100"}}, "OverBudget"),
        ):
            space.change(VLMDEPLOYMENT, "vision", {"spec": limit})
            eventually(lambda told=reason: says(space, "Planned", told))
            space.change(VLMDEPLOYMENT, "vision", {"spec": {"replicas": 3}}, "scale")
            at_rest(space)
            assert space.find(DEPLOYMENT, "vision")["spec"] == before
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"budget": None}})
        eventually(lambda: says(space, "Planned", "Planned"))
        eventually(lambda: some(replicas(space) == 3))
        assert len(space.all("ControllerRevision")) == 1


def test_a_revision_that_cannot_be_read(space: Space, tmp_path: Path) -> None:
    """What runs is left as it is but for its scale, and a new plan leads out of it."""
    with running(space, tmp_path) as operator:
        space.make("vision")
        settled(space)
        template = space.find(DEPLOYMENT, "vision")["spec"]["template"]
        operator.kill()
        (kept,) = space.all("ControllerRevision").values()
        space.ask("DELETE", REVISION.path(space.name, kept["metadata"]["name"]), {"propagationPolicy": "Orphan"})
        metadata = {part: kept["metadata"][part] for part in ("name", "labels", "ownerReferences")}
        damaged = {"metadata": metadata, "revision": kept["revision"], "data": {"planned": "?"}}
        eventually(lambda: space.ask("POST", REVISION.path(space.name), damaged))
        operator.start()
        told = eventually(lambda: says(space, "Planned", "UnreadableRevision"))
        assert names.REPLAN in told["message"]
        space.change(VLMDEPLOYMENT, "vision", {"spec": {"replicas": 2}}, "scale")
        eventually(lambda: some(replicas(space) == 2))
        at_rest(space)
        assert space.find(DEPLOYMENT, "vision")["spec"]["template"] == template
        space.change(VLMDEPLOYMENT, "vision", {"metadata": {"annotations": {names.REPLAN: "1"}}})
        eventually(lambda: says(space, "Planned", "Planned"))
        eventually(lambda: some(space.find(DEPLOYMENT, "vision")["spec"]["template"] != template))
        assert not [line for line in operator.lines() if line["level"] in ("error", "critical")]
        warned = [line for line in operator.lines() if "is left as it is" in line["message"]]
        assert len(warned) == 1


def test_a_better_plan_is_said_and_not_taken(space: Space, tmp_path: Path) -> None:
    """Once another GPU costs less, the condition says what it would save; the annotation takes it."""
    with running(space, tmp_path, program=("-c", HURRIED)) as operator:
        space.make("vision")
        settled(space)
        before = space.find(DEPLOYMENT, "vision")["spec"]["template"]
        operator.kill()
        path = tmp_path / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["inventory"].append({"gpu": "l40s", "nodes": 1, "gpusPerNode": 4, "usdPerGpuHour": 0.1})
        path.write_text(yaml.safe_dump(config))
        operator.start()
        planned = eventually(lambda: some("A new plan would cost" in condition(space, "Planned")["message"]))
        assert planned
        at_rest(space, seconds=6.0)
        assert space.find(DEPLOYMENT, "vision")["spec"]["template"] == before
        operator.kill()
        operator.start()
        at_rest(space, seconds=6.0)
        assert "1x L40S" in condition(space, "Planned")["message"]
        space.change(VLMDEPLOYMENT, "vision", {"metadata": {"annotations": {names.REPLAN: "1"}}})
        eventually(lambda: some("A new plan" not in condition(space, "Planned")["message"]))
        eventually(lambda: some(space.find(VLMDEPLOYMENT, "vision")["status"]["plan"]["gpu"] == "L40S"))
