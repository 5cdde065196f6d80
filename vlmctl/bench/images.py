"""Images as requests carry them: encoded bytes with their size."""

from __future__ import annotations

import struct
from base64 import b64encode
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from vlmctl.errors import InvalidFile
from vlmctl.files import read_whole
from vlmctl.specs.record import Record

JPEG, PNG = "image/jpeg", "image/png"
# By Pillow's name of the format; MPO is what telephones write: a JPEG with further pictures behind it.
MEDIA_TYPES = {"JPEG": JPEG, "MPO": JPEG, "PNG": PNG}
UPRIGHT = 1  # the EXIF orientation of a picture that is stored as it is to be seen
TURNED_JPEG_QUALITY = 95  # of those that are not, encoded again
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
    """The image in a file, as `image_from`; raises InvalidFile."""
    return image_from(read_whole(path), str(path))


def image_from(data: bytes, source: str) -> EncodedImage:
    """An image as it is where it is a JPEG or PNG, other formats as PNG; raises InvalidFile, which names the source.

    One that its EXIF data says to turn is turned and encoded again: servers differ in whether they heed it.
    """
    try:
        with Image.open(BytesIO(data)) as picture:
            picture.load()
            width, height = picture.size
            media_type = MEDIA_TYPES.get(picture.format or "")
            turned = _orientation(picture) != UPRIGHT
            if media_type is None or turned:
                upright = ImageOps.exif_transpose(picture) if turned else picture
                return encode(upright, media_type or PNG, jpeg_quality=TURNED_JPEG_QUALITY)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unusable(source, error) from error
    return EncodedImage(data=data, media_type=media_type, width_pixels=width, height_pixels=height)


def _unusable(source: str, error: Exception) -> InvalidFile:
    reason = getattr(error, "strerror", None) or "it is no image that can be read"
    return InvalidFile(source, f"cannot be used: {reason}.", remedy="Give JPEG, PNG or WebP images.")


def _orientation(picture: Image.Image) -> int:
    """How it is to be turned (EXIF 2.3, tag 274), 1 to 8; upright where it does not say, or its EXIF data is broken."""
    try:
        said = picture.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, ValueError, OSError, struct.error):
        return UPRIGHT
    return said if isinstance(said, int) and 1 <= said <= 8 else UPRIGHT
