"""Servers that speak the OpenAI API as scripted: with known delays, frozen for a while, or broken in a known way."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Any

from aiohttp import web

MODEL = "scripted"
TEMPLATE_TOKENS = 7  # that the server adds to the words of a prompt
SPIN_SECONDS = 0.002  # before a time at which waiting is done in turns, since timers are late


class Fault(StrEnum):
    """How an answer goes wrong."""

    STALLED = "stalled"  # stops after some tokens and keeps the connection
    TRUNCATED = "truncated"  # closes the connection after some tokens
    UNFINISHED = "unfinished"  # ends the response properly, but without the end of the answer
    GARBAGE = "garbage"  # sends an event that is no JSON
    ERROR_EVENT = "error event"  # tells of an error in the stream
    NO_STREAM = "no stream"  # answers at once, in one piece of JSON
    SILENT = "silent"  # takes the request and never answers
    DROPPED = "dropped"  # closes the connection without an answer


@dataclass
class Refusal:
    """An error response."""

    status: int
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class ScriptedServer:
    """`delay`, `gap`: seconds before the first token, and before each other, by number of the request.

    `fault`: what goes wrong with a request, by its number. `freeze`: from when to when, in seconds from the first
    request, nothing moves. `details`: image tokens are told apart in `usage`.
    """

    tokens: int = 4
    delay: Callable[[int], float] = lambda _number: 0.0
    gap: Callable[[int], float] = lambda _number: 0.0
    fault: Callable[[int], Fault | Refusal | None] = lambda _number: None
    freeze: tuple[float, float] | None = None
    image_tokens: int = 100
    details: bool = True
    usage: bool = True
    metrics: bool = True
    api_key: str | None = None
    refuses: Iterable[str] = ()  # fields of a request that are not taken
    counted_twice: bool = False  # the server's own counters say twice as much as its answers
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # of each chat request
    in_flight: int = 0
    most_in_flight: int = 0
    first_at: float | None = None
    completed: int = 0
    pages: int = 0  # of metrics that were read
    prompt_total: int = 0
    output_total: int = 0

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=2**28)
        application.router.add_post("/v1/chat/completions", self.chat)
        application.router.add_get("/v1/models", self.models)
        application.router.add_get("/version", self.version)
        if self.metrics:
            application.router.add_get("/metrics", self.counters)
        return application

    async def models(self, request: web.Request) -> web.Response:
        if self.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        card = {"id": MODEL, "object": "model", "owned_by": "vllm", "root": "org/Scripted-7B", "max_model_len": 4096}
        return web.json_response({"object": "list", "data": [card]})

    async def version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def counters(self, _request: web.Request) -> web.Response:
        self.pages += 1
        times = 2 if self.counted_twice else 1
        labels = f'{{engine="0",model_name="{MODEL}"}}'
        lines = [
            "# HELP vllm:num_requests_running Number of requests.",
            f"vllm:num_requests_running{labels} {float(self.in_flight)}",
            f"vllm:num_requests_waiting{labels} 0.0",
            f"vllm:kv_cache_usage_perc{labels} 0.25",
            f"vllm:prompt_tokens_total{labels} {float(times * self.prompt_total)}",
            f"vllm:generation_tokens_total{labels} {float(times * self.output_total)}",
            f'vllm:request_success_total{{finished_reason="length"}} {float(times * self.completed)}',
            f"vllm:num_preemptions_total{labels} 0.0",
            'vllm:cache_config_info{block_size="16",enable_prefix_caching="True"} 1.0',
        ]
        return web.Response(text="\n".join(lines) + "\n")

    async def chat(self, request: web.Request) -> web.StreamResponse:
        number = len(self.bodies)
        if self.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if self.first_at is None:
            self.first_at = monotonic()
        arrived = monotonic()
        self.bodies.append(body := await request.json())
        self.headers.append(dict(request.headers))
        if body.get("model") != MODEL:
            message = f"The model `{body.get('model')}` does not exist."
            return web.json_response({"error": {"message": message}}, status=404)
        for name in self.refuses:
            if name in body:
                return web.json_response({"error": {"message": f"unknown field {name}"}}, status=400)
        fault = self.fault(number)
        if isinstance(fault, Refusal):
            error = {"error": {"message": fault.message, "code": fault.status}}
            return web.json_response(error, status=fault.status, headers=fault.headers)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.answer(request, number, arrived, body, fault)
        finally:
            self.in_flight -= 1

    async def answer(
        self, request: web.Request, number: int, arrived: float, body: dict[str, Any], fault: Fault | None
    ) -> web.StreamResponse:
        if fault is Fault.DROPPED:
            _drop(request)
            return web.Response()
        if fault is Fault.NO_STREAM:
            return web.json_response({"choices": [{"message": {"content": "all at once"}}]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        if fault is Fault.SILENT:
            await asyncio.sleep(3600)
        await self.until(arrived + self.delay(number))
        await self.event(response, {"role": "assistant", "content": ""})
        due, tokens = (
            monotonic(),
            min(self.tokens, body.get("max_completion_tokens", body.get("max_tokens", self.tokens))),
        )
        for token in range(tokens):
            if token:
                due += self.gap(number)
                await self.until(due)
            if token == tokens // 2 and fault is not None:
                return await self.break_off(request, response, fault)
            await self.event(response, {"content": f" word{token}"}, finish=token == tokens - 1)
        prompt, images = measured_prompt(body, self.image_tokens)
        self.completed += 1
        self.prompt_total += prompt
        self.output_total += tokens
        if self.usage:
            usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": tokens}
            if self.details:
                usage["prompt_tokens_details"] = {"cached_tokens": 0, "multimodal_tokens": {"image": images}}
            await response.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    async def break_off(self, request: web.Request, response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
        if fault is Fault.STALLED:
            await asyncio.sleep(3600)
        if fault is Fault.TRUNCATED:
            _drop(request)
        if fault is Fault.GARBAGE:
            await response.write(b"data: {not json\n\n")
        if fault is Fault.ERROR_EVENT:
            await response.write(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
        return response

    async def event(self, response: web.StreamResponse, delta: dict[str, str], *, finish: bool = False) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": "length" if finish else None}
        await response.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())

    async def until(self, at: float) -> None:
        """Wait until a time, and through the freeze."""
        await _until(at)
        if self.freeze is not None and self.first_at is not None:
            start, end = (self.first_at + edge for edge in self.freeze)
            if start <= monotonic() < end:
                await _until(end)


def measured_prompt(body: dict[str, Any], image_tokens: int) -> tuple[int, int]:
    """Prompt tokens and image tokens of a request: a token for each word."""
    parts = body["messages"][0]["content"]
    words = sum(len(part["text"].split()) for part in parts if part["type"] == "text")
    images = image_tokens * sum(part["type"] == "image_url" for part in parts)
    return TEMPLATE_TOKENS + words + images, images


@asynccontextmanager
async def serving(server: ScriptedServer, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address of a server, while it serves."""
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http{'s' if tls is not None else ''}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def _drop(request: web.Request) -> None:
    """Close the connection as a process that dies does."""
    if request.transport is not None:
        request.transport.abort()


async def _until(at: float) -> None:
    wait = at - monotonic() - SPIN_SECONDS
    if wait > 0:
        await asyncio.sleep(wait)
    while monotonic() < at:
        await asyncio.sleep(0)
