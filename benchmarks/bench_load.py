"""How many requests with images a load generator sends on one core, to a server that answers at once on another.

    python benchmarks/bench_load.py                         # vlmctl alone
    python benchmarks/bench_load.py --others ENGINE/bin     # beside `vllm bench serve`, aiperf, guidellm found there
    python benchmarks/bench_load.py --profile               # and where the time goes
    python benchmarks/bench_load.py --memory 10000          # and how much memory so many requests take
    python benchmarks/bench_load.py --honesty               # how far latencies are from a server's known ones

Every request carries a 1280x720 JPEG of its own (about 195 kB, 260 kB in base64), prepared beforehand, and 64 words,
and is answered with 16 tokens in 19 events. The tools take turns, each on the same core, each against a new server.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

GOAL = 500.0  # requests per second on one core
SIZE, QUALITY, WORDS, TOKENS = (1280, 720), 85, 64, 16
NOISY_QUALITY = 99  # at which a JPEG is about as large as the noise that `vllm bench serve` sends: 740 kB in base64
TIME_LIMIT_SECONDS = 600
MIB = 1024**2
CLIENT_CORE, SERVER_CORE = 0, 1
PROBES = 2  # requests that a run begins with


@contextmanager
def null_server(*arguments: str) -> Iterator[int]:
    """The port of a server in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("null_server.py")), "--tokens", str(TOKENS), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            pin(process.pid, SERVER_CORE)
            port = int(process.stdout.readline().split()[-1])
            yield port
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/received") as answer:
                received = json.load(answer)
            print(f"    {received['bytes'] / max(received['requests'], 1) / 1000:,.0f} kB a request")
        finally:
            process.terminate()


def pin(process: int, core: int) -> None:
    """Keep a process on a core, where the system can and has that many."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > core:
        os.sched_setaffinity(process, {core})


def vlmctl_alone(requests: int, concurrency: int, quality: int = QUALITY) -> float:
    """Requests per second, images prepared beforehand."""
    from vlmctl.bench.endpoint import Endpoint
    from vlmctl.bench.load import Arrival, LoadShape
    from vlmctl.bench.run import Settings
    from vlmctl.bench.workload import BenchWorkload, parse_slot
    from vlmctl.cli.bench_setup import run

    workload = BenchWorkload(
        slots=(parse_slot(f"{SIZE[0]}x{SIZE[1]}"),), jpeg_quality=quality, prompt_tokens=WORDS, output_tokens=TOKENS
    )
    shapes = (LoadShape(arrival=Arrival.CLOSED, concurrency=concurrency),)
    settings = Settings(workload=workload, shapes=shapes, requests=requests, seed=1)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with null_server() as port:
        report = run(Endpoint(url=f"http://127.0.0.1:{port}"), settings, None, lambda _: None)
    after, step = resource.getrusage(resource.RUSAGE_SELF), report.steps[0]
    assert (step.completed, step.failed) == (requests, 0), step.failures
    assert report.image_size == SIZE
    memory = f"peak {after.ru_maxrss / 1024:,.0f} MiB, of it pictures {report.picture_bytes / MIB:.0f} MiB"
    print(
        f"    {step.completed_per_second:,.0f} requests/s; {memory}; {after.ru_utime - before.ru_utime:.1f} s user time"
    )
    return step.completed_per_second


def child(arguments: list[str]) -> str:
    """What a process on the client's core prints."""
    command = ["taskset", "-c", str(CLIENT_CORE), *arguments] if shutil.which("taskset") else arguments
    environment = os.environ | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS, env=environment)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
    return done.stdout


def vlmctl_in_a_process(quality: int) -> Callable[[int, int], float]:
    """The same in a process of its own, as the other tools are."""

    def measure(requests: int, concurrency: int) -> float:
        numbers = ["--requests", str(requests), "--concurrency", str(concurrency), "--quality", str(quality)]
        *said, rate = child([sys.executable, __file__, "--only-vlmctl", *numbers]).splitlines()
        print(*said, sep="\n")
        return float(rate)

    return measure


def vllm_bench(folder: Path, tokenizer: str) -> Callable[[int, int], float]:
    """`vllm bench serve` with random images of the same size."""

    def measure(requests: int, concurrency: int) -> float:
        with null_server() as port, tempfile.TemporaryDirectory() as results:
            child([
                str(folder / "vllm"), "bench", "serve", "--backend", "openai-chat", "--base-url",
                f"http://127.0.0.1:{port}", "--endpoint", "/v1/chat/completions", "--model", "nothing", "--tokenizer",
                tokenizer, "--dataset-name", "random-mm", "--num-prompts", str(requests), "--max-concurrency",
                str(concurrency), "--random-input-len", str(WORDS), "--random-output-len", str(TOKENS),
                "--random-range-ratio", "0", "--random-mm-base-items-per-request", "1",
                "--random-mm-num-mm-items-range-ratio", "0", "--random-mm-limit-mm-per-prompt", '{"image": 1}',
                "--random-mm-bucket-config", f"{{({SIZE[1]}, {SIZE[0]}, 1): 1.0}}", "--save-result", "--result-dir",
                results, "--result-filename", "r.json", "--ready-check-timeout-sec", "0",
            ])  # fmt: skip
            found = json.loads(Path(results, "r.json").read_text())
        assert found["completed"] == requests, found["completed"]
        return float(found["request_throughput"])

    return measure


def aiperf(folder: Path, tokenizer: str) -> Callable[[int, int], float]:
    """NVIDIA's aiperf with synthetic images of the same size."""

    def measure(requests: int, concurrency: int) -> float:
        with null_server() as port, tempfile.TemporaryDirectory() as results:
            child([
                str(folder / "aiperf"), "profile", "--model", "nothing", "--url", f"http://127.0.0.1:{port}",
                "--endpoint-type", "chat", "--streaming", "--tokenizer", tokenizer, "--image-width-mean", str(SIZE[0]),
                "--image-height-mean", str(SIZE[1]), "--image-format", "jpeg", "--synthetic-input-tokens-mean",
                str(WORDS), "--output-tokens-mean", str(TOKENS), "--concurrency", str(concurrency), "--request-count",
                str(requests), "--artifact-dir", results, "--ui", "none",
            ])  # fmt: skip
            found = json.loads(next(Path(results).rglob("profile_export_aiperf.json")).read_text())
        return float(found["request_throughput"]["avg"])

    return measure


def guidellm(folder: Path, tokenizer: str) -> Callable[[int, int], float]:
    """guidellm with images of noise of the same size, and no text."""

    def measure(requests: int, concurrency: int) -> float:
        images = f"kind=synthetic_image,width={SIZE[0]},height={SIZE[1]},content=noise,output_tokens={TOKENS}"
        with null_server() as port, tempfile.TemporaryDirectory() as results:
            child([
                str(folder / "guidellm"), "run", "--backend",
                f"kind=openai_http,target=http://127.0.0.1:{port},model=nothing", "--profile",
                f"kind=concurrent,streams={concurrency}", "--constraint", f"kind=max_requests,count={requests}",
                "--data", images, "--tokenizer", f"kind=huggingface_auto,model={tokenizer}", "--output",
                f"kind=json,path={results}/r.json", "--disable-console",
            ])  # fmt: skip
            found = json.loads(Path(results, "r.json").read_text())
        metrics = found["benchmarks"][0]["metrics"]["requests_per_second"]
        return float(metrics["successful"]["mean"])

    return measure


TOOLS = {"vllm": vllm_bench, "aiperf": aiperf, "guidellm": guidellm}


def profile(requests: int, concurrency: int) -> None:
    """Where the client's time goes, by function."""
    profiler = cProfile.Profile()
    profiler.runcall(vlmctl_alone, requests, concurrency)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)
    encode_costs()


def encode_costs() -> None:
    """The parts of a request that do not wait for the network, in microseconds."""
    from vlmctl.bench.body import encode_body
    from vlmctl.bench.requests import PromptShape, RequestSource, prepare
    from vlmctl.bench.workload import BenchWorkload, parse_slot

    workload = BenchWorkload(slots=(parse_slot(f"{SIZE[0]}x{SIZE[1]}"),), prompt_tokens=WORDS)
    source = RequestSource(workload, prepare(workload, seed=1), seed=1, shape=PromptShape())
    rounds = 500
    began = time.perf_counter()
    drawn = [source.request(number) for number in range(rounds)]
    between = time.perf_counter()
    for request in drawn:
        encode_body(request, "nothing")
    ended = time.perf_counter()
    print(f"draw a request: {(between - began) / rounds * 1e6:.0f} us; "
          f"encode its body: {(ended - between) / rounds * 1e6:.0f} us")  # fmt: skip


def honesty(requests: int) -> None:
    """Percentiles against those of a server's delays, lognormal around 0.4 s, closed and open; fails beyond 2% or 1 ms.

    Only on a machine that does nothing else: what it takes to be told to run counts as latency.
    """
    import numpy as np

    from vlmctl.bench.endpoint import Endpoint
    from vlmctl.bench.load import Arrival, LoadShape
    from vlmctl.bench.run import Settings
    from vlmctl.bench.workload import BenchWorkload
    from vlmctl.cli.bench_setup import run

    truth, worst = np.array(delays(requests)[PROBES:]), 0.0
    for shape in (
        LoadShape(arrival=Arrival.CLOSED, concurrency=20),
        LoadShape(arrival=Arrival.POISSON, requests_per_second=50.0),
    ):
        workload = BenchWorkload(output_tokens=TOKENS)
        settings = Settings(workload=workload, shapes=(shape,), requests=requests, warm_up_requests=0, seed=1)
        with null_server("--delays", ",".join(f"{each:.6f}" for each in delays(requests))) as port:
            report = run(Endpoint(url=f"http://127.0.0.1:{port}"), settings, None, lambda _: None)
        found = report.steps[0].ttft
        assert found is not None
        for name, share in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
            seen, true = getattr(found, name).value, float(np.percentile(truth, share))
            worst = max(worst, min(abs(seen / true - 1) / 0.02, abs(seen - true) / 0.001))
            print(f"{shape.label:>18} TTFT {name}: {seen * 1000:7.2f} ms, in truth {true * 1000:7.2f} ms")
    if worst > 1:
        raise SystemExit("a percentile is off by more than 2% and 1 ms")


def delays(requests: int) -> list[float]:
    """Seconds before the first token, for the probes of a run and its requests."""
    rng = random.Random(1)
    return [rng.lognormvariate(-0.9, 0.4) for _ in range(requests + PROBES)]


def compare(folder: Path, tokenizer: str, requests: int, concurrency: int, rounds: int) -> None:
    """The tools in turns; prints each one's median and range."""
    tools = {"vlmctl": vlmctl_in_a_process(QUALITY), "vlmctl, images as large": vlmctl_in_a_process(NOISY_QUALITY)}
    for name, make in TOOLS.items():
        if (folder / name).exists():
            tools[name] = make(folder, tokenizer)
        else:
            print(f"{name}: not installed in {folder}")
    found: dict[str, list[float]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, measure in tools.items():
            try:
                found[name].append(measure(requests, concurrency))
            except (RuntimeError, OSError, subprocess.TimeoutExpired, KeyError, StopIteration) as error:
                print(f"{name}: did not run: {error}")
    print("| tool | requests/s, median | range |\n|---|---:|---:|")
    for name, rates in found.items():
        if rates:
            print(f"| {name} | {statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} |")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--quality", type=int, default=QUALITY)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--others", type=Path, metavar="DIR", help="where the other tools' programs lie")
    parser.add_argument("--tokenizer", default="gpt2", help="of the other tools: a repository or a folder")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--honesty", action="store_true")
    parser.add_argument("--memory", type=int, metavar="REQUESTS")
    parser.add_argument("--only-vlmctl", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_vlmctl:
        print(vlmctl_alone(options.requests, options.concurrency, options.quality))
        return
    if options.others is not None:
        compare(options.others, options.tokenizer, options.requests, options.concurrency, options.rounds)
        return
    pin(0, CLIENT_CORE)
    if options.honesty:
        honesty(min(options.requests, 500))
        return
    if options.memory is not None:
        vlmctl_alone(options.memory, options.concurrency)
        return
    if options.profile:
        profile(options.requests, options.concurrency)
        return
    rates = [vlmctl_alone(options.requests, options.concurrency) for _ in range(options.rounds)]
    print(f"median {statistics.median(rates):,.0f} requests/s on one core; the goal is {GOAL:,.0f}")


if __name__ == "__main__":
    main()
