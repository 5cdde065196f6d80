"""The file of cases: what it may say in short, and that each mistake is told with its line and a way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.compare.cases import SCHEMA, Case, CaseSet, Expected, MadeWith, Metric, case_set_yaml, read_cases
from vlmctl.errors import InvalidFile

HEAD = f"schema: {SCHEMA}\ncases:\n"
CASE = "- {{id: a, images: [a.png], question: 'How many?', metric: {metric}, expected: {expected}{more}}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three images; the reader never opens them."""
    for name in ("a.png", "b2.png", "b1.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def _read(folder: Path, text: str) -> CaseSet:
    (folder / "cases.yaml").write_text(text, encoding="utf-8")
    return read_cases(folder / "cases.yaml")


def _case(metric: str, expected: str, more: str = "") -> str:
    return HEAD + CASE.format(metric=metric, expected=expected, more=more)


@pytest.mark.parametrize(
    ("metric", "short", "full"),
    [
        ("exact", "red", Expected(answers=("red",))),
        ("exact", "'007'", Expected(answers=("007",))),
        ("anls", "[red, crimson]", Expected(answers=("red", "crimson"))),
        ("numeric", "12.5", Expected(number=12.5)),
        ("relaxed_accuracy", "3", Expected(number=3)),
        ("iou", "[1, 2, 3, 4.5]", Expected(box=(1, 2, 3, 4.5))),
        ("numeric", "{number: 3, tolerance: 0.5}", Expected(number=3, tolerance=0.5)),
        ("json_fields", "{fields: {a: 1, b: [x]}}", Expected(fields={"a": 1, "b": ["x"]})),
    ],
)
def test_expected_answers_have_short_forms(folder: Path, metric: str, short: str, full: Expected) -> None:
    """A text, a list, a number and a box may stand by themselves where the metric says what they are."""
    assert _read(folder, _case(metric, short)).cases[0].expected == full


def test_images_are_found_from_the_file(folder: Path) -> None:
    """Paths and globs start at the file's folder, globs come in order of name, and URLs stay as they are."""
    text = HEAD + (
        "- {id: a, images: 'b*.png', question: Q, metric: exact, expected: x}\n"
        "- {id: b, images: [a.png, 'https://example.org/c*.png'], question: Q, metric: exact, expected: x}\n"
    )
    first, second = _read(folder, text).cases
    assert first.images == (str(folder / "b1.png"), str(folder / "b2.png"))
    assert second.images == (str(folder / "a.png"), "https://example.org/c*.png")


def test_a_folder_may_have_brackets_in_its_name(folder: Path) -> None:
    """Only what the file says is a glob, not the name of the folder that it lies in."""
    inner = folder / "[set] *"
    inner.mkdir()
    (inner / "d.png").write_bytes(b"")
    text = HEAD + "- {id: a, images: '*.png', question: Q, metric: exact, expected: x}\n"
    assert _read(inner, text).cases[0].images == (str(inner / "d.png"),)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("schema: other/v1\ncases: []\n", None, "is not of schema"),
        (f"schema: {SCHEMA}\ncases: []\n", None, "holds no cases"),
        ("a: [1\n", 2, "is not YAML"),
        (_case("exact", "x", ", colour: red"), 3, "unknown field 'colour'"),
        (_case("exactly", "x"), 3, "Did you mean 'exact'?"),
        (_case("exact", "true"), 3, "'expected' must be"),
        (_case("exact", "{number: 3}"), 3, "needs answers"),
        (_case("numeric", "three"), 3, "needs a number"),
        (_case("numeric", "{number: 3, tolerance: -1}"), 3, "needs a number"),
        (_case("json_fields", "{answers: [x]}"), 3, "needs fields"),
        (_case("iou", "[5, 2, 3, 4]"), 3, "has no area"),
        (_case("iou", "{box: [1, 2, 3, 4], image: 1}"), 3, "there are 1"),
        (_case("point_in_box", "x"), 3, "needs a box"),
        (_case("multiple_choice", "red"), 3, "needs 2 to 26 options"),
        (_case("multiple_choice", "red", ", options: [blue, green]"), 3, "neither an option nor the letter"),
        (_case("exact", "x").replace("a.png", "z.png"), 3, "there is no image"),
        (_case("exact", "x").replace("a.png", "'z*.png'"), 3, "no file matches"),
        (_case("exact", "x").replace("'How many?'", "''"), 3, "'question' is empty"),
        (_case("exact", "x") + "\n" + CASE.format(metric="exact", expected="y", more=""), 5, "id of an earlier case"),
    ],
)
def test_mistakes_are_told_with_their_line(folder: Path, text: str, line: int | None, said: str) -> None:
    """The first mistake is an error that names file and line."""
    with pytest.raises(InvalidFile, match=r"cases\.yaml") as caught:
        _read(folder, text)
    assert said in str(caught.value)
    assert caught.value.line == line


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """No traceback for a path that was mistyped."""
    with pytest.raises(InvalidFile, match="cannot be read"):
        read_cases(tmp_path / "none.yaml")


@pytest.mark.parametrize("answer", ["A", "red"])
def test_a_choice_is_named_by_letter_or_text(folder: Path, answer: str) -> None:
    """Both ways of saying which option is right are read."""
    found = _read(folder, _case("multiple_choice", answer, ", options: [red, blue]"))
    assert found.cases[0].expected.answers == (answer,)


texts = st.text(min_size=1).filter(lambda text: text.isprintable())


@given(answers=st.lists(texts, min_size=1), question=texts, seed=st.integers(0, 2**40))
def test_what_is_written_is_read_again(
    answers: list[str], question: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the text looks like to YAML, a number, a date or a colon, it comes back as it was."""
    folder = tmp_path_factory.getbasetemp()
    url = "https://example.org/a.png"
    case = Case(
        id=answers[0],
        category=question,
        images=(url,),
        question=question,
        metric=Metric.EXACT,
        expected=Expected(answers=tuple(answers)),
    )
    made_with = MadeWith(program="vlmctl", drawing=question, seed=seed, size="1024")
    written = CaseSet(cases=(case,), made_with=made_with)
    (folder / "round.yaml").write_bytes(case_set_yaml(written))
    assert read_cases(folder / "round.yaml") == written
