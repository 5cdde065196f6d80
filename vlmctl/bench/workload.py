"""What is sent, as a record: every request of a run follows from it and a seed."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import yaml

from vlmctl.errors import InvalidFile, InvalidValue
from vlmctl.files import read_whole
from vlmctl.planning.arrivals import Arrivals
from vlmctl.specs.record import Record
from vlmctl.specs.workload import Workload
from vlmctl.units import MAX_SIDE_PIXELS, parse_image_size

FORMATS = ("jpeg", "png")
MAXIMUM_IMAGES = 256  # in one request
MAXIMUM_TOKENS = 1_000_000


class Content(StrEnum):
    """What a drawn image looks like."""

    PHOTO = "photo"
    DOCUMENT = "document"
    CHART = "chart"


class SizeShare(Record, frozen=True, kw_only=True):
    """A size in pixels, and how often it is drawn relative to the others."""

    width_pixels: int
    height_pixels: int
    weight: float = 1.0


class ImageSlot(Record, frozen=True, kw_only=True):
    """`count` images of each request, each of a size drawn from a mixture."""

    sizes: tuple[SizeShare, ...]
    count: int = 1


class BenchWorkload(Record, frozen=True, kw_only=True):
    """What the requests of a run are like.

    `prompt_tokens`: text tokens, the chat template's included; `shared_prefix_tokens` of them are the same in all.
    `folder`: pictures of the user's instead of drawn ones, `folder_images` in each request. `reuse_images`: so many
    different pictures in all, sent again and again (None: each is new).
    """

    slots: tuple[ImageSlot, ...] = ()
    contents: tuple[Content, ...] = (Content.PHOTO,)
    image_format: str = "jpeg"
    jpeg_quality: int = 85
    folder: str | None = None
    folder_images: int = 1
    reuse_images: int | None = None
    prompt_tokens: int = 64
    shared_prefix_tokens: int = 0
    output_tokens: int = 256
    ignore_eos: bool = True

    @property
    def image_count(self) -> int:
        """Images in one request."""
        return self.folder_images if self.folder is not None else sum(slot.count for slot in self.slots)

    @property
    def images_first(self) -> bool:
        """Images stand before the text, but after a prefix that is to be found in a cache."""
        return not self.shared_prefix_tokens

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits, the same for the same workload."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:12]

    @property
    def mean_size(self) -> tuple[int, int] | None:
        """Width and height of an image with the mean area, and the mean of width over height; None without sizes, as
        of a folder.
        """
        if self.folder is not None:
            return None
        return mean_size(
            (size.width_pixels, size.height_pixels, slot.count * size.weight / sum(each.weight for each in slot.sizes))
            for slot in self.slots
            for size in slot.sizes
        )


class Replayed(Record, frozen=True, kw_only=True):
    """A trace as it was replayed, `scale` times as many requests; `sha256`: of their times, tokens and images."""

    name: str
    scale: float
    sha256: str


def replayed(arrivals: Arrivals, *, name: str, scale: float) -> Replayed:
    """What is kept of a trace, to tell it from others."""
    digest = hashlib.sha256()
    for kind, values in (
        ("d", arrivals.seconds),
        ("q", arrivals.prompt_tokens),
        ("q", arrivals.output_tokens),
        ("q", arrivals.images),
    ):
        digest.update(b"-" if values is None else array(kind, values).tobytes())
    return Replayed(name=name, scale=scale, sha256=digest.hexdigest())


def mean_size(sizes: Iterable[tuple[int, int, float]]) -> tuple[int, int] | None:
    """Width and height with the mean area and the mean of width over height, from (width, height, weight)."""
    total = area = aspect = 0.0
    for width, height, weight in sizes:
        total += weight
        area += weight * width * height
        aspect += weight * width / height
    if not total:
        return None
    area, aspect = area / total, aspect / total
    return max(1, round(math.sqrt(area * aspect))), max(1, round(math.sqrt(area / aspect)))


def workload_from(planned: Workload) -> BenchWorkload:
    """The requests that a placement was planned for; raises InvalidValue for videos, which are not sent yet."""
    if planned.videos:
        raise InvalidValue("the plan is for videos, which the load generator does not send.", remedy="Plan images.")
    slots = tuple(
        ImageSlot(
            sizes=(SizeShare(width_pixels=image.width_pixels, height_pixels=image.height_pixels),), count=image.count
        )
        for image in planned.images
    )
    return checked(BenchWorkload(slots=slots, prompt_tokens=planned.prompt_tokens, output_tokens=planned.output_tokens))


def read_workload(path: Path) -> BenchWorkload:
    """A workload from a YAML or JSON file with the fields of BenchWorkload; raises InvalidFile."""
    text = read_whole(path)
    try:
        content: Any = yaml.safe_load(text)
        return checked(msgspec.convert(content if content is not None else {}, BenchWorkload))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidFile(str(path), "is not YAML.", line=mark.line + 1 if mark else None) from error
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidFile(str(path), f"is no workload: {error}.", remedy="docs/bench.md shows its fields.") from error
    except InvalidValue as error:
        raise InvalidFile(str(path), error.message, remedy=error.remedy) from error


def parse_slot(text: str, *, count: int = 1) -> ImageSlot:
    """Images of one size from ``1280x720``, or of a mixture from ``1280x720=70,640x480=30``; raises InvalidValue."""
    sizes = []
    for part in text.split(","):
        size, _, share = part.partition("=")
        try:
            weight = float(share) if share else 1.0
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise InvalidValue(f"{part!r} has no share above 0.", remedy="Write 1280x720=70,640x480=30.")
        width, height = parse_image_size(size)
        sizes.append(SizeShare(width_pixels=width, height_pixels=height, weight=weight))
    return ImageSlot(sizes=tuple(sizes), count=count)


def checked(workload: BenchWorkload) -> BenchWorkload:
    """The same; raises InvalidValue for numbers that no run can have."""
    sides = [side for slot in workload.slots for size in slot.sizes for side in (size.width_pixels, size.height_pixels)]
    for what, value, low, high in (
        ("a side of an image", min(sides, default=1), 1, MAX_SIDE_PIXELS),
        ("a side of an image", max(sides, default=1), 1, MAX_SIDE_PIXELS),
        ("the number of images", workload.image_count, 0, MAXIMUM_IMAGES),
        ("the least number of images", min((slot.count for slot in workload.slots), default=1), 1, MAXIMUM_IMAGES),
        ("JPEG quality", workload.jpeg_quality, 1, 100),
        ("the number of images to reuse", 1 if workload.reuse_images is None else workload.reuse_images, 1, 10**6),
        ("prompt tokens", workload.prompt_tokens, 1, MAXIMUM_TOKENS),
        ("shared prefix tokens", workload.shared_prefix_tokens, 0, workload.prompt_tokens),
        ("output tokens", workload.output_tokens, 1, MAXIMUM_TOKENS),
    ):
        if not low <= value <= high:
            raise InvalidValue(f"{what} of {value:,} is out of range.", remedy=f"It is {low:,} to {high:,}.")
    if workload.image_format not in FORMATS:
        raise InvalidValue(f"image format {workload.image_format!r} is unknown.", remedy=f"Use {' or '.join(FORMATS)}.")
    if not workload.contents:
        raise InvalidValue("no content for images was named.", remedy=f"Name some of {', '.join(Content)}.")
    weights = (size.weight for slot in workload.slots for size in slot.sizes)
    if not all(slot.sizes for slot in workload.slots) or not all(0 < weight < math.inf for weight in weights):
        raise InvalidValue("a mixture of sizes needs sizes with shares above 0.")
    return workload
