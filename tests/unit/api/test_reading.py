"""Text of a spec as figures."""

from __future__ import annotations

import pytest

from vlmctl.api import reading
from vlmctl.api import v1alpha1 as api
from vlmctl.errors import InvalidValue
from vlmctl.serving.manifest import api_workload
from vlmctl.specs.measurements import DescribedModel
from vlmctl.specs.workload import ImageInput, Objectives, VideoInput, Workload


def test_a_workload_is_read_as_it_was_written() -> None:
    """What the planner wrote into a manifest is what is planned from it."""
    asked = Workload(
        images=(ImageInput(width_pixels=1680, height_pixels=2240, count=2),),
        videos=(VideoInput(seconds=1.5, frames_per_second=0.5, width_pixels=640, height_pixels=360),),
        prompt_tokens=0,
        output_tokens=1,
    )
    assert reading.workload(api_workload(asked)) == asked


def test_objectives_that_are_left_out_stay_out() -> None:
    """No objective is another than one of 0 seconds."""
    assert reading.objectives(api.Objectives(ttft="1.5s")) == Objectives(ttft_seconds=1.5)


def test_values_that_are_no_numbers_say_nothing() -> None:
    """Some checkpoints have them, where a bound is none."""
    facts = api.ModelFacts(config='{"limits": [0.0, Infinity], "scale": NaN}')
    assert reading.described(facts) == DescribedModel(config={"limits": [0.0, None], "scale": None})


@pytest.mark.parametrize(
    "asked",
    [
        api.Workload(images=(api.Images(size="65536x1"),)),
        api.Workload(videos=(api.Video(length="0s", size="1x1"),)),
        api.Workload(videos=(api.Video(length="1s", size="1x1", frames_per_second="0.0"),)),
    ],
    ids=["side", "length", "rate"],
)
def test_what_cannot_be_is_refused(asked: api.Workload) -> None:
    """Figures that fit the pattern and make no sense."""
    with pytest.raises(InvalidValue):
        reading.workload(asked)
