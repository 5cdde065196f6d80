"""The reader of streams: strict about what it takes, indifferent to how bytes are cut."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.bench.stream import InvalidStream, StreamReader, error_message


def event(**content: object) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"


def delta(text: str, finish: str | None = None, **more: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text, **more}, "finish_reason": finish}])


STREAM = b"".join(
    [
        b": ping\n\n",
        event(choices=[{"delta": {"role": "assistant", "content": ""}}]),
        delta("früh "),
        b"event: message\r\nid: 3\r\n" + delta("日本").replace(b"\n", b"\r\n"),
        delta("\u2028", "stop"),
        event(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 3}),
        b"data: [DONE]\n\n",
    ]
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_a_stream_reads_alike_however_it_is_cut(places: list[int]) -> None:
    """Chunks of a network say nothing: events do, within multi-byte characters too."""
    reader, cuts = StreamReader(), sorted({0, len(STREAM), *places})
    for at, (start, end) in enumerate(pairwise(cuts)):
        reader.feed(STREAM[start:end], float(at))
    assert "".join(reader.texts) == "früh 日本\u2028"
    assert len(reader.token_at) == 3
    assert reader.token_at == sorted(reader.token_at)
    assert reader.usage is not None
    assert reader.usage.completion_tokens == 3
    assert reader.done
    assert reader.complete


def test_a_chunk_that_only_names_the_role_is_no_token() -> None:
    """Servers send it before there is a token: counting it would flatter the time to first token."""
    reader = StreamReader()
    reader.feed(event(choices=[{"delta": {"role": "assistant", "content": ""}}]), 1.0)
    reader.feed(event(choices=[{"delta": {"content": ""}}]), 2.0)  # half a character
    reader.feed(event(choices=[{"delta": {"reasoning": "hm"}}]), 3.0)
    reader.feed(event(choices=[{"delta": {}, "finish_reason": "stop"}]), 4.0)
    assert reader.token_at == [2.0, 3.0]


@pytest.mark.parametrize(
    ("sent", "by_server"),
    [
        (b"data: {\n\n", False),
        (b'data: {"choices": 3}\n\n', False),
        (b'{"error": "x"}\n', False),
        (b'data: {"error": {"message": "x"}}\n\n', True),
        (b'data: {"error": "x"}\n\n', True),
        (b"data: " + b"x" * 17_000_000, False),
    ],
)
def test_what_is_no_stream_is_refused(sent: bytes, by_server: bool) -> None:
    """Neither broken events nor errors of the server's pass for an answer."""
    with pytest.raises(InvalidStream) as caught:
        StreamReader().feed(sent, 0.0)
    assert caught.value.by_server is by_server


def test_an_answer_without_its_end_is_not_complete() -> None:
    """Neither one without the reason why it stopped, nor one whose last event is cut."""
    reader = StreamReader()
    reader.feed(delta("a"), 0.0)
    assert not reader.complete
    reader.feed(delta("b", "stop") + b"data: {", 1.0)
    assert not reader.complete


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (None, None),
        ({}, None),
        ({"cached_tokens": 4}, None),
        ({"image_tokens": 5}, 5),
        ({"multimodal_tokens": {"image": 6, "video": 7}}, 6),
        ({"multimodal_tokens": {}}, 0),
    ],
)
def test_image_tokens_are_told_in_two_ways_or_not_at_all(
    details: dict[str, object] | None, expected: int | None
) -> None:
    """As vLLM tells them, as others do; unknown is None, not 0."""
    reader = StreamReader()
    reader.feed(event(choices=[], usage={"prompt_tokens": 9, "prompt_tokens_details": details}), 0.0)
    assert reader.usage is not None
    assert reader.usage.image_tokens == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"detail": "no"}', "no"),
        (b'{"message": "no"}', "no"),
        (b'{"error": "no"}', "no"),
        (b"<html>no</html>", "<html>no</html>"),
        (b"", ""),
        (b"\xff\x00", "\ufffd\x00"),
    ],
)
def test_errors_are_read_in_all_their_forms(body: bytes, said: str) -> None:
    """The message alone, where there is one."""
    assert error_message(body) == said
