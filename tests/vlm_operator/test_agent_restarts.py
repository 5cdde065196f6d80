"""The agent when it, its engine or its supervisor starts anew, and when an engine hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace
from vlm_operator.agent.config import encode_config
from vlm_operator.agent.engine import Engine
from vlm_operator.agent.journal import Journal
from vlm_operator.agent.latch import Latch
from vlm_operator.agent.sidecar import Sidecar
from vlm_operator.results import Figures, Probe, Problem, Stage, Task, Word

from tests.support.agents import PACE, PATIENCE_SECONDS, agent, pod_in, running
from tests.support.scripted_engine import ScriptedEngine
from tests.support.servers import MODEL

# An engine that ends leaves connections behind, which is not the agent's mistake.
pytestmark = [pytest.mark.usefixtures("engines_cut_off"), pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


class TestRestarts:
    def test_an_engine_that_starts_anew_sends_one_request(self, tmp_path: Path) -> None:
        """What was measured stays; the latch that its start removed is opened after a smoke request."""
        pod = pod_in(tmp_path, ScriptedEngine())
        pod.say(Word(task=Task.LADDER, budget="6s"))

        async def test() -> None:
            async with running(pod):
                before = await pod.opened()
                asked = len(pod.engine.bodies)
                await pod.restart_engine()
                await pod.until(lambda _: len(pod.engine.bodies) > asked)
                after = await pod.opened()
                await asyncio.sleep(0.2)
            assert len(pod.engine.bodies) == asked + 1
            assert after.ladder == before.ladder
            assert after.opened == before.opened
            assert after.measured

        asyncio.run(test())

    def test_an_engine_that_is_gone_takes_no_traffic(self, tmp_path: Path) -> None:
        """Even if its start has not removed the latch, the next one is tried first."""
        pod = pod_in(tmp_path, ScriptedEngine())

        async def test() -> None:
            async with running(pod):
                await pod.opened()
                await pod.engine.end()
                await pod.until(lambda each: each.stage is Stage.WAITING)
                assert not pod.latch.exists()
                pod.engine.image_tokens = 7
                await pod.engine.start()
                result = await pod.until(lambda each: each.stage is Stage.SHUT)
                assert result.problem is Problem.WRONG_IMAGE_TOKENS

        asyncio.run(test())

    def test_a_healthy_engine_is_not_taken_out_by_one_look(self, tmp_path: Path) -> None:
        """A connection refused once, and answered a moment later, leaves the latch and what is told as they were."""
        pod = pod_in(tmp_path, ScriptedEngine(), pace=replace(PACE, confirm=4.0))

        async def test() -> None:
            async with running(pod):
                before = await pod.opened()
                asked = len(pod.engine.bodies)
                await pod.engine.end()
                await asyncio.sleep(10 * PACE.open)
                assert pod.latch.exists()
                await pod.engine.start()
                await asyncio.sleep(5.0)
                assert pod.latch.exists()
                assert await pod.result() == before
                assert len(pod.engine.bodies) == asked

        asyncio.run(test())

    def test_an_agent_that_starts_anew_leaves_traffic_alone(self, tmp_path: Path) -> None:
        """No request is sent, the latch stays, and what an earlier agent knew is told."""
        pod = pod_in(tmp_path, ScriptedEngine())
        pod.say(Word(task=Task.LADDER, budget="2s"))

        async def test() -> None:
            await pod.engine.start()
            async with agent(pod):
                before = await pod.opened()
            asked = len(pod.engine.bodies)
            assert pod.latch.exists()
            async with agent(pod):
                assert await pod.opened() == before
                await asyncio.sleep(0.2)
            await pod.engine.end()
            assert len(pod.engine.bodies) == asked

        asyncio.run(test())

    def test_a_damaged_file_is_begun_anew(self, tmp_path: Path) -> None:
        """What cannot be read is not believed, and not fatal."""
        (tmp_path / "result.json").write_text("{")
        pod = pod_in(tmp_path, ScriptedEngine())

        async def test() -> None:
            async with running(pod):
                await pod.opened()

        asyncio.run(test())


class TestProgress:
    def test_an_engine_that_hangs_is_reported(self, tmp_path: Path) -> None:
        """It answers `/health`, holds a request, and makes no token for anybody; a new start clears it."""
        pod = pod_in(tmp_path, ScriptedEngine())

        async def test() -> None:
            async with running(pod):
                await pod.opened()
                pod.engine.frozen = True
                asking = asyncio.ensure_future(_ask(pod.engine.url))
                await pod.until(lambda each: each.stuck is not None)
                assert (tmp_path / "stuck").exists()
                asking.cancel()
                pod.engine.frozen = False
                await pod.restart_engine()
                await pod.opened()
                assert not (tmp_path / "stuck").exists()

        asyncio.run(test())

    def test_an_engine_that_hangs_before_it_took_traffic_is_reported(self, tmp_path: Path) -> None:
        """Its smoke request is left unanswered, and so is a single word; with health well nobody else restarts it."""
        pod = pod_in(tmp_path, ScriptedEngine(), pace=replace(PACE, request=0.2))
        pod.engine.frozen = True

        async def test() -> None:
            async with running(pod):
                result = await pod.until(lambda each: each.stuck is not None)
                assert (result.stage, result.problem) == (Stage.SHUT, Problem.REQUEST_FAILED)
                assert (tmp_path / "stuck").exists()
                assert not pod.latch.exists()
                pod.engine.frozen = False
                await pod.restart_engine()
                await pod.opened()
                assert not (tmp_path / "stuck").exists()

        asyncio.run(test())

    @pytest.mark.parametrize("accepted", [0, 3])
    def test_an_engine_that_makes_tokens_for_us_is_not(self, tmp_path: Path, accepted: int) -> None:
        """Idle, or with clients that do not read their answers."""
        pod = pod_in(tmp_path, ScriptedEngine(accepted=accepted))

        async def test() -> None:
            async with running(pod):
                await pod.opened()
                await asyncio.sleep(4 * PACE.stuck)
                assert (await pod.result()).stuck is None
            assert (len(pod.engine.bodies) > 1) == bool(accepted)

        asyncio.run(test())


class TestProcess:
    @asynccontextmanager
    async def supervised(self, path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        """The command of the container; it is ended by SIGTERM, in good time."""
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "vlm_operator.agent", str(path))
        try:
            yield process
        finally:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0

    def test_a_killed_agent_comes_back_and_goes_on(self, tmp_path: Path) -> None:
        """The container lives, the ladder that was cut off is climbed again, and traffic is let in; killed later, it
        takes nothing away and sends nothing.
        """
        pod = pod_in(tmp_path, ScriptedEngine(delay=lambda _: 0.01))
        pod.say(Word(task=Task.LADDER, budget="4s"))
        path = tmp_path / "agent.json"
        path.write_text(encode_config(pod.config))

        async def test() -> None:
            await pod.engine.start()
            async with self.supervised(path) as process:
                await pod.until(lambda each: each.stage is Stage.LADDER)
                kill_child(process.pid)
                result = await pod.opened()
                assert (result.measured, result.ladder.attempts) == (True, 2)
                asked = len(pod.engine.bodies)
                kill_child(process.pid)
                assert pod.latch.exists()
                with pytest.raises(aiohttp.ClientError):
                    await pod.result()
                assert await pod.opened() == result
                assert len(pod.engine.bodies) == asked
                assert process.returncode is None
            await pod.engine.end()

        asyncio.run(test())

    def test_a_mistake_in_its_file_leaves_the_container_as_it_is(self, tmp_path: Path) -> None:
        """The agent ends with what is wrong, and is started again."""
        pod = pod_in(tmp_path, ScriptedEngine())
        path = tmp_path / "agent.json"
        path.write_text('{"served": 1}')

        async def test() -> None:
            async with self.supervised(path) as process:
                await asyncio.sleep(2.0)
                assert process.returncode is None
                path.write_text(encode_config(pod.config))
                await pod.until(lambda each: each.stage is Stage.WAITING)

        asyncio.run(test())


def kill_child(pid: int) -> None:
    """SIGKILL to the only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)


async def _ask(url: str) -> None:
    """As a user does."""
    body = {
        "model": MODEL,
        "max_tokens": 4,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=body) as response:
        await response.read()


def test_an_engine_is_judged_by_its_own_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow probe of one that was fast since counts no more: the first slow one of the next engine is repeated."""
    measured = "2026-11-20T12:30:05Z"
    slow, fast = (
        Probe(figures=Figures(concurrency=1, requests_per_second=rate, measured=measured), minimum=2.0)
        for rate in (1.0, 3.0)
    )
    found = [slow, fast, slow, slow]

    async def probe(*_: object) -> Probe:
        return found.pop(0)

    async def test() -> None:
        pod = pod_in(tmp_path, ScriptedEngine())
        journal = Journal(tmp_path)
        monkeypatch.setattr("vlm_operator.agent.tasks.probe", probe)
        sidecar = Sidecar(pod.config, Engine(pod.engine.url), journal, Latch(tmp_path))
        stages = []
        while found:
            await sidecar._probed(Word(task=Task.PROBE))
            stages.append(journal.result.stage)
        assert stages == [Stage.PROBE, Stage.PROBE, Stage.PROBE, Stage.SHUT]

    asyncio.run(test())
