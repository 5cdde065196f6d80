"""What a comparison leaves behind: one record with every answer, written whole as JSON and read back strictly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from vlmctl.compare.contenders import Price
from vlmctl.errors import InvalidFile
from vlmctl.files import read_whole, write_atomically
from vlmctl.specs.record import Record

SCHEMA = "vlmctl.dev/comparison/v1"
MAXIMUM_BYTES = 1_000_000_000  # far above any comparison a page could show


class Variant(Record, frozen=True, kw_only=True):
    """What a sweep changed. `side_pixels`: the longer side at most; `images`: in the request; None: unchanged."""

    side_pixels: int | None = None
    images: int | None = None


AS_THEY_ARE = Variant()


class ImageFacts(Record, frozen=True, kw_only=True):
    """One image of a case. `sha256`: of the bytes that were read, to tell whether two runs used the same."""

    source: str
    width_pixels: int
    height_pixels: int
    sha256: str


class AskedCase(Record, frozen=True, kw_only=True):
    """A case as it was asked; `prompt` is the question with its options, `expected` is for people."""

    id: str
    category: str
    prompt: str
    expected: str
    metric: str
    images: tuple[ImageFacts, ...]


class Reply(Record, frozen=True, kw_only=True):
    """One answer, or what came instead. `score`: 0 to 1, None where nothing can be judged, `note` saying why.

    Seconds count from sending the request. `image_tokens`: as the server counts them, None where it does not tell.
    `usd`: of this request; for servers paid by the hour its share of the time. `attempts`: requests sent for it.
    `cut_off`: the answer reached the most tokens allowed.
    """

    contender: str
    case: str
    repeat: int = 0
    variant: Variant = AS_THEY_ARE
    text: str = ""
    score: float | None = None
    note: str = ""
    failure: str | None = None
    attempts: int = 1
    cut_off: bool = False
    ttft_seconds: float | None = None
    e2e_seconds: float | None = None
    prompt_tokens: int | None = None
    image_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None

    @property
    def answered(self) -> bool:
        """Whether the model said something, right or wrong."""
        return self.failure is None


class ContenderFacts(Record, frozen=True, kw_only=True):
    """Who answered. `model`: the name it is served by. `boxes`: the convention its boxes were read in."""

    name: str
    url: str
    model: str
    catalog_id: str | None = None
    price: Price | None = None
    boxes: str | None = None
    problem: str = ""


class Settings(Record, frozen=True, kw_only=True):
    """How everyone was asked. `concurrency`: requests in flight; `retries`: further tries after a broken request."""

    repeats: int = 1
    concurrency: int = 4
    max_tokens: int = 512
    temperature: float = 0.0
    retries: int = 2
    seed: int = 0
    alpha: float = 0.05


class ComparisonResult(Record, frozen=True, kw_only=True):
    """A whole comparison. `sides_pixels` and `image_counts`: what was swept. `complete`: False if interrupted."""

    made_at: str
    program: str
    cases_source: str
    settings: Settings
    contenders: tuple[ContenderFacts, ...]
    cases: tuple[AskedCase, ...]
    replies: tuple[Reply, ...]
    sides_pixels: tuple[int, ...] = ()
    image_counts: tuple[int, ...] = ()
    complete: bool = True
    schema: str = SCHEMA

    def of(self, contender: str, variant: Variant = AS_THEY_ARE) -> Iterator[Reply]:
        """One contender's replies under one variant."""
        return (each for each in self.replies if each.contender == contender and each.variant == variant)


def write_results(path: Path, result: ComparisonResult) -> None:
    """Write the record as JSON, whole or not at all; raises CannotWrite."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def read_results(path: Path) -> ComparisonResult:
    """A record written by `write_results`; raises InvalidFile for anything else."""
    content = read_whole(path, maximum_bytes=MAXIMUM_BYTES)
    try:
        result = msgspec.json.decode(content, type=ComparisonResult)
    except msgspec.DecodeError as error:
        remedy = "Give a file that `vlmctl compare --results` wrote."
        raise InvalidFile(str(path), f"is no comparison: {error}.", remedy=remedy) from error
    if result.schema != SCHEMA:
        raise InvalidFile(str(path), f"is of schema {result.schema}, not {SCHEMA}.")
    return result
