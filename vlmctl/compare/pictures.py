"""The images of a case: read once as they are, shrunk for a sweep, and as small pictures for a page."""

from __future__ import annotations

import base64
import binascii
import hashlib
from io import BytesIO
from pathlib import Path

from PIL import Image

from vlmctl.bench.endpoint import without_userinfo
from vlmctl.bench.images import EncodedImage, encode, image_from, read_image
from vlmctl.compare.results import ImageFacts
from vlmctl.errors import InvalidFile, NotReachable

FETCH_SECONDS = 30.0  # for one image from a URL
SHRUNK_JPEG_QUALITY = 95  # so that a sweep measures pixels and not compression
THUMBNAIL_QUALITY = 72  # WebP; small print stays readable
DATA_START = "data:"
WEB_STARTS = ("http://", "https://")
SHOWN_SOURCE_CHARACTERS = 200  # a data URL is as long as its image


def load_image(source: str) -> EncodedImage:
    """The image behind a path, an http(s) URL or a data URL, its bytes as they are where they are JPEG or PNG.

    Raises InvalidFile for what is no image, NotReachable for a URL that does not answer.
    """
    if source.startswith(DATA_START):
        return image_from(_data_url(source), shown_source(source))
    if source.startswith(WEB_STARTS):
        return image_from(_fetched(source), shown_source(source))
    return read_image(Path(source))


def facts(source: str, image: EncodedImage) -> ImageFacts:
    """What a result keeps of an image."""
    return ImageFacts(
        source=shown_source(source),
        width_pixels=image.width_pixels,
        height_pixels=image.height_pixels,
        sha256=hashlib.sha256(image.data).hexdigest(),
    )


def shown_source(source: str) -> str:
    """The source without a password in its address, cut where it is a long data URL."""
    if source.startswith(WEB_STARTS):
        source = without_userinfo(source)
    return source if len(source) <= SHOWN_SOURCE_CHARACTERS else source[:SHOWN_SOURCE_CHARACTERS] + "…"


def shrunk(image: EncodedImage, side_pixels: int) -> EncodedImage:
    """The image with its longer side at most `side_pixels`; the image itself where it is no larger."""
    longer = max(image.width_pixels, image.height_pixels)
    if longer <= side_pixels:
        return image
    with Image.open(BytesIO(image.data)) as opened:
        size = shrunk_size(image.width_pixels, image.height_pixels, side_pixels)
        picture = opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return encode(picture, image.media_type, jpeg_quality=SHRUNK_JPEG_QUALITY)


def shrunk_size(width_pixels: int, height_pixels: int, side_pixels: int) -> tuple[int, int]:
    """Width and height with the longer side at most `side_pixels`, the shape kept, and a pixel at least."""
    ratio = min(1.0, side_pixels / max(width_pixels, height_pixels))
    return max(1, round(width_pixels * ratio)), max(1, round(height_pixels * ratio))


def thumbnail_url(image: EncodedImage, side_pixels: int) -> str:
    """A data URL of the image, its longer side at most `side_pixels`, for a page that needs no other file."""
    with Image.open(BytesIO(image.data)) as opened:
        picture = opened.convert("RGB")
        picture.thumbnail((side_pixels, side_pixels), Image.Resampling.LANCZOS)
    stream = BytesIO()
    picture.save(stream, "WEBP", quality=THUMBNAIL_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def _data_url(source: str) -> bytes:
    _, _, body = source.partition(";base64,")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidFile(shown_source(source), "is no data URL in base64.") from error


def _fetched(url: str) -> bytes:
    import httpx

    try:
        response = httpx.get(url, timeout=FETCH_SECONDS, follow_redirects=True)
        response.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise _not_fetched(url, f"the server answered {error.response.status_code}") from error
    except httpx.InvalidURL as error:
        raise _not_fetched(url, "that is no address") from error
    except httpx.HTTPError as error:
        raise _not_fetched(url, str(error)) from error
    return response.content


def _not_fetched(url: str, reason: str) -> NotReachable:
    remedy = "Download it, and name the file."
    return NotReachable(f"cannot fetch the image {shown_source(url)}: {reason}.", remedy=remedy)
