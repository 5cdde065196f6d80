"""Autoscaling on a real API server: replicas follow the load, and at any time one engine alone writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlm_operator.kinds import (
    AUTOSCALER,
    BY_KIND,
    DEPLOYMENT,
    HTTP_SCALED_OBJECT,
    SCALED_OBJECT,
    VLMDEPLOYMENT,
    Resource,
)

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.adapters import adapter, established, keda_crds
from tests.cluster.control_plane.fleet import CONCURRENCY, Fleet, fleet
from tests.cluster.control_plane.operators import MANIFEST, OperatorProcess, Space, eventually, running, scale_writers

NAME = "vision"
OPERATOR = "vlm-operator"
AUTOSCALERS = "horizontal-pod-autoscaler"  # the controller's service account
INTERVAL_SECONDS = 0.5
DOWN_SECONDS = 4
QUICK = {
    "scaleUp": {"policies": [{"type": "Pods", "value": 10, "periodSeconds": 1}]},
    "scaleDown": {
        "stabilizationWindowSeconds": DOWN_SECONDS,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}],
    },
}
SCALING = {"min": 1, "max": 6, "engine": "Operator", "targetUtilization": "1", "behavior": QUICK}
AUTOSCALER_SECONDS = 12.0  # more than two looks of the HPA's controller, as control_plane.sh sets it up
SETTINGS = {
    "scaling": {
        "intervalSeconds": INTERVAL_SECONDS,
        "externalMetric": "vlmctl_requests_in_flight",
        "prometheus": "http://prometheus.monitoring:9090",
        "retryHost": "vlm-operator.vlm-system.svc.cluster.local",
    }
}
# As it is, but for the pause until a kind that was not there is looked for again, which is a minute.
IMPATIENT = """
import sys
from vlm_operator import __main__, informers

informers.REFUSED_PAUSE_SECONDS = 1.0
sys.exit(__main__.main())
"""


@pytest.fixture(scope="session")
def with_keda(served: Cluster) -> Iterator[Cluster]:
    """The control plane with KEDA's resource definitions, without KEDA."""
    names = established(served, keda_crds(served.bin))
    yield served
    served.kubectl("delete", "--ignore-not-found", *names)


@pytest.fixture
def scaled(space: Space, tmp_path: Path) -> Iterator[tuple[Fleet, OperatorProcess]]:
    """One replica that takes traffic and has measured itself, and an operator that scales."""
    with fleet(space) as pods, running(space, tmp_path, settings=SETTINGS) as operator:
        space.make(NAME, {**MANIFEST, "scaling": SCALING})
        replicas_become(space, 1)
        eventually(lambda: _assert(status(space)["scaling"]["basis"] == "measured"))
        yield pods, operator


def _assert(holds: bool) -> None:
    assert holds


def status(space: Space) -> dict[str, Any]:
    found: dict[str, Any] = space.find(VLMDEPLOYMENT, NAME)["status"]
    return found


def replicas(space: Space) -> int:
    return int(space.find(VLMDEPLOYMENT, NAME)["spec"].get("replicas", 1))


def replicas_become(space: Space, wanted: int) -> None:
    """The VLMDeployment asks for so many, its Deployment as well, and all of them take traffic."""

    def check() -> None:
        assert replicas(space) == wanted
        assert space.find(DEPLOYMENT, NAME)["spec"]["replicas"] == wanted
        assert status(space)["readyReplicas"] == wanted

    eventually(check)


def scaled_by(space: Space, engine: str, **more: Any) -> int:
    """Have another engine scale, and wait until the status says that it does; gives the lines of the audit log then."""
    space.change(VLMDEPLOYMENT, NAME, {"spec": {"scaling": {"engine": engine, **more}}})
    lines = len(space.cluster.writes())

    def check() -> None:
        told = status(space)["scaling"]
        assert told["engine"] == engine
        assert told["reason"] in ("Scaling", "Disabled")

    eventually(check)
    return lines


def there(space: Space, resource: Resource) -> list[str]:
    """Names of the objects of a kind, whoever made them."""
    return [each["metadata"]["name"] for each in space.ask("GET", resource.path(space.name))["items"]]


def test_replicas_follow_a_load_step_within_the_windows(space: Space, scaled: tuple[Fleet, OperatorProcess]) -> None:
    """Up with the load at once, down when the window has passed and not before, and nothing is written at rest."""
    pods, _ = scaled
    told = status(space)["scaling"]
    assert (told["engine"], told["reason"], told["targetInFlight"]) == ("Operator", "Scaling", str(CONCURRENCY))
    assert told["coldStartBasis"] == "measured"
    loaded_at = 0.0

    def loaded(ready: Sequence[str]) -> dict[str, float]:
        nonlocal loaded_at
        loaded_at = time.monotonic()
        return dict.fromkeys(ready, 45 / max(len(ready), 1))

    pods.in_flight = loaded
    replicas_become(space, 5)
    count = len(scale_writers(space))
    time.sleep(4 * INTERVAL_SECONDS)
    assert len(scale_writers(space)) == count
    pods.spread(0)
    replicas_become(space, 1)
    assert time.monotonic() - loaded_at >= DOWN_SECONDS - INTERVAL_SECONDS  # a look begins before proxies answer
    assert set(scale_writers(space)) == {OPERATOR}


def test_without_metrics_nothing_is_scaled(space: Space, scaled: tuple[Fleet, OperatorProcess]) -> None:
    """Proxies that fall silent under load keep their replicas, through a restart of the operator too."""
    pods, operator = scaled
    pods.spread(25)
    replicas_become(space, 3)
    pods.silent()
    count = len(scale_writers(space))
    time.sleep(2 * DOWN_SECONDS)
    operator.kill()
    operator.start()
    time.sleep(2 * DOWN_SECONDS)
    assert len(scale_writers(space)) == count
    pods.spread(55)
    replicas_become(space, 6)


def test_a_paused_deployment_and_one_at_zero_are_left_alone(
    space: Space, scaled: tuple[Fleet, OperatorProcess]
) -> None:
    """What somebody pauses or scales to 0 stays so, and goes on when he says so."""
    pods, _ = scaled
    space.change(VLMDEPLOYMENT, NAME, {"spec": {"paused": True}})
    pods.spread(45)
    time.sleep(6 * INTERVAL_SECONDS)
    assert replicas(space) == 1
    space.change(VLMDEPLOYMENT, NAME, {"spec": {"paused": False, "replicas": 0}})
    eventually(lambda: _assert(status(space)["scaling"]["reason"] == "Stopped"))
    time.sleep(6 * INTERVAL_SECONDS)
    assert (replicas(space), set(scale_writers(space))) == (0, set())
    space.change(VLMDEPLOYMENT, NAME, {"spec": {"replicas": 1}})
    replicas_become(space, 5)


def test_the_autoscaler_takes_over_and_gives_back(space: Space, scaled: tuple[Fleet, OperatorProcess]) -> None:
    """Operator, HPA, None, Operator: every write to replicas is by the one whose turn it is, and none by others."""
    pods, _ = scaled
    with adapter(space.cluster) as external:
        external.value = 25
        pods.spread(45)
        replicas_become(space, 5)

        lines = scaled_by(space, "HPA")
        assert there(space, AUTOSCALER) == [NAME]
        replicas_become(space, 3)
        external.value = 38
        replicas_become(space, 4)
        assert set(scale_writers(space, lines)) == {AUTOSCALERS}
        assert any("labelSelector=deployment%3Dvision" in each for each in external.asked)
        external.value = None
        quiet = len(scale_writers(space))
        time.sleep(AUTOSCALER_SECONDS)
        assert len(scale_writers(space)) == quiet

        lines = scaled_by(space, "None")
        eventually(lambda: _assert(there(space, AUTOSCALER) == []))
        external.value = 60
        time.sleep(AUTOSCALER_SECONDS)
        assert scale_writers(space, lines) == []

        lines = scaled_by(space, "Operator")
        replicas_become(space, 5)
        assert set(scale_writers(space, lines)) == {OPERATOR}


def test_auto_is_keda_once_that_is_there(space: Space, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The operator scales until the cluster serves ScaledObjects, and then makes one."""
    with running(space, tmp_path, program=("-c", IMPATIENT), settings=SETTINGS):
        space.make(NAME, {**MANIFEST, "scaling": {"min": 1, "max": 6, "engine": "Auto"}})
        eventually(lambda: _assert(status(space)["scaling"]["engine"] == "Operator"))
        request.getfixturevalue("with_keda")
        eventually(lambda: _assert(status(space)["scaling"]["engine"] == "KEDA"))
        eventually(lambda: _assert(there(space, SCALED_OBJECT) == [NAME]))


def test_keda_is_waited_for_until_it_is_gone(
    space: Space, with_keda: Cluster, scaled: tuple[Fleet, OperatorProcess]
) -> None:
    """What KEDA leaves, its autoscaler and an object that it has yet to let go, keeps the hands of the operator off."""
    pods, _ = scaled
    lines = scaled_by(space, "KEDA")
    made = space.find(SCALED_OBJECT, NAME)
    assert made["spec"]["triggers"][0]["metadata"]["threshold"] == str(CONCURRENCY)
    space.change(SCALED_OBJECT, NAME, {"metadata": {"finalizers": ["finalizer.keda.sh/test"]}})
    space.ask("POST", AUTOSCALER.path(space.name), kedas_autoscaler(made))
    pods.spread(45)
    time.sleep(6 * INTERVAL_SECONDS)
    assert scale_writers(space, lines) == []

    space.change(VLMDEPLOYMENT, NAME, {"spec": {"scaling": {"engine": "Operator"}}})
    eventually(lambda: _assert(status(space)["scaling"]["reason"] == "HandingOver"))
    time.sleep(6 * INTERVAL_SECONDS)
    assert scale_writers(space, lines) == []
    space.change(SCALED_OBJECT, NAME, {"metadata": {"finalizers": None}})
    replicas_become(space, 5)
    assert there(space, SCALED_OBJECT) == there(space, AUTOSCALER) == []
    assert set(scale_writers(space, lines)) == {OPERATOR}


def test_to_zero_with_the_http_add_on_alone(
    space: Space, with_keda: Cluster, scaled: tuple[Fleet, OperatorProcess]
) -> None:
    """A minimum of 0 makes a route that holds requests; back at the operator it is 1 again, and that is said. What KEDA
    had taken comes back.
    """
    scaled_by(space, "KEDA", min=0)
    eventually(lambda: _assert(there(space, HTTP_SCALED_OBJECT) == [f"{NAME}-http"]))
    found = space.find(SCALED_OBJECT, NAME)["spec"]
    assert (found["minReplicaCount"], [each["type"] for each in found["triggers"]]) == (
        0,
        ["prometheus", "prometheus", "external-push"],
    )
    retry = space.find(HTTP_SCALED_OBJECT, f"{NAME}-http")["spec"]["coldStartTimeoutFailoverRef"]
    assert space.find(BY_KIND["Service"], retry["service"])["spec"]["externalName"].startswith("vlm-operator.")
    answer = httpx.post(f"http://127.0.0.1:{retry['port']}/v1/chat/completions", trust_env=False)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    space.change(VLMDEPLOYMENT, NAME, {"spec": {"replicas": 0}})  # as KEDA does
    eventually(lambda: _assert(status(space)["scaling"].get("asleep", False)))
    space.change(VLMDEPLOYMENT, NAME, {"spec": {"scaling": {"engine": "Operator"}}})
    eventually(lambda: _assert(status(space)["scaling"]["reason"] == "MinimumRaised"))
    eventually(lambda: _assert(there(space, HTTP_SCALED_OBJECT) == there(space, SCALED_OBJECT) == []))
    eventually(lambda: _assert(retry["service"] not in there(space, BY_KIND["Service"])))
    replicas_become(space, 1)


def kedas_autoscaler(owner: dict[str, Any]) -> dict[str, Any]:
    """As KEDA makes it of a ScaledObject: with that one's labels, and gone with it."""
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": NAME, "uid": metadata["uid"]}
    return {
        "apiVersion": AUTOSCALER.api_version,
        "kind": AUTOSCALER.kind,
        "metadata": {
            "name": f"keda-hpa-{NAME}",
            "labels": metadata["labels"],
            "ownerReferences": [{**reference, "controller": True}],
        },
        "spec": {
            "scaleTargetRef": owner["spec"]["scaleTargetRef"],
            "minReplicas": 1,
            "maxReplicas": 6,
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "s0"}, "target": {"type": "AverageValue", "averageValue": "10"}},
                }
            ],
        },
    }
