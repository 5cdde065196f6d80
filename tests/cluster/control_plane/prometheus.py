"""A real Prometheus beside a test, and pods' metrics as they were recorded from real programs."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml
from vlm_operator.proxy import METRICS_PORT
from vlm_operator.reported import condition, has_ended

from tests.cluster.clusters import REPOSITORY
from tests.cluster.control_plane.operators import Space, eventually
from vlmctl.files import write_atomically

RULES = REPOSITORY / "charts" / "vlm-operator" / "rules" / "vlmctl.yaml"
RECORDED = {
    # vLLM 0.32 on CPU with a tiny Qwen2-VL after 8 requests; HAProxy 2.6 (its backends alone) with the backends of our
    # proxy after 60 requests, of which each tenth failed, while 3 more were in flight.
    "/metrics": "vllm_0.32.txt",
    "/proxy/metrics": "haproxy_2.6.txt",
}
DISCOVERY_SECONDS = 1.0
IN_PROMETHEUS = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
GROWING = re.compile(r"^(?P<series>\w[\w:]*_(?:total|count|sum|bucket)(?:\{.*\})?) (?P<value>[\d.e+]+)$", re.MULTILINE)


@contextmanager
def engine_pod() -> Iterator[str]:
    """Where metrics of an engine and its proxy are: as recorded, and with each scrape all of that once more."""
    folder = Path(__file__).parent / "exposition"
    texts = {path: (folder / name).read_text() for path, name in RECORDED.items()}
    scrapes = dict.fromkeys(texts, 0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scrapes[self.path] += 1
            times = scrapes[self.path]
            body = GROWING.sub(lambda m: f"{m['series']} {float(m['value']) * times}", texts[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    """A port that nobody listens on, below those that outgoing connections are given."""
    while True:
        try:
            with socket.create_server(("127.0.0.1", random.randrange(20000, 32000))) as held:
                port: int = held.getsockname()[1]
                return port
        except OSError:
            continue


class Prometheus:
    """Its HTTP API, at `address`."""

    def __init__(self, http: httpx.Client, address: str) -> None:
        self._http = http
        self.address = address

    def ask(self, path: str, **query: str) -> Any:
        """What it answers; raises httpx.HTTPError where it refuses."""
        answer = self._http.get(path, params=query)
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return answer.json()["data"]

    def values(self, expr: str) -> list[float]:
        """Of each series that the expression gives now."""
        return [float(each["value"][1]) for each in self.ask("query", query=expr)["result"]]


def fixed_scrapes(operator: str, pods: Mapping[str, dict[str, str]]) -> list[dict[str, Any]]:
    """Of the operator, and each of `pods` (address: labels)."""
    labels = [{"targets": [address], "labels": given} for address, given in pods.items()]
    return [
        {"job_name": "vlm-operator", "honor_labels": True, "static_configs": [{"targets": [operator]}]},
        {"job_name": "engines", "static_configs": labels},
        {"job_name": "proxies", "metrics_path": "/proxy/metrics", "static_configs": labels},
    ]


def monitored_scrapes(monitor: Mapping[str, Any], targets: Path) -> list[dict[str, Any]]:
    """What the Prometheus Operator makes of a PodMonitor: a scrape of each endpoint. `targets`: a file of them."""
    return [
        {
            "job_name": f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}/{number}",
            "metrics_path": endpoint["path"],
            "params": endpoint.get("params", {}),
            "scrape_interval": endpoint["interval"],
            "file_sd_configs": [{"files": [str(targets)]}],
            "relabel_configs": [_relabeling(each) for each in endpoint["relabelings"]],
            "metric_relabel_configs": [_relabeling(each) for each in endpoint.get("metricRelabelings", ())],
        }
        for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
    ]


def _relabeling(given: Mapping[str, Any]) -> dict[str, Any]:
    """In Prometheus' own words."""
    return {IN_PROMETHEUS.get(field, field): value for field, value in given.items()}


def target(pod: Mapping[str, Any], port: int) -> dict[str, Any]:
    """A pod as a Prometheus that watches Kubernetes has it; Debian's is built without that."""
    metadata = pod["metadata"]
    labels = {f"__meta_kubernetes_pod_label_{NO_LABEL.sub('_', key)}": each for key, each in metadata["labels"].items()}
    labels["__meta_kubernetes_pod_ready"] = condition(pod, "Ready").get("status", "unknown").lower()
    named = {"namespace": metadata["namespace"], "pod": metadata["name"]}
    return {"targets": [f"{pod['status']['podIP']}:{port}"], "labels": {**labels, **named}}


@contextmanager
def discovered(space: Space, targets: Path) -> Iterator[None]:
    """Prometheus' targets follow the pods that may run, until the end of the context."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(DISCOVERY_SECONDS):
            try:
                pods = [each for each in space.all("Pod").values() if each["status"].get("podIP")]
            except httpx.HTTPError:
                continue
            text = json.dumps([target(each, METRICS_PORT) for each in pods if not has_ended(each)])
            if not targets.exists() or targets.read_text() != text:
                write_atomically(targets, text.encode())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def prometheus(program: Path, folder: Path, *, scrapes: list[dict[str, Any]], port: int = 0) -> Iterator[Prometheus]:
    """One with the chart's rules, that scrapes every second where `scrapes` say nothing; `port`: 0 for any free one."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": scrapes,
    }
    folder.mkdir()
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{port or free_port()}"
    options = {
        "config.file": folder / "prometheus.yaml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": address,
        "log.level": "warn",
    }
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *(f"--{name}={value}" for name, value in options.items())], stderr=log)
        try:
            with httpx.Client(base_url=f"http://{address}/api/v1", timeout=20, trust_env=False) as http:
                found = Prometheus(http, f"http://{address}")
                eventually(lambda: found.ask("status/buildinfo"))
                yield found
        finally:
            process.kill()
            process.wait()
