"""fit: what people see, and the keys that machines may rely on."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine
from vlmctl.specs.answers import FitReport


class TestFit:
    def test_keys_are_stable(self, vlmctl: CommandLine) -> None:
        """Each report is the documented record."""
        found = vlmctl("fit", "qwen2.5-vl-7b", "--gpu", "L4", "-o", "json").json
        assert set(found) == {"models", "assumptions", "reports"}
        assert all(set(report) == set(FitReport.__struct_fields__) for report in found["reports"])

    def test_bars_are_drawn_to_one_scale(self, vlmctl: CommandLine) -> None:
        """Each item's bar is its share of the GPU's memory; the whole GPU is the longest."""
        lines = vlmctl("fit", "qwen2.5-vl-7b", "--gpu", "L4").out.splitlines()
        whole = next(line for line in lines if line.startswith("GPU memory")).count("#")
        weights = next(line for line in lines if line.startswith("language weights"))
        gib = float(weights.split("GiB")[0].split()[-1])
        assert weights.count("#") == pytest.approx(whole * gib / 22.5, abs=1)

    def test_ways_out_are_shown_where_it_does_not_fit(self, vlmctl: CommandLine) -> None:
        """A model too large for the GPU ends with 3, the shortfall and the nearest way out."""
        ran = vlmctl("fit", "qwen2.5-vl-72b", "--gpu", "L4")
        assert ran.code == 3
        assert "It does not fit" in ran.out
        assert "short per GPU" in ran.err

    def test_a_model_without_an_engine_is_warned_of(self, vlmctl: CommandLine) -> None:
        """Fitting the memory is not enough where no engine serves the model: both are said."""
        assert "it cannot be served" in vlmctl("fit", "idefics2-8b", "--gpu", "L40S").out
        assert "it cannot be served" in vlmctl("fit", "idefics2-8b").out

    def test_without_a_gpu_all_are_tried(self, vlmctl: CommandLine) -> None:
        """Each GPU of the catalog has one report, with the fewest that hold the model."""
        found = vlmctl("fit", "qwen2.5-vl-72b", "-o", "json").json
        gpus = vlmctl("gpus", "-o", "json").json
        assert [report["gpu"] for report in found["reports"]] == [gpu["id"] for gpu in gpus]
        assert {report["gpu_count"] for report in found["reports"] if report["fits"]} > {1}
