"""A streamed chat completion as it arrives: server-sent events parsed strictly, text, token times and usage kept.

Server-sent events: WHATWG HTML, 9.2. The events are OpenAI's `chat.completion.chunk`, ended by `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

DONE = b"[DONE]"
DATA = b"data:"
SHOWN_CHARACTERS = 200  # of what a server says, in a message
EVENT_BYTES = 16 * 1024**2  # a line beyond it is no event of a chat completion


class Delta(msgspec.Struct, frozen=True):
    """What one chunk adds. Reasoning goes by two names in servers, of vLLM and of others."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw | None = None


class Choice(msgspec.Struct, frozen=True):
    """One of the answers; there is only one here."""

    delta: Delta = Delta()
    finish_reason: str | None = None


class PromptDetails(msgspec.Struct, frozen=True):
    """`multimodal_tokens`: by modality, from vLLM with --enable-prompt-tokens-details."""

    cached_tokens: int | None = None
    image_tokens: int | None = None
    multimodal_tokens: dict[str, int] | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the server counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None

    @property
    def image_tokens(self) -> int | None:
        """Those of images, where the server tells them apart."""
        details = self.prompt_tokens_details
        if details is None or details.multimodal_tokens is None:
            return details.image_tokens if details is not None else None
        return details.multimodal_tokens.get("image", 0)

    @property
    def cached_tokens(self) -> int | None:
        """Those of the prompt that were found in a cache, where the server tells."""
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details is not None else None


class Chunk(msgspec.Struct, frozen=True):
    """One event."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: Any = None


class InvalidStream(Exception):
    """What arrived is no stream of a chat completion, or tells of an error of the server's."""

    def __init__(self, message: str, *, by_server: bool = False) -> None:
        super().__init__(message)
        self.by_server = by_server


_decode = msgspec.json.Decoder(Chunk).decode


class StreamReader:
    """Takes bytes as they arrive; `token_at` holds the time at which each chunk with output came.

    `steps`: how often output, usage or the end came.
    """

    def __init__(self, on_text: Callable[[str], None] | None = None) -> None:
        self.texts: list[str] = []
        self.token_at: list[float] = []
        self.usage: Usage | None = None
        self.done = False
        self.steps = 0
        self.finish_reason: str | None = None
        self._on_text = on_text
        self._rest = b""
        self._data: list[bytes] = []

    @property
    def complete(self) -> bool:
        """Whether the answer ended as it should: with [DONE], or at least with the reason why it stopped."""
        return self.done or (self.finish_reason is not None and not self._rest and not self._data)

    def feed(self, received: bytes, at: float) -> None:
        """Take bytes that arrived at `at`, in monotonic seconds; raises InvalidStream."""
        lines = (self._rest + received if self._rest else received).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > EVENT_BYTES:
            raise InvalidStream("an event of the stream does not end.")
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if not line:
                if self._data:
                    event, self._data = b"\n".join(self._data), []
                    self._take(event, at)
            elif line.startswith(DATA):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line.startswith(b"{"):  # some servers tell errors as bare JSON in the stream
                raise InvalidStream(f"the stream holds what is no event: {shown(line)}")

    def _take(self, event: bytes, at: float) -> None:
        if event == DONE:
            self.done = True
            self.steps += 1
            return
        try:
            chunk = _decode(event)
        except msgspec.MsgspecError as error:
            raise InvalidStream(f"an event of the stream cannot be read ({error}): {shown(event)}") from error
        if chunk.error is not None:
            raise InvalidStream(_message(chunk.error), by_server=True)
        if chunk.usage is not None:
            self.usage = chunk.usage
            self.steps += 1
        for choice in chunk.choices:
            self._take_delta(choice.delta, at)
            self.finish_reason = choice.finish_reason or self.finish_reason

    def _take_delta(self, delta: Delta, at: float) -> None:
        """A chunk that only names the role is sent before there is a token, and an empty one after the last."""
        text = delta.content
        if text:
            self.texts.append(text)
            if self._on_text is not None:
                self._on_text(text)
        elif not (delta.reasoning or delta.reasoning_content or delta.tool_calls) and (
            text is None or delta.role is not None
        ):
            return
        self.token_at.append(at)
        self.steps += 1


def shown(content: bytes) -> str:
    """The start of what a server said, on one line."""
    text = " ".join(content[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace").split())
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def error_message(body: bytes) -> str:
    """What an error response says: its `message` in any of the usual forms, or its start."""
    try:
        content = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return shown(body)
    return _message(content.get("error", content) if isinstance(content, dict) else content)


def _message(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    text = error if isinstance(error, str) else msgspec.json.encode(error).decode()
    return shown(text.encode())
