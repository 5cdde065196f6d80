"""What is asked, of whom, and what came of it: the records of the client, without the network."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec.structs import force_setattr

from vlmctl.errors import InvalidValue
from vlmctl.specs.record import Record

VERSION_PATH = "/v1"
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token (RFC 9110, 5.6.2)
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5
FRAMING = ("content-length", "content-type", "transfer-encoding")  # headers that follow from the request itself
PASTED = ("/chat/completions", "/completions", "/models")  # ends of addresses that people paste
AUTHORIZATION = "Authorization"
PLAIN_NAME = re.compile(r"[A-Z_]{1,64}")  # of a variable; keys have small letters or digits
_USERINFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?([^/?#]*)@")  # RFC 3986, 3.2.1
_UP_TO_AT = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)


class Endpoint(Record, frozen=True, kw_only=True):
    """An OpenAI-compatible server: `url` with or without /v1; `model` of None: the only one it serves.

    A name and password in the address (``http://NAME:PASSWORD@HOST``) move into an Authorization header (RFC 7617),
    where none is given. They, the key and the headers' values are never shown. Raises InvalidValue for an address with
    a password where there is a key as well.
    """

    url: str
    model: str | None = None
    api_key: str | None = None
    verify_tls: bool = True
    headers: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        found = _USERINFO.match(self.url)
        if found is None:
            return
        if self.api_key is not None:
            raise InvalidValue(
                f"the address of {shown_address(self.url)} holds a password, and there is a key too.",
                remedy="Give one of them.",
            )
        force_setattr(self, "url", without_userinfo(self.url))
        if found[2] and AUTHORIZATION.lower() not in {name.lower() for name in self.headers}:
            basic = b64encode(unquote(found[2]).encode()).decode()
            force_setattr(self, "headers", {**self.headers, AUTHORIZATION: f"Basic {basic}"})

    @property
    def root(self) -> str:
        """Scheme, host and path before /v1, where /metrics is too; raises InvalidValue for what is no address."""
        text = self.url if "://" in self.url else f"http://{self.url}"
        try:
            parts = urlsplit(text)
            host = (parts.hostname or "").encode("idna")  # as resolvers do, which fail on a label that is too long
            known = parts.scheme in ("http", "https") and host and (parts.port or 1)
        except ValueError:
            known = False
        if not known:
            raise InvalidValue(
                f"{shown_address(self.url)!r} is not an address.", remedy="Write http://HOST:PORT or https://HOST."
            )
        path = parts.path.rstrip("/")
        for end in PASTED:
            path = path.removesuffix(end)
        return f"{parts.scheme}://{parts.netloc}{path.removesuffix(VERSION_PATH)}"

    def __repr__(self) -> str:
        return f"Endpoint(url={self.url!r}, model={self.model!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", self.url), ("model", self.model)]


def without_userinfo(url: str) -> str:
    """A URL without the name and password that it may hold."""
    return _USERINFO.sub(lambda found: found[1] or "", url)


def shown_address(text: str) -> str:
    """An address, or what was meant as one, without anything that may be a password in it."""
    return _UP_TO_AT.sub(lambda found: found[1] or "", text)


def parse_headers(texts: Iterable[str]) -> dict[str, str]:
    """Headers from ``NAME=VALUE`` each; raises InvalidValue, which names the header and never its value."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not HEADER_NAME.fullmatch(name):
            raise InvalidValue("a --header is not NAME=VALUE.", remedy="Write --header X-Tenant=blue.")
        if name.lower() in FRAMING:
            raise InvalidValue(f"the header {name} follows from the request itself.", remedy="Leave it out.")
        if not HEADER_VALUE.fullmatch(value.strip()):
            raise InvalidValue(f"the value of the header {name} has characters that no header may have.")
        found[name] = value.strip()
    return found


def key_from(variable: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The API key in that environment variable, None where none is named; raises InvalidValue where it is not set.

    What looks like no name is not repeated in the error: it may be the key itself.
    """
    if variable is not None and variable not in environment:
        name = variable if PLAIN_NAME.fullmatch(variable) else "of the name that was given for the key"
        raise InvalidValue(f"there is no environment variable {name}.", remedy="Name the one that holds the key.")
    return environment[variable] if variable is not None else None


class FailureKind(StrEnum):
    """Why a request failed."""

    REFUSED = "refused"  # no connection
    TIMEOUT = "timeout"  # nothing came in time
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"  # the model, or the path
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    CLIENT_ERROR = "client_error"  # the server would not take the request
    STALLED = "stalled"  # the stream stood still
    TRUNCATED = "truncated"  # the stream broke off
    CERTIFICATE = "certificate"
    INVALID = "invalid"  # not what a chat completion looks like


class Failure(Record, frozen=True, kw_only=True):
    """A request that failed. `retry_after_seconds`: when the server said to come again."""

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after_seconds: float | None = None


class Answer(Record, frozen=True, kw_only=True):
    """What came of one request. Times are monotonic seconds.

    `token_at`: when each piece of output came, which may be several tokens. `finished_at`: the last piece, or the
    failure. Latency counts from `intended_at`, which is `sent_at` where no time was set. `image_tokens`,
    `cached_tokens`: parts of `prompt_tokens`, where the server tells them apart. One that did not end has a `failure`.
    """

    text: str
    intended_at: float
    sent_at: float
    first_token_at: float | None
    finished_at: float
    token_at: tuple[float, ...] = ()
    prompt_tokens: int | None = None
    image_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str | None = None
    failure: Failure | None = None

    @property
    def ttft_seconds(self) -> float | None:
        """From the intended time to the first piece of output; None without one."""
        return None if self.first_token_at is None else self.first_token_at - self.intended_at

    @property
    def e2e_seconds(self) -> float:
        """From the intended time to the last piece of output."""
        return self.finished_at - self.intended_at


class Timeouts(Record, frozen=True, kw_only=True):
    """How long is waited, in seconds: for a connection, for the first output (a full server queues), between pieces."""

    connect_seconds: float = 10.0
    first_token_seconds: float = 600.0
    stall_seconds: float = 60.0
