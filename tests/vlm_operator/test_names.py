"""Names of children: no two VLMDeployments of a namespace want the same object."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator import names

from vlmctl.api.v1alpha1 import NAME_LENGTH

DIGEST = "0123456789"


def children(name: str) -> set[tuple[str, str]]:
    """Kind and name of what a VLMDeployment may have beside what is called as it is."""
    return {
        ("Secret", names.api_key(name)),
        ("PersistentVolumeClaim", names.cache(name)),
        ("HTTPScaledObject", names.http_route(name)),
        ("Job", names.download(name, DIGEST)),
        ("ConfigMap", names.of_revision(name, DIGEST)),
        ("ConfigMap", names.standing_word(name, DIGEST)),
        ("Service", name),
        ("Service", names.retry(name)),
        ("NetworkPolicy", name),
        ("NetworkPolicy", names.download_policy(name)),
    }


@pytest.mark.parametrize(
    "other",
    sorted(
        {name for _, name in children("a") if "." not in name and len(name) <= NAME_LENGTH} - {"a"} | {"a-download"}
    ),
)
def test_no_child_has_the_name_of_anothers(other: str) -> None:
    """A VLMDeployment may be called as a child of another one: their objects would replace each other for ever."""
    assert children("a") & children(other) == set()


@given(st.lists(st.from_regex(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True), min_size=2, max_size=2, unique=True))
def test_the_service_beside_the_deployments_own_is_nobodys_name(pair: list[str]) -> None:
    """It is a name that a Service may have and a VLMDeployment may not."""
    one, other = map(names.retry, pair)
    assert one != other
    assert NAME_LENGTH < len(one) <= 63
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", one)
