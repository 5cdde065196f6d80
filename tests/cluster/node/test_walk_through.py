"""docs/operator.md as its reader does it: installed, a model served and measured, asked, changed, and all removed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.cluster.clusters import REPOSITORY, Cluster, crds
from tests.cluster.control_plane.operators import RESTRICTED, eventually
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.test_node import question
from tests.cluster.node.test_proxy import ROTATION_SECONDS
from tests.cluster.node.walk import CLAIM, PAGE, Walk, blocks, commands

README = REPOSITORY / "README.md"
NAME = "qwen2-5-vl-7b"
MODEL = "qwen2.5-vl-7b"
USD_PER_HOUR = "0.6"  # of the page's values
GONE_SECONDS = 120.0
PASSING = ("events", "events.events.k8s.io", "componentstatuses")
PASSING_NAMES = ("IPAddress/", "Lease/kube-node-lease/")  # of Services; of nodes, a moment after they come up
# Of the namespace that Helm installs into.
LEFT_IN_NAMESPACE = {
    "Namespace/<none>/vlm-system",
    "ServiceAccount/vlm-system/default",
    "ConfigMap/vlm-system/kube-root-ca.crt",
}


@pytest.fixture(scope="module")
def before(node: Cluster) -> set[str]:
    """All objects of the cluster before anything of the page was done."""
    return objects(node)


@pytest.fixture(scope="module")
def walk(
    node: Cluster,
    before: set[str],
    operator_image: str,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Walk]:
    """The reader, with weights on a volume; `before` and the image come first."""
    node.apply(*claim_of(tiny_model, CLAIM, "default"))
    node.kubectl("create", "namespace", "vlm-system")
    node.kubectl("label", "namespace", "vlm-system", "default", RESTRICTED)
    reader = Walk(node, tmp_path_factory.mktemp("walk"))
    yield reader
    reader.end()
    node.kubectl("label", "namespace", "default", f"{RESTRICTED.partition('=')[0]}-")


def objects(cluster: Cluster) -> set[str]:
    """Every object of the cluster but what comes and goes by itself, as kind/namespace/name."""
    resources = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    names = "-o=custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name"
    listed = cluster.kubectl(
        "get", ",".join(each for each in resources if each not in PASSING), "-A", names, "--no-headers"
    )
    found = {"/".join(line.split()) for line in listed.splitlines()}
    return {each for each in found if not each.startswith(PASSING_NAMES)}


def status(cluster: Cluster) -> dict[str, Any]:
    told: dict[str, Any] = cluster.get("vlmd", NAME)["status"]
    return told


def reasons(cluster: Cluster) -> dict[str, str]:
    return {each["type"]: each["reason"] for each in status(cluster)["conditions"]}


def row(table: str) -> dict[str, str]:
    """The only line of a table that kubectl printed, by column; columns begin where their headers do."""
    header, line = table.splitlines()
    names = header.split()
    starts = [header.index(f" {name}") + 1 if header.find(name) else 0 for name in names]
    ends = [*starts[1:], None]
    return {name: line[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}


def test_readme_has_the_first_manifest() -> None:
    """README and page begin with the same manifest."""
    typed = commands(blocks("console", "A first deployment")[0])[0]
    manifest = typed.partition("\n")[2].removesuffix("\nYAML")
    shown = "\n".join(f"> {line}" for line in manifest.splitlines())
    assert shown in README.read_text(encoding="utf-8")


def test_install(walk: Walk, node: Cluster) -> None:
    """Helm installs it with the rights that the chart gives, and it says where it serves."""
    _, notes, tested = walk.section("Install")
    assert "serves VLMDeployments of all namespaces" in notes
    assert "Succeeded" in tested
    assert node.get("deployment", "vlm-operator", "-n", "vlm-system")["status"]["readyReplicas"] == 1


def test_other_manifests(walk: Walk, node: Cluster) -> None:
    """Every other manifest of the page is one that the API server takes."""
    for block in blocks("yaml"):
        assert yaml.safe_load(block)["kind"] == "VLMDeployment"
        node.kubectl("apply", "--dry-run=server", "-f", "-", stdin=block)


def test_first_deployment(walk: Walk, node: Cluster) -> None:
    """The manifest with nothing but a model's name ends in a replica that measured itself and takes requests."""
    walk.section("A first deployment")
    assert reasons(node)["Ready"] == "Ready"
    assert reasons(node)["Benchmarked"] == "Measured"
    assert float(status(node)["benchmark"]["requestsPerSecond"]) > 0


def test_watch(walk: Walk, node: Cluster) -> None:
    """The table shows model, GPU, readiness, and the measured rate and price; the rest of the section tells more."""
    table, told, arguments, timeline, events, explained = walk.section("Watch it")
    known, shown = status(node), row(table)
    rate, cost = known["benchmark"]["requestsPerSecond"], known["cost"]
    expected = {
        "NAME": NAME,
        "MODEL": MODEL,
        "GPU": "L4",
        "READY": "1/1",
        "REASON": "Ready",
        "REQ/S": rate,
        "$/1K": cost["saturatedPer1kUSD"],
        "GPUS": "1",
        "PRECISION": "bf16",
        "CONCURRENCY": str(known["benchmark"]["concurrency"]),
        "BASIS": "measured",
        "$/HOUR": USD_PER_HOUR,
        "URL": f"http://{NAME}.default.svc/v1",
    }
    assert shown | expected == shown
    assert " ".join(shown) in " ".join(PAGE.read_text(encoding="utf-8").split()), "paste what kubectl prints"
    assert float(cost["saturatedPer1kUSD"]) == pytest.approx(float(USD_PER_HOUR) / float(rate) / 3.6, rel=0.01)
    assert cost["priceSource"] == "declared in the chart's values"
    assert [line.partition("=")[0] for line in told.splitlines()] == list(reasons(node))
    assert f"--served-model-name={MODEL}" in json.loads(arguments)
    assert list(json.loads(timeline)) == sorted(["scheduled", "imagePulled", "engineReady", "benchmarked"])
    assert "Measured" in events
    assert "Which model is served" in explained


def test_ask(walk: Walk, node: Cluster) -> None:
    """A question about an image is answered through the Service, and only with the key, which is another by then."""
    *_, said, _, _, _ = walk.section("Ask it")
    assert json.loads(said)["usage"]["completion_tokens"] > 0  # how many is for weights at random to say
    walk.end()
    url = f"http://{node.get('service', NAME)['spec']['clusterIP']}/v1/chat/completions"
    key = base64.b64decode(node.get("secret", f"{NAME}-api-key")["data"]["api-key"]).decode()
    asked = question() | {"model": MODEL}
    assert key == walk.environment["NEW_KEY"] != walk.environment["VLM_KEY"]

    def answered() -> httpx.Response:
        answer = httpx.post(url, json=asked, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer

    told = eventually(answered, seconds=ROTATION_SECONDS)
    assert told.json()["choices"][0]["message"]["content"]
    assert httpx.post(url, json=asked, timeout=60, trust_env=False).status_code == 401


def test_measured(walk: Walk, node: Cluster) -> None:
    """What the replica measured is exported, and vlmctl's own answer about that GPU is then a measured one."""
    walk.instead["--concurrency 21"] = f"--concurrency {status(node)['benchmark']['concurrency']}"
    kept, _, calibrated, cost = walk.section("What was measured")
    assert float(row(kept)["REQ/S"]) == pytest.approx(float(status(node)["benchmark"]["requestsPerSecond"]), rel=1e-3)
    assert "kept" in calibrated
    assert "Speed and cost are measured" in " ".join(cost.split())


def test_change(walk: Walk, node: Cluster) -> None:
    """A mistake is told, costs no traffic and is taken back with the same pod; a new plan uses what was measured."""
    mistake, replan = (commands(block) for block in blocks("console", "Change it"))
    pods = node.kubectl("get", "pods", "-l", f"vlmctl.dev/deployment={NAME}", "-o", "name")
    *_, told, _, _ = [walk.run(command) for command in mistake]
    assert told.startswith("1/1 ")
    assert "vLLM refuses --max-num-seqs: invalid int value: 'many'" in told
    assert pods in node.kubectl("get", "pods", "-l", f"vlmctl.dev/deployment={NAME}", "-o", "name")
    for command in replan:
        walk.run(command)
    assert status(node)["plan"]["basis"] == "measured"


def test_scale_and_pause(walk: Walk, node: Cluster) -> None:
    """Zero replicas are none; a pause is shown; and the plan that vlmctl wrote comes up without a second ladder."""
    measured = status(node)["benchmark"]["measured"]
    walk.section("Scale and pause")
    assert reasons(node) | {"Ready": "Ready", "Benchmarked": "Reused"} == reasons(node)
    assert status(node)["benchmark"]["measured"] == measured
    assert node.get("vlmd", NAME)["spec"]["hardware"] == {"gpu": "L4", "count": 1}


def test_upgrade(walk: Walk, node: Cluster) -> None:
    """An upgrade leaves pods as they are."""
    pods = node.get("pods", "-l", f"vlmctl.dev/deployment={NAME}")["items"]
    walk.section("Upgrade")
    assert [each["metadata"]["uid"] for each in pods] == [
        each["metadata"]["uid"] for each in node.get("pods", "-l", f"vlmctl.dev/deployment={NAME}")["items"]
    ]


def test_remove(walk: Walk, node: Cluster, before: set[str]) -> None:
    """Uninstalling takes the operator alone; what the page says then leaves the cluster as it was."""
    uninstall, remove = (commands(block) for block in blocks("console", "Remove"))
    users = {each for each in objects(node) if "/default/" in each and not each.startswith("Event")}
    for command in uninstall:
        walk.run(command)
    definitions = {f"CustomResourceDefinition/<none>/{each['metadata']['name']}" for each in crds(node.bin)}
    definitions.add("APIService/<none>/v1alpha1.vlmctl.dev")  # which the API server keeps for them
    weights = {f"PersistentVolumeClaim/default/{CLAIM}", f"PersistentVolume/<none>/default-{CLAIM}"}
    ours = definitions | weights | LEFT_IN_NAMESPACE
    until_left(node, before | users | ours)
    assert status(node)["ready"] == "1/1"
    for command in remove:
        walk.run(command)
    until_left(node, before | weights)


def until_left(cluster: Cluster, expected: set[str]) -> None:
    """Return once the cluster holds exactly these objects, apart from addresses, which have no names of their own."""
    until = time.monotonic() + GONE_SECONDS
    while (left := objects(cluster)) != expected and time.monotonic() < until:
        time.sleep(1)
    assert left - expected == set()
    assert expected - left == set()
