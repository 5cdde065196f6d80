"""What agents tell the operator: read back as it was written, and nothing believed that cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from vlm_operator.results import (
    MAXIMUM_BYTES,
    TEXT_LENGTH,
    AgentResult,
    Figures,
    Ladder,
    Probe,
    Problem,
    Stage,
    Task,
    Word,
    cut,
    encode,
    read_result,
    read_word,
    rfc3339,
)

from vlmctl.errors import InvalidValue
from vlmctl.specs.measurements import Load, Measured, MeasuredWorkload, Measurement, Parallelism

FIGURES = Figures(concurrency=8, requests_per_second=3.1, low=2.9, high=3.3, measured="2026-11-20T12:30:05Z")
ROW = Measurement(
    id="row",
    source="vlmctl bench",
    model="qwen2.5-vl-7b",
    weights="bf16",
    gpu="L4",
    gpu_count=1,
    parallelism=Parallelism(),
    engine="vllm",
    engine_version="0.32.0",
    workload=MeasuredWorkload(prompt_tokens=64, output_tokens=256, images=1, image_width=1280, image_height=720),
    load=Load(kind="closed", concurrency=8, requests=90),
    measured=Measured(requests_per_second=3.1),
    flags={"seed": 1, "arguments": ["--max-num-seqs=8"]},
)


def test_a_result_is_read_back_as_it_was_written() -> None:
    """Every part of it, measurements with everything that made them included."""
    result = AgentResult(
        stage=Stage.OPEN,
        task=Task.LADDER,
        problem=Problem.NOT_MEASURED,
        probe=Probe(figures=FIGURES, minimum=2.0),
        ladder=Ladder(attempts=2, best=FIGURES, rows=(ROW,), notes=("a note",)),
        counted_before={"prompt_tokens": 12.0},
    )
    assert read_result(encode(result)) == result
    assert result.measured
    assert not AgentResult().measured


DEEP = b'{"ladder": {"rows": [{"flags": ' + b"[" * 100_000


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b'{"stage": "Ready"}', b"\xff", DEEP], ids=lambda text: text[:20]
)
def test_what_is_no_result_is_refused(content: bytes) -> None:
    """A pod is not trusted: what cannot be read is an error that says so, of no other kind."""
    with pytest.raises(InvalidValue, match="result of an agent"):
        read_result(content)


def test_a_result_of_a_later_agent_is_read() -> None:
    """As after the operator was set back: what this version does not know of is passed over, at any depth."""
    later = {"stage": "Open", "new": 1, "ladder": {"attempts": 1, "new": {}, "best": FAST | {"new": [1]}}}
    result = read_result(told(**later))
    assert (result.stage, result.ladder.attempts, result.measured) == (Stage.OPEN, 1, True)
    assert read_word('{"task": "smoke", "new": 1}') == Word(task=Task.SMOKE)


def test_a_result_that_is_too_large_is_not_read() -> None:
    """Before it is parsed."""
    with pytest.raises(InvalidValue, match="larger"):
        read_result(b" " * (MAXIMUM_BYTES + 1))


@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_result_or_an_error(content: bytes) -> None:
    """Nothing else is raised, whatever a pod sends."""
    try:
        assert isinstance(read_result(content), AgentResult)
    except InvalidValue:
        return


@given(
    word=st.builds(
        Word,
        task=st.sampled_from(Task),
        budget=st.none() | st.just("90s"),
        requests_per_second=st.none() | st.just("12.3"),
        concurrency=st.none() | st.integers(1, 512),
        minimum_of_measured=st.none() | st.just("0.7"),
    )
)
def test_a_word_is_read_back(word: Word) -> None:
    """From the text of the annotation."""
    assert read_word(encode(word).decode()) == word


def test_a_word_is_spelled_as_kubernetes_spells_fields() -> None:
    """In camelCase, and without what was not said."""
    word = Word(task=Task.PROBE, requests_per_second="12.3", concurrency=8)
    assert encode(word) == b'{"task":"probe","requestsPerSecond":"12.3","concurrency":8}'


@pytest.mark.parametrize("content", ["", "\n", "ladder", "{}", '{"task": "dance"}', "\ud800"])
def test_an_annotation_that_says_nothing_is_no_word(content: str) -> None:
    """Missing, empty, or written by somebody else."""
    assert read_word(content) is None


def test_times_are_of_utc() -> None:
    """Whatever zone they are given in."""
    noon = datetime(2026, 11, 20, 12, 30, 5, tzinfo=UTC)
    assert rfc3339(noon) == rfc3339(noon.astimezone(timezone(timedelta(hours=9)))) == "2026-11-20T12:30:05Z"


def told(**fields: object) -> bytes:
    """A result with these fields, whatever they hold."""
    return msgspec.json.encode(fields)


FAST = {"concurrency": 8, "requests_per_second": 3.1, "measured": "2026-11-20T12:30:05Z"}


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({"requests_per_second": -1.0}, "requests_per_second"),
        ({"requests_per_second": 1e300}, "requests_per_second"),
        ({"requests_per_second": 80_001.0}, "80001 requests/s with 8 in flight"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 10**9}, "concurrency"),
        ({"low": 4.0, "high": 5.0}, "outside of its interval, 4 to 5"),
        ({"ttft_p95_seconds": -0.1}, "ttft_p95_seconds"),
        ({"tpot_p95_seconds": 1e9}, "tpot_p95_seconds"),
        ({"image_tokens": -5}, "image_tokens"),
        ({"measured": "yesterday"}, "measured"),
        ({"measured": "2" * 100_000}, "measured"),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["ladder", "probe"])
def test_figures_that_nobody_measured_are_refused(figures: dict[str, object], says: str, place: str) -> None:
    """Any image may answer in an agent's stead: no rate below zero, none that no engine reaches, no endless text."""
    held = {"best": FAST | figures} if place == "ladder" else {"figures": FAST | figures, "minimum": 1.0}
    with pytest.raises(InvalidValue) as refused:
        read_result(told(**{place: held}))
    assert says in str(refused.value)
    assert len(str(refused.value)) < 2 * TEXT_LENGTH


@pytest.mark.parametrize(
    "changes",
    [
        {"measured": {"requests_per_second": -3.0}},
        {"measured": {"requests_per_second": 0.0}},
        {"measured": {"requests_per_second": 5e-324}},
        {"measured": {"requests_per_second": 1e9}},
        {"measured": {"ttft_ms": 1e12}},
        {"measured": {"ttft_ms": 1e-320, "requests_per_second": 3.1}},
        {"measured": {"ttft_ms": 0.0, "tpot_ms": 0.0}},
        {"measured": {"e2e_p95_ms": -1.0}},
        {"load": {"kind": "closed", "concurrency": 0}},
        {"gpu_count": 0},
        {"parallelism": {"tensor": 0}},
        {"parallelism": {"pipeline": 0}},
        {"parallelism": {"data": -1}},
        {"workload": {"prompt_tokens": 64, "output_tokens": 0}},
        {"workload": {"prompt_tokens": 64, "output_tokens": 2, "images": 1, "image_width": 0, "image_height": 8}},
    ],
    ids=str,
)
def test_rows_that_nobody_measured_are_refused(changes: dict[str, object]) -> None:
    """They are what estimates are made with: one of them would end every plan of its namespace with a bug."""
    row = {**msgspec.to_builtins(ROW), **changes}
    with pytest.raises(InvalidValue, match="row row has"):
        read_result(told(ladder={"rows": [row]}))


@pytest.mark.parametrize("moment", ["2026-02-30T00:00:00Z", "2026-11-20T24:61:00Z", "0000-01-01T00:00:00Z"])
@pytest.mark.parametrize("field", ["engine_ready", "smoked", "opened", "stuck", "best", "probe"])
def test_moments_that_no_calendar_has_are_refused(moment: str, field: str) -> None:
    """They look right and are worked with later, in every pass."""
    figures = FAST | {"measured": moment}
    fields = {"best": {"ladder": {"best": figures}}, "probe": {"probe": {"figures": figures, "minimum": 1.0}}}
    with pytest.raises(InvalidValue, match="calendar"):
        read_result(told(**fields.get(field, {field: moment})))


def test_a_measurement_is_of_more_than_nothing() -> None:
    """A replica of no throughput was not measured, while a probe may find one."""
    none = FAST | {"requests_per_second": 0.0}
    with pytest.raises(InvalidValue, match="no requests"):
        read_result(told(ladder={"best": none}))
    assert read_result(told(probe={"figures": none, "minimum": 1.0})).probe is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"message": "x" * (TEXT_LENGTH + 1)},
        {"engine_version": "x" * 1_000},
        {"opened": "now"},
        {"ladder": {"notes": ["x" * (TEXT_LENGTH + 1)]}},
        {"ladder": {"notes": ["x"] * 1_000}},
        {"counted_before": {str(number): 1.0 for number in range(1_000)}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_text_without_end_is_refused(fields: dict[str, object]) -> None:
    """It would be kept in memory, and shown."""
    with pytest.raises(InvalidValue):
        read_result(told(**fields))


@given(
    rate=st.floats(1e-3, 8_000),
    half=st.floats(0, 100) | st.none(),
    ttft=st.none() | st.floats(0, 3_600),
    message=st.text(max_size=5_000),
)
def test_what_can_be_measured_is_believed(rate: float, half: float | None, ttft: float | None, message: str) -> None:
    """Every figure that a load may have, and text as the agent cuts it."""
    low, high = (max(rate - half, 0.0), rate + half) if half is not None else (None, None)
    best = replace(FIGURES, requests_per_second=rate, low=low, high=high, ttft_p95_seconds=ttft)
    result = AgentResult(message=cut(message), ladder=Ladder(best=best))
    assert read_result(encode(result)) == result
