"""`vlmctl cost`: what serving models costs, offer by offer, over image sizes, and against hosted APIs."""

# ruff: noqa: ARG001  # the options of idling are read from the context, all at once

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, ModelsArgument, OutputOption
from vlmctl.cli.output import Block, Output
from vlmctl.cli.question_options import OWNERSHIP, PLACE, WORKLOAD, asking
from vlmctl.errors import InvalidValue, VlmctlError
from vlmctl.units import split_commas

if TYPE_CHECKING:
    from vlmctl.cli import cost_page
    from vlmctl.cli.idle_page import Idling
    from vlmctl.library import Question
    from vlmctl.specs.model import ModelSpec
    from vlmctl.specs.workload import ImageInput

app = options.command_app()

RANGE = ".."
SIZES_IN_SWEEP = 9  # square images between the two ends, evenly spaced as ratios
MAXIMUM_IMAGES_IN_SWEEP = 64
APART = ("image", "images", "spot")  # the first two may be ranges, and spot offers are shown beside others
NAMES = tuple(name for name in (*WORKLOAD, *PLACE, *OWNERSHIP) if name not in APART)


@app.command()
@asking(NAMES)
def cost(
    context: typer.Context,
    models: ModelsArgument,
    image: Annotated[
        list[str] | None,
        options.option("Size of an image; 336..2048 sweeps over square ones; repeatable.", metavar="WxH"),
    ] = None,
    images: Annotated[
        str | None, options.option("Images of each size in one request; 1..8 sweeps.", metavar="N")
    ] = None,
    require: options.RequireOption = None,
    scale_to_zero: Annotated[
        bool, typer.Option("--scale-to-zero", help="Also stopped when idle, against always on; needs --rps.")
    ] = False,
    idle_timeout: Annotated[
        str | None, options.option("Time without requests before it stops, 10m if not said.", metavar="DURATION")
    ] = None,
    cold_start: options.ColdStartOption = None,
    storage: Annotated[
        str | None,
        options.option("Where the weights lie: hub (if not said), network, nvme or page-cache.", metavar="NAME"),
    ] = None,
    storage_speed: Annotated[
        float | None, options.option("GB per second that one process reads or downloads there.", metavar="N")
    ] = None,
    machine_start: Annotated[
        str | None, options.option("Until a machine is there; left out if not said.", metavar="DURATION")
    ] = None,
    image_cached: Annotated[
        bool, typer.Option("--image-cached", help="The engine's image is on the machine already.")
    ] = False,
    compile_cached: Annotated[
        bool, typer.Option("--compile-cached", help="Compiled graphs of an earlier start are kept.")
    ] = False,
    compare_apis: Annotated[bool, typer.Option("--compare-apis", help="Compare with hosted APIs too.")] = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Price models on every offer.

    Replicas for the request rate, dollars per 1,000 requests, images and pages, per million tokens and per month, at
    the load and at saturation, on demand and spot. Without --rps a replica is taken to be 80% busy.

    JSON: an object with requirements, assumptions, owned (the parts of what owned GPUs cost), models (each model, with
    options, scale_to_zero, sweep, apis, problem) and prices_as_of. CSV: the options.
    """
    from vlmctl import library
    from vlmctl.cli import cost_page, idle_page

    known = library.load_catalog(catalog)
    sweep, fixed = _sweep(image or [], images)
    below = options.wishes(context, NAMES, require)
    question = library.Question(library.laid_over(below, library.wishes_from(fixed)), catalog=known)
    idle = idle_page.idling(options.said(context, ("scale_to_zero", *idle_page.TERMS)))
    found = library.find_models(models, catalog=known)
    answers = [_answer(model, question, sweep, idle, compare_apis=compare_apis) for model in found]
    refused = next((each.error for each in answers if each.error is not None), None)
    if refused is not None and not any(each.plans for each in answers):
        raise refused
    out, data = Output(output), cost_page.data(question, answers)
    blocks: list[Block] = cost_page.blocks(question, answers) if out.for_people else []
    out.show(data, blocks, rows=[row for each in data["models"] for row in each["options"]])


def _answer(
    model: ModelSpec, question: Question, sweep: Sequence[ImageInput], idle: Idling | None, *, compare_apis: bool
) -> cost_page.ModelCost:
    """One model's costs; an error is kept, so that one model that cannot be served hides no other."""
    from vlmctl.cli import idle_page
    from vlmctl.cli.cost_page import ModelCost, steady
    from vlmctl.library import costs

    try:
        plans = costs.compare_offers(model, question)
        points = costs.sweep(model, question, sweep)
        stopped = idle_page.stopped(model, plans, question.catalog, idle) if idle else ()
        apis = costs.compare_apis(model, steady(plans), question.catalog) if compare_apis else ()
    except VlmctlError as error:
        return ModelCost(model=model.id, error=error)
    return ModelCost(model=model.id, plans=plans, sweep=points, apis=apis, stopped=stopped)


def _sweep(images: Sequence[str], count: str | None) -> tuple[list[ImageInput], dict[str, Any]]:
    """The points of a sweep, and the options that stay; where something is swept, its first point stays."""
    from vlmctl.specs.workload import ImageInput
    from vlmctl.units import parse_image_size

    texts = split_commas(images)
    sides = [side for text in texts if RANGE in text for side in _sides(text)]
    counts = list(_range(count, "--images", MAXIMUM_IMAGES_IN_SWEEP)) if count and RANGE in count else []
    if counts and not texts:
        raise InvalidValue("--images with a range needs an image size.", remedy="Add --image 1280x720, say.")
    sizes = [(side, side) for side in sides] or [parse_image_size(text) for text in texts if counts][:1]
    fixed: dict[str, Any] = {}
    if texts:
        fixed["image"] = [text for text in texts if RANGE not in text] or [str(sides[0])]
    if count is not None:
        fixed["images"] = counts[0] if counts else _whole(count)
    number = counts or [fixed.get("images", 1)]
    swept = sizes if sides or counts else []
    points = [ImageInput(width_pixels=w, height_pixels=h, count=n) for w, h in swept for n in number]
    return points, fixed


def _sides(text: str) -> Iterator[int]:
    """Sides between the two ends of a range, each as many times larger than the one before."""
    from vlmctl.units import MAX_SIDE_PIXELS

    ends = _range(text, "--image", MAX_SIDE_PIXELS)
    low, high = ends.start, ends.stop - 1
    steps = SIZES_IN_SWEEP - 1
    yield from dict.fromkeys(round(low * math.exp(math.log(high / low) * step / steps)) for step in range(steps + 1))


def _range(text: str, option: str, maximum: int) -> range:
    low, _, high = text.partition(RANGE)
    if not (low.isdecimal() and high.isdecimal() and 1 <= int(low) <= int(high) <= maximum):
        raise InvalidValue(f"{option} {text!r} is not a range.", remedy=f"Write LOW..HIGH, from 1 to {maximum:,}.")
    return range(int(low), int(high) + 1)


def _whole(text: str) -> int:
    if not (text.isdecimal() and len(text) < 7):
        raise InvalidValue(f"--images {text!r} is not a number of images.", remedy="Write 4, or 1..8 for a sweep.")
    return int(text)
