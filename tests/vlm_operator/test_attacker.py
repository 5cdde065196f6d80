"""Whoever may write VLMDeployments reaches, through any field of one, nothing that is not theirs: all that is pure."""

from __future__ import annotations

from typing import Any

import pytest
from vlm_operator.planner import Planner
from vlm_operator.policy import Policy
from vlm_operator.proxy import IMAGE
from vlm_operator.refusal import Refused
from vlm_operator.spec import parse
from vlm_operator.template import template

from tests.support.attacks import ATTACKS, CODED, HARMLESS, LOGIN, METADATA, MODEL, Attack, Body, fields
from tests.support.successes import successes
from tests.vlm_operator.children import AGENT, NAME, PARENT, serving, wanted
from vlmctl.catalog.load import load_catalog
from vlmctl.specs.inventory import Inventory, Pool

PLANNER = Planner(load_catalog())
POOL = Pool(
    gpu="L4",
    label="nvidia.com/gpu.product",
    product="NVIDIA-L4",
    resource="nvidia.com/gpu",
    gpus_per_node=8,
    nodes=8,
    usd_per_gpu_hour=0.7,
)


# What administrators allow: no more than they have to, and as much as there is.
CODE, HOST, REGISTRY = f"OpenGVLab/InternVL3-8B@{40 * 'a'}", "images.example.com", "registry.corp"
STRICT, FREE = Policy(), Policy(remote_code=(CODE,), image_registries=(REGISTRY,), media_domains=(HOST,))


def children(spec: dict[str, Any], policy: Policy = STRICT, metadata: Body | None = None) -> tuple[dict[str, Any], ...]:
    """What the operator makes of a spec, and of more `metadata`; raises Refused."""
    whole = {"model": {"name": MODEL}, **spec}
    parent = {**PARENT, "metadata": {**PARENT["metadata"], **(metadata or {})}, "spec": whole}
    asked = parse(parent).spec
    planned = PLANNER.plan(asked, Inventory(pools=(POOL,)), policy)
    return wanted(asked, serving(asked, planned), parent=parent)


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    """The pods of one that asks for nothing."""
    asked = parse({**PARENT, "spec": {"model": {"name": MODEL}}}).spec
    planned = PLANNER.plan(asked, Inventory(pools=(POOL,)), STRICT)
    return template(NAME, "0123456789", asked, planned, agent_image=AGENT)


def test_no_field_is_forgotten() -> None:
    """Each is attacked, or said to be harmless and why."""
    attacked = {each.field for each in ATTACKS}
    assert attacked | set(HARMLESS) == fields()
    assert attacked & set(HARMLESS) == set()


@pytest.mark.parametrize("policy", [STRICT, FREE], ids=["strict", "free"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda each: f"{each.field}: {str(each.spec)[:60]}")
def test_nothing_comes_of_it(attack: Attack, policy: Policy, usual: dict[str, Any]) -> None:
    """It is refused; or what is made holds nothing of what was wanted, whatever else the cluster allows."""
    try:
        made = children(attack.spec, policy)
    except Refused:
        return
    images = {AGENT, IMAGE, "vllm/vllm-openai:v0.32.0"}
    weights, hosts = (REGISTRY, (HOST,)) if policy is FREE else ("", ())
    assert successes(made, "team", images=images, usual=usual, weights=weights, hosts=hosts) == []


@pytest.mark.parametrize("metadata", METADATA, ids=str)
def test_no_child_has_anything_of_the_metadata(metadata: Body) -> None:
    """Whose it is said to be, what is to keep it, and what finds or instructs it, is said of a VLMDeployment alone."""
    assert children({}, metadata=metadata) == children({})


def test_what_is_asked_for_in_good_faith_is_made(usual: dict[str, Any]) -> None:
    """The rules let through what tunes, and it is there."""
    spec = {
        "apiKey": {"name": "vlm-key", "key": "key"},
        "engine": {
            "arguments": ["--max-num-seqs", "8"],
            "env": [{"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}],
            "allowedMediaDomains": [HOST],
        },
        "pod": {
            "labels": {"team": "vision"},
            "annotations": {"note": "a"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "priorityClassName": "batch",
            "imagePullSecrets": [LOGIN],
        },
    }
    made = children(spec, FREE)
    assert successes(made, "team", images={AGENT, IMAGE, "vllm/vllm-openai:v0.32.0"}, usual=usual, hosts=(HOST,)) == []
    (deployment,) = (each for each in made if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert {"--max-num-seqs=8", f"--allowed-media-domains={HOST}"} <= set(pod["containers"][0]["args"])
    assert pod["imagePullSecrets"] == [{"name": LOGIN}]


def test_code_that_was_read_runs() -> None:
    """At the commit that the policy names."""
    model = {"name": CODED, "source": {"huggingFace": {"revision": CODE.partition("@")[2]}}}
    made = children({"model": model, "engine": {"trustRemoteCode": True}}, FREE)
    (deployment,) = (each for each in made if each["kind"] == "Deployment")
    words = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--trust-remote-code", f"--revision={CODE.partition('@')[2]}"} <= set(words)


def test_a_success_would_be_seen(usual: dict[str, Any]) -> None:
    """The judge finds what it is to find: images, a Secret, a variable, an argument, what the kubelet would put into
    one, a volume, a toleration, a host's network, names of Services, a host of pictures, more than a pod may hold, and
    what Services, controllers, container runtimes and the scheduler find on it.
    """
    made = list(children({}))
    (deployment,) = (each for each in made if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    pod["hostNetwork"] = True
    pod["volumes"].append({"name": "a", "hostPath": {"path": "/"}})
    engine = pod["containers"][0]
    engine["image"] = "evil.example/a:1"
    engine["env"].append({"name": "LD_PRELOAD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "a"}}})
    engine["args"].insert(3, "--worker-cls=evil")
    engine["args"].insert(3, "--seed=$$$(HF_TOKEN)")
    engine["args"].remove("--allowed-media-domains=none.invalid")
    engine["args"].insert(3, "--allowed-media-domains=evil.example")
    pod["volumes"].append({"name": "b", "image": {"reference": "10.0.0.1/a"}})
    pod["tolerations"].append({"key": "CriticalAddonsOnly", "operator": "Exists"})
    pod["priorityClassName"] = "system-node-critical"
    metadata = deployment["spec"]["template"]["metadata"]
    metadata["annotations"] = {"note": 32_768 * "a", "devices.nri.io": "a", "example.com/a": "a"}
    metadata["labels"] |= {"app": "payments", "example.com/a": "a"}
    found = successes(made, "team", images={AGENT, IMAGE, "vllm/vllm-openai:v0.32.0"}, usual=usual)
    assert len(found) == 17, found
