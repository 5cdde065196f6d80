"""What people write, as options, file or mapping, turned into requirements; assumptions are said, never hidden."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from vlmctl.catalog import names
from vlmctl.errors import InvalidValue
from vlmctl.library.lookup import find_benchmark, find_gpu, known_spellings, offer_regions
from vlmctl.planning.cost import Ownership
from vlmctl.planning.languages import READING_TASKS
from vlmctl.planning.requirements import check_requirements, default_output_tokens
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import Precision
from vlmctl.specs.record import Record
from vlmctl.specs.workload import (
    ImageInput,
    LicensePolicy,
    Objectives,
    OwnedGpus,
    Preference,
    Requirements,
    Task,
    VideoInput,
    Workload,
)
from vlmctl.units import A4_SCAN, USUAL_IMAGE, parse_duration_seconds, parse_image_size, parse_video, split_commas

USUAL_VIDEO = "60s@1fps:1280x720"
OTHER_NEEDS = ("thinking", "tools", "video", "grounding")  # beside whatever capabilities the catalog names
# Bounds beyond which a number is a slip of the keyboard.
MAXIMUM_IMAGES = 100_000  # in one request
MAXIMUM_TOKENS = 100_000_000  # in one request
MAXIMUM_RATE = 1e6  # requests per second, or in flight

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")  # the shape of a BCP-47 tag
_OWNED = re.compile(r"(?:(\d{1,6})\s*[xX×]\s*)?(\S+)")


class Wishes(Record, frozen=True, kw_only=True):
    """The options of `vlmctl recommend` by their names, dashes as underscores; None where nothing was said.

    Durations are text such as ``2s`` or a number of seconds; images ``1680x2240``; videos ``60s@1fps:1280x720``.
    Lists may be written as one text with commas. Tasks may carry weights: ``{"chart": 2}`` or ``chart=2``.
    """

    task: str | list[str] | dict[str, float] | None = None
    language: str | list[str] | None = None
    license: str | None = None
    max_params: float | None = None
    min_context: int | None = None
    multi_image: bool | None = None
    needs: str | list[str] | None = None
    image: str | list[str] | None = None
    images: int | None = None
    video: str | list[str] | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    rps: float | None = None
    concurrency: int | None = None
    ttft: str | float | None = None
    tpot: str | float | None = None
    max_usd_per_1k: float | None = None
    max_usd_per_month: float | None = None
    gpu: str | list[str] | None = None
    max_gpus: int | None = None
    provider: str | list[str] | None = None
    region: str | list[str] | None = None
    spot: bool | None = None
    quantization: str | list[str] | None = None
    min_score: str | list[str] | dict[str, float] | None = None
    family: str | list[str] | None = None
    include_unverified: bool | None = None
    owned: str | list[str] | None = None
    purchase_usd: float | None = None
    years: float | None = None
    pue: float | None = None
    power_share: float | None = None
    kwh_usd: float | None = None
    ops_usd_per_month: float | None = None
    prefer: str | None = None
    top: int | None = None
    need_ocr: bool | None = None
    need_grounding: bool | None = None
    need_video: bool | None = None
    need_thinking: bool | None = None


def wishes_from(mapping: Mapping[str, Any]) -> Wishes:
    """A mapping as wishes; raises InvalidValue for a key or a value that is none."""
    try:
        return msgspec.convert(dict(mapping), Wishes)
    except msgspec.ValidationError as error:
        known = ", ".join(Wishes.__struct_fields__)
        raise InvalidValue(f"requirements: {error}.", remedy=f"Known keys: {known}.") from error


def laid_over(below: Wishes, above: Wishes) -> Wishes:
    """Wishes with those of `above` in place wherever it says anything."""
    said = {name: getattr(above, name) for name in above.__struct_fields__ if getattr(above, name) is not None}
    return msgspec.structs.replace(below, **said)


def requirements_of(wishes: Wishes, catalog: Catalog) -> tuple[Requirements, tuple[str, ...]]:
    """The requirements, and the assumptions that filled what was not said.

    Raises InvalidValue or UnknownName for what cannot be understood.
    """
    tasks = _tasks(wishes)
    workload, assumptions = _workload(wishes, tasks)
    requirements = Requirements(
        workload=workload,
        objectives=Objectives(ttft_seconds=_seconds(wishes.ttft, "ttft"), tpot_seconds=_seconds(wishes.tpot, "tpot")),
        tasks=tasks,
        languages=_languages(wishes.language),
        license=LicensePolicy(_one_of("licence policy", wishes.license or "any", LicensePolicy)),
        prefer=Preference(_one_of("preference", wishes.prefer or "balanced", Preference)),
        maximum_parameters_billions=wishes.max_params,
        minimum_context_tokens=_whole("min-context", wishes.min_context),
        multiple_images=bool(wishes.multi_image),
        needs=_needs(wishes, catalog),
        maximum_usd_per_1k_requests=wishes.max_usd_per_1k,
        maximum_usd_per_month=wishes.max_usd_per_month,
        gpus=tuple(find_gpu(name, catalog=catalog).id for name in split_commas(wishes.gpu)),
        maximum_gpus=wishes.max_gpus,
        providers=known_spellings(
            "provider", split_commas(wishes.provider), {offer.provider for offer in catalog.offers}
        ),
        offer_regions=known_spellings("region", split_commas(wishes.region), offer_regions(catalog)),
        spot=bool(wishes.spot),
        quantizations=known_spellings("quantization", split_commas(wishes.quantization), _quantizations()),
        minimum_scores=_minimum_scores(wishes, catalog),
        families=known_spellings("family", split_commas(wishes.family), names.families(catalog)),
        include_unverified=bool(wishes.include_unverified),
        owned=tuple(_owned(text, catalog) for text in split_commas(wishes.owned)),
        top=wishes.top if wishes.top is not None else 5,
    )
    check_requirements(requirements)
    return requirements, assumptions


def ownership_of(wishes: Wishes) -> Ownership:
    """What it costs to own a GPU, the planner's defaults where nothing was said; raises InvalidValue below 0."""
    said = {
        "purchase_usd": wishes.purchase_usd,
        "years": wishes.years,
        "pue": wishes.pue,
        "power_share": wishes.power_share,
        "usd_per_kwh": wishes.kwh_usd,
        "operations_usd_per_month": wishes.ops_usd_per_month,
    }
    given = {name: value for name, value in said.items() if value is not None}
    for name, value in given.items():
        if not 0 <= value < float("inf"):
            raise InvalidValue(f"{name} is {value:g}, which cannot be.", remedy="Give a number of 0 or more.")
    return Ownership(**given)


def _tasks(wishes: Wishes) -> dict[str, float]:
    given = wishes.task if isinstance(wishes.task, dict) else _weighted("task", split_commas(wishes.task), default=1.0)
    tasks = {_one_of("task", name, Task): weight for name, weight in given.items()}
    if wishes.need_ocr:
        tasks.setdefault(Task.DOCUMENT_OCR.value, 1.0)
    return tasks


def _weighted(option: str, items: Iterable[str], *, default: float | None) -> dict[str, float]:
    """``name=number`` items; without a default the number must be there."""
    found: dict[str, float] = {}
    for item in items:
        name, equals, number = item.partition("=")
        if not equals and default is not None:
            found[name.strip()] = default
            continue
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise InvalidValue(f"--{option} {item!r} is not NAME=NUMBER.", remedy="Write docvqa=90, say.") from None
    return found


def _workload(wishes: Wishes, tasks: Mapping[str, float]) -> tuple[Workload, tuple[str, ...]]:
    assumptions: list[str] = []
    images, videos = split_commas(wishes.image), split_commas(wishes.video)
    if not images and not videos and Task.TEXT_ONLY not in tasks:
        if Task.VIDEO in tasks and wishes.images is None:
            videos = (USUAL_VIDEO,)
            assumptions.append(f"a video of {USUAL_VIDEO} in each request (--video)")
        else:
            images = (A4_SCAN if READING_TASKS & set(tasks) else USUAL_IMAGE,)
            assumptions.append(f"an image of {images[0]} pixels (--image)")
    output_tokens = _whole("output-tokens", wishes.output_tokens)
    if output_tokens is None:
        output_tokens = default_output_tokens(tuple(tasks))
        assumptions.append(f"answers of {output_tokens} tokens (--output-tokens)")
    count = _whole("images", wishes.images, maximum=MAXIMUM_IMAGES) or 1
    prompt_tokens = _whole("prompt-tokens", wishes.prompt_tokens, minimum=0)
    workload = Workload(
        images=tuple(_image(text, count) for text in images),
        videos=tuple(_video(text) for text in videos),
        prompt_tokens=Workload().prompt_tokens if prompt_tokens is None else prompt_tokens,
        output_tokens=output_tokens,
        requests_per_second=_rate("rps", wishes.rps),
        concurrency=_whole("concurrency", wishes.concurrency, maximum=int(MAXIMUM_RATE)),
    )
    return workload, tuple(assumptions)


def _whole(option: str, value: int | None, *, minimum: int = 1, maximum: int = MAXIMUM_TOKENS) -> int | None:
    if value is not None and not minimum <= value <= maximum:
        raise InvalidValue(f"--{option} is {value}.", remedy=f"It must be {minimum:,} to {maximum:,}.")
    return value


def _rate(option: str, value: float | None) -> float | None:
    if value is not None and not 0 < value <= MAXIMUM_RATE:
        raise InvalidValue(f"--{option} is {value:g}.", remedy=f"It must be above 0 and at most {MAXIMUM_RATE:,.0f}.")
    return value


def _image(text: str, count: int) -> ImageInput:
    width, height = parse_image_size(text)
    return ImageInput(width_pixels=width, height_pixels=height, count=count)


def _video(text: str) -> VideoInput:
    seconds, frames_per_second, width, height = parse_video(text)
    return VideoInput(seconds=seconds, frames_per_second=frames_per_second, width_pixels=width, height_pixels=height)


def _seconds(value: str | float | None, option: str) -> float | None:
    seconds = parse_duration_seconds(value) if isinstance(value, str) else value
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InvalidValue(f"--{option} is {value}.", remedy="It must be above 0, such as 2s or 50ms.")
    return seconds


def _languages(given: str | list[str] | None) -> tuple[str, ...]:
    tags = split_commas(given)
    for tag in tags:
        if not _LANGUAGE.fullmatch(tag):
            raise InvalidValue(f"{tag!r} is not a language code.", remedy="Write codes such as en, ja or zh-Hant.")
    return tags


def _needs(wishes: Wishes, catalog: Catalog) -> tuple[str, ...]:
    known = {*OTHER_NEEDS, *(name for model in catalog.models for name in model.capabilities)}
    asked = [name for name in ("grounding", "video", "thinking") if getattr(wishes, f"need_{name}")]
    return known_spellings("need", (*split_commas(wishes.needs), *asked), known)


def _minimum_scores(wishes: Wishes, catalog: Catalog) -> dict[str, float]:
    given = wishes.min_score
    scores = given if isinstance(given, dict) else _weighted("min-score", split_commas(given), default=None)
    found = {}
    for name, value in scores.items():
        benchmark = find_benchmark(name, catalog=catalog)
        if not 0 <= value <= benchmark.scale_maximum:
            raise InvalidValue(
                f"--min-score {name}={value:g} is off the scale of {benchmark.name}.",
                remedy=f"It runs from 0 to {benchmark.scale_maximum:g}.",
            )
        found[benchmark.id] = value
    return found


def _owned(text: str, catalog: Catalog) -> OwnedGpus:
    match = _OWNED.fullmatch(text)
    if match is None or int(match[1] or 1) < 1:
        raise InvalidValue(f"{text!r} is not a number of GPUs.", remedy="Write COUNTxGPU, such as 4xL40S.")
    return OwnedGpus(gpu=find_gpu(match[2], catalog=catalog).id, count=int(match[1] or 1))


def _one_of(kind: str, name: str, choices: type[Task] | type[LicensePolicy] | type[Preference]) -> str:
    return known_spellings(kind, [name], [choice.value for choice in choices])[0]


def _quantizations() -> set[str]:
    return {"auto", "any", *(precision.value for precision in Precision)}
