"""Cases asked over HTTP of servers whose accuracy is known: the same for all, failures counted, verdicts right."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_models import ScriptedModel, ScriptedServer, always, scripted_cases, serving
from vlmctl.bench.endpoint import Endpoint
from vlmctl.compare import asking
from vlmctl.compare.album import Album
from vlmctl.compare.cases import Case
from vlmctl.compare.comparison import Progress, compare_all
from vlmctl.compare.contenders import Contender, Price
from vlmctl.compare.results import ComparisonResult, Settings
from vlmctl.compare.standings import EVERYTHING, standings
from vlmctl.compare.sweep import count_plateaus, resolution_plateaus, resolution_points
from vlmctl.compare.verdicts import verdict, warnings


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_WAIT_SECONDS", 0.001)


def compare(
    servers: list[ScriptedServer],
    cases: list[Case],
    *,
    settings: Settings | None = None,
    prices: dict[str, Price] | None = None,
    **more: Any,
) -> ComparisonResult:
    async def run() -> ComparisonResult:
        async with AsyncExitStack() as stack:
            contenders = [
                Contender(
                    name=server.model.name,
                    endpoint=Endpoint(url=await stack.enter_async_context(serving(server))),
                    price=(prices or {}).get(server.model.name),
                )
                for server in servers
            ]
            return await compare_all(contenders, Album(cases), settings or Settings(), cases_source="test", **more)

    return asyncio.run(run())


def by_category(category: str, _side: int) -> float:
    return 0.95 if category == "charts" else 0.4


def by_resolution(category: str, side: int) -> float:
    needed = 256 if category == "small-print" else 64
    return 0.9 if side >= needed else 0.2


def test_ranking_and_category_winners_come_out_right(tmp_path: Path) -> None:
    """A model better in one category wins there and in all; where two are alike nobody wins."""
    cases = scripted_cases(tmp_path, ["charts", "forms"], 60)
    result = compare(
        [ScriptedServer(ScriptedModel("specialist", by_category)), ScriptedServer(ScriptedModel("plain", always(0.4)))],
        cases,
    )
    found = standings(result)
    assert found.winner == "specialist"
    assert found.category_winners == {"charts": "specialist"}
    assert [each.contender for each in found.contenders] == ["specialist", "plain"]
    assert [each.rank for each in found.contenders] == [1, 2]
    quality = found.contenders[0].categories["charts"]
    assert quality.low <= 0.95 <= quality.high


def test_everyone_gets_the_same_bytes_and_questions_in_the_same_order(tmp_path: Path) -> None:
    """What two servers saw is equal, request by request, repeats and sweeps included."""
    cases = scripted_cases(tmp_path, ["charts"], 6, side=200)
    servers = [ScriptedServer(ScriptedModel(name, always(0.5))) for name in ("a", "b")]
    settings = Settings(repeats=2, concurrency=1)
    compare(servers, cases, settings=settings, sides_pixels=(64,), image_counts=(1, 3))
    assert servers[0].requests == servers[1].requests
    assert len(servers[0].requests) == 2 * 6 * 3


def test_tokens_times_and_dollars(tmp_path: Path) -> None:
    """Image tokens are the server's own; dollars follow the tokens, or the time that the server was taken."""
    cases = scripted_cases(tmp_path, ["charts"], 8, side=64)
    servers = [ScriptedServer(ScriptedModel(name, always(1.0), seconds=0.02)) for name in ("tokens", "hours")]
    prices = {
        "tokens": Price(usd_per_million_input=100.0, usd_per_million_output=1000.0),
        "hours": Price(usd_per_hour=3600.0),
    }
    result = compare(servers, cases, prices=prices, settings=Settings(concurrency=2))
    speed = {each.contender: each.speed for each in standings(result).contenders}
    assert speed["tokens"].image_tokens == 4  # 64 x 48 pixels of 28 x 28
    assert speed["tokens"].prompt_tokens == 4 + 6
    assert speed["tokens"].usd_per_1k == pytest.approx(1000 * (10 * 100 + 1 * 1000) / 1e6)
    assert speed["tokens"].ttft_p50_seconds is not None
    assert speed["tokens"].ttft_p50_seconds >= 0.02
    hours = speed["hours"].usd_per_1k  # a dollar a second: 8 requests, 2 at once, 20 ms each, take 80 ms or more
    assert hours is not None
    assert 1000 * 0.08 / 8 <= hours <= 1000 * 0.8 / 8


def test_where_more_pixels_stop_paying(tmp_path: Path) -> None:
    """The smallest size that is not worse is found for each category, and quality follows the known accuracy."""
    cases = scripted_cases(tmp_path, ["plain", "small-print"], 60, side=320)
    server = ScriptedServer(ScriptedModel("model", by_resolution))
    result = compare([server], cases, sides_pixels=(32, 64, 128, 256), settings=Settings(concurrency=8))
    found = {each.category: each for each in resolution_plateaus(result)}
    assert found["plain"].enough == 64
    assert found["small-print"].enough == 256
    assert found[EVERYTHING].enough == 256
    assert found["plain"].loss_at_most is not None
    points = {point.value: point for point in resolution_points(result)}
    assert points[128].quality["small-print"].mean < 0.4 < 0.75 < points[256].quality["small-print"].mean
    tokens = [points[side].speed.image_tokens for side in (32, 64, 128, 256)]
    assert tokens == sorted(tokens)


def test_sizes_that_change_nothing_are_not_asked_again(tmp_path: Path) -> None:
    """Images no larger than a point of the sweep stand there with the answer they have."""
    cases = scripted_cases(tmp_path, ["charts"], 10, side=100)
    server = ScriptedServer(ScriptedModel("model", always(0.5)))
    result = compare([server], cases, sides_pixels=(50, 100, 200))
    assert len(server.requests) == 20
    points = {point.value: point.quality[EVERYTHING].mean for point in resolution_points(result)}
    assert points[100] == points[200] == standings(result).contenders[0].quality.mean  # type: ignore[union-attr]


def test_distracting_images_are_added_and_their_harm_found(tmp_path: Path) -> None:
    """A sweep over counts adds images of other cases behind a case's own; a model that minds them is found out."""

    class Distracted(ScriptedServer):
        async def chat(self, request: Any) -> Any:
            body = await request.json()
            images = sum(part["type"] == "image_url" for part in body["messages"][0]["content"])
            self.model = ScriptedModel("model", always(0.9 if images <= 2 else 0.2))
            return await super().chat(request)

    cases = scripted_cases(tmp_path, ["charts"], 60)
    server = Distracted(ScriptedModel("model", always(0.9)))
    result = compare([server], cases, image_counts=(1, 2, 4))
    assert {len(set(urls)) for _, urls in server.requests} == {1, 2, 4}
    assert any("first image only" in prompt for prompt, _ in server.requests)
    assert count_plateaus(result)[0].enough == 2


def test_broken_requests_are_asked_again_then_counted(tmp_path: Path) -> None:
    """A passing failure costs a retry; one that stays is left out of the score, and costs the rank."""
    cases = scripted_cases(tmp_path, ["charts"], 40)
    passing = ScriptedServer(
        ScriptedModel("passing", always(1.0)), lambda _prompt, number: 503 if number == 3 else None
    )
    broken = ScriptedServer(
        ScriptedModel("broken", always(1.0)), lambda prompt, _number: 500 if "7]" in prompt else None
    )
    result = compare([passing, broken], cases)
    found = {each.contender: each for each in standings(result).contenders}
    assert (found["passing"].unanswered, found["passing"].quality.mean) == (0, 1.0)  # type: ignore[union-attr]
    assert max(reply.attempts for reply in result.of("passing")) == 2
    assert found["broken"].unanswered == 4  # cases 7, 17, 27 and 37
    assert found["broken"].quality.cases == 36  # type: ignore[union-attr]
    assert found["broken"].rank is None
    assert any("4 of 40 requests broke off" in text for text in warnings(result, standings(result)))


def test_a_request_turned_down_scores_nothing(tmp_path: Path) -> None:
    """An image that a server will not take is that model's own wrong answer."""
    cases = scripted_cases(tmp_path, ["charts"], 10)
    server = ScriptedServer(
        ScriptedModel("model", always(1.0)), lambda prompt, _number: 400 if " 3]" in prompt else None
    )
    (standing,) = standings(compare([server], cases)).contenders
    assert (standing.turned_down, standing.unanswered) == (1, 0)
    assert standing.quality is not None
    assert standing.quality.mean == pytest.approx(0.9)


def test_a_server_that_refuses_the_key_is_left_and_the_others_are_asked(tmp_path: Path) -> None:
    """What no retry mends ends that contender's turn; its problem is told and the comparison goes on."""
    cases = scripted_cases(tmp_path, ["charts"], 30)
    locked = ScriptedServer(ScriptedModel("locked", always(1.0)), lambda _prompt, _number: 401)
    result = compare([locked, ScriptedServer(ScriptedModel("open", always(1.0)))], cases)
    assert len(locked.requests) <= Settings().concurrency
    found = standings(result)
    assert [each.contender for each in found.contenders] == ["open", "locked"]
    assert found.contenders[1].unanswered == 30
    assert "401" in result.contenders[0].problem
    assert verdict(found, 0.05).startswith("Only open answered")


def test_a_server_that_is_not_there_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """A contender that cannot be reached leaves no replies and says why."""
    cases = scripted_cases(tmp_path, ["charts"], 3)
    gone = Contender(name="gone", endpoint=Endpoint(url="http://127.0.0.1:9"))
    result = asyncio.run(compare_all([gone], Album(cases), Settings(), cases_source="test"))
    assert result.replies == ()
    assert "127.0.0.1:9" in result.contenders[0].problem
    assert verdict(standings(result), 0.05) == "Nothing was answered, so nobody is better."


def test_an_interruption_keeps_what_was_answered(tmp_path: Path) -> None:
    """Cancelled in the middle, the comparison returns the answers so far and says that it is incomplete."""
    cases = scripted_cases(tmp_path, ["charts"], 30)

    async def run() -> ComparisonResult:
        server = ScriptedServer(ScriptedModel("model", always(1.0), seconds=0.01))
        async with serving(server) as url:
            contender = Contender(name="model", endpoint=Endpoint(url=url), price=Price(usd_per_hour=1.0))

            def stop(progress: Progress) -> None:
                if progress.done == 5:
                    task.cancel()

            settings = Settings(concurrency=1)
            work = compare_all([contender], Album(cases), settings, cases_source="test", on_progress=stop)
            task = asyncio.ensure_future(work)
            return await task

    result = asyncio.run(run())
    assert not result.complete
    assert 5 <= len(result.replies) < 30
    assert all(reply.usd is not None for reply in result.replies)
