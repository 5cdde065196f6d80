"""What the operator answers on its own ports."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest
from vlm_operator.endpoints import RETRY_AFTER_SECONDS, endpoints, retries

from tests.support.scripted_engine import free_port

BODY = b"x" * 20_000_000  # a request with images, none of which is read


def asked(method: str, path: str, body: bytes = b"", *, problem: str = "") -> tuple[httpx.Response, httpx.Response]:
    """What the two ports answer."""

    async def run() -> tuple[httpx.Response, httpx.Response]:
        own, retry = free_port(), free_port()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(endpoints(own, problem=lambda: problem))
            await stack.enter_async_context(retries(retry))
            client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
            first, second = [
                await client.request(method, f"http://127.0.0.1:{port}{path}", content=body) for port in (own, retry)
            ]
        return first, second

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/", b""),
        ("GET", "/metrics", b""),
        ("GET", "/healthz", b""),
        ("HEAD", "/v1/models", b""),
        ("POST", "/v1/chat/completions?x=1", BODY),
        ("DELETE", "/%2e%2e//a", b""),
        ("POST", "/%0a", b"x"),
    ],
)
def test_whoever_waited_for_too_long_is_told_to_come_again(method: str, path: str, body: bytes) -> None:
    """Whatever is asked: 503, and when; as an error that OpenAI's clients read. Nothing else is served there."""
    _, answer = asked(method, path, body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, str(RETRY_AFTER_SECONDS))
    if method != "HEAD":
        assert answer.json()["error"]["code"] == 503
        assert f"{RETRY_AFTER_SECONDS} s" in answer.json()["error"]["message"]


def test_what_clients_send_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Words in a path and in headers, long ones, many, a body that is not what it says, and what is no HTTP at all."""
    post, end = b"POST /v1/chat?secret HTTP/1.1\r\nHost: a\r\nUser-Agent: secret\r\n", b"Content-Length: 0\r\n\r\n"
    cases = [
        post + b"Cookie: " + b"secret" * 10_000 + b"\r\n" + end,
        post + b"".join(b"X-%d: secret\r\n" % number for number in range(200)) + end,
        post + b"Content-Encoding: gzip\r\nContent-Length: 6\r\n\r\nsecret",
        b"secret\r\n\r\n",
    ]

    async def run() -> list[bytes]:
        port = free_port()
        async with retries(port):
            answers = []
            for case in cases:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(case)
                answers.append(await reader.readline())
                writer.close()
        return answers

    with caplog.at_level("DEBUG"):
        *answers, wrong = asyncio.run(run())
    assert all(b"503" in each for each in answers)
    assert b"400" in wrong
    assert "secret" not in caplog.text


def test_the_kubelet_is_told_of_a_problem() -> None:
    """/healthz is 500 where the operator is to be restarted."""
    well, _ = asked("GET", "/healthz")
    ill, _ = asked("GET", "/healthz", problem="stuck")
    assert (well.status_code, well.text) == (200, "ok")
    assert (ill.status_code, ill.text) == (500, "stuck")
    metrics, _ = asked("GET", "/metrics")
    assert "vlmctl_queue_length" in metrics.text
