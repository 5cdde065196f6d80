"""What a replica asks of its surroundings: image, object name, ports, host memory and cores, time to stop."""

from __future__ import annotations

import re

from vlmctl.serving.engine_args import ENGINE_VERSION, shutdown_seconds
from vlmctl.specs.estimates import Plan
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec
from vlmctl.units import GIB

PORT = 8000  # vLLM's default
CACHE_FOLDER = "/cache"
CACHE_VARIABLES = {"HF_HOME": f"{CACHE_FOLDER}/huggingface", "VLLM_CACHE_ROOT": f"{CACHE_FOLDER}/vllm"}
IMAGES = {"nvidia": "vllm/vllm-openai", "amd": "vllm/vllm-openai-rocm"}  # the project's images on Docker Hub
DNS_LABEL_LENGTH = 63
START_SECONDS = 3600  # downloading and loading the weights: tens of minutes for the largest
BEFORE_STOP_SECONDS = 5  # for endpoints to leave the Service before the engine refuses requests
AFTER_STOP_SECONDS = 15  # for worker processes to exit once the last answer is out

ENGINE_CORES = 2  # API server and engine core keep one busy each


def healthy(port: int) -> str:
    """For python3: fails unless the engine beside it answers. There may be no curl, and urllib would ask a proxy."""
    return (
        f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {port}, timeout=5); "
        "c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"
    )


def engine_image(gpu: GpuSpec) -> str:
    """The container image of the planned vLLM for this vendor's GPUs."""
    return f"{IMAGES.get(gpu.vendor, IMAGES['nvidia'])}:v{ENGINE_VERSION}"


def object_name(model: ModelSpec) -> str:
    """A DNS label from the model's id: ``qwen2-5-vl-7b``."""
    return re.sub(r"[^a-z0-9]+", "-", model.id.lower()).strip("-")[:DNS_LABEL_LENGTH].rstrip("-")


def shared_memory_gib(plan: Plan) -> int:
    """Size of /dev/shm."""
    return plan.host.shared_memory_bytes // GIB


def memory_gib(plan: Plan) -> int:
    """Request and limit of the pod's memory, /dev/shm included."""
    return plan.host.memory_bytes // GIB


def cores(plan: Plan) -> int:
    """Host cores: the engine's loops, one per worker, and the threads that prepare images."""
    return ENGINE_CORES + plan.placement.gpu_count + plan.placement.settings.renderer_workers


def stop_seconds(plan: Plan) -> int:
    """How long a stop may take before it is forced."""
    return BEFORE_STOP_SECONDS + shutdown_seconds(plan) + AFTER_STOP_SECONDS
