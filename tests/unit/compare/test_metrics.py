"""Each metric against cases computed by hand from its published definition, and laws of ANLS and IoU."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.compare import metrics
from vlmctl.compare.boxes import Box

TEXTS = st.text(alphabet="abcdeé日本 0123", max_size=12)
SIDES = st.floats(min_value=-1000, max_value=1000, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, top = draw(SIDES), draw(SIDES)
    return Box(left, top, left + draw(st.floats(0.5, 500)), top + draw(st.floats(0.5, 500)))


@pytest.mark.parametrize(
    ("answer", "accepted", "score"),
    [
        ("  Total ", ["total"], 1.0),
        ('"Total".', ["total"], 1.0),
        ("ＴＯＴＡＬ", ["total"], 1.0),
        ("the total", ["total"], 0.0),
        ("12.50", ["12.5"], 0.0),
        ("b", ["a", "B"], 1.0),
        ("", ["a"], 0.0),
    ],
)
def test_exact(answer: str, accepted: list[str], score: float) -> None:
    """Case, width, outer spaces, quotes and stops aside, the answer must be an accepted text."""
    assert metrics.exact(answer, accepted) == score


@pytest.mark.parametrize(
    ("answer", "accepted", "score"),
    [
        ("The total is 12.50 euros.", ["12.50"], 1.0),
        ("There are 13 dots.", ["3"], 0.0),
        ("It costs 3.5 euros.", ["3"], 0.0),
        ("It costs 1,300 euros.", ["300"], 0.0),
        ("There are 3.", ["3"], 1.0),
        ("3, as I count", ["3"], 1.0),
        ("a catalogue", ["cat"], 0.0),
        ("a cat.", ["cat"], 1.0),
        ("合計は東京都です", ["東京"], 1.0),
        ("カート", ["日"], 0.0),
        ("anything", [""], 0.0),
    ],
)
def test_contains(answer: str, accepted: list[str], score: float) -> None:
    """An accepted text must stand in the answer as whole words or numbers; scripts without spaces have no words."""
    assert metrics.contains(answer, accepted) == score


@pytest.mark.parametrize(
    ("answer", "accepted", "score"),
    [
        ("hello", ["hello"], 1.0),
        ("Hello  World", ["hello world"], 1.0),
        ("helo", ["hello"], 1 - 1 / 5),
        ("kitten", ["sitting"], 1 - 3 / 7),
        ("abcd", ["abxy"], 0.0),  # exactly half must be edited: at the threshold the score is 0
        ("abc", ["abcx", "zzz"], 1 - 1 / 4),
        ("no", ["yes", "yes sir"], 0.0),
        ("", [""], 1.0),
        ("", ["a"], 0.0),
    ],
)
def test_anls(answer: str, accepted: list[str], score: float) -> None:
    """1 - NL to the nearest accepted text where NL is below 0.5, else 0 (Biten et al. 2019, equation 1)."""
    assert metrics.anls(answer, accepted) == pytest.approx(score)


@given(TEXTS, TEXTS, TEXTS)
def test_levenshtein_is_a_distance(one: str, other: str, third: str) -> None:
    """Zero to itself alone, symmetric, at most the longer length, and a way round is never shorter."""
    there = metrics.levenshtein(one, other)
    assert (there == 0) == (one == other)
    assert there == metrics.levenshtein(other, one)
    assert abs(len(one) - len(other)) <= there <= max(len(one), len(other))
    assert metrics.levenshtein(one, third) <= there + metrics.levenshtein(other, third)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_anls_laws(answer: str, accepted: list[str], further: str) -> None:
    """0 or above one half, 1 for an accepted text, symmetric, and never lower with a further accepted text."""
    score = metrics.anls(answer, accepted)
    assert score == 0 or 0.5 < score <= 1
    assert metrics.anls(accepted[0], accepted) == 1
    assert metrics.anls(answer, [further]) == metrics.anls(further, [answer])
    assert metrics.anls(answer, [*accepted, further]) >= score


@pytest.mark.parametrize(
    ("answer", "number", "accepted", "score"),
    [
        ("105", 100.0, (), 1.0),  # exactly 5% off
        ("95", 100.0, (), 1.0),
        ("105.1", 100.0, (), 0.0),
        ("-100", 100.0, (), 0.0),
        ("45%", 45.0, (), 1.0),
        ("$1,234.00", 1234.0, (), 1.0),
        ("The value is 42.", 42.0, (), 1.0),
        ("42 in 2019", 42.0, (), 0.0),  # two numbers: which is the answer?
        ("0", 0.0, (), 1.0),
        ("0.01", 0.0, (), 0.0),
        ("Blue", None, ("blue",), 1.0),
        ("bluish", None, ("blue",), 0.0),
        ("7.1", None, ("7",), 1.0),  # a text that is a number counts as one
        ("many", 3.0, (), 0.0),
    ],
)
def test_relaxed_accuracy(answer: str, number: float | None, accepted: tuple[str, ...], score: float) -> None:
    """Numbers within 5% of the true one, texts exactly right (Masry et al. 2022, section 5.1)."""
    assert metrics.relaxed_accuracy(answer, number=number, accepted=accepted) == score


@pytest.mark.parametrize(
    ("answer", "number", "tolerance", "score"),
    [
        ("12.5", 12.4, 0.1, 1.0),
        ("12.5", 12.3, 0.1, 0.0),
        ("−3", -3.0, 0.0, 1.0),
        ("1e3", 1000.0, 0.0, 1.0),
        ("", 0.0, 1.0, 0.0),
    ],
)
def test_numeric(answer: str, number: float, tolerance: float, score: float) -> None:
    """The only number of the answer within an absolute tolerance, the tolerance itself included."""
    assert metrics.numeric(answer, number, tolerance=tolerance) == score


@pytest.mark.parametrize(
    ("answer", "fields", "score"),
    [
        ('{"total": "12.50", "date": "1 May"}', {"total": 12.5, "date": "1 may"}, 1.0),
        ('Here: ```json\n{"total": 12.5}\n```', {"total": 12.5, "date": "x"}, 2 / 3),  # 1 of 1 given, 1 of 2 due
        ('{"a": 1, "b": 2, "c": 3}', {"a": 1, "b": 9}, 2 * 1 / 5),
        ('{"items": [{"n": "b"}, {"n": "a"}]}', {"items": [{"n": "a"}, {"n": "b"}]}, 1.0),
        ('{"items": [{"n": "a"}, {"n": "a"}]}', {"items": [{"n": "a"}]}, 2 / 3),  # a field made up counts against it
        ('{"paid": true}', {"paid": "true"}, 1.0),
        ('Fields [1]: {"total": 12.5}', {"total": 12.5}, 1.0),
        ('Pages [1] and [2]: [{"n": "a"}]', [{"n": "a"}], 1.0),
        ('{"note": 1} [1, 2]', [1, 2], 1.0),
        ('[{"a": 1}, {"a": 2}]', {"a": 1}, 2 / 3),  # more than the object that is due
        ("no JSON at all {", {"a": 1}, 0.0),
        ("{}", {"a": 1}, 0.0),
    ],
)
def test_json_field_f1(answer: str, fields: dict[str, object], score: float) -> None:
    """Twice the right fields over those given and those due, order of lists aside (Kim et al. 2022)."""
    assert metrics.json_field_f1(answer, fields) == pytest.approx(score)


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        (Box(0, 0, 10, 10), Box(0, 0, 10, 10), 1.0),
        (Box(0, 0, 10, 10), Box(5, 0, 15, 10), 50 / 150),
        (Box(0, 0, 10, 10), Box(5, 5, 15, 15), 25 / 175),
        (Box(0, 0, 10, 10), Box(2, 2, 4, 4), 4 / 100),
        (Box(0, 0, 10, 10), Box(10, 0, 20, 10), 0.0),
        (Box(0, 0, 0, 0), Box(0, 0, 0, 0), 0.0),
    ],
)
def test_iou(one: Box, other: Box, score: float) -> None:
    """Shared area over joint area (Everingham et al. 2010, section 4.4)."""
    assert metrics.iou(one, other) == pytest.approx(score)


@given(boxes(), boxes(), SIDES, SIDES, st.floats(0.1, 10))
def test_iou_laws(one: Box, other: Box, right: float, down: float, scale: float) -> None:
    """In 0 to 1, 1 with itself, symmetric, and the same wherever both lie and however large both are."""
    value = metrics.iou(one, other)
    assert 0 <= value <= 1
    assert metrics.iou(one, one) == pytest.approx(1)
    assert value == metrics.iou(other, one)
    moved = [
        Box(*((side + way) * scale for side, way in zip(box, (right, down) * 2, strict=True))) for box in (one, other)
    ]
    assert metrics.iou(*moved) == pytest.approx(value, abs=1e-6)


@given(boxes(), st.floats(0, 1), st.floats(0, 1))
def test_point_in_box_holds_what_the_box_holds(box: Box, across: float, down: float) -> None:
    """A point between the edges or on them is in; one beyond an edge is out."""
    x = min(box.left + across * (box.right - box.left), box.right)
    y = min(box.top + down * (box.bottom - box.top), box.bottom)
    assert metrics.point_in_box(x, y, box) == 1
    assert metrics.point_in_box(box.right + 1, y, box) == 0
    assert metrics.point_in_box(x, box.top - 1, box) == 0


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("B", 1),
        ("(b)", 1),
        ("**B**.", 1),
        ("B. blue", 1),
        ("The answer is C", 2),
        ("Answer: (A)", 0),
        ("Looking at it, the answer is **B**, not red.", 1),
        ("green", 2),
        ("It is blue, I think.", 1),
        ("red or blue", None),
        ("A car stands there", None),
        ("D", None),
        ("", None),
    ],
)
def test_chosen_option(answer: str, chosen: int | None) -> None:
    """A letter, an option's text, or the only option named; an article or two options choose none."""
    assert metrics.chosen_option(answer, ["red", "blue", "green"]) == chosen


@pytest.mark.parametrize(
    ("answer", "options", "chosen"),
    [
        ("Answer: A dog", ["a cat", "A dog"], 1),
        ("The answer is A cat.", ["dog", "cat", "A cat"], None),  # two options stand in it
        ("The answer is A bird.", ["a cat", "a dog"], None),
        ("Answer: A) a cat", ["a dog", "a cat"], 0),
        ("Answer: A", ["a cat", "a dog"], 0),
        ("Option A, since it barks", ["a cat", "a dog"], 0),
        ("The answer is A because it barks.", ["a cat", "a dog"], 0),
        ("Answer: A\nIt barks.", ["a cat", "a dog"], 0),
        ("The answer is B because it barks.", ["a cat", "a dog"], 1),
    ],
)
def test_an_article_is_no_letter(answer: str, options: list[str], chosen: int | None) -> None:
    """A before a word is an article, and the option's text counts; before a stop or the end it is the letter."""
    assert metrics.chosen_option(answer, options) == chosen


def test_multiple_choice_takes_the_expected_as_letter_or_text() -> None:
    """What is right may be given either way, and an option that is itself a letter stands for its text."""
    assert metrics.multiple_choice("B", ["red", "blue"], ["blue"]) == 1
    assert metrics.multiple_choice("blue", ["red", "blue"], ["B"]) == 1
    assert metrics.multiple_choice("A", ["B", "A"], ["A"]) == 1
    assert metrics.multiple_choice("red", ["red", "blue"], ["B"]) == 0


def test_thinking_is_no_answer() -> None:
    """What stands before the end of thinking is not judged."""
    assert metrics.final_answer("<think>maybe 7, or 8</think>\n 9") == "9"
    assert metrics.final_answer("9") == "9"
