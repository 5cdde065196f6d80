"""The way in: what starting costs, and what the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vlmctl.cli.main import MODULES, Commands

# Whatever makes a start slow: records, parsers, the network, the planner, decoration.
SLOW = {"msgspec", "yaml", "httpx", "rich", "tabulate", "vlmctl.library", "vlmctl.specs.model", "click"}


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout


def test_help_imports_nothing_slow() -> None:
    """`vlmctl --help` loads the commands and nothing that they need only when they run."""
    code = f"import sys; from vlmctl.cli.main import main; main(['--help']); print(sorted({SLOW} & set(sys.modules)))"
    assert _python(code).splitlines()[-1] == "[]"


def test_a_command_loads_no_other() -> None:
    """Running one command does not make the others."""
    code = (
        "import sys; from vlmctl.cli.main import main; main(['benchmarks', '--help']); "
        "print(sorted({'vlmctl.cli.recommend', 'vlmctl.cli.cost'} & set(sys.modules)))"
    )
    assert _python(code).splitlines()[-1] == "[]"


def test_every_command_says_what_it_is() -> None:
    """Each command of the top has a line in its help that is short enough not to be cut."""
    commands = Commands()
    assert len(commands) == len(MODULES)
    for name, command in commands.items():
        said = command.get_short_help_str(60)
        assert said, name
        assert not said.endswith("..."), name


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("vlmctl mod", "models"),
        ("vlmctl models show qwen2.5-vl-7", "qwen2.5-vl-7b"),
        ("vlmctl fit qwen2.5-vl-7b --gpu H200", "H200-SXM"),
        ("vlmctl recommend --max-usd-per-m", "--max-usd-per-month"),
        ("vlmctl plan -o js", "json"),
    ],
)
def test_the_shell_completes(typed: str, offered: str) -> None:
    """Commands, options, models, GPUs and choices complete."""
    environment = os.environ | {
        "_VLMCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    command = [sys.executable, "-m", "vlmctl.cli.main"]
    ran = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    assert offered in ran.stdout.split()
