"""What an estimate or a measurement was made under, and how alike the errors under two such circumstances are."""

from __future__ import annotations

import math
import re

from vlmctl.planning.demand import RequestDemand
from vlmctl.specs.hardware import GpuSpec
from vlmctl.specs.model import ModelSpec, Precision
from vlmctl.specs.record import Record

# Similarity of two circumstances that differ in one respect; several multiply. Models of other families and other
# engines tell nothing. All were chosen on the open rows of catalog/measurements with each model left out in turn and
# each GPU left out in turn, then rounded; the result hardly changes with any of them (docs/calibrate.md).
SAME_FAMILY = 0.8  # another model of the family, dense or a mixture of experts like it
SAME_GENERATION = 0.7  # another GPU of the same architecture
OTHER_GPU = 0.5  # a GPU of another architecture
OTHER_PRECISION = 0.5  # other weights
OTHER_INPUT = 0.4  # one with images, one without
OTHER_SPLIT = 0.5  # the GPUs of a replica shared otherwise: tensor, pipeline, data parallel
OTHER_RELEASE = 0.5  # a release of the same engine far away or unknown; the rest fades with the distance
RELEASES = 16.0  # minor releases over which that rest falls to 1/e
DOUBLINGS = 12.0  # of GPUs, input tokens, output tokens and concurrency together, over which similarity falls to 1/e

MEASURED_DOUBLINGS = 0.5  # in all, within which the same model, weights, GPUs and engine release count as measured
INPUT_FLOOR_TOKENS = 64  # added to every input: differences between shorter ones do not show
MINOR_RELEASES = 100  # minor releases that one major release counts for
TENSOR_PARALLEL = "tensor"  # how plans share a model over the GPUs of a replica

_RELEASE = re.compile(r"v?(\d+)\.(\d+)(?:\D|$)")
_FOUR_BIT_WEIGHTS = frozenset({Precision.AWQ, Precision.GPTQ})  # w4a16 under the names of their tools


class Circumstances(Record, frozen=True, kw_only=True):
    """What a measurement or an estimate was made under. `doublings`: logarithms to base 2 of GPUs, input tokens with
    the floor, output tokens and concurrency. `release`: of the engine, None where the version names none.
    """

    model: str
    family: str
    sparse: bool
    precision: str
    gpu: str
    generation: str
    split: str
    engine: str
    release: float | None
    has_images: bool
    doublings: tuple[float, float, float, float]


def kin(at: Circumstances) -> tuple[str, str, bool]:
    """What must be the same for two circumstances to be alike at all: engine, family, dense or a mixture of experts."""
    return (at.engine, at.family, at.sparse)


def similarity(one: Circumstances, other: Circumstances) -> float:
    """How alike the errors of two estimates are expected to be: their correlation, 0 to 1."""
    if kin(one) != kin(other):
        return 0.0
    alike = 1.0 if one.model == other.model else SAME_FAMILY
    if one.gpu != other.gpu:
        alike *= SAME_GENERATION if one.generation == other.generation else OTHER_GPU
    if one.precision != other.precision:
        alike *= OTHER_PRECISION
    if one.has_images != other.has_images:
        alike *= OTHER_INPUT
    if one.split != other.split:
        alike *= OTHER_SPLIT
    if one.release != other.release:
        alike *= OTHER_RELEASE
        if one.release is not None and other.release is not None:
            fading = math.exp(-abs(one.release - other.release) / RELEASES)
            alike *= 1.0 + (1.0 / OTHER_RELEASE - 1.0) * fading
    return alike * math.exp(-apart(one, other) / DOUBLINGS)


def apart(one: Circumstances, other: Circumstances) -> float:
    """Doublings between two loads: of GPUs, input tokens, output tokens and concurrency together."""
    return sum(abs(here - there) for here, there in zip(one.doublings, other.doublings, strict=True))


def is_measured(question: Circumstances, at: Circumstances) -> bool:
    """Whether a measurement is of the very thing: all the same, and the load within `MEASURED_DOUBLINGS`."""
    same = (
        question.model == at.model
        and question.precision == at.precision
        and question.gpu == at.gpu
        and question.split == at.split
        and question.doublings[0] == at.doublings[0]
        and question.engine == at.engine
        and question.release is not None
        and question.release == at.release
        and question.has_images == at.has_images
    )
    return same and apart(question, at) <= MEASURED_DOUBLINGS


def circumstances(
    model: ModelSpec,
    precision: Precision,
    gpu: GpuSpec,
    demand: RequestDemand,
    *,
    gpu_count: int,
    concurrency: float,
    engine: str,
    engine_version: str,
    split: str = TENSOR_PARALLEL,
) -> Circumstances:
    """The circumstances of an estimate. `concurrency`: requests in flight on one replica, at least one."""
    tokens = demand.sequence_tokens + demand.cross_tokens + INPUT_FLOOR_TOKENS
    counts = (gpu_count, tokens, max(demand.output_tokens, 1), max(concurrency, 1.0))
    first, second, third, fourth = (math.log2(count) for count in counts)
    return Circumstances(
        model=model.id,
        family=model.family or model.id,
        sparse=model.language is not None and model.language.experts is not None,
        precision=(Precision.W4A16 if precision in _FOUR_BIT_WEIGHTS else precision).value,
        gpu=gpu.id,
        generation=gpu.architecture,
        split=split,
        engine=engine.lower(),
        release=release(engine_version),
        has_images=demand.image_tokens > 0,
        doublings=(first, second, third, fourth),
    )


def release(version: str) -> float | None:
    """A version as a count of minor releases: `0.32.1` is 32; None where the text names none, such as `nightly`."""
    found = _RELEASE.match(version)
    return float(int(found[1]) * MINOR_RELEASES + int(found[2])) if found else None
