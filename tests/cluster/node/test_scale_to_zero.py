"""No replica at rest: KEDA takes the last one, its HTTP add-on holds requests while another starts, and none is lost.

What is held for too long is told when to come again, by the operator.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from vlm_operator.endpoints import RETRY_AFTER_SECONDS
from vlm_operator.kinds import BY_KIND, POD, VLMDEPLOYMENT
from vlm_operator.reasons import AvailableReason, BenchmarkReason, ReadyReason

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.adapters import established, open_crd
from tests.cluster.control_plane.operators import Space, eventually, scale_writers
from tests.cluster.control_plane.prometheus import discovered, free_port, monitored_scrapes, prometheus
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.http_add_on import http_add_on, skip_unless_built
from tests.cluster.node.keda import keda
from tests.cluster.node.operators import NAMESPACE, RELEASE, Recorder, condition, installed, remove_namespace
from tests.cluster.node.test_node import question
from tests.cluster.node.test_replicas import CLAIM, ENGINE_SECONDS, NAME, Served, manifest

SPACE = "zero"
INTERVAL_SECONDS = 5
SCALING = {"min": 0, "max": 1, "engine": "KEDA", "idle": "20s"}
TO_ZERO_SECONDS = 600.0  # the idle time, a start, a benchmark, and three minutes in which an answer counts as recent
HELD = 3  # requests at once
SLACK_SECONDS = 15.0
KEDA_OPERATOR = "admin"  # as whom it runs here


class Held(NamedTuple):
    """An answer, and how long it was waited for."""

    answer: httpx.Response
    seconds: float


class Asleep(NamedTuple):
    """The VLMDeployment, and where its users send requests."""

    served: Served
    interceptor: str

    def ask(self) -> Held:
        """A question about an image, as a user of the Service has it."""
        begun = time.monotonic()
        headers = {
            "Host": f"{NAME}.{SPACE}.svc",
            "Authorization": f"Bearer {self.served.service().api_key}",
        }
        url = f"{self.interceptor}/v1/chat/completions"
        body = question() | {"model": CLAIM}
        answer = httpx.post(url, json=body, headers=headers, timeout=ENGINE_SECONDS, trust_env=False)
        return Held(answer, time.monotonic() - begun)


@pytest.fixture(scope="module")
def asleep(
    node: Cluster, operator_image: str, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asleep]:
    """A deployment that measured itself and was not asked for anything since, until its last replica is gone."""
    skip_unless_built(node)
    folder, port = tmp_path_factory.mktemp("zero"), free_port()
    with ExitStack() as stack:
        established(node, [open_crd("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors")])
        stack.enter_context(keda(node, folder / "keda"))
        add_on = stack.enter_context(http_add_on(node, folder / "add-on"))
        values = (
            f"scaling.intervalSeconds={INTERVAL_SECONDS}",
            f"scaling.prometheus=http://127.0.0.1:{port}",
            f"scaling.httpScaler={add_on.scaler}",
            "podMonitor.interval=1s",
        )
        stack.enter_context(installed(node, *values))
        space = stack.enter_context(closing(Space(node, SPACE)))
        node.apply(*claim_of(tiny_model, CLAIM, SPACE))
        space.make(NAME, {**manifest(tiny_model), "scaling": SCALING})
        served = Served(space, Recorder(space, (POD,)))
        served.until(Ready=ReadyReason.READY, Benchmarked=BenchmarkReason.MEASURED)
        targets = folder / "targets.json"
        stack.enter_context(discovered(space, targets))
        operator = node.get("service", RELEASE, "-n", NAMESPACE)["spec"]["clusterIP"]
        scrapes = [
            *monitored_scrapes(space.find(BY_KIND["PodMonitor"], NAME), targets),
            {"job_name": RELEASE, "honor_labels": True, "static_configs": [{"targets": [f"{operator}:8080"]}]},
        ]
        stack.enter_context(prometheus(node.bin / "prometheus", folder / "prometheus", scrapes=scrapes, port=port))
        eventually(lambda: _sleeps(served), seconds=TO_ZERO_SECONDS)
        yield Asleep(served, add_on.interceptor)
        space.remove(NAME)  # and what KEDA has to let go, while it is there
    remove_namespace(node, SPACE)
    node.kubectl("delete", "persistentvolume", f"{SPACE}-{CLAIM}")
    node.kubectl("delete", "crd", "podmonitors.monitoring.coreos.com")


def _sleeps(served: Served) -> None:
    body = served.space.find(VLMDEPLOYMENT, NAME)
    assert body["spec"]["replicas"] == 0
    assert body["status"]["scaling"].get("asleep"), body["status"]
    assert condition(body, "Ready")["reason"] == AvailableReason.SCALED_TO_ZERO
    assert served.space.all("Pod") == {}


def test_what_is_held_for_too_long_is_told_to_come_again(asleep: Asleep, node: Cluster) -> None:
    """No node takes the replica that a request wakes: after the time of holding, and no sooner, 503 and Retry-After."""
    space = asleep.served.space
    route = space.find(BY_KIND["HTTPScaledObject"], f"{NAME}-http")["spec"]
    limit = route["coldStartTimeoutFailoverRef"]["timeoutSeconds"]
    lines = len(space.cluster.writes())
    (machine,) = (each["metadata"]["name"] for each in node.get("nodes")["items"])
    node.kubectl("cordon", machine)
    try:
        held = asleep.ask()
    finally:
        node.kubectl("uncordon", machine)
    print(f"\nheld for {held.seconds:.1f} s of {limit:g} s, then {held.answer.status_code}", flush=True)
    assert (held.answer.status_code, held.answer.headers["Retry-After"]) == (503, str(RETRY_AFTER_SECONDS))
    assert held.answer.json()["error"]["code"] == 503
    assert limit - 1.0 <= held.seconds <= limit + SLACK_SECONDS
    assert set(scale_writers(space, lines)) == {KEDA_OPERATOR}
    assert space.find(VLMDEPLOYMENT, NAME)["spec"]["replicas"] == 1


def test_requests_are_held_until_a_replica_is_there(asleep: Asleep) -> None:
    """Several come while it starts, and each is answered once it has."""
    answers: list[Held] = []
    assert asleep.served.ready_pods() == {}
    askers = [threading.Thread(target=lambda: answers.append(asleep.ask())) for _ in range(HELD)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    print("\nheld for " + ", ".join(f"{each.seconds:.1f} s" for each in answers), flush=True)
    assert [each.answer.status_code for each in answers] == [200] * HELD
    assert all(each.answer.json()["choices"][0]["message"]["content"] for each in answers)
    assert min(each.seconds for each in answers) > 1.0
    asleep.served.until(Ready=ReadyReason.READY)


def test_it_sleeps_again(asleep: Asleep) -> None:
    """Once nobody has asked for the idle time."""
    eventually(lambda: _sleeps(asleep.served), seconds=TO_ZERO_SECONDS)
