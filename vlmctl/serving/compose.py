"""Plan -> a compose file for one replica on one machine."""

from __future__ import annotations

from typing import Any

from vlmctl.serving import host
from vlmctl.serving.summary import COMPOSE_FIELD, as_json, summary
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec


def project(
    plan: Plan, model: ModelSpec, gpu: GpuSpec, command: list[str], *, folder: str | None = None
) -> dict[str, Any]:
    """The compose project; `folder`: a checkpoint of this machine, mounted where it lies.

    The port is published on this machine only, as the engine checks no key.
    """
    service: dict[str, Any] = {
        "image": host.engine_image(gpu),
        "entrypoint": command[:2],
        "command": command[2:],
        "environment": {**host.CACHE_VARIABLES, "HF_TOKEN": "${HF_TOKEN:-}"},
        "ports": [f"127.0.0.1:{host.PORT}:{host.PORT}"],
        "volumes": [f"cache:{host.CACHE_FOLDER}", *([f"{folder}:{folder}:ro"] if folder else [])],
        "ipc": "private",
        "shm_size": f"{host.shared_memory_gib(plan)}gb",
        "healthcheck": {
            "test": ["CMD", "python3", "-c", host.healthy(host.PORT)],
            "interval": "10s",
            "timeout": "10s",
            "start_period": f"{host.START_SECONDS}s",
        },
        "stop_grace_period": f"{host.stop_seconds(plan)}s",
        "restart": "unless-stopped",
        "security_opt": ["no-new-privileges:true"],
        **_gpus(plan, gpu),
    }
    return {
        COMPOSE_FIELD: as_json(summary(plan)),
        "name": host.object_name(model),
        "services": {"vllm": service},
        "volumes": {"cache": {}},
    }


def _gpus(plan: Plan, gpu: GpuSpec) -> dict[str, Any]:
    if gpu.vendor == "amd":
        return {"devices": ["/dev/kfd", "/dev/dri"], "group_add": ["video", "render"]}
    device = {"driver": "nvidia", "count": plan.placement.gpu_count, "capabilities": ["gpu"]}
    return {"deploy": {"resources": {"reservations": {"devices": [device]}}}}
