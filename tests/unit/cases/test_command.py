"""`vlmctl cases make` at the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.command_line import CommandLine, command_line
from vlmctl.compare.cases import read_cases


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A function that runs `vlmctl` with the given words."""
    return command_line(capsys)


def test_make_writes_a_set_and_says_what_it_holds(run: CommandLine, tmp_path: Path) -> None:
    """JSON tells path, counts and what was left out; the file is there to be compared with."""
    asked = ("--cases", "6", "--size", "120", "--categories", "views,counting", "-o", "json")
    ran = run("cases", "make", str(tmp_path), *asked)
    assert ran.code == 0, ran.err
    assert ran.json == {
        "path": str(tmp_path / "cases.yaml"),
        "cases": 6,
        "images": 9,
        "categories": [{"category": "counting", "cases": 3}, {"category": "views", "cases": 3}],
        "left_out": [],
    }
    assert len(read_cases(tmp_path / "cases.yaml").cases) == 6


def test_one_number_is_the_longest_side_and_two_are_the_size(run: CommandLine, tmp_path: Path) -> None:
    """``--size 120`` keeps each picture's own shape, ``--size 120x120`` does not."""
    sizes = {}
    for size in ("120", "120x120"):
        assert run("cases", "make", str(tmp_path / size), "--cases", "1", "--size", size).code == 0
        with Image.open(next((tmp_path / size / "images").iterdir())) as image:
            sizes[size] = image.size
    assert sizes == {"120": (77, 120), "120x120": (120, 120)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--categories", "recipts"), "Did you mean 'receipts'?"),
        (("--size", "big"), "is not an image size"),
        (("--size", "9x9"), "cannot be made"),
        (("--cases", "0"), "cannot be made"),
    ],
)
def test_what_cannot_be_understood_ends_with_2(
    run: CommandLine, tmp_path: Path, words: tuple[str, str], said: str
) -> None:
    """One line says what is wrong, and nothing is written."""
    ran = run("cases", "make", str(tmp_path / "set"), *words)
    assert ran.code == 2
    assert said in ran.err
    assert not (tmp_path / "set").exists()


def test_a_folder_that_cannot_be_written_ends_with_6(run: CommandLine, tmp_path: Path) -> None:
    """A file in the way is said, and stays as it was."""
    (tmp_path / "file").write_text("mine")
    ran = run("cases", "make", str(tmp_path / "file"), "--cases", "1", "--size", "64")
    assert ran.code == 6
    assert (tmp_path / "file").read_text() == "mine"


def test_without_pillow_the_extra_is_named(tmp_path: Path) -> None:
    """A lean install says which package is missing and how to get it."""
    program = "import sys; sys.modules['PIL'] = None; from vlmctl.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", program, "cases", "make", str(tmp_path / "set")]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "pip install 'vlmctl[bench]'" in finished.stderr
    assert not (tmp_path / "set").exists()
