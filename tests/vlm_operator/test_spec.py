"""VLMDeployments as the API server has them: read whole, or refused in one line that names the field."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.reasons import PlanReason
from vlm_operator.spec import InvalidSpec, parse

from tests.support.crd_strategies import NOTHING, deployments, refused_deployments
from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api

NAMED = {"name": "qwen3-vl-8b"}
READ = {"uid": "1", "generation": 2, "resourceVersion": "3", "creationTimestamp": "2026-01-01T00:00:00Z"}


def stored(spec: Any) -> dict[str, Any]:
    """An object as the API server answers with it, its status by another version of the operator."""
    metadata = {"name": "shop", "namespace": "web", "labels": {"team": "a"}, **READ, "finalizers": ["x"]}
    kind = {"apiVersion": "vlmctl.dev/v1alpha1", "kind": "VLMDeployment"}
    return {**kind, "metadata": metadata, "spec": spec, "status": {"fromTheFuture": 1}}


def refusal(body: dict[str, Any]) -> InvalidSpec | None:
    try:
        parse(body)
    except InvalidSpec as refused:
        return refused
    return None


@given(deployments(NOTHING))
def test_what_the_api_server_lets_in_is_read_or_refused(body: dict[str, Any]) -> None:
    """Nothing else happens, and every text in what was read can be read too."""
    refused = refusal(body)
    if refused is not None:
        assert refused.reason is PlanReason.INVALID_SPEC
        assert re.fullmatch(r"spec\.\S+: .*\.", refused.message)
        return
    spec = parse(body).spec
    assert reading.workload(spec.workload).image_count == sum(each.count for each in spec.workload.images)
    kept = reading.objectives(spec.objectives)
    assert all(seconds is None or seconds > 0 for seconds in (kept.ttft_seconds, kept.tpot_seconds))
    assert 10 <= reading.seconds(spec.benchmark.budget) <= 3600


@given(refused_deployments(NOTHING))
def test_what_a_lenient_api_server_lets_in_is_refused(body: dict[str, Any]) -> None:
    """The schema of another version may have been there: nothing outside the bounds gets through."""
    with pytest.raises(InvalidSpec, match=r"^\S+: .*\.$"):
        parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_any_json_in_place_of_a_spec_is_refused(spec: Any) -> None:
    """No spec, however wrong, is a bug."""
    with pytest.raises(InvalidSpec):
        parse(stored(spec))


REFUSED = {
    "no model": ({}, "spec: object missing required field `model`."),
    "no name and no source": ({"model": {}}, "spec.model: give name (of the catalog) or source."),
    "two sources": (
        {"model": {"source": {"pvc": {"claimName": "a"}, "image": {"reference": "b"}}}},
        "spec.model.source: give exactly one of huggingFace, pvc and image.",
    ),
    "a hub without a repository": (
        {"model": {"source": {"huggingFace": {"revision": "main"}}}},
        "spec.model.source.huggingFace: a repository is needed where no name is given.",
    ),
    "an unknown checkpoint": (
        {"model": {"source": {"pvc": {"claimName": "a"}}}},
        "spec.model: a checkpoint on a volume or in an image needs name or facts, to plan with.",
    ),
    "a way out of the volume": (
        {"model": {**NAMED, "source": {"pvc": {"claimName": "a", "path": "/a/../.."}}}},
        "spec.model.source: /a/../.. leads out of the volume. Give a path without `..`.",
    ),
    "a field of another version": (
        {"model": NAMED, "workload": {"audios": []}},
        "spec.workload: object contains unknown field `audios`.",
    ),
    "an image that no file holds": (
        {"model": NAMED, "workload": {"images": [{"size": "70000x1"}]}},
        "spec.workload: image size '70000x1' is out of range. Sides are 1 to 65535 pixels.",
    ),
    "a video without frames": (
        {"model": NAMED, "workload": {"videos": [{"length": "1s", "size": "1x1", "framesPerSecond": "0"}]}},
        "spec.workload: a video of 0 frames per second has no frames. Give framesPerSecond above 0.",
    ),
    "no time": (
        {"model": NAMED, "objectives": {"ttft": "0ms"}},
        "spec.objectives: 0ms is no time. Write a duration above 0, such as 50ms or 2s.",
    ),
    "a ladder of a day": (
        {"model": NAMED, "benchmark": {"budget": "24h"}},
        "spec.benchmark.budget: the ladder takes too long or too short a time. Give 10s to 1h.",
    ),
    "min above max": (
        {"model": NAMED, "scaling": {"min": 3, "max": 2}},
        "spec.scaling: min is 3, above max, which is 2.",
    ),
    "idle for days": (
        {"model": NAMED, "scaling": {"idle": "25h"}},
        "spec.scaling.idle: nobody waits that long for the last replica to go. Give at most 24h.",
    ),
    "no load at all": (
        {"model": NAMED, "scaling": {"targetUtilization": "0.01"}},
        "spec.scaling.targetUtilization: 0.01 leaves replicas idle. Give 0.05 to 1.",
    ),
    "no money": (
        {"model": NAMED, "budget": {"maxUSDPerMonth": "0.00"}},
        "spec.budget.maxUSDPerMonth: 0.00 USD buys nothing. Give more than 0.",
    ),
    "no memory": ({"model": NAMED, "pod": {"memory": "0Gi"}}, "spec.pod.memory: 0Gi is nothing. Give more than 0."),
    "no storage": (
        {"model": NAMED, "cache": {"pvc": {"size": "0"}}},
        "spec.cache.pvc.size: 0 is nothing. Give more than 0.",
    ),
    "a key in the open": (
        {"model": NAMED, "engine": {"env": [{"name": "VLLM_API_KEY", "value": "x"}]}},
        "spec.engine.env: VLLM_API_KEY is decided by spec.apiKey. Leave it out.",
    ),
    "a token in the open": (
        {"model": NAMED, "engine": {"env": [{"name": "HF_TOKEN", "value": "x"}]}},
        "spec.engine.env: HF_TOKEN is decided by spec.model.source.huggingFace.tokenSecret. Leave it out.",
    ),
    "a label that selects pods": (
        {"model": NAMED, "pod": {"labels": {"app.kubernetes.io/instance": "other"}}},
        "spec.pod.labels: app.kubernetes.io/instance is decided by the operator. Leave it out.",
    ),
    "an annotation that gives tasks": (
        {"model": NAMED, "pod": {"annotations": {"vlmctl.dev/benchmark": "{}"}}},
        "spec.pod.annotations: vlmctl.dev/benchmark is decided by the operator. Leave it out.",
    ),
}


@pytest.mark.parametrize(("spec", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_says_where_and_what(spec: dict[str, Any], message: str) -> None:
    """One line, with the field as it is written in the manifest."""
    refused = refusal(stored(spec))
    assert refused is not None
    assert refused.message == message


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes-service"])
def test_a_name_that_pods_take_for_the_api_server_is_refused(name: str) -> None:
    """Variables of its Service would be those that every client in the namespace reads."""
    body = stored({"model": NAMED})
    body["metadata"]["name"] = name
    refused = refusal(body)
    assert refused is not None
    assert refused.message.startswith("metadata.name: ")
    body["metadata"]["name"] = "kubernetes1"
    assert refusal(body) is None


def test_the_name_is_enough() -> None:
    """Everything else has its default, and what only the API server knows of the object is left aside."""
    read = parse(stored({"model": NAMED}))
    assert read.spec == api.VLMDeploymentSpec(model=api.ModelReference(name="qwen3-vl-8b"))
    assert read.metadata == api.Metadata(name="shop", namespace="web", labels={"team": "a"})
    assert read.status is None
