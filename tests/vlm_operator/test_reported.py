"""What is read from the status of a pod."""

from __future__ import annotations

from typing import Any

import pytest
from vlm_operator.reported import is_cut_off

READY = {"ready": True}
UNREADY = {"ready": False}


@pytest.mark.parametrize(
    ("conditions", "engine", "proxy", "expected"),
    [
        ({"Ready": "True", "ContainersReady": "True"}, READY, READY, False),
        ({"Ready": "False", "ContainersReady": "False"}, UNREADY, READY, False),
        ({"Ready": "False", "ContainersReady": "False"}, READY, UNREADY, False),
        ({"Ready": "False", "ContainersReady": "False"}, None, None, False),
        ({}, None, None, False),
        ({"Ready": "False", "ContainersReady": "True"}, READY, READY, True),
    ],
    ids=["ready", "engine unready", "proxy unready", "no statuses", "no conditions", "node lost"],
)
def test_a_pod_is_cut_off_where_its_node_is_lost(
    conditions: dict[str, str], engine: dict[str, Any] | None, proxy: dict[str, Any] | None, expected: bool
) -> None:
    """Not where a container of it is not ready, or none has been started."""
    status = {
        "conditions": [{"type": kind, "status": said} for kind, said in conditions.items()],
        "containerStatuses": [] if engine is None else [{"name": "engine", **engine}],
        "initContainerStatuses": [] if proxy is None else [{"name": "proxy", **proxy}],
    }
    assert is_cut_off({"status": status}) is expected
