"""The agent beside real vLLM: what it counts, measures and sees is what is there."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: make test-engine installs it")

from vlm_operator.agent.config import AgentConfig, Pace, encode_config
from vlm_operator.results import AgentResult, Problem, Stage, Task, Word, encode, read_result

from tests.engine.cpu_servers import CpuServer, cpu_servers
from tests.support.scripted_engine import free_port
from tests.support.tiny_models import make_tiny_model
from vlmctl.bench.results import About
from vlmctl.catalog.hub import import_model
from vlmctl.planning.image_tokens import image_tokens
from vlmctl.specs.estimates import ImageTokens
from vlmctl.specs.workload import ImageInput, Workload

ROOT = Path(__file__).parents[2]
PATHS = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "operator")))}
MODELS = {"qwen2vl": ("--enable-prompt-tokens-details", "--enable-server-load-tracking"), "smolvlm": ()}
PATIENCE_SECONDS = 60.0
WIDTH, HEIGHT, PROMPT_TOKENS, OUTPUT_TOKENS, CONCURRENCY = 300, 200, 40, 8, 2
STEP_SECONDS = 2.0  # many short pairs tell more than few long ones
PAIRS = 12  # set beforehand: a comparison that ends as soon as it agrees would agree too often
LIMIT = 0.10  # of the median ratio from 1
RESAMPLES = 10_000


class Tiny(NamedTuple):
    """A tiny model on its server, and what an image becomes in it by our rule."""

    server: CpuServer
    tokens: ImageTokens

    @property
    def counted(self) -> tuple[int, int]:
        """Without and with markers."""
        return self.tokens.image_tokens, self.tokens.total_tokens


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tiny]]:
    """One that tells image tokens apart, and one that does not."""
    base = tmp_path_factory.mktemp("models")
    tokens = {}
    for kind in MODELS:
        make_tiny_model(kind, base / kind)
        read = import_model(str(base / kind), download=False).image_tokens
        assert read is not None
        tokens[kind] = image_tokens(read.rule, WIDTH, HEIGHT)
    with cpu_servers([(base / kind, arguments) for kind, arguments in MODELS.items()]) as servers:
        yield {kind: Tiny(server, tokens[kind]) for kind, server in zip(MODELS, servers, strict=True)}


class Agent(NamedTuple):
    """An agent that runs as in its container."""

    port: int
    folder: Path

    def until(self, holds: Callable[[AgentResult], bool]) -> AgentResult:
        """The result once something holds."""
        end, result = time.monotonic() + PATIENCE_SECONDS, None
        while time.monotonic() < end:
            try:
                result = read_result(httpx.get(f"http://127.0.0.1:{self.port}/result").content)
            except httpx.HTTPError:
                result = None
            if result is not None and holds(result):
                return result
            time.sleep(0.1)
        raise AssertionError(f"it never came to be: {result}")

    def opened(self) -> AgentResult:
        """The result once the engine takes traffic; asked for then only, since asking takes time of the measurement."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not (self.folder / "open").exists() and time.monotonic() < end:
            time.sleep(0.1)
        return self.until(lambda each: each.stage is Stage.OPEN)


@contextmanager
def agent(
    tiny: Tiny, folder: Path, word: Word, *, counted: tuple[int, int] | None = None, pace: Pace | None = None
) -> Iterator[Agent]:
    """The agent of a server, started as its container starts it."""
    folder.mkdir()
    name = Path(tiny.server.log).stem
    config = AgentConfig(
        served_name=name,
        about=About(model=name, gpu="L4"),
        workload=Workload(
            images=(ImageInput(width_pixels=WIDTH, height_pixels=HEIGHT),),
            prompt_tokens=PROMPT_TOKENS,
            output_tokens=OUTPUT_TOKENS,
        ),
        concurrency=CONCURRENCY,
        maximum_concurrency=CONCURRENCY,
        image_tokens=counted or tiny.counted,
        engine_url=tiny.server.url,
        port=free_port(),
        run_folder=str(folder),
        word_path=str(folder / "benchmark"),
        pace=pace or Pace(),
    )
    (folder / "benchmark").write_bytes(encode(word))
    (folder / "agent.json").write_text(encode_config(config))
    command = (sys.executable, "-m", "vlm_operator.agent", str(folder / "agent.json"))
    process = subprocess.Popen(command, env=os.environ | PATHS)
    try:
        yield Agent(config.port, folder)
    finally:
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("kind", MODELS)
def test_image_tokens_are_those_that_were_planned(models: dict[str, Tiny], tmp_path: Path, kind: str) -> None:
    """As the checkpoint's own files led us to expect, told by the engine or by difference; one token more is noticed
    where it is told, another image where it is not.
    """
    tiny = models[kind]
    with agent(tiny, tmp_path / "right", Word(task=Task.SMOKE)) as right:
        low, high = tiny.counted
        counted = right.opened().image_tokens
        assert counted is not None
        assert (counted == low) if kind == "qwen2vl" else (counted == pytest.approx(high, abs=1))
    off = 1 if kind == "qwen2vl" else 16
    wrong = (high + off, high + off)
    with agent(tiny, tmp_path / "wrong", Word(task=Task.SMOKE), counted=wrong) as other:
        result = other.until(lambda each: each.stage is Stage.SHUT)
        assert result.problem is Problem.WRONG_IMAGE_TOKENS
        assert not (tmp_path / "wrong" / "open").exists()


def test_figures_agree_with_those_from_outside(models: dict[str, Tiny], tmp_path: Path) -> None:
    """The same load on the same server, by the agent's ladder and by `vlmctl bench`, turn by turn, each first in every
    other pair: the 95% interval of the median ratio does not show that they differ by more than 10%.

    That they agree within it is for an idle machine to show: tests/cluster/node/test_agreement.py.
    """
    tiny, ratios = models["qwen2vl"], []
    runs = (lambda place: _ladder(tiny, tmp_path / place), lambda _place: _outside(tiny))
    for number in range(PAIRS):
        order = (0, 1) if number % 2 else (1, 0)
        rates = {which: runs[which](str(number)) for which in order}
        ratios.append(rates[0] / rates[1])
    low, high = _interval_of_median(ratios)
    told = f"median {statistics.median(ratios):.3f}, 95% interval {low:.3f} to {high:.3f}, {sorted(ratios)}"
    print(told)
    assert low <= 1 + LIMIT, told
    assert high >= 1 - LIMIT, told


def _ladder(tiny: Tiny, folder: Path) -> float:
    """Requests per second at the planned concurrency, as the agent's rows tell."""
    word = Word(task=Task.LADDER, budget=f"{3 * STEP_SECONDS:g}s")  # two steps, and the requests before them
    with agent(tiny, folder, word) as measuring:
        result = measuring.opened()
    assert result.problem is None
    assert [row.load.concurrency for row in result.ladder.rows] == [CONCURRENCY // 2, CONCURRENCY]
    step = result.ladder.rows[-1].flags["step"]
    assert step["tokens"]["beyond_text_tokens"] / step["completed"] == pytest.approx(tiny.tokens.total_tokens, abs=1)
    rate = result.ladder.rows[-1].measured.requests_per_second
    assert rate is not None
    return rate


def _outside(tiny: Tiny) -> float:
    """The same by the command."""
    sent = (
        "--image",
        f"{WIDTH}x{HEIGHT}",
        "--prompt-tokens",
        str(PROMPT_TOKENS),
        "--output-tokens",
        str(OUTPUT_TOKENS),
    )
    load = ("--concurrency", str(CONCURRENCY), "--step", f"{STEP_SECONDS:g}s", "--warm-up", "1", "-o", "json")
    command = (sys.executable, "-m", "vlmctl.cli.main", "bench", tiny.server.url, *sent, *load)
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=PATIENCE_SECONDS)
    rate: float = json.loads(ran.stdout)["steps"][0]["requests_per_second"]["value"]
    return rate


def _interval_of_median(values: list[float]) -> tuple[float, float]:
    """95%, by resampling (percentile bootstrap)."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES)]


def test_an_engine_that_hangs_is_seen(models: dict[str, Tiny], tmp_path: Path) -> None:
    """Its core stands still, its front end says that it is well, and a user waits: the agent asks for a restart.

    The last test: the server is of no use afterwards.
    """
    tiny = models["qwen2vl"]
    pace = Pace(progress=1.0, stuck=4.0, canary=4.0)
    with agent(tiny, tmp_path / "pod", Word(task=Task.SMOKE), pace=pace) as watching:
        watching.opened()
        time.sleep(pace.stuck + 2 * pace.progress)
        assert not (tmp_path / "pod" / "stuck").exists()
        for pid in _children(tiny.server.process.pid):
            os.kill(pid, signal.SIGSTOP)
        body = {"model": "qwen2vl", "prompt": "a", "max_tokens": 4}
        url = f"{tiny.server.url}/v1/completions"
        threading.Thread(target=lambda: _ask_in_vain(url, body), daemon=True).start()
        watching.until(lambda each: each.stuck is not None)
        assert (tmp_path / "pod" / "stuck").exists()
        assert httpx.get(f"{tiny.server.url}/health").is_success
        tiny.server.kill()


def _ask_in_vain(url: str, body: dict[str, object]) -> None:
    try:
        httpx.post(url, json=body, timeout=PATIENCE_SECONDS)
    except httpx.HTTPError:
        return


def _children(pid: int) -> list[int]:
    """The engine's processes beside its front end, all generations."""
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(each for child in found for each in _children(child))]
