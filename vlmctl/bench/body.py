"""A chat request as the bytes that are sent, the base64 of its images copied into them once."""

from __future__ import annotations

from typing import Any

import msgspec

from vlmctl.bench.images import EncodedImage
from vlmctl.bench.variants import ImageVariant
from vlmctl.specs.record import Record

_encode = msgspec.json.encode


class ChatRequest(Record, frozen=True, kw_only=True):
    """One question: `extra` are further fields of the request, as the server names them."""

    prompt: str
    images: tuple[EncodedImage | ImageVariant, ...] = ()
    max_tokens: int = 256
    temperature: float = 0.0
    ignore_eos: bool = False
    extra: dict[str, Any] = {}  # noqa: RUF012  # msgspec gives each record its own
    images_first: bool = True


def encode_body(request: ChatRequest, model: str | None) -> bytes:
    """The JSON of a streamed chat completion; without a model the server takes its own."""
    text = b'{"type":"text","text":' + _encode(request.prompt) + b"}"
    parts: list[bytes] = [b'{"messages":[{"role":"user","content":[']
    if not request.images_first:
        parts += (text, b",") if request.images else (text,)
    for place, image in enumerate(request.images):
        parts.append(b"," if place else b"")
        parts.append(b'{"type":"image_url","image_url":{"url":"data:' + image.media_type.encode() + b";base64,")
        parts += image.base64_parts()
        parts.append(b'"}}')
    if request.images_first:
        parts += (b",", text) if request.images else (text,)
    parts.append(b"]}]," + _encode(_settings(request, model))[1:])
    return b"".join(parts)


def _settings(request: ChatRequest, model: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if model is not None:
        settings["model"] = model
    if request.ignore_eos:
        settings["ignore_eos"] = True
    return settings | request.extra
