"""What one request asks of a model: tokens in the sequence, encoder work, pixels to decode on the host."""

from __future__ import annotations

from vlmctl.errors import UnsupportedModel
from vlmctl.planning.architecture import crosses, encoder_operations, weights
from vlmctl.planning.image_tokens import image_tokens, video_tokens
from vlmctl.specs.estimates import ImageTokens
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.record import Record
from vlmctl.specs.tokens import TokenRuleKind
from vlmctl.specs.workload import Workload


class RequestDemand(Record, frozen=True, kw_only=True):
    """One request of a workload on one model.

    `sequence_tokens`: prompt, image and marker tokens that enter the decoder; `cross_tokens`: image features that only
    cross-attention layers see (mllama); `encoder_operations` in FLOP; `host_pixels`: pixels decoded and resized on CPU;
    `worst_image`: the request's image with the most encoder patches; `scale`: smallest share of an image's side kept.
    """

    prompt_tokens: int
    image_tokens: int
    marker_tokens: int
    sequence_tokens: int
    cross_tokens: int
    output_tokens: int
    encoder_operations: float
    encoder_patches: int
    host_pixels: int
    worst_image: ImageTokens | None
    scale: float

    @property
    def total_tokens(self) -> int:
        """The sequence when the last output token is written."""
        return self.sequence_tokens + self.output_tokens


def require_token_rule(model: ModelSpec) -> TokenRuleKind:
    """The model's image-token rule; raises UnsupportedModel where none is known."""
    if model.image_tokens is None:
        raise UnsupportedModel(
            f"{model.id}: its image-token rule is unknown, so requests with images cannot be estimated.",
            remedy="Add `image_tokens` in an overlay once its processor is known.",
        )
    return model.image_tokens.rule


def request_demand(
    model: ModelSpec, workload: Workload, *, max_image_pixels: int | None = None, output_tokens: int | None = None
) -> RequestDemand:
    """Tokens and work of one request; raises UnsupportedModel or InvalidValue where the model cannot take it."""
    per_input: list[tuple[ImageTokens, int]] = []
    host_pixels, scale = 0, 1.0
    rule = require_token_rule(model) if workload.images or workload.videos else None
    for image in workload.images:
        assert rule is not None
        result = image_tokens(
            rule, image.width_pixels, image.height_pixels, images=workload.image_count, max_pixels=max_image_pixels
        )
        per_input.append((result, image.count))
        host_pixels += image.count * image.width_pixels * image.height_pixels
        scale = min(scale, kept_scale(result, image.width_pixels, image.height_pixels))
    for video in workload.videos:
        assert rule is not None
        frames = video.frames
        per_input.append(
            (video_tokens(rule, frames=frames, width_pixels=video.width_pixels, height_pixels=video.height_pixels), 1)
        )
        host_pixels += frames * video.width_pixels * video.height_pixels
    tokens = sum(result.image_tokens * count for result, count in per_input)
    markers = sum(result.marker_tokens * count for result, count in per_input)
    crossed = tokens if (model.language is not None and crosses(model.language)) else 0
    operations = sum(_operations(model, result) * count for result, count in per_input)
    return RequestDemand(
        prompt_tokens=workload.prompt_tokens,
        image_tokens=tokens,
        marker_tokens=markers,
        sequence_tokens=workload.prompt_tokens + markers + tokens - crossed,
        cross_tokens=crossed,
        output_tokens=output_tokens if output_tokens is not None else workload.output_tokens,
        encoder_operations=operations,
        encoder_patches=sum(result.patches * count for result, count in per_input),
        host_pixels=host_pixels,
        worst_image=max((result for result, _ in per_input), key=lambda result: result.patches, default=None),
        scale=scale,
    )


def kept_scale(result: ImageTokens, width_pixels: int, height_pixels: int) -> float:
    """Share of the image's linear resolution that reaches the encoder, at most 1.

    The square root of the area ratio, so that a resize that distorts the aspect counts by what it keeps on average.
    """
    kept = (result.resized_width_pixels * result.resized_height_pixels) / (width_pixels * height_pixels)
    return float(min(1.0, kept**0.5))


def _operations(model: ModelSpec, result: ImageTokens) -> float:
    return encoder_operations(model.vision, weights(model).vision, patches=result.patches, views=result.views)
