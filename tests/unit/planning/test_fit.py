"""Whether it fits, and what would make it fit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import SOURCE, make_gpu, make_model
from vlmctl.errors import InvalidValue
from vlmctl.planning.fit import checkpoint_of, fit
from vlmctl.specs.model import Precision, QuantizedCheckpoint
from vlmctl.specs.workload import ImageInput, Workload

PAGE = Workload(images=(ImageInput(width_pixels=1680, height_pixels=2240, count=2),))
FP8 = QuantizedCheckpoint(precision=Precision.FP8, repository="toys/toy-fp8", source=SOURCE, verified=True)
MARKET = (make_gpu("mid"), make_gpu("big", gib=141.0))


def test_a_model_that_fits_has_room_and_no_ways_out() -> None:
    """It says how many requests and how long a sequence the memory takes."""
    report = fit(make_model(), make_gpu("mid"), PAGE)
    assert report.fits
    assert report.maximum_concurrency >= 1
    assert report.maximum_context_tokens >= report.request_tokens
    assert report.ways_out == ()


def test_every_way_out_really_fits() -> None:
    """A checkpoint, tensor parallelism and a larger GPU are offered, each checked with the whole ledger."""
    model = make_model(billions=14.0, quantizations=(FP8,))
    report = fit(model, make_gpu("small", gib=24.0), PAGE, others=MARKET)
    assert not report.fits
    assert report.shortfall_bytes > 0
    changes = {way.change for way in report.ways_out}
    assert {"the fp8 checkpoint", "tensor parallel over 2 GPUs", "a larger GPU, mid"} <= changes
    assert all(way.concurrency >= 1 for way in report.ways_out)


def test_an_unsupported_gpu_is_a_refusal_with_its_reason() -> None:
    """Memory may suffice where the engine does not run."""
    old = make_gpu("old", gib=200.0)
    report = fit(
        make_model(), type(old)(**{f: getattr(old, f) for f in old.__struct_fields__ if f != "served_by"}), PAGE
    )
    assert not report.fits
    assert "vLLM does not run" in report.runs


def test_a_missing_precision_names_the_published_ones() -> None:
    """Asking for a checkpoint nobody published is one clear error."""
    with pytest.raises(InvalidValue, match="bf16, fp8"):
        checkpoint_of(make_model(quantizations=(FP8,)), Precision.AWQ)
    assert checkpoint_of(make_model(quantizations=(FP8,)), Precision.FP8) == (Precision.FP8, "toys/toy-fp8")


@given(st.floats(1.0, 60.0), st.sampled_from([16.0, 24.0, 48.0, 141.0]))
@settings(deadline=None)
def test_the_ledger_adds_up(billions: float, gib: float) -> None:
    """Items and KV cache make up the budget, whether it fits or not."""
    memory = fit(make_model(billions=billions), make_gpu(gib=gib), PAGE).memory
    total = sum(item.bytes for item in memory.items) + memory.kv_cache_bytes
    assert total == pytest.approx(memory.budget_bytes, abs=100)
