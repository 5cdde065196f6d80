"""`vlmctl bench` and `vllm bench serve` as callables that send the same load, and the vLLM server they send it to."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
NOISE_IMAGES = 16
TEMPLATE_TOKENS = 20  # of the chat template, until the first pair tells
READY_SECONDS = 300.0  # for a server to come up on a busy machine
RUN_SECONDS = 600
KV_CACHE_BYTES = 16 * 1024**2  # for all that is in flight, and more
# Nothing is fetched or reported, and one thread: more of them stall on few cores.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else the uniprocess executor is refused on CPUs
}


class Load(NamedTuple):
    """The load of a run, for both. Tokens per request; `prompt_tokens` are of text, the chat template's included."""

    requests: int
    concurrency: int
    prompt_tokens: int
    output_tokens: int
    image_size: tuple[int, int]


class Run(NamedTuple):
    """What one client says of one run."""

    requests_per_second: float
    ttft_seconds: float
    tpot_seconds: float
    completed: int
    prompt_tokens: int
    output_tokens: int

    @property
    def figures(self) -> tuple[float, float, float]:
        """Those compared, throughput, mean TTFT, mean TPOT."""
        return self.requests_per_second, self.ttft_seconds, self.tpot_seconds


class Vlmctl:
    """`vlmctl bench` in a process of its own. Its images are noise too, as random-mm's are, so that the server decodes
    as much; each request carries a variant of one of them.
    """

    def __init__(self, url: str, folder: Path, load: Load, prefix: Sequence[str]) -> None:
        self._url, self._folder, self._load, self._prefix = url, folder, load, prefix
        noise = np.random.default_rng(1)
        width, height = load.image_size
        for number in range(NOISE_IMAGES):
            pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg")  # in Pillow's quality, as random-mm does

    def run(self) -> Run:
        """One run; raises RuntimeError where it fails."""
        load = self._load
        command = [
            *self._prefix, str(Path(sys.executable).with_name("vlmctl")), "bench", self._url, "--folder",
            str(self._folder), "--images", "1", "--prompt-tokens", str(load.prompt_tokens), "--output-tokens",
            str(load.output_tokens), "--concurrency", str(load.concurrency), "--requests", str(load.requests),
            "-o", "json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
        if done.returncode:
            raise RuntimeError(f"vlmctl bench failed: {done.stderr.strip()[-400:]}")
        step = json.loads(done.stdout)["steps"][0]
        return Run(
            requests_per_second=step["completed_per_second"],
            ttft_seconds=step["ttft"]["mean"]["value"],
            tpot_seconds=step["tpot"]["mean"]["value"],
            completed=step["completed"],
            prompt_tokens=step["tokens"]["prompt_tokens"],
            output_tokens=step["tokens"]["output_tokens"],
        )


class Vllm:
    """`vllm bench serve --dataset-name random-mm` in one process that stays: importing it takes longer than a run."""

    def __init__(self, url: str, engine: Path, model: Path, load: Load, prefix: Sequence[str]) -> None:
        self._url, self._model, self._load = url, model, load
        self.input_tokens = load.prompt_tokens - TEMPLATE_TOKENS
        self._process = subprocess.Popen(
            [*prefix, str(engine), str(HERE / "vllm_bench_worker.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | ENVIRONMENT,
        )  # fmt: skip
        self.version = str(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()

    def run(self) -> Run:
        """One run. With its default seed it would send the same requests in every run, and caches would flatter it."""
        load = self._load
        width, height = load.image_size
        arguments = [
            "--backend", "openai-chat", "--base-url", self._url, "--endpoint", "/v1/chat/completions", "--model",
            "tiny", "--tokenizer", str(self._model), "--dataset-name", "random-mm", "--num-prompts",
            str(load.requests), "--max-concurrency", str(load.concurrency), "--random-input-len",
            str(self.input_tokens), "--random-output-len", str(load.output_tokens), "--random-range-ratio", "0",
            "--random-mm-base-items-per-request", "1", "--random-mm-num-mm-items-range-ratio", "0",
            "--random-mm-limit-mm-per-prompt", '{"image": 1}', "--random-mm-bucket-config",
            f"{{({height}, {width}, 1): 1.0}}", "--temperature", "0", "--ignore-eos", "--disable-tqdm", "--seed",
            str(secrets.randbits(31)),
        ]  # fmt: skip
        assert self._process.stdin is not None
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        found = self._answer()
        return Run(
            requests_per_second=found["request_throughput"],
            ttft_seconds=found["mean_ttft_ms"] / 1000,
            tpot_seconds=found["mean_tpot_ms"] / 1000,
            completed=found["completed"],
            prompt_tokens=found["total_input_tokens"],
            output_tokens=found["total_output_tokens"],
        )

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("vllm bench serve failed: run benchmarks/vllm_bench_worker.py to see why.")
        return json.loads(line)


@contextlib.contextmanager
def serving(engine: Path, model: Path, load: Load, prefix: Sequence[str], log: IO[str]) -> Iterator[str]:
    """The address of a vLLM server on the CPU."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *prefix, str(engine), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--served-model-name", "tiny", "--dtype", "bfloat16", "--max-model-len", "2048", "--enforce-eager",
        "--distributed-executor-backend", "uni", "--kv-cache-memory-bytes", str(KV_CACHE_BYTES), "--max-num-seqs",
        str(load.concurrency), "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | ENVIRONMENT)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(f"{url}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not come up: {Path(log.name).read_text()[-800:]}")
            time.sleep(1.0)
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
