"""What a spec says in text, read into the library's records, and which plan of a status runs."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from vlmctl.api import workload as asked_for
from vlmctl.api.model import ModelFacts
from vlmctl.api.status import BenchmarkStatus, PlanStatus, VLMDeploymentStatus
from vlmctl.errors import InvalidValue
from vlmctl.specs.measurements import DescribedModel
from vlmctl.specs.workload import ImageInput, Objectives, VideoInput, Workload
from vlmctl.units import USUAL_IMAGE, parse_duration_seconds, parse_image_size

ROLLED_BACK = "RolledBack"  # the reason of a condition
DEEPEST = 16  # objects and lists inside each other in a file of a checkpoint, which has half of that at most


def workload(asked: asked_for.Workload) -> Workload:
    """The request that is asked for; raises InvalidValue for a size that no image has, or a video without frames."""
    sizes = [(parse_image_size(each.size), each.count) for each in asked.images]
    return Workload(
        images=tuple(ImageInput(width_pixels=w, height_pixels=h, count=count) for (w, h), count in sizes),
        videos=tuple(_video(each) for each in asked.videos),
        prompt_tokens=asked.prompt_tokens,
        output_tokens=asked.output_tokens,
    )


def planned_workload(asked: asked_for.Workload) -> Workload:
    """The request that is planned for: with an image of the usual size where none is named, as otherwise the engine
    would refuse all images. Raises as `workload` does.
    """
    found = workload(asked)
    if found.images or found.videos:
        return found
    width, height = parse_image_size(USUAL_IMAGE)
    return replace(found, images=(ImageInput(width_pixels=width, height_pixels=height),))


def objectives(asked: asked_for.Objectives) -> Objectives:
    """The latencies that are asked for; raises InvalidValue for one of 0."""
    return Objectives(
        ttft_seconds=None if asked.ttft is None else seconds(asked.ttft),
        tpot_seconds=None if asked.tpot is None else seconds(asked.tpot),
    )


def seconds(text: str) -> float:
    """A duration above 0; raises InvalidValue."""
    value = parse_duration_seconds(text)
    if value <= 0:
        raise InvalidValue(f"{text} is no time.", remedy="Write a duration above 0, such as 50ms or 2s.")
    return value


def described(facts: ModelFacts) -> DescribedModel:
    """The files of a checkpoint that a spec brings along; raises InvalidValue for what is no such file."""
    return DescribedModel(
        config=_file(facts.config, "config", "config.json"),
        processor={} if facts.processor is None else _file(facts.processor, "processor", "preprocessor_config.json"),
    )


def running_plan(status: VLMDeploymentStatus) -> PlanStatus | None:
    """The plan of what runs; None where an earlier revision does, or does too: the status has what is wanted alone."""
    return None if is_rolling_out(status) or _went_back(status) else status.plan


def running_benchmark(status: VLMDeploymentStatus) -> BenchmarkStatus | None:
    """What was measured of what runs; None while one revision takes over from another."""
    return None if is_rolling_out(status) else status.benchmark


def is_rolling_out(status: VLMDeploymentStatus) -> bool:
    """Whether replicas of one revision serve while another one is wanted, of which the figures of the status are."""
    both = None not in (status.current_revision, status.update_revision)
    return both and not _went_back(status)


def _went_back(status: VLMDeploymentStatus) -> bool:
    return any(each.reason == ROLLED_BACK for each in status.conditions)


def _file(text: str, field: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=lambda _: None)  # Infinity and NaN, which some files hold, say nothing
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidValue(
            f"spec.model.facts.{field} is not the text of a JSON object.", remedy=f"Give the whole of {name} there."
        )
    if depth(found) > DEEPEST:
        raise InvalidValue(
            f"spec.model.facts.{field} has more than {DEEPEST} objects and lists inside each other.",
            remedy=f"Give {name} as it is beside the weights.",
        )
    return found


def depth(value: Any) -> int:
    """Of objects and lists of JSON inside each other, counted level by level: they may be deeper than calls can be."""
    levels, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        levels += 1
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return levels


def _video(asked: asked_for.Video) -> VideoInput:
    width, height = parse_image_size(asked.size)
    frames_per_second = float(asked.frames_per_second)
    if frames_per_second <= 0:
        raise InvalidValue("a video of 0 frames per second has no frames.", remedy="Give framesPerSecond above 0.")
    return VideoInput(
        seconds=seconds(asked.length),
        frames_per_second=frames_per_second,
        width_pixels=width,
        height_pixels=height,
    )
