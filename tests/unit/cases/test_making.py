"""Making a set: the same bytes again, images and cases that belong together, and what is left out."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import PIL.ImageFont
import pytest
from PIL import Image, features

from vlmctl.cases import fonts as fonts_module
from vlmctl.cases.canvas import Size
from vlmctl.cases.fonts import BUNDLED, Face, Fonts
from vlmctl.cases.kinds import BY_NAME, KINDS, chosen_kinds
from vlmctl.cases.making import FILE, MOST_CASES, make_set
from vlmctl.compare.cases import read_cases
from vlmctl.errors import CannotWrite, InvalidValue, UnknownName

TINY = Size(96)
QUICK_KINDS = chosen_kinds(["counting", "views", "pie-charts", "receipts"])


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Cases and images are the same to the last byte, and another seed gives others."""
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        make_set(tmp_path / name, cases=36, size=TINY, seed=seed)
    assert _files(tmp_path / "one") == _files(tmp_path / "again")
    assert _files(tmp_path / "one") != _files(tmp_path / "other")


def test_a_set_is_what_the_reader_reads(tmp_path: Path) -> None:
    """The file is valid, and its cases are those that were made, their images where it says."""
    made = make_set(tmp_path, cases=40, size=TINY)
    read = read_cases(made.path)
    assert made.path == tmp_path / FILE
    assert read.made_with == made.cases.made_with
    for own, other in zip(made.cases.cases, read.cases, strict=True):
        assert other.images == tuple(str(tmp_path / name) for name in own.images)
        assert own.expected == other.expected
        assert own.question == other.question
    assert made.images == len(list((tmp_path / "images").iterdir()))


def test_every_category_has_its_share(tmp_path: Path) -> None:
    """Questions come from each kind in turn, so that no category has more than one above another."""
    made = make_set(tmp_path, cases=11, size=TINY, kinds=QUICK_KINDS)
    counts = [sum(case.category == kind.name for case in made.cases.cases) for kind in QUICK_KINDS]
    assert sorted(counts) == [2, 3, 3, 3]


def test_a_larger_set_holds_the_smaller(tmp_path: Path) -> None:
    """More cases add to those of the same seed and change none."""
    small = make_set(tmp_path / "small", cases=9, size=TINY, kinds=QUICK_KINDS)
    large = make_set(tmp_path / "large", cases=21, size=TINY, kinds=QUICK_KINDS)
    assert {case.id for case in small.cases.cases} < {case.id for case in large.cases.cases}
    small_files, large_files = _files(tmp_path / "small"), _files(tmp_path / "large")
    assert all(large_files[name] == content for name, content in small_files.items() if name != FILE)


def test_a_category_alone_is_what_it_is_among_others(tmp_path: Path) -> None:
    """Choosing categories changes no picture of theirs."""
    alone = make_set(tmp_path / "alone", cases=2, size=TINY, kinds=chosen_kinds(["views"]))
    among = make_set(tmp_path / "among", cases=8, size=TINY, kinds=QUICK_KINDS)
    assert alone.cases.cases == tuple(case for case in among.cases.cases if case.category == "views")
    assert _files(tmp_path / "alone" / "images").items() <= _files(tmp_path / "among" / "images").items()


def test_scans_are_jpeg_and_drawings_png(tmp_path: Path) -> None:
    """What comes from a scanner is stored as one stores it; what is drawn keeps its pixels."""
    make_set(tmp_path, cases=4, size=TINY, kinds=QUICK_KINDS)
    formats = {name: Image.open(io.BytesIO(content)).format for name, content in _files(tmp_path / "images").items()}
    assert {name.partition("-")[0] for name, kind in formats.items() if kind == "JPEG"} == {"receipts"}
    assert set(formats.values()) == {"JPEG", "PNG"}


def test_an_earlier_set_keeps_its_cases_where_writing_fails(tmp_path: Path) -> None:
    """The file of cases is whole or as it was: here the images cannot be written."""
    make_set(tmp_path, cases=2, size=TINY, kinds=QUICK_KINDS)
    before = (tmp_path / FILE).read_bytes()
    shutil.rmtree(tmp_path / "images")
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(CannotWrite):
        make_set(tmp_path, cases=4, size=TINY, kinds=QUICK_KINDS)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_smaller_set_leaves_nothing_of_the_larger(tmp_path: Path) -> None:
    """Images that only the earlier set lists are removed, and nothing else that lies there."""
    make_set(tmp_path / "set", cases=9, size=TINY, kinds=QUICK_KINDS)
    mine = tmp_path / "set" / "images" / "mine.png"
    mine.write_bytes(b"a user's")
    make_set(tmp_path / "set", cases=3, size=TINY, kinds=QUICK_KINDS)
    make_set(tmp_path / "fresh", cases=3, size=TINY, kinds=QUICK_KINDS)
    assert mine.read_bytes() == b"a user's"
    mine.unlink()
    assert _files(tmp_path / "set") == _files(tmp_path / "fresh")


def test_a_listed_path_outside_the_images_is_not_removed(tmp_path: Path) -> None:
    """However the file of cases was changed."""
    made = make_set(tmp_path / "set", cases=1, size=TINY, kinds=QUICK_KINDS)
    (name,) = made.cases.cases[0].images
    (tmp_path / "precious.png").write_bytes(b"precious")
    for other in ("../precious.png", "images/../../precious.png"):
        made.path.write_text(made.path.read_text().replace(name, other))
        make_set(tmp_path / "set", cases=1, size=TINY, kinds=QUICK_KINDS)
        assert (tmp_path / "precious.png").exists()


@pytest.mark.parametrize(("seed", "size", "said"), [(2, TINY, "seed 1 and not 2"), (1, Size(64), "size 96 and not 64")])
def test_another_set_is_not_written_over(tmp_path: Path, seed: int, size: Size, said: str) -> None:
    """Its answers and new pictures would mix wherever the drawing ends early."""
    make_set(tmp_path, cases=2, size=TINY, kinds=QUICK_KINDS)
    before = _files(tmp_path)
    with pytest.raises(InvalidValue, match=said):
        make_set(tmp_path, cases=2, size=size, seed=seed, kinds=QUICK_KINDS)
    assert _files(tmp_path) == before


PEOPLE_S = """schema: vlmctl.dev/cases/v1
cases:
- {id: a, images: a.png, question: What?, metric: exact, expected: x}
"""


@pytest.mark.parametrize("content", ["cases: [", PEOPLE_S])
def test_a_file_of_the_users_is_not_written_over(tmp_path: Path, content: str) -> None:
    """Neither cases that people wrote nor what is no file of cases at all."""
    (tmp_path / FILE).write_text(content)
    with pytest.raises(InvalidValue, match=FILE):
        make_set(tmp_path, cases=2, size=TINY, kinds=QUICK_KINDS)
    assert _files(tmp_path) == {FILE: content.encode()}


@pytest.mark.parametrize(("cases", "size"), [(0, TINY), (MOST_CASES + 1, TINY), (1, Size(8)), (1, Size(64, 60_000))])
def test_what_cannot_be_made_is_refused(tmp_path: Path, cases: int, size: Size) -> None:
    """Numbers out of range write nothing."""
    with pytest.raises(InvalidValue):
        make_set(tmp_path / "set", cases=cases, size=size)
    assert not (tmp_path / "set").exists()


def test_unknown_categories_list_the_nearest() -> None:
    """A slip of the pen is answered with the name that was meant."""
    with pytest.raises(UnknownName, match="'receipts'"):
        chosen_kinds(["recipts"])
    assert chosen_kinds([]) == KINDS


def test_without_fonts_pictures_are_drawn_all_the_same(tmp_path: Path) -> None:
    """Pillow's own font serves plain Latin; scripts that it lacks are left out, and the file says so."""
    made = make_set(tmp_path, cases=14, size=TINY, fonts=Fonts(system=False))
    assert made.cases.made_with is not None
    assert made.cases.made_with.fonts == (BUNDLED,)
    assert [each.what for each in made.cases.made_with.left_out] == ["latin", "japanese", "arabic", "devanagari"]
    assert all(each.reason for each in made.cases.made_with.left_out)


def test_nothing_but_a_script_without_font_is_an_error(tmp_path: Path) -> None:
    """A set that would be empty is refused with the way out."""
    with pytest.raises(InvalidValue, match="--fonts"):
        make_set(tmp_path / "set", cases=1, kinds=[BY_NAME["japanese"]], fonts=Fonts(system=False))


def test_shaped_scripts_need_shaping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Raqm, Arabic and Devanagari would come out as single letters: they are left out with that reason."""
    monkeypatch.setattr(fonts_module.features, "check", lambda _name: False)
    assert "Raqm" in Fonts().missing(Face.ARABIC)
    assert "Raqm" in Fonts().missing(Face.DEVANAGARI)
    assert not Fonts().missing(Face.SANS)


def test_fonts_are_found_by_name_in_named_folders_first(tmp_path: Path) -> None:
    """A folder of one's own comes before the system's; what only has the name of a font does not count."""
    bundled = PIL.ImageFont.load_default(20)
    assert isinstance(bundled, PIL.ImageFont.FreeTypeFont)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "dejavusans.TTF").write_bytes(bundled.font_bytes)
    (tmp_path / "NotoSansCJK-Regular.ttc").write_bytes(b"no font")
    (tmp_path / "ipag.ttf").write_bytes(bundled.font_bytes)  # a font, but without a Japanese letter
    own = Fonts([tmp_path], system=False)
    found = own.found(Face.SANS)
    assert found is not None
    assert found.path == tmp_path / "deep" / "dejavusans.TTF"
    assert own.found(Face.JAPANESE) is None


@pytest.mark.skipif(not features.check("raqm"), reason="this Pillow has no Raqm")
def test_arabic_letters_join(tmp_path: Path) -> None:
    """A word is narrower than its letters one by one: they took their joined forms."""
    own = Fonts()
    if own.missing(Face.ARABIC):
        pytest.skip(own.missing(Face.ARABIC))
    word = "قهوة"
    assert own.width(word, Face.ARABIC) < 0.9 * sum(own.width(letter, Face.ARABIC) for letter in word)
