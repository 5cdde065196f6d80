"""The cache's claim over its life: it grows, and outlives its VLMDeployment or does not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.vlm_operator.children import NAME, PARENT, SPEC, at_rest, carry_out, wanted
from vlmctl.api import v1alpha1 as api


@pytest.mark.parametrize(("has", "asked", "written"), [("100Gi", "200Gi", ["200Gi"]), ("200Gi", "100Gi", [])])
def test_a_volume_grows_and_never_shrinks(has: str, asked: str, written: list[str]) -> None:
    """A claim that was kept may be larger than what is asked for now, and of another class."""
    first = replace(SPEC, cache=api.Cache(pvc=api.CachePvc(size=has, storage_class_name="fast")))
    then = replace(SPEC, cache=api.Cache(pvc=api.CachePvc(size=asked, storage_class_name="slow")))
    server = at_rest(first)
    done = [each.body for each in carry_out(server, wanted(then)) if each.kind == "PersistentVolumeClaim"]
    assert [body["spec"]["resources"]["requests"]["storage"] for body in done if body] == written
    held = server.objects["PersistentVolumeClaim", f"{NAME}-cache"]["spec"]
    assert (held["storageClassName"], held["resources"]["requests"]["storage"]) == ("fast", "200Gi")


def test_a_claim_that_is_to_be_kept_loses_its_owner() -> None:
    """The garbage collector would take it with the VLMDeployment; a change of mind counts, both ways."""
    kept, owned = (
        replace(SPEC, cache=api.Cache(pvc=api.CachePvc(size="1Gi", retain=retain))) for retain in (True, False)
    )
    server = at_rest(owned)

    def owners() -> list[str]:
        held = server.objects["PersistentVolumeClaim", f"{NAME}-cache"]["metadata"]
        return [each["uid"] for each in held.get("ownerReferences", ())]

    assert owners() == [PARENT["metadata"]["uid"]]
    carry_out(server, wanted(kept))
    assert owners() == []
    carry_out(server, wanted(owned))
    assert owners() == [PARENT["metadata"]["uid"]]
