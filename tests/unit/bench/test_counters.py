"""The server's own counters: read from vLLM's page, compared with what the client saw."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.bench.counters import ServerState, disagreements, read_state, restarted, server_load
from vlmctl.bench.server import cache_settings

# As vLLM 0.32 writes them, of two engines behind one address.
PAGE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_running{engine="1",model_name="a } b"} 4.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.75
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 3712.0
vllm:prompt_tokens_created{engine="0",model_name="tiny"} 1.79e+09
vllm:generation_tokens_total{engine="0",model_name="tiny"} 272.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="tiny"} 2.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="tiny"} 6.0
vllm:cache_config_info{block_size="16",enable_prefix_caching="True",engine="0"} 1.0
process_max_fds 20000.0
"""


def test_a_page_of_vllm_is_read() -> None:
    """Engines and reasons are added up, the fullest KV cache is told, and names that only begin alike are not mixed."""
    state = read_state(PAGE, 5.0)
    assert (state.running, state.waiting, state.kv_cache) == (7.0, 1.0, 0.75)
    assert state.totals == {"prompt_tokens": 3712.0, "output_tokens": 272.0, "requests": 8.0}
    assert cache_settings(PAGE) == {"block_size": "16", "enable_prefix_caching": "True", "engine": "0"}


@given(st.text())
def test_any_text_is_read_without_a_fault(text: str) -> None:
    """What is no page of metrics tells nothing."""
    assert read_state(text, 0.0).running is None or "vllm:num_requests_running" in text
    cache_settings(text)


def test_a_step_is_told_by_its_rises_and_means() -> None:
    """Counters by their rise, gauges by what they were in between."""
    states = [
        ServerState(at=0.0, running=0.0, kv_cache=0.0, totals={"requests": 10.0}),
        ServerState(at=1.0, running=4.0, kv_cache=0.2, totals={"requests": 12.0}),
        ServerState(at=2.0, running=6.0, kv_cache=0.4, totals={"requests": 15.0}),
        ServerState(at=3.0, running=0.0, kv_cache=0.0, totals={"requests": 16.0}),
    ]
    load = server_load(states)
    assert load is not None
    assert (load.samples, load.mean_running, load.mean_kv_cache, load.maximum_kv_cache) == (
        2,
        5.0,
        pytest.approx(0.3),
        0.4,
    )
    assert load.mean_waiting is None
    assert [(each.seconds, each.running, each.preemptions) for each in load.readings] == [
        (0.0, 0.0, None),
        (1.0, 4.0, None),
        (2.0, 6.0, None),
        (3.0, 0.0, None),
    ]
    assert load.rises == {"requests": 6.0}
    assert server_load(states[:1]) is None
    assert server_load([ServerState(at=0.0), ServerState(at=1.0)]) is None


def test_preemptions_are_told_over_time() -> None:
    """By how many there have been since the step began, so that a full KV cache can be seen when it was."""
    states = [ServerState(at=at, totals={"preemptions": 7.0 + rise}) for at, rise in ((5.0, 0), (6.0, 2), (11.0, 3))]
    load = server_load(states)
    assert load is not None
    assert [(each.seconds, each.preemptions) for each in load.readings] == [(0.0, 0.0), (1.0, 2.0), (6.0, 3.0)]


def test_a_disagreement_above_five_percent_is_reported() -> None:
    """Not one of five percent, and nothing of what the server does not count."""
    seen = {"requests": 100.0, "output_tokens": 100.0, "prompt_tokens": 7.0}
    found = disagreements(seen, {"requests": 105.0, "output_tokens": 106.0})
    assert [each.quantity for each in found] == ["output_tokens"]
    assert "106 output tokens" in found[0].text


def test_a_server_that_started_anew_is_noticed() -> None:
    """Its counters fell."""
    states = [ServerState(at=0.0, totals={"requests": 5.0}), ServerState(at=1.0, totals={"requests": 6.0})]
    assert not restarted(states)
    assert restarted([*states, ServerState(at=2.0, totals={"requests": 1.0})])
