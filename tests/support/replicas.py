"""Replicas of the catalog as coefficients and limits: what simulated and closed forms are compared on."""

from __future__ import annotations

from typing import NamedTuple

from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_gpu, resolve_model
from vlmctl.planning.architecture import model_figures
from vlmctl.planning.demand import request_demand
from vlmctl.planning.engine_steps import EngineLimits
from vlmctl.planning.memory import footprint
from vlmctl.planning.placement import engine_settings
from vlmctl.planning.speed import Speed, speed
from vlmctl.specs.workload import ImageInput, Workload


class ReplicaCase(NamedTuple):
    """A replica under one workload. `room`: requests of full length that its KV cache holds."""

    coefficients: Speed
    limits: EngineLimits
    room: int
    output_tokens: int


# Model, GPU, GPUs of a replica, prompt tokens, output tokens, side of a square image in pixels (0: none).
REPLICAS = {
    "8B, H100, short answers to an image": ("qwen3-vl-8b", "H100-SXM", 1, 64, 100, 960),
    "8B, L40S, long answers to an image": ("qwen3-vl-8b", "L40S", 1, 64, 400, 960),
    "8B, H100, a page": ("qwen3-vl-8b", "H100-SXM", 1, 64, 256, 1920),
    "2B, L4, an image": ("qwen3-vl-2b", "L4", 1, 64, 100, 960),
    "30B of experts, H200, an image": ("qwen3-vl-30b-a3b", "H200", 1, 64, 256, 960),
    "27B, two H200, long prompts": ("gemma-3-27b", "H200", 2, 4000, 500, 896),
    "8B, H200, text": ("qwen3-vl-8b", "H200", 1, 1024, 1024, 0),
}


def replica_case(name: str) -> ReplicaCase:
    """One of `REPLICAS`, as the planner would set it up."""
    catalog = load_catalog()
    model_name, gpu_name, gpu_count, prompt, output, side = REPLICAS[name]
    model, gpu = resolve_model(catalog, model_name), resolve_gpu(catalog, gpu_name)
    images = (ImageInput(width_pixels=side, height_pixels=side),) if side else ()
    workload = Workload(images=images, prompt_tokens=prompt, output_tokens=output)
    demand = request_demand(model, workload)
    settings, figures = engine_settings(model, gpu, workload, demand), model_figures(model, model.precision)
    memory = footprint(figures, gpu, demand, settings, gpu_count=gpu_count)
    limits = EngineLimits(
        prompt_tokens=demand.sequence_tokens + demand.cross_tokens,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        max_num_seqs=settings.max_num_seqs,
        kv_tokens=int(memory.kv_cache / memory.sequence * demand.total_tokens),
    )
    room = min(memory.maximum_sequences, settings.max_num_seqs)
    return ReplicaCase(speed(figures, gpu, demand, settings, gpu_count=gpu_count), limits, room, output)
