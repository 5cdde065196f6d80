"""Small records for tests: round figures that nobody could mistake for a real model or GPU."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from vlmctl.specs.hardware import Benchmark, Catalog, GpuSpec, Interconnect, Offer, OfferKind
from vlmctl.specs.model import (
    AttentionKind,
    AttentionLayers,
    Commercial,
    Context,
    ImageLimits,
    LanguageModel,
    License,
    ModelSpec,
    Parameters,
    Score,
    Serving,
    TokenRuleFact,
    VisionTower,
)
from vlmctl.specs.tokens import FixedTokens

SOURCE = "made up for tests"


def make_model(name: str = "toy-7b", *, billions: float = 7.0, layers: int = 32, **changes: Any) -> ModelSpec:
    """A dense model with grouped-query attention, a small encoder and 256 tokens per image."""
    model = ModelSpec(
        id=name,
        name=name,
        repository=f"toys/{name}",
        family="Toy",
        parameters=Parameters(
            total_billions=billions, active_billions=billions, vision_billions=0.4, source=SOURCE, verified=True
        ),
        license=License(name="Apache-2.0", commercial=Commercial.YES, permissive=True, source=SOURCE, verified=True),
        context=Context(tokens=32768, source=SOURCE, verified=True),
        serving=Serving(architecture="ToyForConditionalGeneration", served_by=("vllm",), source=SOURCE, verified=True),
        language=LanguageModel(
            name="toy",
            layers=layers,
            hidden_size=4096,
            intermediate_size=14336,
            vocabulary=128000,
            attention=(
                AttentionLayers(kind=AttentionKind.FULL, layers=layers, query_heads=32, kv_heads=8, head_dim=128),
            ),
            tied_embeddings=False,
            source=SOURCE,
            verified=True,
        ),
        vision=VisionTower(
            name="toy-vit",
            parameters_billions=0.4,
            layers=24,
            hidden_size=1024,
            intermediate_size=4096,
            patch_pixels=14,
            source=SOURCE,
            verified=True,
        ),
        image_tokens=TokenRuleFact(
            rule=FixedTokens(tokens=256, width_pixels=448, height_pixels=448), source=SOURCE, verified=True
        ),
        images=ImageLimits(several=True, source=SOURCE, verified=True),
        scores=(Score(benchmark="toyqa", value=80.0, source=SOURCE),),
    )
    return replace(model, **changes)


def make_gpu(name: str = "toy-gpu", *, gib: float = 48.0, bandwidth: float = 1000.0, tflops: float = 300.0) -> GpuSpec:
    """A CUDA GPU of compute capability 9.0."""
    return GpuSpec(
        id=name,
        name=name,
        vendor="nvidia",
        architecture="toy",
        compute_capability="9.0",
        memory_gib_nominal=gib,
        memory_gib_reported=gib,
        memory_bandwidth_gb_per_second=bandwidth,
        bf16_tflops=tflops,
        fp16_tflops=tflops,
        fp8_tflops=2 * tflops,
        interconnect=Interconnect(name="toy link", gb_per_second=300.0),
        served_by=("vllm",),
        source=SOURCE,
        verified=True,
    )


def make_offer(gpu: str = "toy-gpu", *, count: int = 1, usd: float = 1.0, provider: str = "toycloud") -> Offer:
    """An on-demand machine."""
    return Offer(
        provider=provider,
        region="nowhere",
        instance_type=f"{gpu}-{count}",
        gpu=gpu,
        gpu_count=count,
        kind=OfferKind.ON_DEMAND,
        usd_per_hour=usd,
        as_of="2026-11-01",
        source=SOURCE,
    )


def make_catalog(models: tuple[ModelSpec, ...] = (), **changes: Any) -> Catalog:
    """A market of three GPUs, one benchmark, and the models."""
    gpus = (
        make_gpu("small", gib=24.0, bandwidth=300.0, tflops=120.0),
        make_gpu("mid"),
        make_gpu("big", gib=141.0, bandwidth=4800.0, tflops=1000.0),
    )
    offers = (
        make_offer("small", usd=0.8),
        make_offer("small", count=4, usd=4.0),
        make_offer("mid", usd=1.5),
        make_offer("mid", count=8, usd=11.0),
        make_offer("big", usd=4.0),
        make_offer("big", count=8, usd=32.0),
    )
    benchmark = Benchmark(
        id="toyqa", name="ToyQA", measures="nothing", tasks={"general-vqa": 1.0, "document-ocr": 1.0}, source=SOURCE
    )
    return replace(
        Catalog(models=models or (make_model(),), gpus=gpus, offers=offers, benchmarks=(benchmark,)), **changes
    )
