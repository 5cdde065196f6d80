"""Command lines that nobody would write: each ends with a documented exit code and at most one line of error."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

from vlmctl import load_catalog
from vlmctl.cli.errors import EXIT_BUG, EXIT_CODES
from vlmctl.cli.main import app, main

COMMAND_LINES = 200
ADDRESS_SPACE_BYTES = 8 * 2**30  # what would eat the machine's memory is to fail here, by its command line
WORDS = """
- -- -1 0 1 2 8 -0.0 0.5 1,5 1e308 1e999 nan -inf 0x10 x = a= a=b docvqa=90 docvqa=nan docvqa=-1 %s%n ${HOME} 日本語
0x0 336 1680x2240 65535x65535 1x65535 99999x1 336..2048 1..8 8..1 60s@1fps:1280x720 999999s@1fps:1x1 9999h@240fps:8x8
2s 0s -2s 1ms 999999999h L4 h100 4xL40S 0xL4 -1xH100 999999xH100 no-such-gpu QWEN2_5.VL-7b gemma-3-1b blip-3-7b
no/such/repository ja zz-ZZ en,fr,, document-ocr document-ocr=0 chart=0.5,video=2 text-only commercial fp8 json table
there/is/nothing ~nobody/here /dev/null /dev/full . broken.yaml empty.yaml
"""
NASTY = [*WORDS.split(), "", " ", "a\nb", "tab\there", "\x1b[31mred", "\udcff", "9" * 400, "X" * 3000]
# Options and arguments with values that are well formed, and often extreme: these get past the parser.
FITTING_VALUES = """
--image 336 1680x2240 1x1 65535x65535 1x65535
--images 1 2 8
--video 60s@1fps:1280x720 1h@60fps:8x8 1s@0.1fps:1x1
--prompt-tokens 0 64 200000
--output-tokens 1 512 200000
--rps 1e-9 0.5 2 1e6 1e300
--concurrency 1 16 1000000
--ttft 1ms 2s 999999999h
--tpot 1ms 50ms 999999999h
--task document-ocr chart=2,captioning=1e-9 video gui-agent text-only classification
--language ja en,fr zh-Hant
--license permissive commercial research any
--needs thinking tools,video grounding
--min-context 1 100000000
--max-params 0.01 8 1e9
--max-usd-per-1k 1e-9 0.5 1e9
--max-usd-per-month 1e-9 500 1e12
--max-gpus 1 2 8 1024
--gpu-count 1 3 8
--owned 1xT4 4xL40S 999999xH100-SXM
--quantization any auto fp8 awq,bf16
--min-score docvqa=0 docvqa=100
--family qwen3-vl llava-next,molmo
--provider aws gcp,runpod
--region us-east-1 eu
--top 1 1000
--max-pixels 1 1000000 100000000000
--purchase-usd 1e-9 30000 1e12
--years 0.001 3 1e6
--pue 1 1.4
--power-share 0.01 1
--kwh-usd 0 0.2 1000
--ops-usd-per-month 0 100 1e9
--checkpoint /models/here
--media-domain a.example
--catalog overlay
--require ask.yaml
--diff plan.yaml
--answers answers.yaml
--rate 0.01 daily:0.02 0h:0.001,9h:0.05
--trace trace.csv
--days 0.01 0.5
--bursts 0 10
--weekend 0 1
--scale 1x 0.1x
--cold-start 0s 3m 9h
--target 0.5 1
--min-replicas 0 1 3
--max-replicas 1 4
--idle 0s 10m
--scale-down-after 0s 1h
--look-ahead 0s 1h
--engine operator KEDA
--plot plot.svg there/is/nothing
--seed 0 -1
--write plan.yaml there/is/nothing /dev/full .
folder overlay
repository_or_folder overlay
"""
OUTPUT = "--output"


class Command(NamedTuple):
    """A real command: the words that call it, its arguments by name, its flags, and its options with their choices."""

    words: list[str]
    arguments: list[str]
    flags: list[str]
    options: dict[str, list[str]]


def _commands(group: Any, words: list[str]) -> Iterator[Command]:
    children = getattr(group, "commands", {})
    for name, child in sorted(children.items()):
        yield from _commands(child, [*words, name])
    if not children:
        named = [parameter for parameter in group.params if parameter.param_type_name == "option"]
        yield Command(
            words,
            [parameter.name for parameter in group.params if parameter not in named],
            [option.opts[0] for option in named if option.is_flag],
            {option.opts[0]: list(getattr(option.type, "choices", ())) for option in named if not option.is_flag},
        )


COMMANDS = list(_commands(get_command(app), []))


@functools.cache
def _fitting() -> dict[str, list[str]]:
    """Values by option or argument: those of the table, and names of the catalog."""
    catalog = load_catalog()
    models = [model.id for model in catalog.models]
    names = {
        "model": models,
        "models": models,
        "--why": models,
        "--gpu": [gpu.id for gpu in catalog.gpus],
        "name": [benchmark.id for benchmark in catalog.benchmarks],
    }
    return names | {name: values for name, *values in map(str.split, FITTING_VALUES.strip().splitlines())}


@st.composite
def command_lines(draw: st.DrawFn, commands: list[Command]) -> list[str]:
    """A command with some of its own options and arguments: all well formed, or with nonsense among them."""
    command = draw(st.sampled_from(commands))
    sane = draw(st.integers(0, 2)) > 0
    nasty = st.sampled_from(NASTY)

    def value(name: str, choices: list[str]) -> str:
        fitting = st.sampled_from(_fitting().get(name) or choices or NASTY)
        return draw(fitting if sane else fitting | nasty)

    line = [*command.words, *(value(name, []) for name in command.arguments)]
    for name in draw(st.lists(st.sampled_from(sorted(command.options)), max_size=4)) if command.options else []:
        line += [name, value(name, command.options[name])]
    if command.flags:
        line += draw(st.lists(st.sampled_from(command.flags), max_size=2))
    if sane:
        return line
    line += draw(st.lists(nasty, max_size=1))
    return line if draw(st.booleans()) else draw(st.permutations(line))


@pytest.fixture
def desert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with little in it, no network, nobody at the keyboard, and memory that ends."""

    def unreachable(*_: object, **__: object) -> NoReturn:
        raise OSError("no network in this test")

    files = {
        "broken.yaml": "a: [1, 2\nb: }",
        "empty.yaml": "",
        "ask.yaml": "task: chart\nrps: 1\n",
        "answers.yaml": "vision: yes\n",
        "trace.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n0,100,20\n9.5,10,1\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "overlay").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    earlier = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, earlier[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, earlier)


def _run(line: list[str]) -> tuple[int, str, str]:
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(line)
    return code, stdout.getvalue(), stderr.getvalue()


@pytest.mark.usefixtures("desert")
@settings(max_examples=COMMAND_LINES)
@given(line=command_lines(COMMANDS))
def test_no_command_line_ends_in_a_traceback(line: list[str]) -> None:
    """Whatever is asked, the answer is data, or a last line of error, with a documented exit code."""
    code, stdout, stderr = _run(line)
    assert "Traceback" not in stderr, stderr
    assert code in EXIT_CODES.keys() - {EXIT_BUG}
    complaints = [text for text in stderr.split("\n") if text.startswith("error: ")]
    if complaints:
        assert code != 0
        assert complaints == [stderr.rstrip("\n").split("\n")[-1]]
    else:
        assert code == 0 or stdout, "a failure without a word"


READERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "csv": lambda text: list(csv.reader(io.StringIO(text))),
}


@pytest.mark.usefixtures("desert")
@settings(max_examples=COMMAND_LINES // 4)
@given(
    line=command_lines([command for command in COMMANDS if OUTPUT in command.options]),
    form=st.sampled_from(sorted(READERS)),
)
def test_machines_get_a_whole_document_or_none(line: list[str], form: str) -> None:
    """In a machine's format, a command that succeeds has written one document that parses, and nothing else."""
    code, stdout, _ = _run([*line, OUTPUT, form])
    if code == 0 and not {"--help", "--"} & set(line):
        assert READERS[form](stdout) is not None


def test_the_fuzzer_knows_the_commands() -> None:
    """The command lines come from the real command tree, so that a new command is fuzzed from its first day."""
    assert {"recommend", "cost", "fit", "plan"} <= {command.words[0] for command in COMMANDS}
