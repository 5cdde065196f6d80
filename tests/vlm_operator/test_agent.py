"""The agent beside scripted engines, over real HTTP: what opens the latch, what keeps it shut, and what is not lost.

The engines answer at once where a test does not say otherwise, and the agent waits for a fraction of the usual times.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web
from msgspec.structs import replace
from vlm_operator.agent import tasks
from vlm_operator.agent.tasks import SMOKE_TOKENS
from vlm_operator.results import Problem, Stage, Task, Word, encode

from tests.support.agents import OUTPUT_TOKENS, PACE, PATIENCE_SECONDS, Pod, agent, pod_in, running
from tests.support.scripted_engine import ScriptedEngine
from tests.support.servers import MODEL, Fault, Refusal
from vlmctl.specs.workload import ImageInput, VideoInput, Workload

# An engine that ends leaves connections behind, which is not the agent's mistake.
pytestmark = [pytest.mark.usefixtures("engines_cut_off"), pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

FAST_PROBE = Word(task=Task.PROBE, requests_per_second="2", concurrency=2, minimum_of_measured="0.7")


class TestSmoke:
    def test_an_engine_that_answers_rightly_takes_traffic(self, tmp_path: Path) -> None:
        """One request as planned, with its images and said to be of a benchmark; then the latch, and a result that says
        all of it.
        """
        pod = pod_in(tmp_path, ScriptedEngine())

        async def test() -> None:
            async with running(pod):
                result = await pod.opened()
            (body,) = pod.engine.bodies
            parts = body["messages"][0]["content"]
            assert [part["type"] for part in parts] == ["image_url", "image_url", "text"]
            assert body["model"] == MODEL
            assert pod.engine.labelled == 1
            assert (result.task, result.problem, result.image_tokens) == (Task.SMOKE, None, 200)
            assert result.engine_ready is not None
            assert result.counted_before["prompt_tokens"] == pod.engine.prompt_total
            assert not result.measured

        asyncio.run(test())

    def test_it_waits_for_an_engine_that_loads(self, tmp_path: Path) -> None:
        """Nothing is blamed meanwhile, and nothing is open."""
        pod = pod_in(tmp_path, ScriptedEngine())

        async def test() -> None:
            async with agent(pod):
                result = await pod.until(lambda each: each.stage is Stage.WAITING)
                assert (result.problem, result.engine_ready) == (None, None)
                assert not pod.latch.exists()
                await pod.engine.start()
                await pod.opened()
            await pod.engine.end()

        asyncio.run(test())

    @pytest.mark.parametrize(
        ("engine", "problem", "says"),
        [
            (ScriptedEngine(image_tokens=99), Problem.WRONG_IMAGE_TOKENS, "198 image tokens"),
            (ScriptedEngine(image_tokens=103), Problem.WRONG_IMAGE_TOKENS, "planned with 200 to 204"),
            (ScriptedEngine(image_tokens=90, details=False), Problem.WRONG_IMAGE_TOKENS, "180 image tokens"),
            (ScriptedEngine(tokens=0), Problem.EMPTY_ANSWER, "no text"),
            (ScriptedEngine(fault=lambda _: Refusal(500, "CUDA error")), Problem.REQUEST_FAILED, "CUDA error"),
            (ScriptedEngine(fault=lambda _: Fault.TRUNCATED), Problem.REQUEST_FAILED, "closed the connection"),
        ],
        ids=["too few", "too many", "by difference", "empty", "error", "broken off"],
    )
    def test_a_wrong_answer_keeps_traffic_away(
        self, tmp_path: Path, engine: ScriptedEngine, problem: Problem, says: str
    ) -> None:
        """It is said what is wrong, the request is tried again, and a right answer opens."""
        pod = pod_in(tmp_path, engine)

        async def test() -> None:
            async with running(pod):
                result = await pod.until(lambda each: each.stage is Stage.SHUT and len(engine.bodies) >= 4)
                assert result.problem is problem
                assert says in result.message
                assert not pod.latch.exists()
                engine.image_tokens, engine.tokens, engine.fault = 102, 4, lambda _: None
                assert (await pod.opened()).problem is None

        asyncio.run(test())

    def test_markers_may_be_counted_or_not(self, tmp_path: Path) -> None:
        """Engines count the tokens around an image as the image's for some models only, and some count nothing."""
        for number, engine in enumerate(
            (
                ScriptedEngine(image_tokens=101),
                ScriptedEngine(image_tokens=102, details=False),
                ScriptedEngine(usage=False),
            )
        ):
            folder = tmp_path / str(number)
            folder.mkdir()
            pod = pod_in(folder, engine)

            async def test(pod: Pod = pod) -> None:
                async with running(pod):
                    assert (await pod.opened()).image_tokens in (202, 204, None)

            asyncio.run(test())

    def test_a_request_that_nobody_can_send_is_said(self, tmp_path: Path) -> None:
        """It is no reason to die."""
        many = (ImageInput(width_pixels=64, height_pixels=48, count=1_000),)
        pod = pod_in(tmp_path, ScriptedEngine(), workload=Workload(images=many))

        async def test() -> None:
            async with running(pod):
                result = await pod.until(lambda each: each.stage is Stage.SHUT)
                assert "the number of images of 1,000" in result.message

        asyncio.run(test())

    def test_a_request_that_does_not_fit_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Instead of an agent that is ended for its memory again and again."""
        monkeypatch.setattr(tasks, "BODIES_BYTES", 100)
        pod = pod_in(tmp_path, ScriptedEngine())

        async def test() -> None:
            async with running(pod):
                result = await pod.until(lambda each: each.stage is Stage.SHUT)
                assert "spec.workload" in result.message

        asyncio.run(test())

    def test_requests_without_images_are_smoked_without(self, tmp_path: Path) -> None:
        """Text alone, and no picture is drawn."""
        pod = pod_in(tmp_path, ScriptedEngine(), workload=Workload(prompt_tokens=5), image_tokens=(0, 0))

        async def test() -> None:
            async with running(pod):
                await pod.opened()
            assert [part["type"] for part in pod.engine.bodies[0]["messages"][0]["content"]] == ["text"]

        asyncio.run(test())


class TestWord:
    def test_a_late_word_is_waited_for(self, tmp_path: Path) -> None:
        """The engine is ready before the operator has said what to do."""
        pod = pod_in(tmp_path, ScriptedEngine(), pace=replace(PACE, word=10 * PATIENCE_SECONDS))

        async def test() -> None:
            async with running(pod):
                await pod.until(lambda each: each.smoked is not None)
                await asyncio.sleep(0.2)
                assert not pod.latch.exists()
                pod.say(Word(task=Task.SMOKE))
                await pod.opened()

        asyncio.run(test())

    def test_a_word_that_comes_after_traffic_changes_nothing(self, tmp_path: Path) -> None:
        """No load is put beside the users' own."""
        pod = pod_in(tmp_path, ScriptedEngine())

        async def test() -> None:
            async with running(pod):
                await pod.opened()
                pod.say(Word(task=Task.LADDER))
                await asyncio.sleep(0.3)
                assert (await pod.result()).task is Task.SMOKE
            assert len(pod.engine.bodies) == 1

        asyncio.run(test())


class TestProbe:
    def test_a_replica_as_fast_as_measured_takes_traffic(self, tmp_path: Path) -> None:
        """The measured concurrency is held, and what came of it is told with its minimum."""
        pod = pod_in(tmp_path, ScriptedEngine(delay=lambda _: 0.02))
        pod.say(FAST_PROBE)

        async def test() -> None:
            async with running(pod):
                result = await pod.opened()
            assert pod.engine.most_in_flight == 2
            assert result.probe is not None
            assert result.probe.figures.concurrency == 2
            assert result.probe.minimum == pytest.approx(1.4)
            assert result.probe.figures.requests_per_second > result.probe.minimum
            assert pod.engine.labelled == len(pod.engine.bodies)

        asyncio.run(test())

    def test_a_replica_that_is_too_slow_takes_none_until_it_is_not(self, tmp_path: Path) -> None:
        """Tried twice before it is said, then again and again; a lower minimum from the user opens it."""
        pod = pod_in(tmp_path, ScriptedEngine(delay=lambda _: 0.05))
        pod.say(replace(FAST_PROBE, requests_per_second="4000"))

        async def test() -> None:
            async with running(pod):
                first = await pod.until(lambda each: each.probe is not None)
                assert first.problem is None
                result = await pod.until(lambda each: each.stage is Stage.SHUT)
                assert result.problem is Problem.BELOW_MINIMUM
                assert result.probe is not None
                assert result.probe.figures.requests_per_second < result.probe.minimum == pytest.approx(2800)
                assert not pod.latch.exists()
                pod.say(replace(FAST_PROBE, requests_per_second="4000", minimum_of_measured="0.001"))
                assert (await pod.opened()).problem is None

        asyncio.run(test())

    def test_gating_needs_no_operator(self, tmp_path: Path) -> None:
        """Where nobody says what to do, a replica is held to what was left behind of an earlier measurement."""
        pod = pod_in(tmp_path, ScriptedEngine(delay=lambda _: 0.05))
        standing = Path(pod.config.standing_word_path)
        standing.write_bytes(encode(replace(FAST_PROBE, requests_per_second="4000")))

        async def test() -> None:
            async with running(pod):
                result = await pod.until(lambda each: each.stage is Stage.SHUT)
                assert (result.task, result.problem) == (Task.PROBE, Problem.BELOW_MINIMUM)
                assert not pod.latch.exists()
                standing.write_bytes(encode(FAST_PROBE))
                assert (await pod.opened()).probe is not None

        asyncio.run(test())

    def test_what_the_operator_says_comes_first(self, tmp_path: Path) -> None:
        """What was left behind may be of another product, or older."""
        pod = pod_in(tmp_path, ScriptedEngine())
        Path(pod.config.standing_word_path).write_bytes(encode(replace(FAST_PROBE, requests_per_second="4000")))
        pod.say(Word(task=Task.SMOKE))

        async def test() -> None:
            async with running(pod):
                assert (await pod.opened()).task is Task.SMOKE

        asyncio.run(test())

    def test_it_ends_in_time_however_long_requests_are(self, tmp_path: Path) -> None:
        """Too few of them end to tell their rate: the replica takes traffic, and it is said that it was not judged."""
        pod = pod_in(tmp_path, ScriptedEngine(tokens=OUTPUT_TOKENS, gap=lambda _: 0.8))  # 16 s for an answer
        pod.say(Word(task=Task.PROBE, requests_per_second="0.5", concurrency=2, minimum_of_measured="0.7"))

        async def test() -> None:
            async with running(pod):
                await pod.until(lambda each: each.stage is Stage.PROBE)
                began = monotonic()
                result = await pod.opened()
            assert monotonic() - began < PACE.probe + 10.0
            assert result.probe is not None
            assert not result.probe.judged
            assert result.probe.figures.high is None

        asyncio.run(test())

    def test_short_requests_that_do_not_end_are_judged(self, tmp_path: Path) -> None:
        """A replica of which a hundred answers a second are known, and that gives none, is too slow."""
        pod = pod_in(tmp_path, ScriptedEngine(tokens=OUTPUT_TOKENS, gap=lambda _: 0.2))
        pod.say(replace(FAST_PROBE, requests_per_second="100"))

        async def test() -> None:
            async with running(pod):
                result = await pod.until(lambda each: each.stage is Stage.SHUT)
                assert result.problem is Problem.BELOW_MINIMUM

        asyncio.run(test())

    def test_requests_that_fail_are_no_measure_of_speed(self, tmp_path: Path) -> None:
        """They keep traffic away for what they failed of, whatever the minimum is."""
        engine = ScriptedEngine(fault=lambda number: Refusal(500, "out of memory") if number > 3 else None)
        pod = pod_in(tmp_path, engine)
        pod.say(replace(FAST_PROBE, minimum_of_measured=None))

        async def test() -> None:
            async with running(pod):
                result = await pod.until(lambda each: each.stage is Stage.SHUT)
                assert result.problem is Problem.REQUEST_FAILED
                assert "out of memory" in result.message

        asyncio.run(test())


class TestLadder:
    def test_a_replica_measures_itself_before_it_takes_traffic(self, tmp_path: Path) -> None:
        """Steps around the planned concurrency, each a row with everything that made it; the best one is told."""
        pod = pod_in(tmp_path, ScriptedEngine(delay=lambda _: 0.02))
        pod.say(Word(task=Task.LADDER, budget="8s"))

        async def test() -> None:
            async with running(pod):
                await pod.until(lambda each: each.stage is Stage.LADDER)
                assert not pod.latch.exists()
                result = await pod.opened()
            rows, best = result.ladder.rows, result.ladder.best
            assert [row.load.concurrency for row in rows][:3] == [2, 4, 6]
            assert best is not None
            assert best.requests_per_second == max(row.measured.requests_per_second or 0 for row in rows)
            assert best.image_tokens == 200
            assert result.engine_version == "0.32.0"
            assert (rows[0].model, rows[0].gpu, rows[0].engine_version) == ("qwen2.5-vl-7b", "L4", "0.32.0")
            assert rows[0].flags["arguments"] == ["--max-num-seqs=8"]
            assert rows[0].flags["model_revision"] == "abc"
            assert rows[0].workload.output_tokens == min(OUTPUT_TOKENS, pod.engine.tokens)
            assert pod.engine.labelled == len(pod.engine.bodies)
            assert result.problem is None

        asyncio.run(test())

    def test_it_holds_no_more_than_its_memory_does(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fewer requests are in flight than were planned where their images are large, and it is said."""
        pod = pod_in(tmp_path, ScriptedEngine(delay=lambda _: 0.02))
        pod.say(Word(task=Task.LADDER, budget="3s"))

        async def test() -> None:
            drawn = await tasks.draw(pod.config)
            monkeypatch.setattr(tasks, "BODIES_BYTES", 7 * tasks.BODIES_BYTES // drawn.most_in_flight // 2)
            async with running(pod):
                result = await pod.opened()
            assert pod.engine.most_in_flight == 3
            assert "No more than 3 requests were in flight" in result.ladder.notes[-1]

        asyncio.run(test())

    def test_the_budget_ends_it(self, tmp_path: Path) -> None:
        """A replica too slow to measure in its time takes traffic all the same, and it is said."""
        pod = pod_in(tmp_path, ScriptedEngine(tokens=40, gap=lambda number: 0.1 if number else 0.0))
        pod.say(Word(task=Task.LADDER, budget="2s"))

        async def test() -> None:
            started = monotonic()
            async with running(pod):
                result = await pod.opened()
            assert monotonic() - started < 8
            assert result.problem is Problem.NOT_MEASURED
            assert result.message
            assert not result.measured

        asyncio.run(test())

    def test_an_engine_that_fails_under_it_is_not_measured_for_ever(self, tmp_path: Path) -> None:
        """Twice, then it takes traffic with what the ladder ended with as the reason."""

        class Breaks(ScriptedEngine):
            async def chat(self, request: web.Request) -> web.StreamResponse:
                body = await request.json()
                if body.get("max_tokens", body.get("max_completion_tokens")) > SMOKE_TOKENS:
                    return web.json_response({"error": {"message": "out of memory"}}, status=500)
                return await super().chat(request)

        pod = pod_in(tmp_path, Breaks())
        pod.say(Word(task=Task.LADDER, budget="2s"))

        async def test() -> None:
            async with running(pod):
                result = await pod.opened()
            assert (result.problem, result.ladder.attempts) == (Problem.NOT_MEASURED, 2)
            assert "out of memory" in result.message

        asyncio.run(test())

    def test_videos_are_not_measured(self, tmp_path: Path) -> None:
        """The load generator does not send them: the engine is tried, takes traffic, and it is said."""
        video = VideoInput(seconds=2.0, frames_per_second=1.0, width_pixels=64, height_pixels=48)
        pod = pod_in(tmp_path, ScriptedEngine(), workload=Workload(videos=(video,)), image_tokens=None)
        pod.say(Word(task=Task.LADDER))

        async def test() -> None:
            async with running(pod):
                result = await pod.opened()
            assert result.problem is Problem.NOT_MEASURED
            assert "videos" in result.message

        asyncio.run(test())
