"""Host memory of a replica: its items add up, and grow with what makes them grow."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.support.plans import SETTINGS
from tests.support.records import make_model
from vlmctl.planning.architecture import model_figures
from vlmctl.planning.demand import request_demand
from vlmctl.planning.host_memory import MARGIN, PROCESSOR_CACHE_BYTES, host_memory
from vlmctl.specs.estimates import HostMemory
from vlmctl.specs.model import Precision
from vlmctl.specs.workload import ImageInput, VideoInput, Workload
from vlmctl.units import GIB

MODEL = make_model()
FIGURES = model_figures(MODEL, Precision.BF16)
TEXT = Workload()
PHOTO = Workload(images=(ImageInput(width_pixels=4000, height_pixels=3000, count=1),))


def _memory(workload: Workload, *, gpu_count: int = 1, sequences: int = 16, workers: int = 4) -> HostMemory:
    settings = replace(SETTINGS, renderer_workers=workers)
    demand = request_demand(MODEL, replace(workload, videos=()))  # the toy model reads no video
    return host_memory(FIGURES, workload, demand, settings, gpu_count=gpu_count, sequences=sequences)


@pytest.mark.parametrize("gpu_count", [1, 2, 8])
@pytest.mark.parametrize("workload", [TEXT, PHOTO])
def test_the_pod_holds_all_items_and_its_shared_memory(workload: Workload, gpu_count: int) -> None:
    """The limit is the items with a margin, /dev/shm whole, in GiB that Kubernetes can be given."""
    found = _memory(workload, gpu_count=gpu_count)
    shared = sum(item.bytes for item in found.items if item.name.startswith("/dev/shm"))
    own = sum(item.bytes for item in found.items) - shared
    assert found.shared_memory_bytes >= shared
    assert 0 <= found.memory_bytes - own * (1 + MARGIN) - found.shared_memory_bytes < GIB
    assert found.memory_bytes % GIB == found.shared_memory_bytes % GIB == 0


def test_text_needs_no_room_for_media() -> None:
    """Without images there is neither processor cache nor decoding."""
    names = {item.name for item in _memory(TEXT).items}
    assert names == {"API server", "engine core", "/dev/shm"}
    assert _memory(PHOTO).memory_bytes - _memory(TEXT).memory_bytes >= PROCESSOR_CACHE_BYTES


def test_a_burst_of_photos_takes_what_was_measured() -> None:
    """Twelve-megapixel images at 8, 16 and 32 in flight: within 0.2 GiB of the API server's peak over its start."""
    for sequences, measured_gib in ((8, 0.96), (16, 1.51), (32, 2.31)):
        items = {item.name: item.bytes for item in _memory(PHOTO, sequences=sequences).items}
        found = items["decoded media"] + items["media being resized"]
        assert found / GIB == pytest.approx(measured_gib, abs=0.2)


def test_more_of_anything_never_takes_less() -> None:
    """Requests in flight, renderers, GPUs and frames each add to the pod's memory."""
    clip = Workload(videos=(VideoInput(seconds=60, frames_per_second=1, width_pixels=1280, height_pixels=720),))
    short = Workload(videos=(VideoInput(seconds=10, frames_per_second=1, width_pixels=1280, height_pixels=720),))
    base = _memory(PHOTO).memory_bytes
    assert _memory(PHOTO, sequences=64).memory_bytes > base
    assert _memory(PHOTO, workers=32).memory_bytes > base
    assert _memory(PHOTO, gpu_count=2).memory_bytes > base
    assert _memory(clip, sequences=64).memory_bytes > _memory(short, sequences=64).memory_bytes


def test_several_gpus_need_queues_and_nccl_in_shared_memory() -> None:
    """One GPU runs inside the engine core; each more is a worker with a queue of its own."""
    assert _memory(TEXT, gpu_count=1).shared_memory_bytes == GIB
    assert _memory(TEXT, gpu_count=8).shared_memory_bytes > _memory(TEXT, gpu_count=2).shared_memory_bytes > GIB
