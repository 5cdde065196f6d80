"""The client: answers with their times and tokens, and every fault as a failure of its own kind."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from aiohttp import web

from tests.support import virtual_time
from tests.support.servers import MODEL, Fault, Refusal, ScriptedServer, serving
from vlmctl.bench.body import ChatRequest
from vlmctl.bench.client import Client
from vlmctl.bench.endpoint import Answer, Endpoint, FailureKind, Timeouts, parse_headers
from vlmctl.bench.images import EncodedImage
from vlmctl.errors import InvalidValue, NotReachable, UnknownName

HASTY = Timeouts(connect_seconds=2.0, first_token_seconds=0.6, stall_seconds=0.3)
IMAGE = EncodedImage(data=b"bytes of an image", media_type="image/png", width_pixels=3, height_pixels=2)
_T = TypeVar("_T")


def talk(server: ScriptedServer, speak: Callable[[Client], Awaitable[_T]], **endpoint: object) -> _T:
    async def run() -> _T:
        async with serving(server) as url, Client(Endpoint(url=url, **endpoint), timeouts=HASTY) as client:
            return await speak(client)

    return virtual_time.run(run())


def asked(server: ScriptedServer, **endpoint: object) -> Answer:
    async def speak(client: Client) -> Answer:
        await client.open()
        return await client.ask(ChatRequest(prompt="what is it?", images=(IMAGE,), max_tokens=4))

    return talk(server, speak, **endpoint)


def test_an_answer_carries_text_times_and_tokens() -> None:
    """Text, the time of each token, and the tokens that the server counted, image tokens apart."""
    answer = asked(ScriptedServer(tokens=4, delay=lambda _: 0.1, gap=lambda _: 0.05))
    assert answer.failure is None
    assert answer.text == " word0 word1 word2 word3"
    assert (answer.prompt_tokens, answer.image_tokens, answer.output_tokens) == (110, 100, 4)
    assert answer.cached_tokens == 0
    assert answer.finish_reason == "length"
    assert len(answer.token_at) == 4
    assert answer.first_token_at == answer.token_at[0]
    assert answer.finished_at == answer.token_at[-1]
    assert answer.ttft_seconds == pytest.approx(0.1, abs=0.002)
    assert answer.e2e_seconds == pytest.approx(0.25, abs=0.002)


def test_the_request_is_what_the_server_reads() -> None:
    """Images as data URLs before the text, and the fields of a streamed completion, extra ones included."""
    server = ScriptedServer()

    async def speak(client: Client) -> Answer:
        await client.open()
        request = ChatRequest(prompt='say "hi"\n', images=(IMAGE,), max_tokens=7, ignore_eos=True, extra={"top_k": 1})
        return await client.ask(request)

    assert talk(server, speak).failure is None
    body = server.bodies[0]
    image, text = body["messages"][0]["content"]
    assert image["image_url"]["url"] == "data:image/png;base64,Ynl0ZXMgb2YgYW4gaW1hZ2U="
    assert text["text"] == 'say "hi"\n'
    assert body["model"] == MODEL
    assert (body["max_tokens"], body["ignore_eos"], body["top_k"], body["stream"]) == (7, True, 1, True)


@pytest.mark.parametrize("images_first", [True, False])
@pytest.mark.parametrize("images", [0, 1, 2])
def test_images_stand_before_or_after_the_text(images: int, images_first: bool) -> None:
    """The order is as asked, for any number of images."""
    server = ScriptedServer()

    async def speak(client: Client) -> Answer:
        await client.open()
        request = ChatRequest(prompt="x", images=(IMAGE,) * images, max_tokens=1, images_first=images_first)
        return await client.ask(request)

    assert talk(server, speak).failure is None
    kinds = [part["type"] for part in server.bodies[0]["messages"][0]["content"]]
    pictures = ["image_url"] * images
    assert kinds == ([*pictures, "text"] if images_first else ["text", *pictures])


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (Fault.STALLED, FailureKind.STALLED, "stood still for 0.3 s"),
        (Fault.TRUNCATED, FailureKind.TRUNCATED, "closed the connection in the middle"),
        (Fault.UNFINISHED, FailureKind.TRUNCATED, "ended before the answer did"),
        (Fault.GARBAGE, FailureKind.INVALID, "cannot be read"),
        (Fault.ERROR_EVENT, FailureKind.SERVER_ERROR, "out of memory"),
        (Fault.NO_STREAM, FailureKind.INVALID, "no stream"),
        (Fault.SILENT, FailureKind.TIMEOUT, "no output came within 0.6 s"),
        (Fault.DROPPED, FailureKind.TRUNCATED, "before it answered"),
        (Refusal(500, "broken"), FailureKind.SERVER_ERROR, "answered 500: broken"),
        (Refusal(503), FailureKind.SERVER_ERROR, "answered 503"),
        (Refusal(400, "too long"), FailureKind.CLIENT_ERROR, "too long"),
        (Refusal(404, "no such model."), FailureKind.NOT_FOUND, f"It serves {MODEL}"),
        (Refusal(403), FailureKind.UNAUTHORIZED, "403"),
        (Refusal(307, headers={"Location": "http://elsewhere"}), FailureKind.CLIENT_ERROR, "http://elsewhere"),
    ],
    ids=str,
)
def test_each_fault_is_a_failure_of_its_kind(fault: Fault | Refusal, kind: FailureKind, said: str) -> None:
    """What goes wrong is named, with what came before kept, and nothing is raised."""
    answer = asked(ScriptedServer(fault=lambda _: fault))
    assert answer.failure is not None
    assert answer.failure.kind is kind
    assert said in answer.failure.message
    assert len(answer.token_at) == (
        2 if fault in (Fault.STALLED, Fault.TRUNCATED, Fault.GARBAGE) else len(answer.token_at)
    )


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), (None, None)]
)
def test_a_rate_limit_says_when_to_come_again(header: str | None, seconds: float | None) -> None:
    """Retry-After is read in seconds and as a date; what is neither is no time."""
    headers = {"Retry-After": header} if header is not None else {}
    failure = asked(ScriptedServer(fault=lambda _: Refusal(429, "slow down", headers))).failure
    assert failure is not None
    assert failure.kind is FailureKind.RATE_LIMITED
    assert failure.retry_after_seconds == seconds


def test_a_connection_is_used_again_after_an_answer() -> None:
    """Requests one after the other do not pay for connections."""

    async def run() -> int:
        async with serving(ScriptedServer()) as url, Client(Endpoint(url=url)) as client:
            await client.open()
            for _ in range(5):
                assert (await client.ask(ChatRequest(prompt="x"))).failure is None
            connector = client._open_session.connector
            assert connector is not None
            return sum(len(held) for held in connector._conns.values())

    assert asyncio.run(run()) == 1


def test_a_refused_connection_is_said() -> None:
    """Nobody listens: the list of models raises, a request is a failure."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def run() -> Answer:
        async with Client(Endpoint(url=f"127.0.0.1:{port}", model="x")) as client:
            with pytest.raises(NotReachable, match=f"http://127.0.0.1:{port} cannot be reached"):
                await client.open()
            return await client.ask(ChatRequest(prompt="x"))

    failure = asyncio.run(run()).failure
    assert failure is not None
    assert failure.kind is FailureKind.REFUSED


def test_a_wrong_key_is_said_and_never_shown() -> None:
    """401 on the list of models says how to give a key; the key appears nowhere."""
    with pytest.raises(NotReachable, match="answered 401: Unauthorized") as caught:
        asked(ScriptedServer(api_key="right"), api_key="secret-wrong")
    assert "secret-wrong" not in str(caught.value)
    assert "secret" not in repr(Endpoint(url="x", api_key="secret", headers={"X-Key": "secret"}))
    assert asked(ScriptedServer(api_key="right"), api_key="right").failure is None


def test_headers_are_sent_and_never_shown() -> None:
    """With every request, whatever is in their values; the key stays the one that was given."""
    server = ScriptedServer(api_key="right")
    headers = parse_headers(["X-Tenant=blue", "X-Token= a=b:c ,d "])
    assert asked(server, api_key="right", headers=headers).failure is None
    assert {name: server.headers[0][name] for name in headers} == {"X-Tenant": "blue", "X-Token": "a=b:c ,d"}


@pytest.mark.parametrize(
    "text", ["secret", "=secret", "X Y=secret", "X:Y=secret", "X=secret\r\nA: b", "Content-Length=secret1"]
)
def test_what_is_no_header_is_refused_without_its_value(text: str) -> None:
    """The line names the header at most."""
    with pytest.raises(InvalidValue) as caught:
        parse_headers([text])
    assert "secret" not in str(caught.value)


def test_a_model_that_is_not_served_names_those_that_are() -> None:
    """The names served stand in the error."""
    with pytest.raises(UnknownName, match=f"'other'.*It serves {MODEL}"):
        asked(ScriptedServer(), model="other")


@pytest.mark.parametrize("verify", [True, False])
def test_a_certificate_that_nobody_signed_is_refused_unless_told_otherwise(tmp_path: Path, verify: bool) -> None:
    """A self-signed server is answered with a failure of that kind, or trusted on demand."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    files = ("-keyout", str(key), "-out", str(certificate))
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", *files)
    subprocess.run(made, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def run() -> Answer:
        async with (
            serving(ScriptedServer(), tls=tls) as url,
            Client(Endpoint(url=url, model=MODEL, verify_tls=verify)) as client,
        ):
            return await client.ask(ChatRequest(prompt="x"))

    failure = asyncio.run(run()).failure
    if not verify:
        assert failure is None
    else:
        assert failure is not None
        assert failure.kind is FailureKind.CERTIFICATE
        assert "self-signed" in failure.message


@pytest.mark.parametrize(
    ("written", "root"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("http://h:1/v1/", "http://h:1"),
        ("https://h/v1/chat/completions", "https://h"),
        ("https://h/gateway/v1", "https://h/gateway"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_are_taken_as_people_write_them(written: str, root: str) -> None:
    """With and without a scheme, /v1, or the path of a method."""
    assert Endpoint(url=written).root == root


@pytest.mark.parametrize("written", ["", "ftp://h", "http://", "http://h:99999", "http://[::1"])
def test_what_is_no_address_is_refused(written: str) -> None:
    """One line that says how an address is written."""
    with pytest.raises(InvalidValue, match="is not an address"):
        _ = Endpoint(url=written).root


def test_comments_that_keep_a_stream_open_do_not_hide_a_stall() -> None:
    """Proxies send them however long nothing comes: only output counts."""

    class Commenting(ScriptedServer):
        async def break_off(
            self, request: web.Request, response: web.StreamResponse, fault: Fault
        ) -> web.StreamResponse:
            for _ in range(50):
                await response.write(b": keep-alive\n\n")
                await asyncio.sleep(0.1)
            return await super().break_off(request, response, fault)

    answer = asked(Commenting(fault=lambda _: Fault.TRUNCATED))
    assert answer.failure is not None
    assert answer.failure.kind is FailureKind.STALLED
    assert answer.e2e_seconds == pytest.approx(HASTY.stall_seconds, abs=0.05)


def test_a_redirect_takes_no_key_to_another_server() -> None:
    """It is an error that names where it leads."""
    other = ScriptedServer()

    async def run() -> str:
        async with serving(other) as elsewhere:

            class Redirecting(ScriptedServer):
                async def models(self, _request: web.Request) -> web.Response:
                    raise web.HTTPFound(f"{elsewhere}/v1/models")

            async with serving(Redirecting()) as url, Client(Endpoint(url=url, headers={"api-key": "x"})) as client:
                with pytest.raises(NotReachable, match=r"answered 302: it redirects to http") as caught:
                    await client.open()
                return str(caught.value)

    assert "/v1/models" in virtual_time.run(run())
