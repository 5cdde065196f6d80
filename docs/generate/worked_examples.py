"""docs/worked-examples.md: known calculations, worked out by the planner and set beside what has been published."""

from __future__ import annotations

from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_model
from vlmctl.planning.architecture import kv_bytes_per_token, model_figures, require_language
from vlmctl.planning.demand import request_demand
from vlmctl.planning.fit import checkpoint_of
from vlmctl.planning.requirements import model_breaches
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.workload import ImageInput, Requirements, Workload

PAGE = "worked-examples.md"


def render() -> str:
    """The page, worked out from the shipped catalog."""
    catalog = load_catalog()
    parts = (_head(), _llava(catalog), _llava_next(catalog), _pixtral(catalog), _receipt(catalog), _seven(catalog))
    return "\n\n".join(parts) + "\n"


def _head() -> str:
    return (
        "# Worked examples\n\n"
        "<!-- Written by `make docs`; edit docs/generate/worked_examples.py. -->\n\n"
        "Sums that people do by hand, done by the same functions that `recommend`, `cost` and `fit` use."
    )


def _llava(catalog: Catalog) -> str:
    model = resolve_model(catalog, "llava-1.5-13b")
    demand = request_demand(model, _workload(336, 336, prompt=18, output=80))
    token = kv_bytes_per_token(require_language(model))
    figures = model_figures(model, model.precision)
    projector = projector_weights(1024, 4096)
    grouped = kv_bytes_per_token(require_language(resolve_model(catalog, "qwen2.5-vl-7b")))
    return (
        "## LLaVA-1.5-13B: one image, 18 prompt tokens, 80 output tokens\n\n"
        f"- Sequence: {demand.image_tokens} + {demand.prompt_tokens} + {demand.output_tokens} = "
        f"{demand.total_tokens} tokens.\n"
        f"- KV cache: {demand.total_tokens} x {token:,} B = {demand.total_tokens * token:,} B (full multi-head "
        "attention: 2 x 40 layers x 40 heads x 128 x 2 B per token).\n"
        f"- Weights of the language model: {figures.language_bytes / 1e9:.0f} GB in bf16.\n"
        f"- A projector of two layers from 1,024 to a hidden size of 4,096 (the 7B model) holds 1,024 x 4,096 + "
        f"4,096 x 4,096 = {projector / 1e6:.2f} million weights. With the 13B model's 5,120 it is "
        f"{projector_weights(1024, 5120) / 1e6:.2f} million.\n\n"
        "The published figures agree. They hold only because Vicuna keeps all heads: with grouped queries "
        f"(Qwen2.5-VL-7B) a token takes {grouped:,} B."
    )


def _llava_next(catalog: Catalog) -> str:
    model = resolve_model(catalog, "llava-next-vicuna-13b")
    demand = request_demand(model, _workload(672, 672))
    token = kv_bytes_per_token(require_language(model))
    plain = 5 * 576
    return (
        "## LLaVA-NeXT-13B: an image of 672x672\n\n"
        f"- A base view and four tiles of 576: {plain:,} tokens; with one newline token per row of the grid, "
        f"{demand.image_tokens:,}.\n"
        f"- KV cache of the image alone: {demand.image_tokens:,} x {token:,} B = "
        f"{demand.image_tokens * token / 1e9:.1f} GB, and {model.context.tokens - demand.image_tokens:,} of the "
        f"{model.context.tokens:,} tokens of context are left."
    )


def _pixtral(catalog: Catalog) -> str:
    model = resolve_model(catalog, "pixtral-12b")
    claimed = {672: 2304, 1344: 9216}
    rows = []
    for side, claim in claimed.items():
        demand = request_demand(model, _workload(side, side))
        rows.append(f"| {side}x{side} | {claim:,} | {demand.image_tokens + demand.marker_tokens:,} |")
    return (
        "## Pixtral-12B: patches of 16 pixels, not 14\n\n"
        "| image | claimed tokens | tokens |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "Sides above 1,024 pixels are scaled down first, and each row of patches ends with a break token, so no image "
        "takes more than 64 x 65 = 4,160."
    )


def _receipt(catalog: Catalog) -> str:
    model = resolve_model(catalog, "qwen2.5-vl-7b")
    demand = request_demand(model, _workload(1240, 870))
    return (
        "## Qwen2.5-VL-7B: a receipt of 1240x870\n\n"
        "A textbook compresses it to 256 tokens with learned queries. No Qwen2.5-VL has them: sides "
        f"are rounded to multiples of 28 (1232x868), and {demand.image_tokens:,} tokens remain, plus "
        f"{demand.marker_tokens} markers: {demand.image_tokens / 256:.1f} times the claim in prefill and KV cache."
    )


def _seven(catalog: Catalog) -> str:
    model = resolve_model(catalog, "qwen2.5-vl-7b")
    breaches = model_breaches(model, Requirements(maximum_parameters_billions=8.0))
    size = next(breach for breach in breaches if breach.requirement == "max-params")
    precision, _ = checkpoint_of(model, None)
    weights = model.parameters.total_billions * 2
    return (
        '## A "7B" that is not below 8 billion\n\n'
        "```python\n"
        "from vlmctl import recommend\n\n"
        'answer = recommend({"max_params": 8, "multi_image": True, "need_ocr": True})\n'
        'print(answer.why("qwen2.5-vl-7b"))\n'
        "```\n\n"
        f"`{model.id}` drops out: {size.text}. The name counts the language model; the weights that fill the GPU are "
        f"{model.parameters.total_billions:g} billion, {weights:.1f} GB in {precision.value}."
    )


def projector_weights(vision_hidden: int, language_hidden: int) -> int:
    """Weights of LLaVA-1.5's two-layer projector, biases left out."""
    return vision_hidden * language_hidden + language_hidden * language_hidden


def _workload(width: int, height: int, *, prompt: int = 0, output: int = 0) -> Workload:
    image = ImageInput(width_pixels=width, height_pixels=height)
    return Workload(images=(image,), prompt_tokens=prompt, output_tokens=output)
