"""Workloads from options, files and plans, and the requests drawn from them."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmctl.bench.body import encode_body
from vlmctl.bench.drawing import draw
from vlmctl.bench.requests import PromptShape, RequestSource, prepare, shape_of
from vlmctl.bench.workload import (
    BenchWorkload,
    Content,
    checked,
    mean_size,
    parse_slot,
    read_workload,
    workload_from,
)
from vlmctl.errors import InvalidFile, InvalidValue
from vlmctl.specs.workload import ImageInput, VideoInput, Workload

SMALL = BenchWorkload(slots=(parse_slot("64x48"),), prompt_tokens=20, output_tokens=4)


def source(workload: BenchWorkload, *, seed: int = 1, shape: PromptShape | None = None) -> RequestSource:
    return RequestSource(workload, prepare(workload, seed=seed), seed=seed, shape=shape or PromptShape())


def test_no_two_requests_share_an_image_or_a_beginning() -> None:
    """Neither the prefix cache nor the image cache of a server finds anything, over a thousand requests."""
    drawn = source(SMALL)
    requests = [drawn.request(number) for number in range(1_000)]
    assert len({request.images[0].base64_parts() for request in requests}) == 1_000
    assert len({tuple(request.prompt.split()[:8]) for request in requests}) == 1_000


def test_another_seed_sends_other_requests_and_the_same_the_same() -> None:
    """Runs can be repeated, and do not find what an earlier run left in a cache."""
    one, same, other = (encode_body(source(SMALL, seed=seed).request(3), "m") for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert source(SMALL, seed=1).request(0).images[0] != source(SMALL, seed=2).request(0).images[0]


@pytest.mark.parametrize("count", [1, 3])
def test_reused_images_come_again_and_prompts_do_not(count: int) -> None:
    """`reuse_images` bounds the different images in all; mixtures of sizes stay."""
    slots = (parse_slot("64x48=1,32x32=1", count=count),)
    drawn = source(BenchWorkload(slots=slots, reuse_images=5))
    requests = [drawn.request(number) for number in range(200)]
    assert len({image.base64_parts() for request in requests for image in request.images}) == 5
    assert len({request.prompt for request in requests}) == 200


def test_a_trace_shares_its_images_among_the_sizes_and_reuses_none() -> None:
    """As many as it says, each of them new, whatever number the workload itself asks for."""
    workload = BenchWorkload(slots=(parse_slot("64x48"), parse_slot("32x24")))
    drawn = RequestSource(workload, prepare(workload, seed=1), seed=1, shape=PromptShape(), most_images=4)
    counts = [number % 5 for number in range(100)]
    sent = [drawn.request(number, images=count).images for number, count in enumerate(counts)]
    assert [len(images) for images in sent] == counts
    assert [image.image.width_pixels for image in sent[3]] == [64, 32, 64]
    assert len({image.base64_parts() for images in sent for image in images}) == sum(counts)


def test_pictures_of_a_folder_are_told_from_others_of_its_name(tmp_path: Path) -> None:
    """By a digest of their bytes; a drawn workload has none."""
    digests = []
    for colour in ("red", "red", "blue"):
        Image.new("RGB", (8, 6), colour).save(tmp_path / "a.png")
        digests.append(prepare(BenchWorkload(folder=str(tmp_path)), seed=1).folder_sha256)
    assert digests[0] == digests[1] != digests[2]
    assert prepare(SMALL, seed=1).folder_sha256 is None
    assert BenchWorkload(folder=str(tmp_path), slots=SMALL.slots).mean_size is None


def test_sizes_are_drawn_as_the_mixture_says() -> None:
    """70 of 100, give or take five standard deviations; every request has each slot's count."""
    workload = BenchWorkload(slots=(parse_slot("64x48=70,32x32=30", count=2), parse_slot("16x16")))
    drawn = source(workload)
    sizes = [
        (image.image.width_pixels, image.image.height_pixels)
        for number in range(1_000)
        for image in drawn.request(number).images
    ]
    assert len(sizes) == 3_000
    assert sizes.count((16, 16)) == 1_000
    assert 1_400 - 103 < sizes.count((64, 48)) < 1_400 + 103


@given(st.integers(1, 5_000), st.floats(0, 40), st.floats(0.5, 4.0))
def test_prompts_have_about_the_tokens_that_were_asked_for(tokens: int, template: float, per_word: float) -> None:
    """To half a word, the chat template counted; no prompt is empty."""
    shape = PromptShape(template_tokens=template, tokens_per_word=per_word)
    workload = BenchWorkload(prompt_tokens=tokens)
    request = source(workload, shape=shape).request(0)
    assert request.prompt
    least = template + per_word
    assert shape.tokens(len(request.prompt.split())) == pytest.approx(max(tokens, least), abs=0.51 * per_word + 1e-6)


def test_a_shape_follows_from_two_requests() -> None:
    """Both give the template and the slope; a server that counts nothing is taken at a token a word."""
    assert shape_of((16, 39), (80, 135)) == PromptShape(template_tokens=15.0, tokens_per_word=1.5)
    assert shape_of((16, 7), (80, 7)) == PromptShape()


def test_a_shared_prefix_stands_before_the_images() -> None:
    """A cache could not find it behind images that are new."""
    drawn = source(BenchWorkload(slots=(parse_slot("16x16"),), prompt_tokens=30, shared_prefix_tokens=20))
    one, other = drawn.request(0), drawn.request(1)
    assert not one.images_first
    assert one.prompt.split()[:20] == other.prompt.split()[:20]
    assert one.prompt.split()[20:] != other.prompt.split()[20:]
    assert len(one.prompt.split()) == 30


def test_a_traces_sizes_take_the_place_of_the_workloads() -> None:
    """Tokens and images of one request, none included."""
    request = source(SMALL).request(0, prompt_tokens=7, output_tokens=9, images=0)
    assert (len(request.prompt.split()), request.max_tokens, request.images) == (7, 9, ())
    assert len(source(SMALL).request(0, images=3).images) == 3


def test_a_folder_is_sent_in_turn_and_varied(tmp_path: Path) -> None:
    """Its pictures are those that are sent, each time a little different."""
    for name, size in (("a.jpg", (40, 30)), ("b.png", (30, 40)), ("c.txt", (1, 1))):
        if name == "c.txt":
            (tmp_path / name).write_text("no image")
        else:
            draw(Content.PHOTO, *size, seed=0).save(tmp_path / name)
    drawn = source(BenchWorkload(folder=str(tmp_path), folder_images=2))
    images = [image for number in range(10) for image in drawn.request(number).images]
    assert {(image.image.width_pixels, image.image.height_pixels) for image in images} == {(40, 30), (30, 40)}
    assert len({image.encoded().data for image in images}) == 20
    with pytest.raises(InvalidFile, match="holds no images"):
        prepare(BenchWorkload(folder=str(tmp_path / "..")), seed=0)
    with pytest.raises(InvalidFile, match="cannot be read"):
        prepare(BenchWorkload(folder=str(tmp_path / "none")), seed=0)


def test_pictures_are_prepared_once_and_held_in_bounds() -> None:
    """Sixteen pictures at most, fewer of large ones, however many requests are sent."""
    pictures = prepare(BenchWorkload(slots=(parse_slot("2000x1500"),), contents=(Content.CHART,)), seed=0)
    assert len(pictures.by_size[2000, 1500]) == 8
    assert pictures.held_bytes < 16 * 2**20
    assert pictures.mean_size == (2000, 1500)


@given(width=st.integers(1, 300), height=st.integers(1, 300), band=st.integers(1, 3_000))
@settings(max_examples=30)
def test_a_photograph_does_not_show_its_bands(width: int, height: int, band: int) -> None:
    """Computed in parts of any height it is the same picture, but for the last bit."""
    whole = np.asarray(draw(Content.PHOTO, width, height, seed=1), dtype=int)
    with patch("vlmctl.bench.drawing.BAND_PIXELS", band):
        parts = np.asarray(draw(Content.PHOTO, width, height, seed=1), dtype=int)
    assert np.abs(whole - parts).max() <= 1


def test_a_workload_is_read_from_a_file(tmp_path: Path) -> None:
    """YAML with the fields of the record; what it does not hold stays as usual."""
    (tmp_path / "w.yaml").write_text(
        "slots: [{sizes: [{width_pixels: 640, height_pixels: 480}], count: 2}]\ncontents: [chart]\noutput_tokens: 8\n"
    )
    read = read_workload(tmp_path / "w.yaml")
    assert (read.image_count, read.contents, read.output_tokens, read.prompt_tokens) == (2, (Content.CHART,), 8, 64)


@pytest.mark.parametrize(
    "text",
    [
        "output_tokens: 0",
        "tokens: 3",
        "contents: [cat]",
        "contents: []",
        "image_format: gif",
        "slots: [{sizes: []}]",
        "slots: [{sizes: [{width_pixels: 0, height_pixels: 9}]}]",
        "slots: [{sizes: [{width_pixels: 9, height_pixels: 9, weight: 0}]}]",
        "slots: [{sizes: [{width_pixels: 9, height_pixels: 9}], count: 0}]",
        "jpeg_quality: 101",
        "shared_prefix_tokens: 65",
        "reuse_images: 0",
        "{",
        "3",
    ],
)
def test_a_file_with_a_mistake_is_named(tmp_path: Path, text: str) -> None:
    """One line with its path."""
    (tmp_path / "w.yaml").write_text(text)
    with pytest.raises(InvalidFile, match=r"w\.yaml"):
        read_workload(tmp_path / "w.yaml")


@pytest.mark.parametrize("text", ["", "1280", "1280x720=", "axb", "1280x720=0", "1280x720=nan", "1x1=-1", "0x0"])
def test_sizes_are_parsed_strictly(text: str) -> None:
    """A square may be written by its side; a share must be above 0."""
    if text in ("1280", "1280x720="):
        assert parse_slot(text).sizes[0].weight == 1.0
        return
    with pytest.raises(InvalidValue):
        parse_slot(text)


def test_the_digest_tells_workloads_apart() -> None:
    """The same for the same."""
    assert SMALL.digest == checked(SMALL).digest
    assert SMALL.digest != BenchWorkload().digest


def test_a_plans_workload_is_taken_over() -> None:
    """Images and tokens; videos are refused."""
    planned = Workload(images=(ImageInput(width_pixels=10, height_pixels=20, count=3),), output_tokens=5)
    taken = workload_from(planned)
    assert (taken.image_count, taken.mean_size, taken.output_tokens) == (3, (10, 20), 5)
    video = VideoInput(seconds=1, frames_per_second=1, width_pixels=1, height_pixels=1)
    with pytest.raises(InvalidValue, match="videos"):
        workload_from(Workload(videos=(video,)))


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.1, 10)), min_size=1, max_size=6))
def test_the_mean_size_has_the_mean_area(sizes: list[tuple[int, int, float]]) -> None:
    """Tokens grow with the area, so the mean image must have it; one size is its own mean."""
    found = mean_size(sizes)
    assert found is not None
    total = sum(weight for _, _, weight in sizes)
    area = sum(weight * width * height for width, height, weight in sizes) / total
    assert found[0] * found[1] == pytest.approx(area, rel=0.02, abs=2 * max(found))
    assert mean_size([sizes[0]]) == sizes[0][:2]
