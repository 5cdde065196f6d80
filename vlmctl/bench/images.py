"""Images as requests carry them: encoded bytes with their size."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import Path

from PIL import Image

from vlmctl.errors import InvalidFile
from vlmctl.specs.record import Record

JPEG, PNG = "image/jpeg", "image/png"
MEDIA_TYPES = {"JPEG": JPEG, "PNG": PNG}  # by Pillow's name of the format
COMPRESSION = 6  # of PNG, zlib's default


class EncodedImage(Record, frozen=True, kw_only=True):
    """An image as it lies in a file. `media_type`: image/jpeg or image/png."""

    data: bytes
    media_type: str
    width_pixels: int
    height_pixels: int

    def base64_parts(self) -> tuple[bytes, ...]:
        """The bytes in base64, in pieces that follow each other."""
        return (b64encode(self.data),)


def encode(picture: Image.Image, media_type: str, *, jpeg_quality: int) -> EncodedImage:
    """A picture as JPEG (`jpeg_quality` of 1 to 100) or PNG, in 24-bit colour."""
    stream = BytesIO()
    if media_type == JPEG:
        picture.convert("RGB").save(stream, "JPEG", quality=jpeg_quality)
    else:
        picture.convert("RGB").save(stream, "PNG", compress_level=COMPRESSION)
    width, height = picture.size
    return EncodedImage(data=stream.getvalue(), media_type=media_type, width_pixels=width, height_pixels=height)


def read_image(path: Path) -> EncodedImage:
    """A file as it is where it is a JPEG or PNG, other formats as PNG; raises InvalidFile."""
    try:
        data = path.read_bytes()
        with Image.open(BytesIO(data)) as picture:
            picture.load()
            width, height = picture.size
            media_type = MEDIA_TYPES.get(picture.format or "")
            if media_type is None:
                return encode(picture, PNG, jpeg_quality=0)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "it is no image that can be read"
        raise InvalidFile(str(path), f"cannot be used: {reason}.", remedy="Give JPEG, PNG or WebP images.") from error
    return EncodedImage(data=data, media_type=media_type, width_pixels=width, height_pixels=height)
