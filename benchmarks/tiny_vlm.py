"""Write the tiny Qwen2-VL with random weights that `make agreement` serves on a CPU.

    ENGINE/bin/python benchmarks/tiny_vlm.py DIRECTORY

Nothing is downloaded: the tokenizer learns from the words of the load generator. It runs in the engine's environment.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIECES = 528  # and seven special tokens: an embedding of 576 rows, as in the runs of docs/agreement.md

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # for vlmctl, where it is not installed
    tiny_models = runpy.run_path(str(ROOT / "tests" / "support" / "tiny_models.py"))
    tiny_models["make_tiny_model"]("qwen2vl", Path(sys.argv[1]), vocabulary=PIECES, plain=False)
