"""Walls that the import linter cannot see: what a run of the product loads, and what a folder must not hold."""

from __future__ import annotations

import operator
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Never loaded by the product itself: engines, clusters, hubs, and the click that would break typer's error handling.
FOREIGN = {
    "torch",
    "vllm",
    "transformers",
    "kopf",
    "kubernetes",
    "huggingface_hub",
    "gpuhunt",
    "jinja2",
    "click",
    "PIL",
}
# Not loaded before a command needs them: each costs tens of milliseconds.
LATE = {"httpx", "yaml", "rich", "asyncio"}


def _loaded_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint('|'.join(sys.modules), file=sys.stderr)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in finished.stderr.splitlines()[-1].split("|")}


def test_the_operator_folder_is_no_package() -> None:
    """An __init__.py in operator/ would replace the standard library's module of that name."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert operator.itemgetter(0)("a") == "a"


def test_the_library_loads_nothing_foreign() -> None:
    """Recommending and planning from Python need the lean install alone."""
    assert not _loaded_by("import vlmctl; vlmctl.recommend(task='chart'); vlmctl.plan('qwen2.5-vl-7b')") & FOREIGN


def test_help_loads_nothing_foreign_or_slow() -> None:
    """``vlmctl --help`` answers without engines, network libraries or a YAML parser."""
    loaded = _loaded_by(
        "sys.argv = ['vlmctl', '--help']\nfrom vlmctl.cli.main import main\ntry: main()\nexcept SystemExit: pass\n"
    )
    assert not loaded & (FOREIGN | LATE)


def test_our_tests_are_not_those_of_a_distribution() -> None:
    """Outside pytest, too, `tests` is the folder beside the product: gpuhunt installs a package of that name."""
    program = "import tests.support.records; print(tests.__file__)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert Path(finished.stdout.strip()) == ROOT / "tests" / "__init__.py"
