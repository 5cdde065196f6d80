"""A cluster with as many VLMDeployments as a benchmark asks for, on three GPUs, each with a request of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for what tests and benchmarks share

from tests.support.api_server import FORBIDDEN, GROUP, NODES, api_server, kubeconfig  # noqa: E402

MODELS = ("qwen3-vl-8b", "internvl3-8b", "qwen2.5-vl-7b")
GPUS = (("L4", 0.8), ("L40S", 1.86), ("H100-SXM", 4.2))  # with made-up dollars per GPU and hour


@contextmanager
def cluster_of(deployments: int, folder: Path) -> Iterator[Path]:
    """A kubeconfig, in `folder`, of a cluster with so many measured deployments; nodes may not be read."""
    objects = {
        f"{GROUP}/vlmdeployments": {"items": [_deployment(number) for number in range(deployments)]},
        f"{GROUP}/vlmbenchmarks": {"items": []},
        NODES: FORBIDDEN,
    }
    with api_server(objects) as address:
        yield kubeconfig(folder / "kubeconfig", address, None)


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
