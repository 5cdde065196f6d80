"""How other engines differ from the current vLLM."""

from __future__ import annotations

from msgspec.structs import replace

from vlmctl.planning.speed import CONSTANTS, Speed
from vlmctl.specs.model import LanguageModel
from vlmctl.specs.record import Record


class Engine(Record, frozen=True, kw_only=True):
    """How an engine differs from the current vLLM.

    `layer_seconds`: more per decoder layer and step; `pixel_seconds`: of preparing an image inside the engine's loop,
    which holds up the GPU; `saturated_sequences`: sequences in flight under a saturating load (None: as many as fit).
    """

    layer_seconds: float = 0.0
    pixel_seconds: float = 0.0
    saturated_sequences: int | None = None


CURRENT = Engine()
# vLLM's first engine, up to 0.7. Fitted to 172 rows of 0.7.2 with five models on A6000, A100 and H100, each model
# weighing alike. Saturated, those runs reach 4.7 to 5.4 times their single-stream rate on an A6000 or A100, whatever
# the model and its precision: they held about six sequences at once, a setting that their source does not state.
FIRST_VLLM = Engine(layer_seconds=0.000093, pixel_seconds=1.17e-7, saturated_sequences=6)
# SGLang 0.5 with images: beside text runs of the same length, two images of 1280x720 take 37 and 47 ms more of each
# request under load, which is all of their host work (Gemma 4 E2B and 26B on H200, sgl-cookbook).
SGLANG = Engine(pixel_seconds=CONSTANTS.host_seconds_per_pixel)
FIRST_VLLM_VERSIONS = ("0.1.", "0.2.", "0.3.", "0.4.", "0.5.", "0.6.", "0.7.")


def engine_of(name: str, version: str) -> Engine:
    """The engine behind a measurement; unknown ones are taken as current."""
    name, release = name.lower(), f"{version.removeprefix('v')}."
    if name == "sglang":
        return SGLANG
    return FIRST_VLLM if name == "vllm" and release.startswith(FIRST_VLLM_VERSIONS) else CURRENT


def with_engine(coefficients: Speed, engine: Engine, language: LanguageModel, host_pixels: int) -> Speed:
    """The coefficients of the same replica under another engine."""
    if engine is CURRENT:
        return coefficients
    step = engine.layer_seconds * language.layers
    blocking = engine.pixel_seconds * host_pixels
    return replace(
        coefficients,
        overhead=coefficients.overhead + step,
        prefill=coefficients.prefill + blocking,
        prefill_latency=coefficients.prefill_latency + blocking + step,
        host=0.0 if engine.pixel_seconds else coefficients.host,
    )
