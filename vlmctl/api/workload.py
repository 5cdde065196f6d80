"""The part of a spec that says what is asked of the model: one request, and how fast its answer must be."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from vlmctl.api.records import ApiRecord
from vlmctl.api.values import MAXIMUM_IMAGES, MAXIMUM_TOKENS, Decimal, Duration, ImageSize


class Images(ApiRecord, frozen=True, kw_only=True):
    """Images of one size that come with every request."""

    size: Annotated[ImageSize, Meta(description="WIDTHxHEIGHT in pixels, such as `1280x720`.")]
    count: Annotated[int, Meta(ge=1, le=MAXIMUM_IMAGES, description="How many of this size.")] = 1


class Video(ApiRecord, frozen=True, kw_only=True):
    """A video that comes with every request."""

    length: Annotated[Duration, Meta(description="Playing time, such as `60s`.")]
    size: Annotated[ImageSize, Meta(description="WIDTHxHEIGHT of a frame in pixels, such as `1280x720`.")]
    frames_per_second: Annotated[Decimal, Meta(description="Frames sampled for each second of the video.")] = "1"


class Workload(ApiRecord, frozen=True, kw_only=True, omit_defaults=False):
    """One typical request, for which the model is planned and measured."""

    # Written whole, so that a written plan does not change with a default.
    images: Annotated[tuple[Images, ...], Meta(max_length=16, description="Images in the request.")] = ()
    videos: Annotated[tuple[Video, ...], Meta(max_length=16, description="Videos in the request.")] = ()
    prompt_tokens: Annotated[
        int, Meta(ge=0, le=MAXIMUM_TOKENS, description="Tokens of text in the request; images are counted apart.")
    ] = 64
    output_tokens: Annotated[int, Meta(ge=1, le=MAXIMUM_TOKENS, description="Tokens of the answer.")] = 256


class Objectives(ApiRecord, frozen=True, kw_only=True):
    """Latencies that 95% of the requests must keep; left out: any."""

    ttft: Annotated[Duration | None, Meta(description="Time to first token, such as `2s`.")] = None
    tpot: Annotated[Duration | None, Meta(description="Time per output token after the first, such as `50ms`.")] = None
