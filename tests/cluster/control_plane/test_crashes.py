"""The operator dies at random moments: whatever was half done, the next one ends where the spec says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from vlm_operator import names, revisions
from vlm_operator.kinds import DEPLOYMENT, VLMDEPLOYMENT
from vlm_operator.spec import parse

from tests.cluster.control_plane.operators import (
    CHILDREN,
    MANIFEST,
    OperatorProcess,
    Space,
    at_rest,
    eventually,
    some,
)

KILLS = int(os.environ.get("VLMCTL_KILLS", "8"))  # 50 in CI
KILLS_IN_A_LIFE = 4
LONGEST_SECONDS = 0.6  # from a change until the kill: about twice as long as a pass over a new VLMDeployment takes
NAME = "vision"


def is_right(space: Space) -> None:
    """Exactly what the spec asks for is there, once."""
    parent = space.find(VLMDEPLOYMENT, NAME)
    status, spec = parent["status"], parse(parent).spec
    assert status["observedGeneration"] == parent["metadata"]["generation"]
    assert len(status["conditions"]) == 6
    for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"):
        assert list(space.all(kind)) == [NAME], kind
    assert list(space.all("Secret")) == [names.api_key(NAME)]
    kept = space.all("ControllerRevision")
    assert set(space.all("ConfigMap")) <= set(kept)
    wanted = names.of_revision(NAME, revisions.digest(spec))
    assert max(kept, key=lambda each: kept[each]["revision"]) == wanted
    assert wanted in space.all("ConfigMap")
    deployment = space.find(DEPLOYMENT, NAME)
    assert deployment["spec"]["template"]["metadata"]["labels"][names.REVISION] == revisions.digest(spec)
    assert deployment["spec"]["replicas"] == spec.replicas
    for kind in CHILDREN:
        for child in space.all(kind).values():
            assert len(child["metadata"]["ownerReferences"]) == 1


def is_gone(space: Space) -> None:
    """Nothing is left."""
    for kind in (*CHILDREN, "Pod", "Secret", "VLMDeployment"):
        assert not space.all(kind), kind


@pytest.mark.parametrize("seed", range(-(-KILLS // KILLS_IN_A_LIFE)))
def test_kill(new_space: Callable[[], Space], tmp_path: Path, seed: int) -> None:
    """Killed after each of create, update, scale and delete: the final state is right, and then nothing is written."""
    rng, space = Random(seed), new_space()
    operator = OperatorProcess(space, tmp_path)

    def struck(change: Callable[[], object], check: Callable[[Space], None]) -> None:
        change()
        time.sleep(rng.uniform(0.0, LONGEST_SECONDS))
        operator.kill()
        operator.start()
        if rng.random() < 0.3:  # and once more while it finds its way
            time.sleep(rng.uniform(0.5, 2.5))
            operator.kill()
            operator.start()
        eventually(lambda: check(space))

    operator.start()
    eventually(lambda: some("Leading" in operator.log.read_text()))
    try:
        struck(lambda: space.make(NAME, MANIFEST), is_right)
        update = {"spec": {"workload": {"outputTokens": rng.randint(16, 200)}}}
        struck(lambda: space.change(VLMDEPLOYMENT, NAME, update), is_right)
        replicas = {"spec": {"replicas": rng.randint(2, 4)}}
        struck(lambda: space.change(VLMDEPLOYMENT, NAME, replicas, "scale"), is_right)
        at_rest(space)
        struck(lambda: space.remove(NAME), is_gone)
        assert not [line for line in operator.lines() if line["level"] in ("error", "critical")]
    finally:
        operator.kill()
