"""The documentation of commands and of the Python interface: all of it is there, and what a reader could type runs."""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from docs.generate.cli_reference import EXAMPLES, commands
from vlmctl.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = re.compile(r"^\s*\$ vlmctl +(?P<line>.*)$", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT_CODE = re.compile(r"# exit code (\d+)")
NOT_RUN = ("# needs a network", "# needs a cluster", "# on a terminal", "# with a file of yours")
SHELL = frozenset({"|", ">", ">>", "&&", "||", ";", "2>"})


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for all examples, so that the catalog is parsed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _one_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up and no connection made, to this machine neither."""

    def refused(*_: object, **__: object) -> None:
        pytest.fail("it reaches for a network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


class Example(NamedTuple):
    """A documented command line, and the exit code that its page promises."""

    page: str
    line: str
    exit_code: int

    @property
    def words(self) -> list[str]:
        """The words up to what is for the shell."""
        words = shlex.split(self.line, comments=True)
        return words[: next((index for index, word in enumerate(words) if word in SHELL), len(words))]


def _examples() -> list[Example]:
    found = []
    for page in PAGES:
        for match in EXAMPLE.finditer(page.read_text(encoding="utf-8").replace("\\\n", " ")):
            line = match["line"]
            promised = EXIT_CODE.search(line)
            found.append(Example(page.name, line, int(promised[1]) if promised else 0))
    return found


def _runs(example: Example) -> bool:
    return not any(mark in example.line for mark in NOT_RUN)


@pytest.mark.usefixtures("without_network")
@pytest.mark.parametrize("example", [each for each in _examples() if _runs(each)], ids=lambda each: each.line)
def test_documented_examples_run(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An example ends with the exit code that its page promises, has something to say, and needs no network."""
    monkeypatch.chdir(tmp_path)
    code = main(example.words)
    captured = capsys.readouterr()
    assert code == example.exit_code, captured.err
    assert captured.out.strip()


@pytest.mark.parametrize("example", [each for each in _examples() if not _runs(each)], ids=lambda each: each.line)
def test_examples_that_are_not_run_name_a_command(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    """An example that needs more than this machine has names a command, at least, with options that it has."""
    words = [word for word in example.words if word != "FILE"]
    assert main([*words, "--help"]) == 0
    assert "Usage: vlmctl" in capsys.readouterr().out


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_documented(words: tuple[str, ...]) -> None:
    """Each command has its section in the reference."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"# `{' '.join(('vlmctl', *words))}`\n" in text


def test_every_command_has_an_example() -> None:
    """Each command that does something by itself is shown at work; only groups may do without."""
    named = {" ".join(words) for words in commands()}
    groups = {"", "models", "catalog", "cases"}
    assert set(EXAMPLES) == named - groups


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")], ids=lambda page: page.name
)
def test_python_examples_run(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of a page runs from top to bottom, as a reader would paste it, and has something to say."""
    blocks = PYTHON.findall(page.read_text(encoding="utf-8"))
    exec(compile("\n".join(blocks), page.name, "exec"), {})
    assert capsys.readouterr().out.strip()
