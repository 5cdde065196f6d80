"""Which requirements a model breaks, and how it is said."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from tests.support.records import SOURCE, make_catalog, make_model
from vlmctl.errors import InvalidValue
from vlmctl.planning.languages import Match, language_match
from vlmctl.planning.quality import single_yardsticks
from vlmctl.planning.requirements import (
    THINKING_TOKENS,
    check_requirements,
    default_output_tokens,
    license_conditions,
    model_breaches,
    planned_output_tokens,
)
from vlmctl.specs.model import (
    Commercial,
    Edition,
    ImageLimits,
    Languages,
    License,
    Modality,
    Serving,
    TypicalOutput,
    VideoSupport,
)
from vlmctl.specs.workload import ImageInput, LicensePolicy, Objectives, Requirements, Task, VideoInput, Workload

IMAGE = ImageInput(width_pixels=100, height_pixels=100)


def _license(commercial: Commercial, *, permissive: bool = False) -> License:
    return License(name="L", commercial=commercial, permissive=permissive, source=SOURCE, verified=True)


@pytest.mark.parametrize(
    ("policy", "accepted"),
    [
        (LicensePolicy.ANY, {"yes", "conditional", "no", "unknown"}),
        (LicensePolicy.RESEARCH, {"yes", "conditional", "no"}),
        (LicensePolicy.COMMERCIAL, {"yes", "conditional"}),
        (LicensePolicy.PERMISSIVE, set()),
    ],
)
def test_license_policies_accept_what_the_docs_say(policy: LicensePolicy, accepted: set[str]) -> None:
    """Each policy accepts its commercial terms; permissive also needs a permissive licence."""
    asked = Requirements(license=policy)
    found = {each.value for each in Commercial if not model_breaches(make_model(license=_license(each)), asked)}
    assert found == accepted


def test_permissive_licences_are_accepted_by_every_policy() -> None:
    """What is permissive is also commercial and open to research."""
    model = make_model(license=_license(Commercial.YES, permissive=True))
    assert all(not model_breaches(model, Requirements(license=policy)) for policy in LicensePolicy)


def test_a_seven_b_of_more_than_eight_billion_breaks_a_limit_of_eight() -> None:
    """The limit is on all parameters, and the breach says by how much."""
    breach = model_breaches(make_model(billions=8.29), Requirements(maximum_parameters_billions=8.0))[0]
    assert breach.requirement == "max-params"
    assert breach.by == "0.29 billion over"


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        (None, Match.UNKNOWN),
        (Languages(ocr=("en", "ja"), source=SOURCE), Match.YES),
        (Languages(ocr=("en", "fr"), source=SOURCE), Match.NO),
        (Languages(ocr=("en",), ocr_claimed_count=32, source=SOURCE), Match.UNKNOWN),
        (Languages(ocr=("en",), open_ended=True, source=SOURCE), Match.UNKNOWN),
        (Languages(ocr_claimed_count=32, source=SOURCE), Match.UNKNOWN),
        (Languages(text=("ja",), source=SOURCE), Match.UNKNOWN),
    ],
)
def test_a_language_matches_only_where_a_source_lists_it(languages: Languages | None, expected: Match) -> None:
    """A count is no list, and text in conversation says nothing of text in images."""
    assert language_match(make_model(languages=languages), "ja-JP", in_image=True) is expected


def test_text_only_and_dropped_models_say_so() -> None:
    """A text model and one that vLLM dropped break what nothing mends, with the version."""
    text = model_breaches(make_model(modality=Modality.TEXT), Requirements())
    assert text[0].found == "text only"
    dropped = Serving(served_by=(), last_version="0.10.2", source=SOURCE, verified=True)
    assert "0.10.2" in model_breaches(make_model(serving=dropped), Requirements())[0].found


def test_unverified_facts_need_to_be_asked_for() -> None:
    """A model with an unverified licence is answered only with include_unverified."""
    model = make_model(license=replace(make_model().license, verified=False))
    assert [breach.requirement for breach in model_breaches(model, Requirements())] == ["include-unverified"]
    assert not model_breaches(model, Requirements(include_unverified=True))


def test_images_and_video_must_be_taken() -> None:
    """More images than the model takes, several images unknown, unknown video and too many frames are breaches."""
    one = make_model(images=ImageLimits(maximum=1, source=SOURCE))
    two = Requirements(workload=Workload(images=(replace(IMAGE, count=2),)))
    assert model_breaches(one, two)[0].found == "at most 1 per request"
    assert model_breaches(make_model(images=None), two)[0].found == "not known"
    assert model_breaches(make_model(images=None), Requirements(multiple_images=True))[0].requirement == "multi-image"
    assert not model_breaches(make_model(images=ImageLimits(several=True, source=SOURCE)), two)
    video = VideoInput(seconds=10, frames_per_second=4, width_pixels=64, height_pixels=64)
    asked = Requirements(workload=Workload(videos=(video,)))
    assert model_breaches(make_model(), asked)[0].requirement == "video"
    short = make_model(video=VideoSupport(supported=True, maximum_frames=32, source=SOURCE))
    assert model_breaches(short, asked)[0].found == "at most 32 frames"


def test_minimum_scores_need_a_published_figure() -> None:
    """No figure is a breach; so is a worse one, with the difference, also where lower is better."""
    catalog = make_catalog()
    asked = Requirements(minimum_scores={"toyqa": 90.0, "other": 1.0})
    minimums = single_yardsticks(catalog.benchmarks, catalog.models, names=asked.minimum_scores)
    found = [breach.found for breach in model_breaches(make_model(), asked, minimums)]
    assert found == ["no comparable figure", "toyqa 80"]
    errors = {"toyqa": replace(minimums["toyqa"], higher_is_better=False)}
    assert not model_breaches(make_model(), Requirements(minimum_scores={"toyqa": 90.0}), errors)
    worse = model_breaches(make_model(), Requirements(minimum_scores={"toyqa": 70.0}), errors)[0]
    assert (worse.wanted, worse.by) == ("at most 70", "10 short")


def test_thinking_editions_write_more() -> None:
    """Reasoning tokens are added to the answer: the catalog's figure, else the assumption."""
    thinking = make_model(edition=Edition.THINKING)
    assert planned_output_tokens(make_model(), 100) == 100
    assert planned_output_tokens(thinking, 100) == 100 + THINKING_TOKENS
    known = (TypicalOutput(task="reasoning", tokens=300, source=SOURCE),)
    assert planned_output_tokens(replace(thinking, typical_output=known), 100) == 400


def test_conditions_are_listed() -> None:
    """Caps, regions, attribution and derived licences each become a line."""
    license = License(
        name="L",
        maximum_monthly_users=700_000_000,
        maximum_annual_revenue_usd=10_000_000,
        excluded_regions=("EU",),
        attribution=True,
        derived_from="Qwen licence",
        source=SOURCE,
    )
    assert len(license_conditions(license)) == 5


@pytest.mark.parametrize(
    "requirements",
    [
        Requirements(workload=Workload(requests_per_second=0.0)),
        Requirements(workload=Workload(requests_per_second=math.nan)),
        Requirements(workload=Workload(prompt_tokens=-1)),
        Requirements(workload=Workload(requests_per_second=1.0, concurrency=1)),
        Requirements(objectives=Objectives(ttft_seconds=-1.0)),
        Requirements(tasks={Task.CHART: 0.0}),
        Requirements(maximum_usd_per_month=math.inf),
        Requirements(top=0),
    ],
)
def test_senseless_numbers_are_refused(requirements: Requirements) -> None:
    """Zero, negative, infinite and contradicting values are one clear error."""
    with pytest.raises(InvalidValue):
        check_requirements(requirements)


def test_the_longest_task_sets_the_assumed_answer() -> None:
    """With several tasks the longest usual answer is planned for."""
    assert default_output_tokens([Task.CHART, Task.DOCUMENT_OCR]) == 512
    assert default_output_tokens([]) == 256
