"""Variants of images: valid, different in bytes and pixels, hardly different to look at, and drawn realistically."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageChops

from vlmctl.bench.drawing import draw
from vlmctl.bench.images import JPEG, PNG, EncodedImage, encode, read_image
from vlmctl.bench.variants import variable_image
from vlmctl.bench.workload import Content
from vlmctl.errors import InvalidFile

TURN = Image.Transpose
# How a picture is stored that is to be turned so (EXIF 2.3, tag 274): the turn undone.
STORED = {
    1: (),
    2: (TURN.FLIP_LEFT_RIGHT,),
    3: (TURN.ROTATE_180,),
    4: (TURN.FLIP_TOP_BOTTOM,),
    5: (TURN.TRANSPOSE,),
    6: (TURN.ROTATE_90,),
    7: (TURN.TRANSVERSE,),
    8: (TURN.ROTATE_270,),
}


def pixels(image: EncodedImage) -> np.ndarray:
    with Image.open(BytesIO(image.data)) as opened:
        opened.load()
        assert opened.size == (image.width_pixels, image.height_pixels)
        return np.asarray(opened.convert("RGB")).astype(int)


@pytest.mark.parametrize("media_type", [JPEG, PNG])
@pytest.mark.parametrize("content", list(Content))
def test_variants_differ_from_each_other_but_hardly_to_the_eye(content: Content, media_type: str) -> None:
    """No two have the same bytes or the same pixels; the length stays; the mean difference is below four levels."""
    image = encode(draw(content, 320, 240, seed=1), media_type, jpeg_quality=85)
    variable = variable_image(image)
    numbers = [0, 1, 2, 3, 2**10, 2**20, 2**24 - 1]
    variants = [variable.variant(number).encoded() for number in numbers]
    original = pixels(image)
    assert len({each.data for each in variants}) == len(numbers)
    assert len({pixels(each).tobytes() for each in variants}) == len(numbers)
    assert len({len(each.data) for each in variants}) == 1
    assert np.array_equal(pixels(variants[0]), original)
    assert all(np.abs(pixels(each) - original).mean() < 4.0 for each in variants)


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**24 - 1), st.sampled_from([JPEG, PNG]), st.integers(0, 99)
)
def test_any_variant_of_any_image_is_valid(width: int, height: int, number: int, media_type: str, seed: int) -> None:
    """A strict decoder reads it at the same size, and its base64 is one text."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = encode(Image.fromarray(noise), media_type, jpeg_quality=85)
    variant = variable_image(image).variant(number)
    assert pixels(variant.encoded()).shape == (height, width, 3)
    assert b64decode(b"".join(variant.base64_parts()), validate=True) == variant.encoded().data


@pytest.mark.parametrize(
    ("content", "low", "high"), [(Content.PHOTO, 1.0, 3.0), (Content.DOCUMENT, 1.0, 3.5), (Content.CHART, 0.2, 1.2)]
)
def test_drawn_images_compress_like_real_ones(content: Content, low: float, high: float) -> None:
    """Bits per pixel of a JPEG of quality 85: photographs and small print far above charts, noise (8) above all."""
    image = encode(draw(content, 1280, 720, seed=3), JPEG, jpeg_quality=85)
    assert low < 8 * len(image.data) / (1280 * 720) < high


def test_a_drawing_is_the_same_for_a_seed_and_another_for_another() -> None:
    """Runs can be repeated."""
    one, same, other = (draw(Content.PHOTO, 64, 48, seed=seed).tobytes() for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (17, 5)])
@pytest.mark.parametrize("content", list(Content))
def test_images_of_any_size_can_be_drawn(content: Content, size: tuple[int, int]) -> None:
    """However narrow."""
    assert draw(content, *size, seed=0).size == size


def test_a_file_is_sent_as_it_is_and_other_formats_as_png(tmp_path: Path) -> None:
    """JPEG and PNG are not encoded anew."""
    picture = draw(Content.CHART, 40, 30, seed=0)
    picture.save(tmp_path / "a.jpg")
    picture.save(tmp_path / "a.webp")
    assert read_image(tmp_path / "a.jpg").data == (tmp_path / "a.jpg").read_bytes()
    assert read_image(tmp_path / "a.webp").media_type == PNG


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_picture_is_turned_as_its_exif_data_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Whatever the orientation, what is sent is upright, of its upright size, and says nothing of turning any more."""
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste("red", (0, 0, 16, 16))
    stored = upright
    for turn in STORED[orientation]:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif, quality=95)
    found = read_image(path)
    assert (found.width_pixels, found.height_pixels) == (48, 32)
    with Image.open(BytesIO(found.data)) as sent:
        assert sent.size == (48, 32)
        assert sent.getexif().get(ExifTags.Base.Orientation, 1) == 1
        difference = ImageChops.difference(sent.convert("RGB").resize((6, 4)), upright.resize((6, 4)))
    assert max(high for _, high in difference.getextrema()) < 40


def test_broken_exif_data_is_passed_over(tmp_path: Path) -> None:
    """The picture is good all the same, and its bytes stay."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=b"Exif\x00\x00nonsense")
    assert read_image(path).data == path.read_bytes()


def test_a_telephones_picture_stays_a_jpeg(tmp_path: Path) -> None:
    """MPO, a JPEG with another behind it, is no reason to send twenty times the bytes."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (64, 48), "red").save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    found = read_image(path)
    assert (found.media_type, found.data) == (JPEG, path.read_bytes())
    with Image.open(BytesIO(variable_image(found).variant(5).encoded().data)) as opened:
        assert opened.getpixel((20, 20))[0] > 200


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    """With its path."""
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InvalidFile, match=r"x\.png: cannot be used"):
        read_image(tmp_path / "x.png")
    with pytest.raises(InvalidFile, match="No such file"):
        read_image(tmp_path / "missing.png")
