"""Variants of an image, each different in its bytes and its pixels, made without encoding the image again.

So caches of the server find nothing, a few images are enough for any number of requests, and sending one costs little.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from io import BytesIO

from PIL import Image

from vlmctl.bench.images import COMPRESSION, JPEG, PNG, EncodedImage
from vlmctl.specs.record import Record

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Bytes of a PNG's scan lines that stand uncompressed at its start: a filter byte and five pixels. Both pieces before
# the rest of the file are then a multiple of 3 bytes, so that the rest can be in base64 already.
LITERAL_BYTES = 17
NUMBER_AT, NUMBER_BYTES = 1, 8  # where a variant's number goes in them: after the filter byte
ADLER_BASE = 65521  # RFC 1950
FIRST_COEFFICIENT = 10  # of a JPEG, in zigzag order; those before it carry most of what an image looks like
COEFFICIENTS = 24  # whose quantization tells variants apart; those above are 0 in many images


class VariableImage(Record, frozen=True, kw_only=True):
    """An image of which any number of variants can be had at once.

    `head` and `literal` are what differs between variants, together a multiple of 3 bytes; `middle` is the rest in
    base64, and `tail` what stands before the checksum of a PNG.
    """

    media_type: str
    width_pixels: int
    height_pixels: int
    head: bytes
    middle: bytes
    steps: tuple[int, ...] = ()  # JPEG: places in `head` of quantization steps that may be raised
    literal: bytes = b""  # PNG
    tail: bytes = b""  # PNG
    length_bytes: int = 0  # PNG: of all scan lines
    checksum: int = 0  # PNG: Adler-32 of all scan lines

    def variant(self, number: int) -> ImageVariant:
        """The variant of that number; 0 is the image itself."""
        return ImageVariant(image=self, number=number)


class ImageVariant(Record, frozen=True, kw_only=True):
    """One variant of an image, put together when it is sent."""

    image: VariableImage
    number: int

    @property
    def media_type(self) -> str:
        """As the image's."""
        return self.image.media_type

    def base64_parts(self) -> tuple[bytes, ...]:
        """The bytes in base64, in pieces that follow each other."""
        head, tail = self._ends()
        return (b64encode(head), self.image.middle, b64encode(tail))

    def encoded(self) -> EncodedImage:
        """The variant as an image of its own."""
        head, tail = self._ends()
        return EncodedImage(
            data=head + b64decode(self.image.middle) + tail,
            media_type=self.media_type,
            width_pixels=self.image.width_pixels,
            height_pixels=self.image.height_pixels,
        )

    def _ends(self) -> tuple[bytes, bytes]:
        if self.media_type == PNG:
            return _png_ends(self.image, self.number)
        return _jpeg_head(self.image, self.number), b""


def variable_image(image: EncodedImage) -> VariableImage:
    """The image made ready for variants; a PNG is written anew, as 24-bit colour."""
    return _variable_jpeg(image) if image.media_type == JPEG else _variable_png(image)


def _variable_jpeg(image: EncodedImage) -> VariableImage:
    """Variants raise some of the steps by one with which the high frequencies of brightness were quantized."""
    steps = _luminance_steps(image.data)
    end = max(steps, default=-1) + 1
    head = min(end + -end % 3, len(image.data))
    return VariableImage(
        media_type=JPEG,
        width_pixels=image.width_pixels,
        height_pixels=image.height_pixels,
        head=image.data[:head],
        middle=b64encode(image.data[head:]),
        steps=steps,
    )


def _luminance_steps(data: bytes) -> tuple[int, ...]:
    """Where those 8-bit steps of quantization table 0 stand (ITU-T T.81, B.2.4.1); none in a file without them."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # until the scan starts
        if data[at + 1] == 0xDB and data[at + 4] == 0x00:
            first = at + 5 + FIRST_COEFFICIENT
            return tuple(place for place in range(first, first + COEFFICIENTS) if data[place] < 255)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return ()


def _jpeg_head(image: VariableImage, number: int) -> bytes:
    head = bytearray(image.head)
    for bit, place in enumerate(image.steps[: number.bit_length()]):
        head[place] += number >> bit & 1
    return bytes(head)


def _variable_png(image: EncodedImage) -> VariableImage:
    """Variants differ in their first pixels, which are stored uncompressed and which no other scan line refers to."""
    with Image.open(BytesIO(image.data)) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    lines = _scan_lines(picture)
    start = min(LITERAL_BYTES, len(lines) - (len(lines) - 2) % 3)  # a multiple of 3 with the 52 bytes around it
    packer = zlib.compressobj(COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(lines[start:]) + packer.flush()
    whole = len(packed) - len(packed) % 3  # a chunk adds 12 bytes
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    return VariableImage(
        media_type=PNG,
        width_pixels=width,
        height_pixels=height,
        head=PNG_SIGNATURE + _chunk(b"IHDR", header),
        literal=lines[:start],
        middle=b64encode(_chunk(b"IDAT", packed[:whole])),
        tail=packed[whole:],
        length_bytes=len(lines),
        checksum=zlib.adler32(lines),
    )


def _scan_lines(picture: Image.Image) -> bytes:
    """Filtered scan lines (PNG, 9): as Pillow filters them, but for the first two, which are left as they are."""
    stream = BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    data, at, packed = stream.getvalue(), len(PNG_SIGNATURE), []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    lines = bytearray(zlib.decompress(b"".join(packed)))
    stride = 1 + 3 * picture.width
    for row in range(min(2, picture.height)):
        lines[row * stride : (row + 1) * stride] = b"\x00" + picture.crop((0, row, picture.width, row + 1)).tobytes()
    return bytes(lines)


def _png_ends(image: VariableImage, number: int) -> tuple[bytes, bytes]:
    """What stands before and after the middle; the checksum follows from the changed bytes (RFC 1950, 8.2)."""
    literal = bytearray(image.literal)
    low, high = image.checksum & 0xFFFF, image.checksum >> 16
    for place in range(NUMBER_AT, min(NUMBER_AT + NUMBER_BYTES, len(literal))):
        change = (literal[place] ^ (number >> 8 * (place - NUMBER_AT) & 0xFF)) - literal[place]
        literal[place] += change
        low += change
        high += change * (image.length_bytes - place)
    checksum = (high % ADLER_BASE) << 16 | low % ADLER_BASE
    size = len(literal)
    stored = b"\x78\x9c\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + literal
    head = image.head + _chunk(b"IDAT", stored)
    return head, _chunk(b"IDAT", image.tail + checksum.to_bytes(4, "big")) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")
