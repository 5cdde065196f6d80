"""The chart's ValidatingAdmissionPolicy on a real API server: what the policy forbids does not get in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.policy import Policy, image_denied

from tests.cluster.clusters import REPOSITORY, Cluster
from tests.cluster.control_plane.operators import Space, eventually

CHART = str(REPOSITORY / "charts" / "vlm-operator")
REGISTRIES = ("ghcr.io/acme", "vllm", "registry.example:5000/", "localhost")
MODEL = {"name": "qwen2.5-vl-3b-instruct"}
BUDGET = {"maxUSDPer1k": "2.5", "maxUSDPerMonth": "1000"}


class Gate:
    """A namespace whose VLMDeployments the chart's policy is asked about."""

    def __init__(self, space: Space) -> None:
        self.space = space
        values = {
            "watchNamespaces": [space.name],
            "policy": {**BUDGET, "imageRegistries": list(REGISTRIES), "allowTrustRemoteCode": False},
        }
        options = [f"{word}={json.dumps(value)}" for word, value in values.items()]
        flags = [part for each in options for part in ("--set-json", each)]
        self.rendered = space.cluster.helm(
            "template", space.name, CHART, "--namespace", space.name, *flags, "--show-only", "templates/admission.yaml"
        )

    def denied(self, spec: dict[str, Any], name: str = "vision") -> str:
        """Why the API server does not take such a VLMDeployment; empty where it would."""
        body = {"apiVersion": VLMDEPLOYMENT.api_version, "kind": VLMDEPLOYMENT.kind, "metadata": {"name": name}}
        try:
            self.space.ask(
                "POST", VLMDEPLOYMENT.path(self.space.name), {**body, "spec": spec}, params={"dryRun": "All"}
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.FORBIDDEN:
                raise
            return str(error.response.json()["message"])
        return ""


@pytest.fixture
def gate(served: Cluster, space: Space) -> Iterator[Gate]:
    """One with the policy in force."""
    found = Gate(space)
    served.kubectl("apply", "--server-side", "-f", "-", stdin=found.rendered)
    try:
        eventually(lambda: _in_force(found))
        yield found
    finally:
        served.kubectl("delete", "-f", "-", stdin=found.rendered)


def _in_force(gate: Gate) -> None:
    assert "trustRemoteCode" in gate.denied({"model": MODEL, "engine": {"trustRemoteCode": True}})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"engine": {"trustRemoteCode": True}}, "spec.engine.trustRemoteCode is not allowed by the cluster's policy"),
        (
            {"engine": {"image": "evil.example/vllm:1"}},
            "evil.example/vllm:1 may not be used: the cluster's policy asks",
        ),
        (
            {"model": {**MODEL, "source": {"image": {"reference": "quay.io/weights:1", "path": "/m"}}}},
            "quay.io/weights:1 may not be used",
        ),
        ({"budget": {"maxUSDPer1k": "2.51"}}, "spec.budget.maxUSDPer1k of 2.51 is above the 2.5 that the cluster's"),
        ({"budget": {"maxUSDPerMonth": "5000"}}, "spec.budget.maxUSDPerMonth of 5000 is above the 1000 that"),
    ],
    ids=["code", "engine image", "weights image", "cost of requests", "cost of a month"],
)
def test_what_the_policy_forbids_is_denied(gate: Gate, spec: dict[str, Any], words: str) -> None:
    """With a sentence that names the field or image, and whose rule it is."""
    assert words in gate.denied({"model": MODEL, **spec})


def test_what_it_allows_gets_in(gate: Gate) -> None:
    """Nothing set, or all of it within bounds."""
    assert gate.denied({"model": MODEL}) == ""
    within = {"engine": {"image": "ghcr.io/acme/vllm:1", "trustRemoteCode": False}, "budget": BUDGET}
    assert gate.denied({"model": MODEL, **within}) == ""


def test_what_was_let_in_before_can_go(served: Cluster, gate: Gate) -> None:
    """Labels of an object against the policy can be changed, and its replicas; a new spec is held to the policy."""
    gate.space.cluster.kubectl("delete", "validatingadmissionpolicybinding", "-l", _of(gate))
    eventually(lambda: _not_in_force(gate))
    gate.space.make("old", {"model": MODEL, "engine": {"trustRemoteCode": True}})
    served.kubectl("apply", "--server-side", "-f", "-", stdin=gate.rendered)
    eventually(lambda: _in_force(gate))
    gate.space.change(VLMDEPLOYMENT, "old", {"metadata": {"labels": {"team": "vision"}}})
    gate.space.change(VLMDEPLOYMENT, "old", {"spec": {"replicas": 2}}, "scale")
    with pytest.raises(httpx.HTTPStatusError, match="trustRemoteCode"):
        gate.space.change(VLMDEPLOYMENT, "old", {"spec": {"paused": True}})
    gate.space.change(VLMDEPLOYMENT, "old", {"spec": {"engine": {"trustRemoteCode": False}}})


def _of(gate: Gate) -> str:
    return f"app.kubernetes.io/instance={gate.space.name}"


def _not_in_force(gate: Gate) -> None:
    assert gate.denied({"model": MODEL, "engine": {"trustRemoteCode": True}}) == ""


HOSTS = st.sampled_from(["", "ghcr.io/", "docker.io/", "localhost/", "localhost:5000/", "registry.example:5000/"])
PATHS = st.sampled_from(["vllm", "acme/vllm", "acme", "library/vllm", "vllm/vllm-openai", "acmes/x", "vllm-fork/x"])
TAGS = st.sampled_from(["", ":v1", "@sha256:" + "0" * 64, ":5000/x"])


def test_images_are_judged_as_the_operator_judges_them(gate: Gate) -> None:
    """Admission and the operator read image names alike, so that neither lets in what the other refuses."""
    policy = Policy(image_registries=REGISTRIES)

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.builds(lambda host, path, tag: host + path + tag, HOSTS, PATHS, TAGS))
    def judged(image: str) -> None:
        told = gate.denied({"model": MODEL, "engine": {"image": image}})
        assert bool(told) is bool(image_denied(image, policy)), told or image

    judged()
