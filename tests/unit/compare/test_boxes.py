"""Boxes and points of every convention, in the text forms that models write, into pixels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.catalog.load import load_catalog
from vlmctl.compare.boxes import SCALES, Box, Frame, boxes_to_pixels, points_to_pixels
from vlmctl.errors import InvalidValue, UnsupportedModel
from vlmctl.planning.image_tokens import image_tokens
from vlmctl.specs.model import GroundingConvention as Convention
from vlmctl.specs.model import ModelSpec
from vlmctl.specs.tokens import TokenRuleKind

SIZE = {"width_pixels": 800, "height_pixels": 600}


def rule_of(model: str) -> TokenRuleKind:
    found = next(each for each in load_catalog([]).models if each.id == model).image_tokens
    assert found is not None
    return found.rule


@pytest.mark.parametrize(
    ("convention", "text", "box"),
    [
        (Convention.RELATIVE_1000, "<ref>cup</ref><box>[[100, 200, 500, 1000]]</box>", Box(80, 120, 400, 600)),
        (Convention.RELATIVE_1000, "<box>(100,200),(500,1000)</box>", Box(80, 120, 400, 600)),
        (Convention.RELATIVE_1000, "<|box_start|>(100,200),(500,1000)<|box_end|>", Box(80, 120, 400, 600)),
        (Convention.RELATIVE_1000, "<|begin_of_box|>[100,200,500,1000]<|end_of_box|>", Box(80, 120, 400, 600)),
        (Convention.RELATIVE_1000, '```json\n[{"bbox_2d": [100, 200, 500, 1000]}]\n```', Box(80, 120, 400, 600)),
        (Convention.RELATIVE_1000, '[{"box_2d": [200, 100, 1000, 500], "label": "cup"}]', Box(80, 120, 400, 600)),
        (Convention.RELATIVE_999, "<|ref|>cup<|/ref|><|det|>[[0, 0, 999, 333]]<|/det|>", Box(0, 0, 800, 200)),
        (Convention.PERCENT_POINTS, "[10.0, 20.0, 50.0, 100.0]", Box(80, 120, 400, 600)),
        (Convention.LOCATION_TOKENS_1024, "<loc0256><loc0128><loc0768><loc0512> cup", Box(100, 150, 400, 450)),
        (Convention.LOCATION_TOKENS_1000, "cup<loc_99><loc_199><loc_499><loc_999>", Box(79.6, 119.7, 399.6, 599.7)),
        (Convention.LOCATION_TOKENS_500, "<text><loc_50><loc_100><loc_250><loc_499>", Box(80, 120, 400, 598.8)),
    ],
)
def test_each_convention_scales_to_the_image(convention: Convention, text: str, box: Box) -> None:
    """A box is found in the text its models write and scaled by what their numbers mean, PaliGemma's y first."""
    assert boxes_to_pixels(text, Frame(convention=convention), **SIZE) == (pytest.approx(box),)


def test_resized_pixels_scale_by_the_size_the_model_saw() -> None:
    """Qwen2.5-VL's numbers are pixels of the image as its processor resized it, found by the catalog's token rule."""
    rule = rule_of("qwen2.5-vl-7b")
    seen = image_tokens(rule, 1000, 701)
    assert (seen.resized_width_pixels, seen.resized_height_pixels) == (1008, 700)
    frame = Frame(convention=Convention.RESIZED_PIXELS, rule=rule)
    (box,) = boxes_to_pixels('{"bbox_2d": [0, 350, 504, 700]}', frame, width_pixels=1000, height_pixels=701)
    assert box == pytest.approx(Box(0, 350.5, 500, 701))


# By family, an answer in the form that its source shows and the box or point that it means in 840 x 560 pixels, which
# neither Qwen's nor dots.ocr's processor resizes.
ANSWERS = {
    "Qwen-VL v1": ("<ref>cup</ref><box>(100,200),(500,1000)</box>", Box(84, 112, 420, 560)),
    "Qwen2-VL": ("<|box_start|>(100,200),(500,1000)<|box_end|>", Box(84, 112, 420, 560)),
    "Qwen2.5-VL": ('[{"bbox_2d": [84, 112, 420, 560], "label": "cup"}]', Box(84, 112, 420, 560)),
    "Qwen3-VL": ('[{"bbox_2d": [100, 200, 500, 1000], "label": "cup"}]', Box(84, 112, 420, 560)),
    "InternVL2": ("<ref>cup</ref><box>[[100, 200, 500, 1000]]</box>", Box(84, 112, 420, 560)),
    "InternVL2.5": ("<ref>cup</ref><box>[[100, 200, 500, 1000]]</box>", Box(84, 112, 420, 560)),
    "InternVL3": ("<ref>cup</ref><box>[[100, 200, 500, 1000]]</box>", Box(84, 112, 420, 560)),
    "InternVL3.5": ("<ref>cup</ref><box>[[100, 200, 500, 1000]]</box>", Box(84, 112, 420, 560)),
    "GLM-V": ("It is <|begin_of_box|>[100,200,500,1000]<|end_of_box|>.", Box(84, 112, 420, 560)),
    "Gemma 4": ('[{"box_2d": [200, 100, 1000, 500], "label": "cup"}]', Box(84, 112, 420, 560)),
    "DeepSeek-VL": ("<|ref|>cup<|/ref|><|det|>[[0, 333, 999, 999]]<|/det|>", Box(0, 560 / 3, 840, 560)),
    "PaliGemma 2": ("<loc0256><loc0128><loc0768><loc0512> cup", Box(105, 140, 420, 420)),
    "Florence": ("cup<loc_0><loc_499><loc_249><loc_999>", Box(0.42, 279.72, 209.58, 559.72)),
    "Granite": ("<title><loc_50><loc_100><loc_250><loc_400>Cups</title>", Box(84, 112, 420, 448)),
    "Molmo": ('<point x="61.5" y="40.6" alt="cup">cup</point>', (516.6, 227.36)),
    "Molmo 2": ('<points coords="1 1 615 406">cup</points>', (516.6, 227.36)),
    "hunyuan-ocr": ("(100,200),(500,1000)", Box(84, 112, 420, 560)),
    "deepseek-ocr": ("<|ref|>title<|/ref|><|det|>[[0, 333, 999, 999]]<|/det|>", Box(0, 560 / 3, 840, 560)),
    "deepseek-ocr-2": ("<|ref|>title<|/ref|><|det|>[[0, 333, 999, 999]]<|/det|>", Box(0, 560 / 3, 840, 560)),
    "dots-ocr": ('[{"bbox": [84, 112, 420, 560], "category": "Title", "text": "Cups"}]', Box(84, 112, 420, 560)),
}
NOT_TEXT = {"Moondream", "Kimi-VL"}


def _told() -> list[ModelSpec]:
    return [model for model in load_catalog([]).models if model.grounding is not None]


def _family(model: ModelSpec) -> str:
    """Models for pages are of several makers: each is a family of its own here."""
    return model.id if model.family == "OCR" else model.family


@pytest.mark.parametrize("model", _told(), ids=lambda model: model.id)
def test_each_model_of_the_catalog_is_read_as_its_source_writes(model: ModelSpec) -> None:
    """Its convention and token rule give the box that the answer means; without a convention it is not judged."""
    assert model.grounding is not None
    frame = Frame(
        convention=model.grounding.convention, rule=model.image_tokens.rule if model.image_tokens is not None else None
    )
    size = {"width_pixels": 840, "height_pixels": 560}
    if _family(model) in NOT_TEXT:
        with pytest.raises(UnsupportedModel):
            boxes_to_pixels("[1, 2, 3, 4]", frame, **size)
        return
    text, meant = ANSWERS[_family(model)]
    read = boxes_to_pixels if isinstance(meant, Box) else points_to_pixels
    assert read(text, frame, **size) == (pytest.approx(meant),)


def test_no_family_is_told_that_the_catalog_does_not_hold() -> None:
    """The answers above are of families that are there."""
    assert {_family(model) for model in _told()} == ANSWERS.keys() | NOT_TEXT


def test_resized_pixels_need_the_rule() -> None:
    """Without a token rule the resized size is unknown, and the remedy says what to name."""
    with pytest.raises(UnsupportedModel, match="catalog="):
        boxes_to_pixels("[1,2,3,4]", Frame(convention=Convention.RESIZED_PIXELS), **SIZE)


@pytest.mark.parametrize("convention", [Convention.API, Convention.UNKNOWN])
def test_what_text_does_not_carry_is_refused(convention: Convention) -> None:
    """Boxes that come as data, or whose meaning nobody states, are not guessed at."""
    with pytest.raises(UnsupportedModel):
        boxes_to_pixels("[1,2,3,4]", Frame(convention=convention), **SIZE)


@pytest.mark.parametrize(
    ("convention", "text"),
    [
        (Convention.RELATIVE_1000, "[100, 200, 1001, 300]"),
        (Convention.RELATIVE_1000, "[-1, 200, 500, 300]"),
        (Convention.RELATIVE_999, "[0, 0, 1000, 500]"),
        (Convention.PERCENT_POINTS, "[10, 20, 101, 30]"),
        (Convention.RELATIVE_1000, "[500, 200, 100, 300]"),
        (Convention.RELATIVE_1000, "[500, 200, 500, 300]"),
        (Convention.LOCATION_TOKENS_1000, "<loc_1><loc_2><loc_1000><loc_4>"),
    ],
)
def test_boxes_outside_or_without_area_are_rejected(convention: Convention, text: str) -> None:
    """Nothing is clipped: numbers beyond the scale mean another convention, or a slip."""
    with pytest.raises(InvalidValue):
        boxes_to_pixels(text, Frame(convention=convention), **SIZE)


def test_no_box_is_no_box_and_several_keep_their_order() -> None:
    """An answer without numbers in brackets holds no box; two boxes come as they were written."""
    frame = Frame(convention=Convention.RELATIVE_1000)
    assert boxes_to_pixels("There is no cup in the picture.", frame, **SIZE) == ()
    first, second = boxes_to_pixels("<box>(500,0),(1000,500)</box> and [0, 0, 500, 500]", frame, **SIZE)
    assert (first.left, second.left) == (400, 0)


@pytest.mark.parametrize(
    ("convention", "text", "points"),
    [
        (Convention.PERCENT_POINTS, '<point x="61.5" y="40.6" alt="cup">cup</point>', [(492, 243.6)]),
        (
            Convention.PERCENT_POINTS,
            '<points x1="10" y1="20" x2="30" y2="40" alt="c">c</points>',
            [(80, 120), (240, 240)],
        ),
        (Convention.RELATIVE_1000, '<points coords="1 1 615 406 2 100 200">cups</points>', [(492, 243.6), (80, 120)]),
        (Convention.RELATIVE_1000, '[{"point_2d": [615, 406], "label": "cup"}]', [(492, 243.6)]),
        (Convention.RELATIVE_1000, "It is at (615, 406).", [(492, 243.6)]),
        (Convention.RELATIVE_1000, "<box>(100,200),(500,600)</box>", [(240, 240)]),
        (Convention.RELATIVE_1000, "nowhere", []),
    ],
)
def test_points(convention: Convention, text: str, points: list[tuple[float, float]]) -> None:
    """Points in tags, JSON and brackets; a box stands for its centre."""
    found = points_to_pixels(text, Frame(convention=convention), **SIZE)
    assert found == tuple(pytest.approx(point) for point in points)


def test_points_outside_are_rejected() -> None:
    """A point beyond the edge is refused as a box is."""
    with pytest.raises(InvalidValue):
        points_to_pixels("(615, 1406)", Frame(convention=Convention.RELATIVE_1000), **SIZE)


@given(st.sampled_from(sorted(SCALES)), st.data(), st.integers(50, 4000), st.integers(50, 4000))
def test_boxes_stay_in_the_image_and_keep_their_share(
    convention: Convention, data: st.DataObject, width: int, height: int
) -> None:
    """Whatever the convention and the image, a box within the scale lies within the image, at the same shares of it."""
    whole = {Convention.PERCENT_POINTS: 100, Convention.LOCATION_TOKENS_500: 499}.get(convention, 999)
    left, top = data.draw(st.integers(0, whole - 1)), data.draw(st.integers(0, whole - 1))
    right, bottom = data.draw(st.integers(left + 1, whole)), data.draw(st.integers(top + 1, whole))
    if convention is Convention.LOCATION_TOKENS_1024:
        text = f"<loc{top:04}><loc{left:04}><loc{bottom:04}><loc{right:04}>"
    elif convention in (Convention.LOCATION_TOKENS_1000, Convention.LOCATION_TOKENS_500):
        text = f"<loc_{left}><loc_{top}><loc_{right}><loc_{bottom}>"
    else:
        text = f"[{left}, {top}, {right}, {bottom}]"
    (box,) = boxes_to_pixels(text, Frame(convention=convention), width_pixels=width, height_pixels=height)
    assert 0 <= box.left < box.right <= width
    assert 0 <= box.top < box.bottom <= height
    assert (box.right - box.left) / width == pytest.approx((right - left) / SCALES[convention])


def test_every_convention_of_the_catalog_is_read_or_refused_on_purpose() -> None:
    """No convention is forgotten: each has a scale, is in resized pixels, or is no text."""
    refused = {Convention.API, Convention.UNKNOWN}
    assert set(SCALES) | {Convention.RESIZED_PIXELS} | refused == set(Convention)
