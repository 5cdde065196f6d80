"""Requests drawn from a workload: pictures prepared beforehand, and for each number a request unlike any other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from vlmctl.bench.body import ChatRequest
from vlmctl.bench.drawing import draw
from vlmctl.bench.images import JPEG, PNG, encode, read_image
from vlmctl.bench.variants import ImageVariant, VariableImage, variable_image
from vlmctl.bench.words import WORDS
from vlmctl.bench.workload import BenchWorkload, ImageSlot, SizeShare, mean_size
from vlmctl.errors import InvalidFile

DRAWN_PER_SIZE = 16  # different pictures of each size; variants of them are enough for any number of requests
DRAWN_PIXELS = 24_000_000  # of all of them together: where pictures are larger, they are fewer
FOLDER_BYTES = 256 * 1024**2  # of a user's pictures that are held, in the order of their names
VARIANTS = 2**24  # that an image has, as many as a JPEG can tell apart
IMAGE_FILES = (".jpg", ".jpeg", ".png", ".webp")
MEDIA_TYPES = {"jpeg": JPEG, "png": PNG}
Prepared = Callable[[int, int], None]  # told how many pictures are ready, of how many


class Pictures(NamedTuple):
    """Pictures by size; those of the user's folder are under None, with the digest of their files' bytes.

    `held_bytes`: what they take in memory.
    """

    by_size: dict[tuple[int, int] | None, list[VariableImage]]
    folder_sha256: str | None = None

    @property
    def held_bytes(self) -> int:
        """Encoded, in base64."""
        return sum(len(each.middle) for pictures in self.by_size.values() for each in pictures)

    @property
    def sizes(self) -> frozenset[tuple[int, int]]:
        """Width and height of all of them."""
        return frozenset(
            (each.width_pixels, each.height_pixels) for pictures in self.by_size.values() for each in pictures
        )

    @property
    def mean_size(self) -> tuple[int, int] | None:
        """Width and height of a picture with the mean area and the mean aspect; None without pictures."""
        return mean_size(
            (each.width_pixels, each.height_pixels, 1.0) for pictures in self.by_size.values() for each in pictures
        )


def prepare(workload: BenchWorkload, *, seed: int, prepared: Prepared = lambda _done, _all: None) -> Pictures:
    """Read or draw the pictures of a workload, and encode them; raises InvalidFile for a folder without pictures.

    Takes a core for some seconds: call it in a thread.
    """
    if workload.folder is not None:
        return _read_folder(Path(workload.folder), prepared)
    sizes = sorted({(size.width_pixels, size.height_pixels) for slot in workload.slots for size in slot.sizes})
    pixels = sum(width * height for width, height in sizes)
    each = max(len(workload.contents), min(DRAWN_PER_SIZE, DRAWN_PIXELS // max(pixels, 1)))
    if workload.reuse_images is not None:
        each = min(each, workload.reuse_images)
    found: dict[tuple[int, int] | None, list[VariableImage]] = {}
    for place, (width, height) in enumerate(sizes):
        found[width, height] = []
        for number in range(each):
            content = workload.contents[number % len(workload.contents)]
            picture = draw(content, width, height, seed=seed + number)
            encoded = encode(picture, MEDIA_TYPES[workload.image_format], jpeg_quality=workload.jpeg_quality)
            found[width, height].append(variable_image(encoded))
            prepared(place * each + number + 1, len(sizes) * each)
    return Pictures(found)


def _read_folder(folder: Path, prepared: Prepared) -> Pictures:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_FILES)
    except OSError as error:
        raise InvalidFile(str(folder), f"cannot be read: {error.strerror}.") from error
    if not paths:
        raise InvalidFile(str(folder), "holds no images.", remedy=f"Their names end in {', '.join(IMAGE_FILES)}.")
    pictures, held, digest = [], 0, hashlib.sha256()
    for number, path in enumerate(paths, start=1):
        pictures.append(variable_image(read_image(path)))
        digest.update(path.read_bytes())
        held += len(pictures[-1].middle)
        prepared(number, len(paths))
        if held > FOLDER_BYTES:
            break
    return Pictures({None: pictures}, digest.hexdigest())


class PromptShape(NamedTuple):
    """What a server makes of words: tokens of the chat template, and tokens of each word."""

    template_tokens: float = 0.0
    tokens_per_word: float = 1.0

    def words(self, tokens: int) -> int:
        """How many words make about that many tokens with the template, at least one."""
        return max(1, round((tokens - self.template_tokens) / self.tokens_per_word))

    def tokens(self, words: int) -> float:
        """Text tokens of a request of so many words."""
        return self.template_tokens + words * self.tokens_per_word


def shape_of(shorter: tuple[int, int], longer: tuple[int, int]) -> PromptShape:
    """The shape that follows from two requests without images, each as (words, prompt tokens)."""
    per_word = (longer[1] - shorter[1]) / (longer[0] - shorter[0])
    if per_word <= 0:  # a server that counts something else
        return PromptShape()
    return PromptShape(template_tokens=max(shorter[1] - per_word * shorter[0], 0.0), tokens_per_word=per_word)


class RequestSource:
    """The requests of a run by number. The same workload, seed and shape give the same requests.

    `most_images`: that any of them is to have, where that may be more than the workload says.
    """

    def __init__(
        self, workload: BenchWorkload, pictures: Pictures, *, seed: int, shape: PromptShape, most_images: int = 0
    ) -> None:
        self.workload = workload
        self.pictures = pictures
        self.shape = shape
        self._seed = seed
        self._first_variant = Random(seed).randrange(VARIANTS)
        slots = workload.slots
        if workload.folder is not None:
            slots = (ImageSlot(sizes=(), count=workload.folder_images),)
        self._mixtures = [slot.sizes for slot in slots for _ in range(slot.count)]
        self._most_images = max(len(self._mixtures), most_images)
        shared = shape.words(workload.shared_prefix_tokens) if workload.shared_prefix_tokens else 0
        self._shared = Random(seed).choices(WORDS, k=shared)

    def request(
        self,
        number: int,
        *,
        prompt_tokens: int | None = None,
        output_tokens: int | None = None,
        images: int | None = None,
    ) -> ChatRequest:
        """The request of a number; sizes that are given, as a trace does, take the place of the workload's."""
        rng = Random((self._seed << 32) + number)
        workload = self.workload
        return ChatRequest(
            prompt=self.prompt(rng, self.shape.words(prompt_tokens or workload.prompt_tokens)),
            images=self._images(rng, number, images),
            max_tokens=output_tokens or workload.output_tokens,
            ignore_eos=workload.ignore_eos,
            images_first=workload.images_first,
        )

    def text_tokens(self, request: ChatRequest) -> float:
        """What the text of a request has, the chat template included."""
        return self.shape.tokens(request.prompt.count(" ") + 1)

    def prompt(self, rng: Random, words: int) -> str:
        """Words at random, so that no two texts begin alike, after those that all share."""
        own = max(words - len(self._shared), 1)
        return " ".join((*self._shared, *rng.choices(WORDS, k=own)))

    def _images(self, rng: Random, number: int, wanted: int | None) -> tuple[ImageVariant, ...]:
        """One for each place of the workload; where another number is wanted, the places are filled in turn."""
        mixtures = self._mixtures
        count = len(mixtures) if wanted is None or not mixtures else wanted
        serial = number * self._most_images
        return tuple(self._image(rng, serial + place, mixtures[place % len(mixtures)]) for place in range(count))

    def _image(self, rng: Random, serial: int, sizes: Sequence[SizeShare]) -> ImageVariant:
        """The variant of a picture for each serial number; where images are reused, the numbers begin again."""
        if self.workload.reuse_images is not None:
            serial %= self.workload.reuse_images
            rng = Random((self._seed << 32) + serial)
        size = rng.choices(sizes, [size.weight for size in sizes])[0] if sizes else None
        pictures = self.pictures.by_size[(size.width_pixels, size.height_pixels) if size is not None else None]
        return pictures[serial % len(pictures)].variant((self._first_variant + serial) % VARIANTS)
