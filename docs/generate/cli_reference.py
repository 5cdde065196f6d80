"""docs/cli.md: every command's own help with examples, and the exit codes. The examples are run by the tests."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

from typer.main import get_command

from vlmctl.cli.errors import EXIT_CODES
from vlmctl.cli.main import app, main

PAGE = "cli.md"
WIDTH = "100"  # columns of the help text
INTRODUCTION = """\
# Command reference

<!-- Written by `make docs`; edit the commands in vlmctl/cli/ and the examples in docs/generate/cli_reference.py. -->

Data goes to stdout, talk to stderr. Every command that answers takes `-o table|json|yaml|csv|markdown`; keys of JSON
objects do not come and go. `vlmctl --install-completion` sets up completion of commands, options, models and GPUs.

`--require FILE` reads options from YAML by their names, dashes as underscores, and options that are given win:

```yaml
task: document-ocr
language: [ja, en]
image: 1680x2240
rps: 2
ttft: 2s
license: commercial
```"""

# By command; a trailing comment says what a reader should know: an exit code, or that it needs a network.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "recommend": (
        "recommend --task document-ocr --language ja --image 1680x2240 --rps 2 --ttft 2s --license commercial",
        "recommend --task chart=2 --task reasoning --max-params 8 --max-usd-per-1k 0.50 --why internvl3-8b",
        "recommend --task document-ocr --image 1680x2240 --rps 1 --owned 4xL40S --purchase-usd 9000 -o json",
        "recommend --task gui-agent --ttft 1ms  # exit code 3: nothing is that fast",
    ),
    "advise": ("advise  # on a terminal; else --answers FILE",),
    "cost": (
        "cost qwen2.5-vl-7b --image 1680x2240 --rps 2 --ttft 2s",
        "cost qwen2.5-vl-7b --image 336..2048 --rps 2 --compare-apis",
        "cost internvl3-8b --image 1280x720 --images 1..8",
        "cost qwen2.5-vl-7b --rps 0.001 --scale-to-zero --idle-timeout 10m --machine-start 3m",
        "cost qwen2.5-vl-7b --owned 4xL40S --purchase-usd 9000 --years 3 --pue 1.4 --kwh-usd 0.15",
    ),
    "fit": (
        "fit qwen2.5-vl-7b --gpu L4 --image 1680x2240",
        "fit qwen2.5-vl-72b --gpu H100-SXM --gpu-count 4",
        "fit qwen2.5-vl-7b --gpu T4 --image 4000x4000  # exit code 3: it does not fit",
    ),
    "plan": (
        "plan qwen2.5-vl-7b --image 1680x2240 --rps 2 --ttft 2s",
        "plan qwen2.5-vl-7b --rps 2 --gpu L40S --format vllm",
        "plan qwen2.5-vl-7b --rps 2 --gpu L40S --explain",
        "plan qwen2.5-vl-7b --rps 2 --max-usd-per-1k 0.01  # exit code 5: over budget",
    ),
    "explain": ("explain qwen2.5-vl-7b --image 1680x2240 --rps 2",),
    "simulate": (
        "simulate qwen2.5-vl-7b --rate daily:0.5 --image 1280x720 --ttft 2s --tpot 50ms",
        "simulate qwen2.5-vl-7b --trace azure-code-2023 --scale 0.2x --image 448x448 --ttft 5s --cold-start 3m",
        "simulate qwen2.5-vl-7b --rate 0h:0.0001,9h:0.01,18h:0.001 --ttft 5s --min-replicas 0 --idle 10m --idle 1h",
    ),
    "tokens": ("tokens qwen2.5-vl-7b llava-1.5-7b --image 1680x2240 --image 1280x720",),
    "models list": ("models list --license permissive --max-params 10",),
    "models show": ("models show Qwen/Qwen2.5-VL-7B-Instruct",),
    "models compare": ("models compare qwen2.5-vl-7b internvl3-8b llava-1.5-7b",),
    "models import": ("models import Qwen/Qwen2.5-VL-7B-Instruct  # needs a network",),
    "gpus": ("gpus -o markdown",),
    "prices": ("prices --gpu L4 --kind on-demand --kind spot",),
    "prices refresh": ("prices refresh  # needs a network",),
    "benchmarks": ("benchmarks", "benchmarks OCRBench"),
    "accuracy": ("accuracy FILE --basis calibrated  # with a file of yours",),
    "calibrate": ("calibrate FILE  # with a file of yours",),
    "ask": ('ask http://localhost:8000 invoice.png "What is the total?"  # needs a network',),
    "bench": (
        "bench http://localhost:8000 --image 1280x720 --concurrency 8  # needs a network",
        "bench http://localhost:8000 --image 1280x720 --rate 2 --price 1.20/h -o json  # needs a network",
    ),
    "bench export": ("bench export --write results.yaml  # needs a network",),
    "status": ("status  # needs a cluster", "status receipts -n documents  # needs a cluster"),
    "top": (
        "top -A --sort waste  # needs a cluster",
        "top --gpus all --watch 30  # needs a cluster",
    ),
    "compare": (
        "compare --endpoint a=http://localhost:8000 --endpoint b=http://localhost:8001 --cases cases.yaml"
        "  # needs a network",
    ),
    "cases make": ("cases make cases --cases 18",),
    "catalog check": ("catalog check",),
}


def render() -> str:
    """The page, from the commands themselves."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    exits = f"## Exit codes\n\n| code | meaning |\n|---:|---|\n{codes}"
    return "\n\n".join([INTRODUCTION, exits, *(_section(words) for words in commands())]) + "\n"


def commands() -> list[tuple[str, ...]]:
    """The words of every command that can be called, groups before their members."""
    return list(_walk(get_command(app), ()))


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk(child, (*words, name))


def _section(words: tuple[str, ...]) -> str:
    level = "##" if len(words) < 2 else "###"
    title = " ".join(("vlmctl", *words))
    text = f"{level} `{title}`\n\n```text\n{_help(words)}\n```"
    examples = EXAMPLES.get(" ".join(words), ())
    if examples:
        lines = "\n".join(f"$ vlmctl {example}" for example in examples)
        text += f"\n\n```console\n{lines}\n```"
    return text


def _help(words: tuple[str, ...]) -> str:
    text = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=WIDTH), contextlib.redirect_stdout(text):
        main([*words, "--help"])
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())
