"""Names of children: no two VLMDeployments of a namespace want the same object."""

from __future__ import annotations

import pytest
from vlm_operator import names

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
        ("NetworkPolicy", name),
        ("NetworkPolicy", names.download_policy(name)),
    }


@pytest.mark.parametrize(
    "other", sorted({name for _, name in children("a") if "." not in name} - {"a"} | {"a-download"})
)
def test_no_child_has_the_name_of_anothers(other: str) -> None:
    """A VLMDeployment may be called as a child of another one: their objects would replace each other for ever."""
    assert children("a") & children(other) == set()
