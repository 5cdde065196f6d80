"""How other engines differ from the current vLLM."""

from __future__ import annotations

from msgspec.structs import replace

from vlmctl.planning.throughput import Speed
from vlmctl.specs.record import Record


class Engine(Record, frozen=True, kw_only=True):
    """How an engine differs from the current vLLM: seconds more per step, and host work that holds up the GPU."""

    step_seconds: float = 0.0
    host_blocking: float = 0.0  # times the current engine's host seconds per pixel, spent inside the engine's loop
    image_request_seconds: float = 0.0  # the same, for any request with images


CURRENT = Engine()
# vLLM's first engine, up to 0.7: scheduling and sampling in Python between steps, images prepared in the engine's loop.
# Read off 154 rows of 0.7.2 with Qwen2-VL, Qwen2.5-VL and Pixtral on A6000, A100 and H100.
FIRST_VLLM = Engine(step_seconds=0.0045, host_blocking=6.0, image_request_seconds=0.2)
FIRST_VLLM_VERSIONS = ("0.1.", "0.2.", "0.3.", "0.4.", "0.5.", "0.6.", "0.7.")


def engine_of(name: str, version: str) -> Engine:
    """The engine behind a measurement; unknown ones are taken as current."""
    return FIRST_VLLM if name == "vllm" and f"{version}.".startswith(FIRST_VLLM_VERSIONS) else CURRENT


def with_engine(coefficients: Speed, engine: Engine) -> Speed:
    """The coefficients of the same replica under another engine."""
    if engine is CURRENT:
        return coefficients
    blocking = coefficients.host * engine.host_blocking + (engine.image_request_seconds if coefficients.host else 0.0)
    return replace(
        coefficients,
        overhead=coefficients.overhead + engine.step_seconds,
        prefill=coefficients.prefill + blocking,
        prefill_latency=coefficients.prefill_latency + blocking + engine.step_seconds,
        host=0.0,
    )
