"""What a spec may put into pods: the sentence that tells a user what to change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from vlm_operator.bounds import breaches

from vlmctl.api import v1alpha1 as api

MODEL = {"name": "qwen3-vl-8b"}
TOKEN = {"name": "vlm-reader-api-key", "key": "api-key"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"engine": {"env": [{"name": "TZ", "value": "x$(HF_TOKEN)"}]}}, "TZ holds $("),
        ({"pod": {"tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}]}}, "the cluster's own nodes"),
        ({"model": {**MODEL, "source": {"huggingFace": {"tokenSecret": TOKEN}}}}, "the keys of a VLMDeployment"),
        ({"pod": {"labels": {"namespace": "other"}}}, "a label of metrics"),
        ({"pod": {"labels": {"devices.nri.io": "a"}}}, "without dots and slashes, or of kueue.x-k8s.io."),
        (
            {"pod": {"annotations": {"org.systemd.property.SuccessAction": "'poweroff-force'"}}},
            "without dots and slashes",
        ),
        (
            {"pod": {"annotations": {"a": 4000 * "a"}}, "engine": {"arguments": 7 * ["--seed=" + 2000 * "1"]}},
            "18,112 bytes, once more in each pod. Give 16,384 at most.",
        ),
    ],
    ids=["variable", "add-ons", "keys for a token", "series", "label of a runtime", "a node off", "length"],
)
def test_what_is_not_the_writers_is_named(fields: dict[str, Any], says: str) -> None:
    """Field, reason, and what to do instead; the same without it is let through."""
    (found,) = breaches(msgspec.convert({"model": MODEL, **fields}, api.VLMDeploymentSpec))
    assert says in " ".join(found)
    assert list(breaches(msgspec.convert({"model": MODEL, "apiKey": TOKEN}, api.VLMDeploymentSpec))) == []
