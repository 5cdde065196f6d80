"""The way into a pod as its user meets it: the paths, the key and its change, and what a picture's URL may reach."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlm_operator import proxy
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.reasons import ReadyReason

from tests.cluster.clusters import Cluster
from tests.cluster.control_plane.operators import RESTRICTED, Space, eventually
from tests.cluster.node.conftest import claim_of
from tests.cluster.node.operators import condition, installed, remove_namespace
from tests.cluster.node.test_node import question
from vlmctl.serving import host

SPACE = "guarded"
NAME = "vision"
CLAIM = "tiny"
ENGINE_SECONDS = 600.0
ROTATION_SECONDS = 180.0  # the kubelet writes a changed Secret within its sync period and cache: about 60 to 90 s
STREAM_SECONDS = 120.0
CHAT = "/v1/chat/completions"

Body = dict[str, Any]


class Guarded:
    """A VLMDeployment with one replica, in a namespace that takes restricted pods alone."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.cluster = space.cluster

    @property
    def pod(self) -> Body:
        found: Body = self.cluster.get("pods", "-l", f"vlmctl.dev/deployment={NAME}", "-n", SPACE)["items"][0]
        return found

    @property
    def address(self) -> str:
        return str(self.pod["status"]["podIP"])

    @property
    def key(self) -> str:
        secret = self.cluster.get("secret", f"{NAME}-api-key", "-n", SPACE)
        return base64.b64decode(secret["data"]["api-key"]).decode()

    def client(self, key: str | None = None, *, port: int = host.PORT) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = f"http://{self.address}:{port}"
        return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=STREAM_SECONDS)


@pytest.fixture(scope="module")
def guarded(node: Cluster, operator_image: str, tiny_model: Path) -> Iterator[Guarded]:
    with installed(node), closing(Space(node, SPACE)) as space:
        node.kubectl("label", "namespace", SPACE, RESTRICTED)
        node.apply(*claim_of(tiny_model, CLAIM, SPACE))
        space.make(NAME, manifest(tiny_model))
        eventually(lambda: is_ready(space), seconds=ENGINE_SECONDS)
        yield Guarded(space)
    remove_namespace(node, SPACE)
    node.kubectl("delete", "persistentvolume", f"{SPACE}-{CLAIM}")


def is_ready(space: Space) -> None:
    """The VLMDeployment takes traffic."""
    body = space.find(VLMDEPLOYMENT, NAME)
    assert condition(body, "Ready").get("reason") == ReadyReason.READY, body.get("status")


def manifest(model: Path) -> Body:
    """A spec for a machine without GPUs; no benchmark, as speed is no matter here."""
    facts = {"config": "config.json", "processor": "processor_config.json"}
    return {
        "model": {
            "name": "tiny",
            "source": {"pvc": {"claimName": CLAIM}},
            "facts": {name: (model / file).read_text() for name, file in facts.items()},
        },
        "workload": {"images": [{"size": "224x224"}], "promptTokens": 32, "outputTokens": 16},
        "benchmark": {"policy": "None"},
        "engine": {"arguments": ["--enforce-eager", "--kv-cache-memory-bytes=16777216", "--dtype=bfloat16"]},
        "pod": {"cpu": "500m", "memory": "3Gi"},
    }


def asked(url: str | None = None, **more: Any) -> Body:
    """A question about a picture, which may be somewhere else."""
    body = question() | more
    if url is not None:
        body["messages"][0]["content"][0]["image_url"]["url"] = url
    return body


def test_a_question_is_answered_with_the_key_alone(guarded: Guarded) -> None:
    """200 with it and 401 without, in OpenAI's form; restricted pods are enough."""
    with guarded.client(guarded.key) as client, guarded.client() as nobody, guarded.client("wrong") as wrong:
        answer = client.post(CHAT, json=asked())
        assert answer.status_code == 200, answer.text
        assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
        for each in (nobody, wrong):
            refused = each.post(CHAT, json=asked())
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert nobody.get("/health").status_code == 200


def test_the_proxy_is_of_the_charts_release(guarded: Guarded) -> None:
    """What these tests show, they show of the branch of HAProxy that the chart's image is tagged with."""
    pod = guarded.pod["metadata"]["name"]
    told = guarded.cluster.kubectl("exec", pod, "-n", SPACE, "-c", proxy.NAME, "--", "haproxy", "-v")
    assert told.startswith(f"HAProxy version {proxy.IMAGE.rpartition(':')[2]}.")


@pytest.mark.parametrize("path", ["/invocations", "/tokenize", "/metrics", "/load", "/pause", "/version", "/docs"])
def test_other_paths_do_not_answer(guarded: Guarded, path: str) -> None:
    """vLLM has them, and nobody reaches them, key or not."""
    with guarded.client(guarded.key) as client, guarded.client() as nobody:
        for method in ("GET", "POST"):
            assert client.request(method, path).status_code == 404
            assert nobody.request(method, path).status_code == 401


def test_nothing_else_of_the_pod_answers(guarded: Guarded) -> None:
    """The engine listens on localhost; metrics have their port, without the agent's own requests."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((guarded.address, proxy.ENGINE_PORT), timeout=5).close()
    with guarded.client(port=proxy.METRICS_PORT) as metrics:
        assert "vllm:num_requests_running" in metrics.get("/metrics").text
        page = metrics.get("/proxy/metrics").text
        assert metrics.post(CHAT, json=asked()).status_code == 404
    assert 'haproxy_backend_current_sessions{proxy="inference"} 0' in page


class _Bait(BaseHTTPRequestHandler):
    """Whoever comes here was sent by a picture's URL."""

    visited: list[str]

    def do_GET(self) -> None:
        self.visited.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


def test_a_pictures_url_reaches_nothing(guarded: Guarded) -> None:
    """The metadata service, a host that is there, a file: the engine asks none of them."""
    _Bait.visited = []
    with HTTPServer((guarded.cluster.host, 0), _Bait) as bait:
        threading.Thread(target=bait.serve_forever, args=(0.05,), daemon=True).start()
        there = f"http://{guarded.cluster.host}:{bait.server_port}/picture.png"
        urls = [
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
            "http://metadata.google.internal/computeMetadata/v1/",
            "http://[fd00:ec2::254]/latest/meta-data/",
            there,
            there.replace("http://", "http://none.invalid@"),
            "http://none.invalid/picture.png",
            "https://kubernetes.default.svc/api",
            "file:///proc/self/environ",
            "/proc/self/environ",
            f"{proxy.ENGINE_HOST}:{proxy.ENGINE_PORT}/metrics",
            f"http://{proxy.ENGINE_HOST}:{proxy.ENGINE_PORT}/metrics",
        ]
        with guarded.client(guarded.key) as client:
            for url in urls:
                answer = client.post(CHAT, json=asked(url))
                assert answer.status_code in (400, 422, 500), (url, answer.text)
        bait.shutdown()
    assert _Bait.visited == []


def test_the_key_changes_while_an_answer_is_given(guarded: Guarded) -> None:
    """Old and new count together, then the new one alone; no container starts again, and the answer goes on."""
    before, old = restarts(guarded.pod), guarded.key
    put(guarded, f"new-key\n{old}")
    wait(guarded, "new-key", 200)
    wait(guarded, old, 200)
    with guarded.client(old) as client, client.stream("POST", CHAT, json=long_answer()) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        put(guarded, "new-key")
        wait(guarded, old, 401)
        wait(guarded, "new-key", 200)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert restarts(guarded.pod) == before
    logs = guarded.cluster.kubectl("logs", guarded.pod["metadata"]["name"], "-n", SPACE, "--all-containers")
    assert old not in logs
    assert "new-key" not in logs


def test_a_stop_lets_answers_end(guarded: Guarded) -> None:
    """A pod that is deleted finishes what it says; who comes later finds it gone."""
    with guarded.client(guarded.key) as client, client.stream("POST", CHAT, json=long_answer()) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        guarded.cluster.kubectl("delete", "pod", guarded.pod["metadata"]["name"], "-n", SPACE, "--wait=false")
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"


def long_answer() -> Body:
    """A stream that lasts for a while."""
    return asked(max_tokens=400, stream=True)


def put(guarded: Guarded, text: str) -> None:
    change = json.dumps({"stringData": {"api-key": text}})
    guarded.cluster.kubectl("patch", "secret", f"{NAME}-api-key", "-n", SPACE, "-p", change)


def wait(guarded: Guarded, key: str, status: int) -> None:
    """Until the key is answered so."""

    def check() -> None:
        with guarded.client(key) as client:
            assert client.get("/v1/models").status_code == status

    eventually(check, seconds=ROTATION_SECONDS)


def restarts(pod: Body) -> dict[str, int]:
    told = (*pod["status"]["initContainerStatuses"], *pod["status"]["containerStatuses"])
    return {each["name"]: each["restartCount"] for each in told}
