"""An API server with as many VLMDeployments as a benchmark asks for, on three GPUs, each with a request of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODELS = ("qwen3-vl-8b", "internvl3-8b", "qwen2.5-vl-7b")
GPUS = (("L4", 0.8), ("L40S", 1.86), ("H100-SXM", 4.2))  # with made-up dollars per GPU and hour
PREFIX = "/apis/vlmctl.dev/v1alpha1"


@contextmanager
def cluster_of(deployments: int, folder: Path) -> Iterator[Path]:
    """A kubeconfig, in `folder`, of a cluster with so many measured deployments; nodes may not be read."""
    lists = {
        f"{PREFIX}/vlmdeployments": json.dumps({"items": [_deployment(number) for number in range(deployments)]}),
        f"{PREFIX}/vlmbenchmarks": json.dumps({"items": []}),
    }

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = lists.get(self.path.partition("?")[0])
            body = (found or json.dumps({"kind": "Status", "code": 403})).encode()
            self.send_response(200 if found else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield _kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def _kubeconfig(path: Path, server: str) -> Path:
    config = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def _deployment(number: int) -> dict[str, Any]:
    """One whose request nobody else has, so that each is searched for by itself."""
    model, (gpu, usd) = MODELS[number % 3], GPUS[number % 3]
    rate = 1 + number / 100
    image = {"size": f"{800 + number}x1000"}
    return {
        "metadata": {"name": f"reader-{number:03}", "namespace": "team"},
        "spec": {"model": {"name": model}, "workload": {"images": [image]}, "objectives": {"ttft": "5s"}},
        "status": {
            "model": model,
            "ready": "1/1",
            "plan": {
                "checkpoint": model,
                "precision": "bf16",
                "gpu": gpu,
                "gpuCount": 1,
                "requestsPerSecond": f"{rate:g}",
                "ttft": "2s",
                "tpot": "50ms",
                "basis": "estimated",
                "errorMedian": "0.158",
            },
            "benchmark": {
                "requestsPerSecond": f"{rate:g}",
                "interval": "unknown",
                "concurrency": 8,
                "measured": "2026-11-20T12:00:00Z",
            },
            "cost": {"hourlyUSD": f"{usd:g}", "saturatedPer1kUSD": f"{usd / rate / 3.6:.4g}"},
        },
    }
