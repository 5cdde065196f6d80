"""The operator in trouble: a server that is away, specs without a plan, writes that are refused, bugs of its own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlm_operator.kinds import BY_KIND, VLMDEPLOYMENT

from tests.cluster.control_plane.operators import (
    CHILDREN,
    MANIFEST,
    OperatorProcess,
    Space,
    at_rest,
    eventually,
    running,
    settled,
    some,
)

AWAY_SECONDS = float(os.environ.get("VLMCTL_AWAY_SECONDS", "20"))  # 60 in CI; a Lease is lost after 10
SERVICE = BY_KIND["Service"]

# A handler and a pass with a bug that goes away: the first times they raise.
BROKEN = """
import sys
from vlm_operator import __main__, reconcile, store

def breaks(function, times):
    def broken(*args, **kwargs):
        nonlocal times
        times -= 1
        if times >= 0:
            raise RuntimeError("provoked")
        return function(*args, **kwargs)
    return broken

store.Store.put = breaks(store.Store.put, int(sys.argv[1]))
reconcile.decide = breaks(reconcile.decide, int(sys.argv[2]))
sys.exit(__main__.main())
"""


def condition(space: Space, kind: str, name: str = "vision") -> dict[str, Any]:
    (found,) = [each for each in space.find(VLMDEPLOYMENT, name)["status"]["conditions"] if each["type"] == kind]
    return found


def is_true(space: Space, kind: str) -> dict[str, Any]:
    found = condition(space, kind)
    assert found["status"] == "True"
    return found


def levels(operator: OperatorProcess) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in operator.lines():
        found.setdefault(line["level"], []).append(line["message"])
    return found


def test_server_away(space: Space, tmp_path: Path) -> None:
    """While the API server is away there is one line about it; then work goes on, with what changed meanwhile."""
    with running(space, tmp_path) as operator:
        space.make("vision")
        settled(space)
        space.cluster.stop("apiserver")
        time.sleep(AWAY_SECONDS)
        space.cluster.start("apiserver")
        eventually(lambda: space.make("other"), seconds=90)
        settled(space, "other")
        at_rest(space)
        told = levels(operator)
        assert "error" not in told
        assert not [line for line in operator.lines() if "traceback" in line]
        assert len([message for message in told["warning"] if "does not answer" in message]) <= 3
        assert operator.stop() == 0


def test_deleted_unseen(space: Space, tmp_path: Path) -> None:
    """What was deleted while the operator could not watch is seen to be missing, in children and parents alike."""
    with running(space, tmp_path) as operator:
        space.make("vision")
        space.make("gone")
        settled(space)
        settled(space, "gone")
        operator.signal(signal.SIGSTOP)
        space.ask("DELETE", SERVICE.path(space.name, "vision"))
        space.remove("gone")
        eventually(lambda: some("gone" not in space.all("Deployment")), seconds=120)  # after an outage it is slow
        space.cluster.stop("apiserver")  # the versions to watch from are lost with its cache
        space.cluster.start("apiserver")
        eventually(lambda: space.all("Service"), seconds=90)
        operator.signal(signal.SIGCONT)
        eventually(lambda: space.find(SERVICE, "vision"), seconds=90)
        at_rest(space)
        assert set(space.all("Deployment")) == {"vision"}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"model": {"name": "no-such-model"}}, "UnknownModel"),
        ({"model": {"source": {"huggingFace": {"repository": "nobody/knows-it"}}}}, "FactsMissing"),
        ({**MANIFEST, "hardware": {"gpu": "h200"}}, "NoInventory"),
        ({**MANIFEST, "objectives": {"ttft": "1ms"}}, "NothingFits"),
        ({**MANIFEST, "budget": {"maxUSDPerMonth": "1"}}, "OverBudget"),
        ({**MANIFEST, "engine": {"env": [{"name": "VLLM_API_KEY", "value": "x"}]}}, "InvalidSpec"),
    ],
)
def test_no_plan(space: Space, tmp_path: Path, spec: dict[str, Any], reason: str) -> None:
    """A spec that cannot be planned for ends in a condition, makes nothing, and is planned once it is put right."""
    with running(space, tmp_path) as operator:
        space.make("vision", spec)
        eventually(lambda: some(condition(space, "Planned")["reason"] == reason))
        at_rest(space)
        assert all(not space.all(kind) for kind in CHILDREN)
        right = {"hardware": None, "objectives": None, "budget": None, "engine": None, "model": {"source": None}}
        space.change(VLMDEPLOYMENT, "vision", {"spec": {**right, "model": {"source": None, **MANIFEST["model"]}}})
        settled(space)
        assert "error" not in levels(operator)


def test_refused_write(space: Space, tmp_path: Path) -> None:
    """What the API server does not take is said in a condition, does not stop the rest, and is tried again."""
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/deployments.apps": "0"}}}
    space.ask("POST", f"/api/v1/namespaces/{space.name}/resourcequotas", quota)
    path = f"/api/v1/namespaces/{space.name}/resourcequotas/none"
    eventually(lambda: some(space.ask("GET", path)["status"]["hard"]))
    with running(space, tmp_path):
        space.make("vision")
        degraded = eventually(
            lambda: some(condition(space, "Degraded")["status"] == "True" and condition(space, "Degraded"))
        )
        assert degraded["reason"] == "WriteRefused"
        assert "exceeded quota" in degraded["message"]
        assert space.all("Service")
        space.ask("DELETE", path)
        settled(space)
        eventually(lambda: some(condition(space, "Degraded")["reason"] != "WriteRefused"))


def test_broken_webhook(space: Space, tmp_path: Path) -> None:
    """A webhook that does not answer makes writes fail with 500: a condition says so, until it is gone."""
    hook = {
        "name": f"{space.name}.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["services"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
    }
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    space.ask("POST", path, {"metadata": {"name": space.name}, "webhooks": [hook]})
    eventually(lambda: some("webhook" in probe(space).text))  # API servers take it in in their own time
    try:
        with running(space, tmp_path) as operator:
            space.make("vision")
            degraded = eventually(lambda: is_true(space, "Degraded"))
            assert degraded["reason"] == "WriteRefused"
            assert "webhook" in degraded["message"]
            assert "error" not in levels(operator)
            space.ask("DELETE", f"{path}/{space.name}")
            settled(space)
    finally:
        space.http.delete(f"{path}/{space.name}")


def probe(space: Space) -> httpx.Response:
    """What the API server makes of a Service, without making it."""
    body = {"metadata": {"name": "probe"}, "spec": {"ports": [{"port": 80}]}}
    return space.http.post(SERVICE.path(space.name), json=body, params={"dryRun": "All"})


def test_mutating_policy(space: Space, tmp_path: Path) -> None:
    """An object that does not stay as it is written is written once in a pass, less and less often; the field is named,
    all else is done, and once it stays nothing more is said.
    """
    where = {"matchLabels": {"kubernetes.io/metadata.name": space.name}}
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["services"]}]
    changed = "Object{metadata: Object.metadata{labels: {'app.kubernetes.io/component': 'theirs'}}}"
    spec = {
        "matchConstraints": {"resourceRules": rules},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": changed}}],
    }
    binding = {"policyName": space.name, "matchResources": {"namespaceSelector": where}}
    group = "/apis/admissionregistration.k8s.io/v1"
    space.ask("POST", f"{group}/mutatingadmissionpolicies", {"metadata": {"name": space.name}, "spec": spec})
    path = f"{group}/mutatingadmissionpolicybindings"
    space.ask("POST", path, {"metadata": {"name": space.name}, "spec": binding})
    eventually(lambda: some("theirs" in probe(space).text))  # API servers take it in in their own time
    try:
        with running(space, tmp_path) as operator:
            space.make("vision")
            settled(space)
            eventually(lambda: some(condition(space, "Degraded")["message"].count("Service vision")))
            eventually(lambda: some(condition(space, "Degraded")["message"].count("No node takes the pod")))
            told = condition(space, "Degraded")["message"]
            assert "metadata.labels.app.kubernetes.io/component is not as wanted" in told
            assert space.all("Service")["vision"]["metadata"]["labels"]["app.kubernetes.io/component"] == "theirs"
            began, before = time.monotonic(), writes_of(space, "services")
            time.sleep(10)
            assert writes_of(space, "services") - before <= 1 + (time.monotonic() - began) / 2
            assert condition(space, "Degraded")["message"] == told
            assert "error" not in levels(operator)
            space.ask("DELETE", f"{path}/{space.name}")
            eventually(lambda: some(not condition(space, "Degraded")["message"].count("Service vision")))
            at_rest(space)
    finally:
        space.http.delete(f"{path}/{space.name}")
        space.http.delete(f"{group}/mutatingadmissionpolicies/{space.name}")


def writes_of(space: Space, plural: str) -> int:
    return len([each for each in space.writes() if each["objectRef"]["resource"] == plural])


def test_name_is_taken(space: Space, tmp_path: Path) -> None:
    """An object of the same name that somebody else made is not touched; who asked is told."""
    account = {"metadata": {"name": "vision", "labels": {"his": "own"}}}
    made = space.ask("POST", f"/api/v1/namespaces/{space.name}/serviceaccounts", account)
    with running(space, tmp_path):
        space.make("vision")
        degraded = eventually(
            lambda: some(condition(space, "Degraded")["status"] == "True" and condition(space, "Degraded"))
        )
        assert "ServiceAccount vision" in degraded["message"]
        found = space.ask("GET", f"/api/v1/namespaces/{space.name}/serviceaccounts/vision")
        assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_bug_in_a_pass(space: Space, tmp_path: Path) -> None:
    """A bug is logged once with its traceback, said in a condition, and what it hit is tried again."""
    with running(space, tmp_path, program=("-c", BROKEN, "0", "3")) as operator:
        space.make("vision")
        degraded = eventually(lambda: condition(space, "Degraded"))
        assert (degraded["status"], degraded["reason"]) == ("True", "OperatorError")
        settled(space)
        assert condition(space, "Degraded")["reason"] != "OperatorError"
        assert len([line for line in operator.lines() if "provoked" in line.get("traceback", "")]) == 1


def test_bug_in_a_handler(space: Space, tmp_path: Path) -> None:
    """A bug where events are taken in, of which kopf says nothing, is logged, and the event is not lost."""
    with running(space, tmp_path, program=("-c", BROKEN, "2", "0")) as operator:
        space.make("vision")
        settled(space)
        assert [line for line in operator.lines() if "provoked" in line.get("traceback", "")]
