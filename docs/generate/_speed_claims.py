"""Published claims about speed, each beside the estimate for a current vLLM and the nearest measured run."""

from __future__ import annotations

from typing import NamedTuple

from docs.generate import _measured
from docs.generate.cost_matrix import saturated
from docs.generate.published_claims import load_claims
from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_gpu, resolve_model
from vlmctl.planning.accuracy import predict
from vlmctl.specs.measurements import Load, Measured, MeasuredWorkload, Measurement, Parallelism
from vlmctl.specs.workload import ImageInput, Workload

CURRENT_VLLM = "0.32.0"
RATE, STREAM, LATENCY = "requests/s", "output tokens/s of one request", "s for one request"


class SpeedClaim(NamedTuple):
    """A figure of a claim in catalog/claims.yaml, in one of the units above; `measured`: the id of the nearest run."""

    claim: str
    model: str
    gpu: str
    gpu_count: int
    width: int
    height: int
    output_tokens: int
    claimed: str
    unit: str
    measured: str | None = None


SPEED_CLAIMS = (
    SpeedClaim("requests-per-second", "llava-1.5-7b", "RTX4090", 1, 1024, 1024, 500, "8", RATE),
    SpeedClaim("requests-per-second", "llava-next-mistral-7b", "RTX4090", 1, 1024, 1024, 500, "4", RATE),
    SpeedClaim(
        "requests-per-second",
        "qwen2.5-vl-7b",
        "RTX4090",
        1,
        1024,
        1024,
        500,
        "6",
        RATE,
        "nm-qwen2.5-vl-7b-instruct-a100-80gb-sxm-bf16-captioning-max",
    ),
    SpeedClaim(
        "requests-per-second",
        "pixtral-12b",
        "A100-40GB-SXM",
        1,
        1024,
        1024,
        500,
        "5",
        RATE,
        "nm-pixtral-12b-a6000-bf16-captioning-max",
    ),
    SpeedClaim("72b-on-two-h100", "qwen2.5-vl-72b", "H100-SXM", 2, 1024, 1024, 500, "1.2", RATE),
    SpeedClaim(
        "llava-next-13b-speed",
        "llava-next-vicuna-13b",
        "H100-SXM",
        1,
        672,
        672,
        128,
        "3 to 5",
        STREAM,
        "nm-qwen2.5-vl-7b-instruct-h100-80gb-sxm-bf16-captioning-single",
    ),
    SpeedClaim(
        "receipt-1.4-seconds",
        "qwen2.5-vl-7b",
        "A100-40GB-SXM",
        1,
        1240,
        870,
        180,
        "1.4",
        LATENCY,
        "nm-qwen2.5-vl-7b-instruct-a100-80gb-sxm-bf16-captioning-single",
    ),
)


def claims_table() -> str:
    """The claims, and their figures as a Markdown table."""
    texts = {claim.id: claim.claim for claim in load_claims()}
    numbers = {name: number for number, name in enumerate(dict.fromkeys(each.claim for each in SPEED_CLAIMS), start=1)}
    headers = ("claim", "model, GPU, image, output tokens", "claimed", "estimated", "nearest measured run")
    lines = [f"{number}. {texts[name]}" for name, number in numbers.items()]
    lines += ["", f"| {' | '.join(headers)} |", "|---:|---|---:|---:|---|"]
    for each in SPEED_CLAIMS:
        place = f"{each.model}, {each.gpu_count}x {each.gpu}, {each.width}x{each.height}, {each.output_tokens}"
        figures = f"{each.claimed} {each.unit} | {_estimated(each)} | {_measured_run(each)}"
        lines.append(f"| {numbers[each.claim]} | {place} | {figures} |")
    return "\n".join(lines)


def single_request(each: SpeedClaim) -> Measurement:
    """The claim as a run that could be measured, with one request in flight."""
    return Measurement(
        id=each.claim,
        source="catalog/claims.yaml",
        model=each.model,
        weights="bf16",
        gpu=each.gpu,
        gpu_count=each.gpu_count,
        parallelism=Parallelism(tensor=each.gpu_count),
        engine="vllm",
        engine_version=CURRENT_VLLM,
        workload=MeasuredWorkload(
            prompt_tokens=Workload().prompt_tokens,
            output_tokens=each.output_tokens,
            images=1,
            image_width=each.width,
            image_height=each.height,
        ),
        load=Load(kind="closed", concurrency=1),
        measured=Measured(),
    )


def _estimated(each: SpeedClaim) -> str:
    catalog = load_catalog()
    model, gpu = resolve_model(catalog, each.model), resolve_gpu(catalog, each.gpu)
    image = ImageInput(width_pixels=each.width, height_pixels=each.height)
    found, kv_gb = saturated(model, gpu, each.gpu_count, Workload(images=(image,), output_tokens=each.output_tokens))
    if found.obstacle is not None:
        return f"does not fit: {kv_gb:.1f} GB left for KV cache"
    if each.unit == RATE:
        return f"{found.capacity:.1f}"
    said = predict(single_request(each), model, gpu)
    return f"{1 / said.tpot_seconds:.0f}" if each.unit == STREAM else f"{said.e2e_seconds:.1f}"


def _measured_run(each: SpeedClaim) -> str:
    found = next((one.row for one in _measured.serving().predicted if one.row.id == each.measured), None)
    if found is None:
        return "-"
    asked, read = found.workload, found.measured
    run = f"{found.model} on {found.gpu}, {asked.image_width}x{asked.image_height}, {asked.output_tokens} out, "
    run += f"{found.engine} {found.engine_version}: "
    if read.requests_per_second is not None:
        return f"{run}{read.requests_per_second:.1f} requests/s"
    return f"{run}{(read.e2e_ms or 0.0) / 1000:.1f} s in all"
