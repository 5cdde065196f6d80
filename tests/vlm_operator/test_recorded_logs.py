"""What an engine's last words tell: recorded logs, the patterns that read them, and what never gets out."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_operator.engine_logs import QUOTE_LIMIT, explain, last_words, patterns, quote
from vlm_operator.reasons import AvailableReason, ModelReason

from tests.vlm_operator.test_diagnosis import found
from tests.vlm_operator.worlds import CRASHED, observed, pod

LOGS = sorted((Path(__file__).parent / "logs").glob("*.txt"))
REASONS = {each.value for kind in (AvailableReason, ModelReason) for each in kind}
TOKENS = st.text(string.ascii_letters + string.digits, min_size=20, max_size=40)


def log_of(path: Path) -> tuple[str, str]:
    """The reason that a recorded log is to give, and the log."""
    reason, source, text = path.read_text().split("\n", 2)
    assert reason.startswith("# reason: ")
    assert source.startswith("# source: ")
    return reason.removeprefix("# reason: "), text


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_recorded_logs_of_engines_that_ended_tell_their_reason(path: Path) -> None:
    """An engine that ended with the words that others have reported is diagnosed, with a remedy."""
    reason, text = log_of(path)
    finding = found(observed(pod(CRASHED), logs={"uid-reader-a": text}))
    assert finding.reason == reason
    assert finding.remedy


def test_every_pattern_is_the_first_to_fit_some_recorded_log() -> None:
    """A pattern that no recorded log needs, or that another one hides, is not kept."""
    texts = [log_of(path)[1] for path in LOGS]
    said = {finding.message for text in texts if (finding := explain(text)) is not None}
    shapes = [re.sub(r"\\\{\w+\\\}", ".+", re.escape(entry.message)) for entry in patterns()]
    unused = [shape for shape in shapes if not any(re.fullmatch(shape, message) for message in said)]
    assert unused == []


@pytest.mark.parametrize("entry", patterns(), ids=lambda entry: entry.pattern[:40])
def test_patterns_say_an_enumerated_reason_with_what_they_capture(entry: Any) -> None:
    """An entry's reason is of the API, and its texts use no group that its pattern lacks."""
    used = set(re.findall(r"\{(\w+)\}", entry.message + entry.remedy))
    assert entry.reason in REASONS
    assert used <= set(re.compile(entry.pattern).groupindex)
    assert entry.source


def test_the_engines_own_suggestion_is_in_the_remedy() -> None:
    """A KV cache that is too small for the planned context tells the length that fits."""
    finding = explain(log_of(Path(__file__).parent / "logs" / "issue-kv-cache.txt")[1])
    assert finding is not None
    assert "--max-model-len=34736" in finding.remedy


@given(
    token=TOKENS,
    form=st.sampled_from(
        [
            "hf_{}",
            "Authorization: Bearer {}",
            "--api-key {}",
            "--api-key={}",
            "'api_key': ['{}']",
            "VLLM_API_KEY={}",
            "token={}",
            "https://user:{}@hub.test/x",
            "https://cdn.test/file?X-Amz-Signature={}",
            "password: {}",
        ]
    ),
    around=st.sampled_from(["ValueError: {}", "vllm: error: unrecognized arguments: {}", "OSError: at {} failed"]),
)
def test_secrets_in_a_log_are_never_shown(token: str, form: str, around: str) -> None:
    """Whatever line of a log is quoted, the keys and tokens in it are masked."""
    line = around.format(form.format(token))
    finding = found(observed(pod(CRASHED), logs={"uid-reader-a": line}))
    assert token not in f"{finding.message} {finding.remedy}"
    assert token not in last_words(line)


@given(st.text())
def test_quotes_are_one_short_line_without_control_characters(text: str) -> None:
    """A log cannot move a terminal's cursor, forge a line or fill a status."""
    said = quote(text)
    assert len(said) <= QUOTE_LIMIT
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said)


@given(st.text(max_size=5000))
def test_any_log_is_read_without_an_error(text: str) -> None:
    """A log is data: nothing in it makes the diagnosis fail, and an engine that ended is always told of."""
    assert found(observed(pod(CRASHED), logs={"uid-reader-a": text})).reason in REASONS


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("RuntimeError: <function f at 0x7f62>", "RuntimeError: <function f at 0x9a01>"),
        ("HfHubHTTPError: 500 (Request ID: Root=1-a;b) x", "HfHubHTTPError: 500 (Request ID: Root=1-c;d) x"),
        (f"RuntimeError: container {'0a' * 32} is gone", f"RuntimeError: container {'0b' * 32} is gone"),
        ("(EngineCore pid=1) ERROR 05-05 12:36:59 [core.py:3] KeyError: 'a'", "(EngineCore pid=2) KeyError: 'a'"),
    ],
)
def test_what_differs_from_one_start_to_the_next_is_not_quoted(first: str, second: str) -> None:
    """Addresses, request ids, process ids and times in a log do not make another message of the same failure."""
    assert last_words(first) == last_words(second) != ""
