"""Random specs from the schema, through admission and the operator: none of them is a bug, each ends in conditions."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from vlm_operator.kinds import VLMDEPLOYMENT

from tests.cluster.control_plane.operators import Space, eventually, running
from tests.support.crd_strategies import deployments, refused_deployments

SPECS = int(os.environ.get("VLMCTL_SPECS", "60"))  # 1,000 in CI
REFUSED_SHARE = 5  # one of so many is not let in
SECONDS_EACH = 1.0  # on a busy machine


def drawn(strategy: st.SearchStrategy[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """So many examples, the same each time."""
    found: list[dict[str, Any]] = []

    @seed(20261121)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(body: dict[str, Any]) -> None:
        found.append(body)

    collect()
    return found


def test_random_specs(space: Space, tmp_path: Path) -> None:
    """Valid ones are planned or refused with a reason, invalid ones are not let in, and nothing breaks the operator."""
    refused = drawn(refused_deployments(), SPECS // REFUSED_SHARE)
    bodies = [*drawn(deployments(), SPECS - len(refused)), *refused]
    let_in = 0
    with running(space, tmp_path) as operator:
        for number, body in enumerate(bodies):
            body["metadata"] = {"name": f"random-{number}"}
            answer = space.http.post(VLMDEPLOYMENT.path(space.name), json=body)
            assert answer.status_code in (201, 400, 422), answer.text
            let_in += answer.status_code == 201

        def answered() -> list[dict[str, Any]]:
            found = list(space.all("VLMDeployment").values())
            assert len(found) == let_in
            for each in found:
                assert len(each.get("status", {}).get("conditions", ())) == 6, each["metadata"]["name"]
            return found

        found = eventually(answered, seconds=30 + SECONDS_EACH * SPECS)
        errors = [line for line in operator.lines() if line["level"] == "error" or "traceback" in line]
        assert not errors, errors[:3]
    told = [{each["type"]: each for each in body["status"]["conditions"]} for body in found]
    reasons = Counter(each["Planned"]["reason"] for each in told)
    refusals = [each["Degraded"]["message"] for each in told if each["Degraded"]["reason"] == "WriteRefused"]
    assert not refusals, refusals[:3]
    assert "Pending" not in reasons
    assert len(reasons) >= 3, reasons  # the specs are not all refused alike
