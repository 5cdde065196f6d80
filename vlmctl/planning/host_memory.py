"""Host memory of one replica: its processes, the media it decodes, the processor cache, and shared memory.

Measured with vLLM 0.32's CPU engine (API server, engine core and one worker as processes of their own) on a small
Qwen2-VL, resident memory read from /proc after each run of distinct JPEG images of 1280x720 and 4000x3000 pixels at 1
to 32 in flight. A CUDA context needs a GPU: its constant is bounded by published figures only.
"""

from __future__ import annotations

from vlmctl.planning.architecture import ModelFigures
from vlmctl.planning.demand import RequestDemand
from vlmctl.specs.estimates import EngineSettings, HostMemory, LedgerItem
from vlmctl.specs.workload import Workload
from vlmctl.units import GIB, MIB

MEASURED = "measured with vLLM 0.32's CPU engine"
EXECUTOR = "vllm/v1/executor/multiproc_executor.py, vLLM 0.32"

API_SERVER_BYTES = 1 * GIB  # resident 0.92 GiB once started, 0.59 of them its own
ENGINE_CORE_BYTES = 1 * GIB  # resident 0.89 GiB where the workers are processes of their own
# Resident 1.0 GiB without CUDA. On an A800 a process with a context stayed between 1.4 and 3.6 GiB: 12.4 GiB at the
# peak of an API server, two of them, and mapped shards of 4.3 GiB (vllm-omni, benchmarks/mammoth_moda2/README.md).
WORKER_BYTES = 3 * GIB
PROCESSOR_CACHE_BYTES = 4 * GIB  # default of mm_processor_cache_gb (vllm/config/multimodal.py)
# The API server's peak over its start, with 1, 4, 8, 16 and 32 images of 12 megapixels in flight and 4 renderers: 0.33,
# 0.76, 0.96, 1.51 and 2.31 GiB; these two give 0.18, 0.71, 0.94, 1.38 and 2.28.
BYTES_PER_WAITING_PIXEL = 5  # decoded image and its message, for every request in flight
BYTES_PER_RENDERED_PIXEL = 11  # and while a renderer resizes it
# 3 channels in 16 bit; Qwen's processors send two frames of 8 bit, the same (5.4 MiB read for 1280x720).
BYTES_PER_ENCODED_PIXEL = 6
ENCODED_COPIES = 2  # one in the API server's message, one in the engine core
BROADCAST_QUEUE_BYTES = 160 * MIB  # 10 chunks of VLLM_MQ_MAX_CHUNK_BYTES_MB (16)
RESPONSE_QUEUE_BYTES = 240 * MIB  # 10 chunks of 24 MiB for each worker
NCCL_SHARED_BYTES = 1 * GIB  # what NVIDIA asks for (NCCL user guide, troubleshooting, shared memory)
SEMAPHORE_BYTES = 64 * MIB  # a container's usual /dev/shm
MARGIN = 0.1  # memory that allocators keep: the API server gave back less than half of its peak


def host_memory(
    figures: ModelFigures,
    workload: Workload,
    demand: RequestDemand,
    settings: EngineSettings,
    *,
    gpu_count: int,
    sequences: int,
) -> HostMemory:
    """Host memory of one replica on `gpu_count` GPUs, with a burst of `sequences` requests decoded at once.

    The engine sets no bound on requests that wait, so more than that take more.
    """
    process, media, shared = _process_items(gpu_count), _media_items(workload, settings, sequences), _shared(gpu_count)
    encoded = _encoded_item(figures, demand, sequences) if media else ()
    shared_bytes = -(-sum(item.bytes for item in shared) // GIB) * GIB
    own = sum(item.bytes for item in (*process, *media, *encoded))
    return HostMemory(
        items=(*process, *media, *encoded, *shared),
        shared_memory_bytes=shared_bytes,
        memory_bytes=-(-int(own * (1 + MARGIN) + shared_bytes) // GIB) * GIB,
    )


def _process_items(gpu_count: int) -> tuple[LedgerItem, ...]:
    server = _item("API server", API_SERVER_BYTES, "Python, torch, processor", MEASURED)
    source = "vllm-omni, benchmarks/mammoth_moda2/README.md, a bound"
    if gpu_count == 1:
        return (server, _item("engine core", WORKER_BYTES, "Python, torch, CUDA context", source))
    core = _item("engine core", ENGINE_CORE_BYTES, "Python, torch", MEASURED)
    each = f"{gpu_count} GPUs x {WORKER_BYTES // GIB} GiB: Python, torch, CUDA context"
    return (server, core, _item("workers", gpu_count * WORKER_BYTES, each, source))


def _media_items(workload: Workload, settings: EngineSettings, sequences: int) -> tuple[LedgerItem, ...]:
    if not workload.images and not workload.videos:
        return ()
    images = [(each.width_pixels * each.height_pixels, each.count) for each in workload.images]
    videos = [(each.width_pixels * each.height_pixels * each.frames, 1) for each in workload.videos]
    pixels = sum(size * count for size, count in (*images, *videos))
    largest = max(size for size, _ in (*images, *videos))
    waiting = f"{sequences} requests x {pixels:,} pixels x {BYTES_PER_WAITING_PIXEL} B"
    workers = settings.renderer_workers
    resizing = f"{workers} threads x {largest:,} pixels x {BYTES_PER_RENDERED_PIXEL} B"
    return (
        _item("processor cache", PROCESSOR_CACHE_BYTES, "in the engine core; the API server keeps keys", MEASURED),
        _item("decoded media", sequences * pixels * BYTES_PER_WAITING_PIXEL, waiting, MEASURED),
        _item("media being resized", workers * largest * BYTES_PER_RENDERED_PIXEL, resizing, MEASURED),
    )


def _encoded_item(figures: ModelFigures, demand: RequestDemand, sequences: int) -> tuple[LedgerItem, ...]:
    """Pixel values on their way to the engine; where the patch is unknown, each patch is taken as 16 pixels wide."""
    patch = figures.vision.patch_pixels if figures.vision is not None and figures.vision.patch_pixels else 16
    pixels = demand.encoder_patches * patch**2
    size = sequences * pixels * BYTES_PER_ENCODED_PIXEL * ENCODED_COPIES
    formula = f"{sequences} requests x {pixels:,} pixels x {BYTES_PER_ENCODED_PIXEL} B, twice"
    return (_item("pixel values", size, formula, MEASURED),)


def _shared(gpu_count: int) -> tuple[LedgerItem, ...]:
    if gpu_count == 1:
        return (_item("/dev/shm", SEMAPHORE_BYTES, "semaphores: one GPU has no queues", EXECUTOR),)
    queues = BROADCAST_QUEUE_BYTES + gpu_count * RESPONSE_QUEUE_BYTES
    formula = f"{BROADCAST_QUEUE_BYTES // MIB} MiB + {gpu_count} workers x {RESPONSE_QUEUE_BYTES // MIB} MiB"
    return (
        _item("/dev/shm, queues", queues, formula, EXECUTOR),
        _item("/dev/shm, NCCL", NCCL_SHARED_BYTES, "where GPUs cannot reach each other directly", "NCCL user guide"),
    )


def _item(name: str, size: int, formula: str, source: str) -> LedgerItem:
    return LedgerItem(name=name, bytes=size, formula=formula, source=source)
