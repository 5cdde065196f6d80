"""The first requests to a server: what it makes of words and takes of options; they end with the run, not with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from vlmctl.bench.body import ChatRequest
from vlmctl.bench.client import Client
from vlmctl.bench.endpoint import Answer, FailureKind
from vlmctl.bench.requests import PromptShape, RequestSource, shape_of
from vlmctl.errors import NotReachable

PROBE_WORDS = (1, 128)  # of two requests without images, from whose tokens the shape of prompts follows
Ask = Callable[[ChatRequest], Awaitable[Answer | None]]


class Probed(NamedTuple):
    """What two requests told: the shape of prompts, and whether the server takes `ignore_eos`."""

    shape: PromptShape
    ignore_eos: bool
    notes: tuple[str, ...]


async def probe(ask: Ask, source: RequestSource, *, seed: int) -> Probed | None:
    """Learn how many tokens words make, and whether the server can be told to ignore the end of an answer.

    None where `ask` has no answer, for the run is over; raises NotReachable where a request fails.
    """
    ignore_eos, counted, notes = source.workload.ignore_eos, list[tuple[int, int]](), list[str]()
    for words in PROBE_WORDS:
        prompt = source.prompt(Random((seed << 32) - words - 1), words)
        request = ChatRequest(prompt=prompt, max_tokens=1, ignore_eos=ignore_eos)
        answer = await ask(request)
        if answer is not None and ignore_eos and _refused(answer):
            ignore_eos = False
            notes.append("The server does not take `ignore_eos`: answers may be shorter than asked for.")
            answer = await ask(replace(request, ignore_eos=False))
        if answer is None:
            return None
        if answer.failure is not None:
            raise NotReachable(f"the first request failed: {answer.failure.message}")
        if answer.prompt_tokens is not None:
            counted.append((words, answer.prompt_tokens))
    if len(counted) == len(PROBE_WORDS):
        return Probed(shape_of(counted[0], counted[1]), ignore_eos, tuple(notes))
    notes.append("The server tells no `usage`: words are taken for tokens, pieces of output too.")
    return Probed(PromptShape(), ignore_eos, tuple(notes))


async def answer_within(client: Client, request: ChatRequest, *, stop: asyncio.Event, seconds: float) -> Answer | None:
    """What comes of a request; None where `stop` is set before. Raises NotReachable where it takes longer."""
    asking, stopping = asyncio.ensure_future(client.ask(request)), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((asking, stopping), timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
        answer = asking.result() if asking.done() else None
    finally:
        asking.cancel()
        stopping.cancel()
        await asyncio.gather(asking, stopping, return_exceptions=True)
    if stop.is_set():
        return None
    if answer is None:
        raise NotReachable("time was up before anything was measured.", remedy="Is it stuck? Or give it more time.")
    return answer


def _refused(answer: Answer) -> bool:
    return answer.failure is not None and answer.failure.kind is FailureKind.CLIENT_ERROR
