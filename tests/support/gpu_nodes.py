"""Nodes with GPUs as an API server tells them, and pools of a small cluster."""

from __future__ import annotations

from typing import Any

from vlmctl.specs.inventory import Pool

NVIDIA = "nvidia.com/gpu"
PRODUCT = "nvidia.com/gpu.product"


def node(
    product: str | None = "NVIDIA-L4", gpus: int = 4, *, cordoned: bool = False, resource: str = NVIDIA, **labels: str
) -> dict[str, Any]:
    """A node; in the names of `labels`, two underscores stand for a slash and one for a dot."""
    named = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}
    if product is not None:
        named[PRODUCT] = product
    return {
        "metadata": {"name": "node", "labels": named},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"allocatable": {"cpu": "15890m", "memory": "64Gi", **({resource: str(gpus)} if gpus else {})}},
    }


def pool(gpu: str, gpus: int = 8, usd: float | None = 1.0, *, product: str | None = None) -> Pool:
    """Nodes of a GPU, told apart by a label of its name."""
    return Pool(
        gpu=gpu,
        label=PRODUCT,
        product=product or f"NVIDIA-{gpu}",
        resource=NVIDIA,
        gpus_per_node=gpus,
        nodes=1,
        usd_per_gpu_hour=usd,
        price_source="declared in the chart's values" if usd is not None else "unknown",
    )
