"""The chart's ValidatingAdmissionPolicy on a real API server: what the policy forbids does not get in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.policy import Policy, image_denied, license_denied

from tests.cluster.clusters import REPOSITORY, Cluster
from tests.cluster.control_plane.operators import Space, eventually
from vlmctl.catalog.hub import license_named
from vlmctl.specs.workload import LicensePolicy

CHART = str(REPOSITORY / "charts" / "vlm-operator")
REGISTRIES = ("ghcr.io/acme", "vllm", "registry.example:5000/", "registry.corp", "localhost")
MODEL = {"name": "qwen2.5-vl-3b-instruct"}
COMMIT, DIGEST = 40 * "a", f"sha256:{64 * '0'}"
RULES = {
    "imageRegistries": list(REGISTRIES),
    "license": "commercial",
    "maxUSDPer1k": "2.5",
    "maxUSDPerMonth": "1000",
    "remoteCode": [f"acme/reader@{COMMIT}", f"ghcr.io/acme/reader@{DIGEST}"],
    "mediaDomains": ["images.example", "cdn.example"],
}
TRUSTING = {"trustRemoteCode": True}
WEIGHTS = {"image": {"reference": "quay.io/weights:1", "path": "/m"}}
FROM_REPOSITORY = {"huggingFace": {"repository": "acme/reader"}}


class Gate:
    """A namespace whose VLMDeployments the chart's policy is asked about."""

    def __init__(self, space: Space, policy: Mapping[str, Any]) -> None:
        self.space = space
        values = {"watchNamespaces": [space.name], "policy": policy}
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


def described(license: str | None) -> dict[str, Any]:
    """A model outside the catalog, under a licence that the spec tells."""
    facts = {"config": "{}"} | ({"license": license} if license is not None else {})
    return {"model": {"source": FROM_REPOSITORY, "facts": facts}}


@pytest.fixture
def gate(served: Cluster, space: Space) -> Iterator[Gate]:
    """One with `RULES` in force."""
    with enforced(served, space, RULES) as found:
        yield found


@contextmanager
def enforced(served: Cluster, space: Space, policy: Mapping[str, Any]) -> Iterator[Gate]:
    """A gate with such values of `policy` in force."""
    found = Gate(space, policy)
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
        ({"engine": TRUSTING}, "spec.engine.trustRemoteCode is not allowed by the cluster's policy"),
        (
            {"model": {**MODEL, "source": {"huggingFace": {"revision": 40 * "b"}}}, "engine": TRUSTING},
            "a commit or digest of policy.remoteCode of the chart",
        ),
        ({"engine": {"allowedMediaDomains": ["cdn.example", "evil.example"]}}, "evil.example may not be fetched from"),
        (
            {"engine": {"image": "evil.example/vllm:1"}},
            "evil.example/vllm:1 may not be used: the cluster's policy asks",
        ),
        (
            {"model": {**MODEL, "source": WEIGHTS}},
            "quay.io/weights:1 may not be used",
        ),
        ({"budget": {"maxUSDPer1k": "2.51"}}, "spec.budget.maxUSDPer1k of 2.51 is above the 2.5 that the cluster's"),
        ({"budget": {"maxUSDPerMonth": "5000"}}, "spec.budget.maxUSDPerMonth of 5000 is above the 1000 that"),
        (described("cc-by-nc-4.0"), "the licence is cc-by-nc-4.0 (spec.model.facts.license), and the cluster's policy"),
        (described(None), "the licence is unknown"),
    ],
    ids=[
        "code",
        "another commit",
        "host",
        "engine image",
        "weights image",
        "cost of requests",
        "cost of a month",
        "licence",
        "no licence",
    ],
)
def test_what_the_policy_forbids_is_denied(gate: Gate, spec: dict[str, Any], words: str) -> None:
    """With a sentence that names the field or image, and whose rule it is."""
    assert words in gate.denied({"model": MODEL, **spec})


def test_what_it_allows_gets_in(gate: Gate) -> None:
    """Nothing set, or all of it within bounds."""
    assert gate.denied({"model": MODEL}) == ""
    assert gate.denied({"model": MODEL, "engine": {"image": "ghcr.io/acme/vllm:1", "trustRemoteCode": False}}) == ""
    assert gate.denied({"model": MODEL, "budget": {"maxUSDPer1k": "2.5", "maxUSDPerMonth": "1000"}}) == ""
    assert gate.denied({"model": MODEL, "engine": {"allowedMediaDomains": ["cdn.example", "images.example"]}}) == ""
    for source in (
        {"huggingFace": {"revision": COMMIT}},
        {"image": {"reference": f"ghcr.io/acme/reader@{DIGEST}", "path": "/m"}},
    ):
        assert gate.denied({"model": {**MODEL, "source": source}, "engine": TRUSTING}) == ""


def test_what_is_not_named_is_not_let_in(served: Cluster, space: Space) -> None:
    """The default of the chart, under which users name no image, no code and no host."""
    with enforced(served, space, {}) as gate:
        assert "names no registry" in gate.denied({"model": MODEL, "engine": {"image": "vllm/vllm-openai:v1"}})
        assert "names no registry" in gate.denied({"model": {**MODEL, "source": WEIGHTS}})
        assert "names no host" in gate.denied({"model": MODEL, "engine": {"allowedMediaDomains": ["a.example"]}})
        pinned = {**MODEL, "source": {"huggingFace": {"revision": COMMIT}}}
        assert "policy.remoteCode" in gate.denied({"model": pinned, "engine": TRUSTING})
        assert gate.denied(described(None)) == ""


LICENSES = ("apache-2.0", "MIT", "bsd-2-clause", "BSD-3-Clause", "cc-by-nc-4.0", "llama3.1", "gpl-3.0", "other", None)


@pytest.mark.parametrize("policy", LicensePolicy)
def test_licences_are_judged_as_the_operator_judges_them(served: Cluster, space: Space, policy: LicensePolicy) -> None:
    """Of a model outside the catalog, whose licence is what the spec says."""
    with enforced(served, space, {"license": policy.value}) as gate:
        let_in = [each for each in LICENSES if not gate.denied(described(each))]
    held = Policy(license=policy)
    assert let_in == [each for each in LICENSES if not license_denied(license_named(each, source="spec"), None, held)]


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


HOSTS = st.sampled_from(
    [
        "",
        "ghcr.io/",
        "docker.io/",
        "localhost/",
        "localhost:5000/",
        "registry.example:5000/",
        "registry.corp/",
        "registry.corp:8443/",
    ]
)
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
