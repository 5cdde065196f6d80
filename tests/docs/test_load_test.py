"""The walk-through of docs/calibrate.md from a load test to a measured cost, run as a reader would."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, command_line
from tests.support.served import served
from tests.support.servers import ScriptedServer

PAGE = Path(__file__).parents[2] / "docs" / "calibrate.md"
SECTION = re.compile(r"^## From a load test$.*?^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
URL = "http://localhost:8000"
SHORT = ("--requests", "8", "--max-concurrency", "4")  # in place of the minutes of a real load test
IMAGE_TOKENS = 1_196  # of 1280x720 under Qwen2.5-VL's rule


@pytest.fixture
def vlmctl(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(capsys)


def test_the_walk_through_ends_with_measured_figures(
    vlmctl: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command in turn, against a scripted server in the place of the model: the last one says `measured`."""
    monkeypatch.chdir(tmp_path)
    found = SECTION.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    lines = re.findall(r"^\$ vlmctl (.*)$", found[1], re.MULTILINE)
    server = ScriptedServer(tokens=16, delay=lambda _: 0.25, gap=lambda _: 0.03, image_tokens=IMAGE_TOKENS)
    said = {}
    with served(server) as url:
        for line in lines:
            words = [url if word == URL else word for word in shlex.split(line, comments=True)]
            words, _, target = (words, "", "") if ">" not in words else (words[:-2], ">", words[-1])
            ran = vlmctl(*words, *(SHORT if words[0] == "bench" else ()))
            assert ran.code == 0, ran.err
            if target:
                Path(target).write_text(ran.out)
            said[words[0]] = " ".join(ran.out.split())
    assert list(said) == ["plan", "bench", "accuracy", "calibrate", "cost"]
    assert "Against the plan, at 4 in flight" in said["bench"]
    assert "2 of 2 rows answered (100.0%)" in said["accuracy"]
    assert "2 measurements are kept" in said["calibrate"]
    assert "Speed and cost are measured" in said["cost"]
