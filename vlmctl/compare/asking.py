"""Every case to one contender: the same bytes in the same order for everyone, so many at once, failures counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

from msgspec.structs import replace
from PIL import Image

from vlmctl.bench.body import ChatRequest
from vlmctl.bench.client import Client
from vlmctl.bench.endpoint import Answer, FailureKind
from vlmctl.bench.images import PNG, EncodedImage, encode
from vlmctl.compare.album import Album
from vlmctl.compare.contenders import Contender
from vlmctl.compare.judging import SentImage, judge, prompt_of, sent_image
from vlmctl.compare.pictures import shrunk
from vlmctl.compare.results import AS_THEY_ARE, Reply, Settings, Variant
from vlmctl.compare.sweep import companion_note, companions, variants_of

# Broken ways to a model, which may mend: asked again, and if they stay broken, no word on the model.
RETRIED = (
    FailureKind.REFUSED,
    FailureKind.TIMEOUT,
    FailureKind.RATE_LIMITED,
    FailureKind.SERVER_ERROR,
    FailureKind.STALLED,
    FailureKind.TRUNCATED,
)
# What no later request will mend either.
FATAL = (FailureKind.UNAUTHORIZED, FailureKind.NOT_FOUND, FailureKind.CERTIFICATE)
GONE_AFTER = 10  # refused connections in a row, after which the rest is not asked
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0  # between tries, doubling, unless the server says how long
WARM_UP_SIDE_PIXELS = 64
MADE_AT_ONCE = 4  # questions whose images are being read and shrunk, ahead of those that are asked
TURNED_DOWN = "the server would not take the request"
NOT_ASKED = "not asked: the server was gone"

OnReply = Callable[[Reply], None]


class Block(NamedTuple):
    """Cases asked in one go under one variant: what time and money are counted over."""

    variant: Variant
    repeat: int
    cases: tuple[int, ...]


class Question(NamedTuple):
    """One request, and where a box of the case lies in it."""

    request: ChatRequest
    image: SentImage


Ready = asyncio.Queue[tuple[int, Question] | None]  # None: there are no more


def blocks(album: Album, settings: Settings, sides: Sequence[int], counts: Sequence[int]) -> tuple[Block, ...]:
    """Everything to ask one contender, in order: the images as they are, then the points of the sweeps."""
    changed: dict[Variant, list[int]] = {AS_THEY_ARE: list(range(len(album.asked)))}
    for side in sorted(sides, reverse=True):
        changed[Variant(side_pixels=side)] = []
    for count in sorted(counts):
        changed[Variant(images=count)] = []
    for at, case in enumerate(album.asked):
        for variant in variants_of(case, sides, counts):
            changed[variant].append(at)
    return tuple(
        Block(variant, repeat, tuple(cases))
        for variant, cases in changed.items()
        if cases
        for repeat in range(settings.repeats)
    )


def question(album: Album, at: int, variant: Variant, repeat: int, settings: Settings) -> Question:
    """The request for one case under one variant; the same for every contender."""
    case, prompt = album.cases[at], prompt_of(album.cases[at])
    originals = album.images(at)
    sent: tuple[EncodedImage, ...] = originals
    if variant.side_pixels is not None:
        sent = tuple(shrunk(image, variant.side_pixels) for image in originals)
    if variant.images is not None:
        added = companions(album.asked[at], album.asked, variant.images, settings.seed)
        sent = (*originals, *(album.images(other)[index] for other, index in added))
        prompt = f"{companion_note(len(originals))}\n{prompt}"
    request = ChatRequest(
        prompt=prompt,
        images=sent,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        extra={"seed": settings.seed + repeat} if settings.temperature > 0 else {},
    )
    place = case.expected.image
    return Question(request, sent_image(originals[place], sent[place], len(sent)))


class Asking:
    """One contender being asked. `replies` grows as answers come: it outlives an interruption."""

    def __init__(
        self, contender: Contender, client: Client, album: Album, settings: Settings, on_reply: OnReply | None = None
    ) -> None:
        self.contender = contender
        self.replies: list[Reply] = []
        self.problem = ""
        self._client = client
        self._album = album
        self._settings = settings
        self._on_reply = on_reply or (lambda _: None)
        self._refused = 0

    async def ask(self, work: Sequence[Block]) -> None:
        """Ask it all, block by block; a server that is gone leaves the rest unanswered."""
        await self._warm_up()
        for block in work:
            first, started = len(self.replies), monotonic()
            try:
                await self._ask_block(block)
            finally:
                self._charge(first, monotonic() - started)

    async def _warm_up(self) -> None:
        """A first request, not counted: engines compile and open connections on it."""
        side = WARM_UP_SIDE_PIXELS
        grey = encode(Image.new("RGB", (side, side), "grey"), PNG, jpeg_quality=0)
        await self._client.ask(
            ChatRequest(prompt="Answer with one word: what colour is it?", images=(grey,), max_tokens=4)
        )

    async def _ask_block(self, block: Block) -> None:
        """Questions are made ready while others are being answered, so that the server waits for none of them."""
        ready: Ready = asyncio.Queue(self._settings.concurrency)
        count = min(self._settings.concurrency, len(block.cases))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._prepare(block, ready, count, tasks))
                for _ in range(count):
                    tasks.create_task(self._work(block, ready))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _prepare(self, block: Block, ready: Ready, workers: int, tasks: asyncio.TaskGroup) -> None:
        """Put the questions into the queue in their order, some of them being made at once in threads."""
        making: deque[tuple[int, asyncio.Task[Question]]] = deque()
        for at in block.cases:
            if self.problem:
                self._keep(self._not_asked(at, block))
                continue
            made = asyncio.to_thread(question, self._album, at, block.variant, block.repeat, self._settings)
            making.append((at, tasks.create_task(made)))
            if len(making) == MADE_AT_ONCE:
                first, task = making.popleft()
                await ready.put((first, await task))
        for at, task in making:
            await ready.put((at, await task))
        for _ in range(workers):
            await ready.put(None)

    async def _work(self, block: Block, ready: Ready) -> None:
        while (taken := await ready.get()) is not None:
            self._keep(await self._reply(block, *taken))

    def _keep(self, reply: Reply) -> None:
        self.replies.append(reply)
        self._on_reply(reply)

    def _blank(self, at: int, block: Block) -> Reply:
        case = self._album.cases[at]
        return Reply(contender=self.contender.name, case=case.id, repeat=block.repeat, variant=block.variant)

    def _not_asked(self, at: int, block: Block) -> Reply:
        return replace(self._blank(at, block), failure=FailureKind.REFUSED.value, note=NOT_ASKED, attempts=0)

    async def _reply(self, block: Block, at: int, asked: Question) -> Reply:
        """One case's answer, with its score."""
        case, reply = self._album.cases[at], self._blank(at, block)
        if self.problem:
            return self._not_asked(at, block)
        answer, attempts = await self._answer(asked.request)
        reply = replace(
            reply,
            text=answer.text,
            attempts=attempts,
            prompt_tokens=answer.prompt_tokens,
            image_tokens=answer.image_tokens,
            output_tokens=answer.output_tokens,
        )
        if answer.failure is not None:
            turned_down = answer.failure.kind is FailureKind.CLIENT_ERROR
            note = f"{TURNED_DOWN}: {answer.failure.message}" if turned_down else answer.failure.message
            score = 0.0 if turned_down else None
            return replace(reply, failure=answer.failure.kind.value, note=note, score=score)
        judgment = judge(case, answer.text, self.contender.frame, asked.image)
        return replace(
            reply,
            score=judgment.score,
            note=judgment.note,
            cut_off=answer.finish_reason == "length",
            ttft_seconds=answer.ttft_seconds,
            e2e_seconds=answer.e2e_seconds,
        )

    async def _answer(self, request: ChatRequest) -> tuple[Answer, int]:
        """The answer, asked again where the way to the model broke."""
        for attempt in range(self._settings.retries + 1):
            answer = await self._client.ask(request)
            kind = answer.failure.kind if answer.failure is not None else None
            self._refused = self._refused + 1 if kind is FailureKind.REFUSED else 0
            if answer.failure is not None and (kind in FATAL or self._refused >= GONE_AFTER):
                self.problem = answer.failure.message
            if answer.failure is None or kind not in RETRIED or self.problem or attempt == self._settings.retries:
                break
            wait = answer.failure.retry_after_seconds or FIRST_WAIT_SECONDS * 2**attempt
            await asyncio.sleep(min(wait, LONGEST_WAIT_SECONDS))
        return answer, attempt + 1

    def _charge(self, first: int, wall_seconds: float) -> None:
        """Put dollars on a block's answers: of their tokens, or an equal share of the server's time."""
        price = self.contender.price
        answered = sum(reply.answered for reply in self.replies[first:])
        if price is None or not answered:
            return
        share = price.usd_of_seconds(wall_seconds / answered)
        for at in range(first, len(self.replies)):
            reply = self.replies[at]
            if reply.answered:
                usd = share if share is not None else price.usd_of_tokens(reply.prompt_tokens, reply.output_tokens)
                self.replies[at] = replace(reply, usd=usd)
