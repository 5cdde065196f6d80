"""A model, three GPUs and a plan, small enough to read: what tests of written plans start from."""

from __future__ import annotations

import msgspec

from vlmctl.specs.estimates import (
    CostEstimate,
    EngineSettings,
    HostMemory,
    LedgerItem,
    MemoryLedger,
    Placement,
    Plan,
    SpeedEstimate,
)
from vlmctl.specs.hardware import GpuSpec, Interconnect, Offer, OfferKind
from vlmctl.specs.model import Context, License, ModelSpec, Parameters, Precision, Serving, TokenRuleFact
from vlmctl.specs.tokens import SmartResize
from vlmctl.specs.workload import ImageInput, Objectives, Workload
from vlmctl.units import GIB

L4 = GpuSpec(
    id="L4",
    name="NVIDIA L4",
    vendor="nvidia",
    architecture="ada",
    compute_capability="8.9",
    memory_gib_nominal=24,
    memory_bandwidth_gb_per_second=300,
    interconnect=Interconnect(name="PCIe"),
    bf16_tflops=121,
    kubernetes_labels=("NVIDIA-L4",),
    served_by=("vllm",),
    source="datasheet",
)
T4 = msgspec.structs.replace(L4, id="T4", compute_capability="7.5", bf16_tflops=None, kubernetes_labels=("Tesla-T4",))
MI300X = msgspec.structs.replace(
    L4, id="MI300X", vendor="amd", compute_capability="gfx942", kubernetes_labels=("AMD_Instinct_MI300X_OAM",)
)
MODEL = ModelSpec(
    id="tinyvl-2.5-7b",
    name="TinyVL 2.5 7B",
    repository="Tiny/TinyVL-2.5-7B",
    family="tinyvl",
    parameters=Parameters(total_billions=8.3, active_billions=8.3, source="card"),
    license=License(name="Apache-2.0", gated=False, source="card"),
    context=Context(tokens=32768, source="config"),
    serving=Serving(architecture="Qwen2_5_VLForConditionalGeneration", served_by=("vllm",), source="registry"),
    image_tokens=TokenRuleFact(
        rule=SmartResize(cell_pixels=28, patch_pixels=14, min_pixels=3136, max_pixels=12845056), source="config"
    ),
)
SETTINGS = EngineSettings(
    max_model_len=4096,
    gpu_memory_utilization=0.9,
    max_num_batched_tokens=8192,
    max_num_seqs=128,
    max_images=2,
    max_videos=0,
    max_image_width=1680,
    max_image_height=2240,
)
OFFER = Offer(
    provider="aws",
    region="us-east-1",
    instance_type="g6.xlarge",
    gpu="L4",
    gpu_count=1,
    kind=OfferKind.ON_DEMAND,
    usd_per_hour=0.8,
    as_of="2026-01-01",
    source="list",
)
PLAN = Plan(
    placement=Placement(
        model=MODEL.id,
        repository=MODEL.repository,
        precision=Precision.BF16,
        gpu="L4",
        gpu_count=1,
        settings=SETTINGS,
    ),
    workload=Workload(images=(ImageInput(width_pixels=1680, height_pixels=2240, count=2),), requests_per_second=2.0),
    objectives=Objectives(ttft_seconds=2.0, tpot_seconds=0.05),
    request_tokens=3900,
    image_tokens=3560,
    memory=MemoryLedger(
        items=(LedgerItem(name="weights", bytes=16 * GIB, formula="8.3e9 x 2", source="card"),),
        gpu_bytes=24 * GIB,
        budget_bytes=21 * GIB,
        kv_cache_bytes=4 * GIB,
        kv_bytes_per_sequence=GIB // 4,
        kv_cache_tokens=60_000,
        maximum_sequences=16,
        longest_sequence_bytes=2 * 10**9,
        fits=True,
    ),
    host=HostMemory(
        items=(LedgerItem(name="API server", bytes=GIB, formula="measured", source="engine"),),
        shared_memory_bytes=2 * GIB,
        memory_bytes=14 * GIB,
    ),
    speed=SpeedEstimate(
        concurrency=8,
        ttft_seconds=0.8,
        ttft_p95_seconds=1.6,
        tpot_seconds=0.03,
        tpot_p95_seconds=0.04,
        e2e_seconds=8.5,
        requests_per_second=0.9,
        bottleneck="prefill",
        error_median=0.2,
    ),
    cost=CostEstimate(
        offer=OFFER,
        replicas=3,
        gpus=3,
        usd_per_hour=2.4,
        utilization=0.74,
        usd_per_1k_requests=0.333,
        saturated_usd_per_1k_requests=0.247,
        usd_per_month=1752.0,
        usd_per_1k_images=0.167,
        usd_per_million_tokens=0.085,
    ),
    warnings=("prices are from 2026-01-01",),
)
