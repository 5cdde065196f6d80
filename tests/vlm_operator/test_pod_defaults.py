"""What the chart's values give to engine pods, and what users' own labels become."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator import names
from vlm_operator.pod_defaults import PodDefaults, with_defaults
from vlm_operator.template import template

from tests.vlm_operator.children import NAME, PLANNED, SPEC
from vlmctl.api import v1alpha1 as api

SECRETS = st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(tuple)
CLASSES = st.sampled_from([None, "low", "high"])


@given(SECRETS, SECRETS, CLASSES, CLASSES)
def test_the_users_own_counts_first(
    own: tuple[str, ...], given_: tuple[str, ...], own_class: str | None, given_class: str | None
) -> None:
    """Secrets of both are used, each once; a class of the user's own is kept; nothing else changes."""
    spec = replace(SPEC, pod=api.PodOverrides(image_pull_secrets=own, priority_class_name=own_class))
    found = with_defaults(spec, PodDefaults(image_pull_secrets=given_, priority_class_name=given_class))
    assert found.pod is not None
    assert found.pod.image_pull_secrets[: len(own)] == own
    assert sorted(found.pod.image_pull_secrets) == sorted({*own, *given_})
    assert found.pod.priority_class_name == (own_class or given_class)
    assert replace(found, pod=None) == replace(spec, pod=None)


def test_no_defaults_change_nothing() -> None:
    """So the template's hash does not depend on a chart that says nothing."""
    assert with_defaults(SPEC, PodDefaults()) is SPEC


def test_pods_carry_what_the_chart_gives() -> None:
    """In Kubernetes' own form."""
    spec = with_defaults(SPEC, PodDefaults(image_pull_secrets=("registry",), priority_class_name="serving"))
    pod = template(NAME, "0123456789", spec, PLANNED, agent_image="agent:1")["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["priorityClassName"] == "serving"


def test_labels_by_which_cost_tools_sum_reach_the_pods() -> None:
    """Those of the user's team beside those that name the deployment, which nobody replaces."""
    mine = {"team": "documents", "department": "finance", "cost-center": "4711", names.DEPLOYMENT: "another"}
    spec = replace(SPEC, pod=api.PodOverrides(labels=mine, annotations={"note": "shared"}))
    metadata = template(NAME, "0123456789", spec, PLANNED, agent_image="agent:1")["metadata"]
    assert metadata["labels"].items() >= {**mine, names.DEPLOYMENT: NAME, names.INSTANCE: NAME}.items()
    assert metadata["annotations"]["note"] == "shared"
