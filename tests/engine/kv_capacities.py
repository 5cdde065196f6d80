"""Starts vLLM on CPU for each run that standard input lists, and writes what it says of its KV cache, a line a run.

A program, not a test: the engine changes its process too much to share it. Weights are dummies; nothing is generated.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from vllm import LLM, ModelRegistry
from vllm.distributed import cleanup_dist_env_and_memory


def capacity(config: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """What the engine resolved once it had started."""
    # Inspecting the class here saves the engine a process of its own for that.
    for architecture in config["architectures"]:
        ModelRegistry.register_model(architecture, ModelRegistry.models[architecture].load_model_cls())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        with contextlib.redirect_stdout(sys.stderr):
            engine = LLM(
                model=folder,
                skip_tokenizer_init=True,
                load_format="dummy",
                dtype="bfloat16",
                enforce_eager=True,
                max_num_seqs=4,
                **arguments,
            )
    resolved = engine.llm_engine.vllm_config
    said = {
        "kv_cache_size_tokens": resolved.cache_config.kv_cache_size_tokens,
        "num_gpu_blocks": resolved.cache_config.num_gpu_blocks,
        "block_size": resolved.cache_config.block_size,
        "in_flight_tokens": resolved.max_in_flight_tokens,
    }
    del engine
    cleanup_dist_env_and_memory()
    return said


if __name__ == "__main__":
    torch.set_num_threads(1)
    for run in json.load(sys.stdin):
        print(json.dumps(capacity(run["config"], run["arguments"])), flush=True)
