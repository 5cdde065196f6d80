"""An agent beside a scripted engine, in a folder that stands for the volume of their pod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
from msgspec.structs import replace
from vlm_operator.agent.config import AgentConfig, Pace
from vlm_operator.agent.sidecar import serve
from vlm_operator.results import AgentResult, Stage, Word, encode, read_result

from tests.support.scripted_engine import ScriptedEngine, free_port
from tests.support.servers import MODEL
from vlmctl.bench.about import About
from vlmctl.specs.workload import ImageInput, Workload

PATIENCE_SECONDS = 30.0
PACE = Pace(
    poll=0.02, word=0.1, probe=1.5, first_retry=0.02, last_retry=0.05, again=0.02, below=0.05, request=5.0, budget=4.0,
    open=0.02, confirm=0.1, progress=0.05, stuck=0.2, canary=0.2,
)  # fmt: skip
IMAGES = (ImageInput(width_pixels=64, height_pixels=48, count=2),)
ABOUT = About(model="qwen2.5-vl-7b", model_revision="abc", gpu="L4", arguments=("--max-num-seqs=8",))
OUTPUT_TOKENS = 20


@dataclass
class Pod:
    """An engine, the folder that it shares with its agent, and the agent's address."""

    engine: ScriptedEngine
    config: AgentConfig
    folder: Path

    @property
    def latch(self) -> Path:
        return self.folder / "open"

    def say(self, word: Word) -> None:
        """What the kubelet writes of the pod's annotation."""
        Path(self.config.word_path).write_bytes(encode(word))

    async def result(self) -> AgentResult:
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"http://127.0.0.1:{self.config.port}/result")
            answer.raise_for_status()  # before it listens, another process may be given its port
            return read_result(await answer.read())

    async def until(self, holds: Callable[[AgentResult], bool]) -> AgentResult:
        """The result once something holds."""
        end, result = monotonic() + PATIENCE_SECONDS, None
        while monotonic() < end:
            with suppress(aiohttp.ClientError):
                result = await self.result()
                if holds(result):
                    return result
            await asyncio.sleep(0.02)
        raise AssertionError(f"it never came to be: {result}")

    async def opened(self) -> AgentResult:
        """The result once the engine takes traffic."""
        result = await self.until(lambda each: each.stage is Stage.OPEN and self.latch.exists())
        assert result.opened is not None
        return result

    async def restart_engine(self) -> None:
        """As its container does: the process ends, and the next one's start removes the latch."""
        await self.engine.end()
        for name in ("open", "stuck"):
            (self.folder / name).unlink(missing_ok=True)
        await self.engine.start()


def pod_in(folder: Path, engine: ScriptedEngine, **config: Any) -> Pod:
    """A pod whose agent is not started yet."""
    told = AgentConfig(
        served_name=MODEL,
        about=ABOUT,
        workload=Workload(images=IMAGES, prompt_tokens=20, output_tokens=OUTPUT_TOKENS),
        concurrency=4,
        maximum_concurrency=8,
        image_tokens=(200, 204),
        engine_url=engine.url,
        port=free_port(),
        run_folder=str(folder),
        word_path=str(folder / "benchmark"),
        standing_word_path=str(folder / "standing"),
        pace=PACE,
    )
    return Pod(engine, replace(told, **config), folder)


@asynccontextmanager
async def agent(pod: Pod) -> AsyncIterator[None]:
    """Its agent, while the test lasts; a bug in it is the test's."""
    task = asyncio.ensure_future(serve(pod.config))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def running(pod: Pod) -> AsyncIterator[None]:
    """Its engine and its agent."""
    await pod.engine.start()
    try:
        async with agent(pod):
            yield
    finally:
        await pod.engine.end()
