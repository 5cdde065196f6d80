"""Models that are right as often as they are told to be, by category and resolution: as functions and as a server.

A question holds its case: `What is written here? [charts 17]`. A case has a difficulty of the model's own, drawn once;
the answer is right where the accuracy at the image's size exceeds it, so more pixels never turn right into wrong.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from aiohttp import web
from PIL import Image, ImageDraw

from vlmctl.compare.cases import Case, Expected, Metric
from vlmctl.compare.results import AskedCase, ComparisonResult, ContenderFacts, ImageFacts, Reply, Settings

MARK = re.compile(r"\[([a-z-]+) (\d+)\]")
PIXELS_PER_TOKEN = 28 * 28  # an image's tokens in the counts the server gives
WRONG = "something else"

Accuracy = Callable[[str, int], float]


class ScriptedModel(NamedTuple):
    """`accuracy`: chance of a right answer, of the category and the longer side of the largest image in pixels."""

    name: str
    accuracy: Accuracy
    seed: int = 0
    seconds: float = 0.0

    def answer(self, prompt: str, longest_side: int) -> str:
        """What it says to a question."""
        match = MARK.search(prompt)
        assert match is not None, f"no case in {prompt!r}"
        difficulty = random.Random(f"{self.name} {self.seed} {match[0]}").random()
        return truth(int(match[2])) if difficulty < self.accuracy(match[1], longest_side) else WRONG


def truth(number: int) -> str:
    """The right answer to a case."""
    return f"word{number}"


def always(share: float) -> Accuracy:
    """The same accuracy on everything."""
    return lambda _category, _side: share


def scripted_cases(folder: Path, categories: Sequence[str], per_category: int, *, side: int = 64) -> list[Case]:
    """Cases with an image of their own each, `side` pixels wide and three quarters as high."""
    cases = []
    for number in range(per_category * len(categories)):
        category = categories[number % len(categories)]
        path = folder / f"{number}.png"
        picture = Image.new("RGB", (side, side * 3 // 4), (number % 256, number // 256, 128))
        ImageDraw.Draw(picture).text((4, 4), truth(number), fill="white")
        picture.save(path)
        cases.append(
            Case(
                id=f"{category}-{number}",
                images=(str(path),),
                question=f"What is written here? [{category} {number}]",
                metric=Metric.EXACT,
                expected=Expected(answers=(truth(number),)),
                category=category,
            )
        )
    return cases


def scripted_result(
    models: Sequence[ScriptedModel],
    categories: Sequence[str],
    per_category: int,
    *,
    settings: Settings | None = None,
    per_image: int = 1,
) -> ComparisonResult:
    """What a comparison of the models comes to, without a server: for laws over many seeds.

    `per_image`: questions of a category on each image, which a model gets all right or all wrong.
    """
    cases, replies = [], []
    for number in range(per_category * len(categories)):
        category = categories[number % len(categories)]
        shown = number // len(categories) // per_image * len(categories) + number % len(categories)
        image = ImageFacts(source=f"{shown}.png", width_pixels=1024, height_pixels=768, sha256=f"{shown:064x}")
        prompt = f"What is written here? [{category} {shown}]"
        case = AskedCase(
            id=f"{category}-{number}", category=category, prompt=prompt, expected=truth(shown), metric="exact",
            images=(image,),
        )  # fmt: skip
        cases.append(case)
        for model in models:
            text = model.answer(prompt, image.width_pixels)
            replies.append(Reply(contender=model.name, case=case.id, text=text, score=float(text == truth(shown))))
    return ComparisonResult(
        made_at="2026-01-01T00:00:00+00:00",
        program="vlmctl test",
        cases_source="scripted",
        settings=settings or Settings(),
        contenders=tuple(ContenderFacts(name=model.name, url="http://x", model=model.name) for model in models),
        cases=tuple(cases),
        replies=tuple(replies),
    )


class ScriptedServer:
    """One model behind an OpenAI-compatible address. `failing`: a status, of a prompt and its number, to fail with."""

    def __init__(
        self, model: ScriptedModel, failing: Callable[[str, int], int | None] = lambda _prompt, _number: None
    ) -> None:
        self.model = model
        self.requests: list[tuple[str, list[str]]] = []
        self._failing = failing

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.model.name, "object": "model"}]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.text())
        content = body["messages"][0]["content"]
        prompt = next(part["text"] for part in content if part["type"] == "text")
        urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        if MARK.search(prompt) is None:  # the warm-up
            return await self._stream(request, "grey", 8, 4)
        self.requests.append((prompt, urls))
        status = self._failing(prompt, len(self.requests))
        if status is not None:
            return web.json_response({"error": {"message": "scripted failure"}}, status=status)
        sizes = [Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls]
        tokens = sum(-(-width * height // PIXELS_PER_TOKEN) for width, height in sizes)
        await asyncio.sleep(self.model.seconds)
        answer = self.model.answer(prompt, max(max(size) for size in sizes))
        return await self._stream(request, answer, tokens + len(prompt.split()), tokens)

    async def _stream(
        self, request: web.Request, text: str, prompt_tokens: int, image_tokens: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in re.findall(r"\S+\s*", text):
            await response.write(_event({"choices": [{"index": 0, "delta": {"content": piece}}]}))
        await response.write(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(text.split()),
            "prompt_tokens_details": {"multimodal_tokens": {"image": image_tokens}},
        }
        await response.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        await response.write_eof()
        return response


@asynccontextmanager
async def serving(server: ScriptedServer, *, port: int = 0) -> AsyncIterator[str]:
    """The server's address while the context lasts; at a port of its own if none is said."""
    app = web.Application(client_max_size=2**28)
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/chat/completions", server.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _event(content: object) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"
