"""A streaming client of OpenAI-compatible servers: each request ends in an answer with its times or a named failure."""

from __future__ import annotations

import asyncio
import ssl
from email.utils import parsedate_to_datetime
from time import monotonic, time
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter

from vlmctl.bench.body import ChatRequest, encode_body
from vlmctl.bench.endpoint import Answer, Endpoint, Failure, FailureKind, Timeouts
from vlmctl.bench.stream import InvalidStream, StreamReader, error_message, shown
from vlmctl.errors import InvalidValue, NotReachable, UnknownName

KEEP_ALIVE_SECONDS = 4.0  # below the 5 s after which vLLM's server (uvicorn) closes a connection that is idle
GET_SECONDS = 10.0  # for a list of models or a page of counters
CLOSING_SECONDS = 1.0  # how long a server may take to end a response whose stream has ended
ERROR_BODY_BYTES = 65_536  # of an error response, read for its message
NAME_THE_KEY = "Name the environment variable with the key: --key, or key= of an --endpoint."
EVENT_STREAM = "text/event-stream"
KINDS = {
    401: FailureKind.UNAUTHORIZED,
    403: FailureKind.UNAUTHORIZED,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.TIMEOUT,
    429: FailureKind.RATE_LIMITED,
}


class Client:
    """Connections to one endpoint. `connections`: at most so many at once, 0 for any number."""

    def __init__(self, endpoint: Endpoint, *, connections: int = 100, timeouts: Timeouts | None = None) -> None:
        self.endpoint = endpoint
        self.model = endpoint.model
        self.timeouts = timeouts or Timeouts()
        self.served: tuple[str, ...] = ()
        self._root = endpoint.root
        self._chat_url = f"{self._root}/v1/chat/completions"
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = dict(self.endpoint.headers)
        if self.endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {self.endpoint.api_key}"
        connector = aiohttp.TCPConnector(
            limit=self._connections, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=self.endpoint.verify_tls
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect_seconds)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers, auto_decompress=True, read_bufsize=2**18
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open_session.close()

    async def open(self) -> str:
        """The model that requests go to: the endpoint's, or the only one served.

        Raises NotReachable where the server does not answer or refuses the key, UnknownName where it does not serve
        the model, InvalidValue where it leaves a choice.
        """
        served = await self.models()
        if self.model is None and len(served) != 1:
            listed = ", ".join(served) or "none"
            raise InvalidValue(f"{self._root} serves several models or none.", remedy=f"Name one of them: {listed}.")
        self.model = self.model or served[0]
        if served and self.model not in served:
            raise UnknownName(f"model at {self._root}:", self.model, remedy=f"It serves {', '.join(served)}.")
        return self.model

    async def models(self) -> tuple[str, ...]:
        """The names of the models that are served; raises NotReachable."""
        body = await self.get("/v1/models")
        try:
            listed = msgspec.json.decode(body, type=_Models)
        except msgspec.MsgspecError as error:
            raise NotReachable(
                f"{self._root}/v1/models is no list of models: {shown(body)}",
                remedy="Give the address of an OpenAI-compatible server.",
            ) from error
        self.served = tuple(model.id for model in listed.data)
        return self.served

    async def get(self, path: str) -> bytes:
        """What the server answers on a path below its root within seconds; raises NotReachable for anything but 200.

        No redirect is followed: it would take the key and the headers to another server.
        """
        url = self._root + path
        try:
            async with (
                asyncio.timeout(GET_SECONDS),
                self._open_session.get(url, allow_redirects=False) as response,
            ):
                content = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = _broken(error, self.endpoint, began=False)
            raise NotReachable(failure.message, remedy="Is the server up, and the address right?") from error
        if 300 <= response.status < 400:
            raise NotReachable(
                f"{url} answered {response.status}: {_redirection(response)}.", remedy="Give the address it names."
            )
        if response.status != 200:
            remedy = NAME_THE_KEY if response.status in (401, 403) else ""
            raise NotReachable(f"{url} answered {response.status}: {error_message(content)}", remedy=remedy)
        return content

    async def ask(
        self,
        request: ChatRequest,
        *,
        intended_at: float | None = None,
        reader: StreamReader | None = None,
    ) -> Answer:
        """Send a request and read its answer to the end; a failed request is an answer too, with what came before.

        `reader`: a new one of the caller's, who sees in it how far the answer is.
        """
        body = encode_body(request, self.model)
        reader, failure = reader or StreamReader(), None
        sent_at = monotonic()
        try:
            async with asyncio.timeout_at(sent_at + self.timeouts.first_token_seconds) as limit:
                failure = await self._exchange(body, reader, limit)
        except (aiohttp.ClientError, OSError, TimeoutError, InvalidStream) as error:
            if not reader.complete:
                failure = self._failure(error, reader)
        return _answer(reader, failure, intended_at=sent_at if intended_at is None else intended_at, sent_at=sent_at)

    async def _exchange(self, body: bytes, reader: StreamReader, limit: asyncio.Timeout) -> Failure | None:
        stall, steps = self.timeouts.stall_seconds, 0
        async with self._open_session.post(self._chat_url, data=_Body(body), allow_redirects=False) as response:
            if response.status != 200:
                return await self._refusal(response)
            if response.content_type != EVENT_STREAM:
                said = shown(await response.content.read(ERROR_BODY_BYTES))
                return Failure(kind=FailureKind.INVALID, status=200, message=f"the answer is no stream: {said}")
            async for received in response.content.iter_any():
                now = monotonic()
                reader.feed(received, now)
                if reader.token_at and reader.steps > steps:  # comments that keep a connection open are no output
                    steps = reader.steps
                    limit.reschedule(now + (CLOSING_SECONDS if reader.done else stall))
        if reader.complete:
            return None
        return Failure(kind=FailureKind.TRUNCATED, message="the stream ended before the answer did.")

    async def _refusal(self, response: aiohttp.ClientResponse) -> Failure:
        status = response.status
        kind = KINDS.get(status, FailureKind.SERVER_ERROR if status >= 500 else FailureKind.CLIENT_ERROR)
        said = error_message(await response.content.read(ERROR_BODY_BYTES)) or response.reason or ""
        if 300 <= status < 400:
            said = _redirection(response)
        if kind is FailureKind.NOT_FOUND and self.served:
            said = f"{said} It serves {', '.join(self.served)}."
        return Failure(
            kind=kind,
            status=status,
            message=f"the server answered {status}: {said}",
            retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
        )

    def _failure(self, error: Exception, reader: StreamReader) -> Failure:
        if isinstance(error, InvalidStream):
            kind = FailureKind.SERVER_ERROR if error.by_server else FailureKind.INVALID
            return Failure(kind=kind, message=f"the server broke off: {error}" if error.by_server else str(error))
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
            if reader.token_at:
                waited = f"the stream stood still for {self.timeouts.stall_seconds:g} s."
                return Failure(kind=FailureKind.STALLED, message=waited)
            waited = f"no output came within {self.timeouts.first_token_seconds:g} s."
            return Failure(kind=FailureKind.TIMEOUT, message=waited)
        return _broken(error, self.endpoint, began=bool(reader.token_at))

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use `async with Client(...)`"
        return self._session


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: list[_Model]


class _Body(aiohttp.payload.Payload):
    """Bytes of any length; aiohttp's own payload warns above 1 MiB, which two photographs reach."""

    _value: bytes
    _autoclose = True

    def __init__(self, value: bytes) -> None:
        super().__init__(value, content_type="application/json")
        self._size = len(value)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002
        return self._value

    async def write(self, writer: AbstractStreamWriter) -> None:
        await writer.write(self._value)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        await writer.write(self._value if content_length is None else self._value[:content_length])


def _answer(reader: StreamReader, failure: Failure | None, *, intended_at: float, sent_at: float) -> Answer:
    usage, times = reader.usage, tuple(reader.token_at)
    ended = failure is None and times
    return Answer(
        text="".join(reader.texts),
        intended_at=intended_at,
        sent_at=sent_at,
        first_token_at=times[0] if times else None,
        finished_at=times[-1] if ended else monotonic(),
        token_at=times,
        prompt_tokens=usage.prompt_tokens if usage is not None else None,
        image_tokens=usage.image_tokens if usage is not None else None,
        cached_tokens=usage.cached_tokens if usage is not None else None,
        output_tokens=usage.completion_tokens if usage is not None else None,
        finish_reason=reader.finish_reason,
        failure=failure,
    )


def _broken(error: Exception, endpoint: Endpoint, *, began: bool) -> Failure:
    """A connection that was not made, or that broke."""
    host = endpoint.root
    reason = _reason(error)
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, ssl.SSLError)):
        return Failure(kind=FailureKind.CERTIFICATE, message=f"{host} has no certificate to trust: {reason}.")
    if isinstance(error, (aiohttp.ConnectionTimeoutError, TimeoutError)):
        return Failure(kind=FailureKind.TIMEOUT, message=f"{host} does not answer in time.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failure(kind=FailureKind.REFUSED, message=f"{host} cannot be reached: {reason}.")
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.InvalidURL)):
        return Failure(kind=FailureKind.INVALID, message=f"{host} does not speak HTTP as expected: {reason}.")
    when = "in the middle of an answer" if began else "before it answered"
    return Failure(kind=FailureKind.TRUNCATED, message=f"{host} closed the connection {when}.")


def _redirection(response: aiohttp.ClientResponse) -> str:
    return f"it redirects to {response.headers.get('Location', 'another address')}"


def _reason(error: Exception) -> str:
    inner: Any = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    text = getattr(inner, "verify_message", None) or getattr(inner, "strerror", None) or str(inner)
    return str(text).rstrip(".") or type(inner).__name__


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time(), 0.0)
    except (ValueError, OverflowError):
        return None
