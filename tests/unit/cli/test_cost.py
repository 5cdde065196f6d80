"""cost: what people see, and the keys that machines may rely on."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine

OPTION_KEYS = {
    "model",
    "gpu",
    "gpu_count",
    "replicas",
    "quantization",
    "provider",
    "region",
    "instance_type",
    "kind",
    "usd_per_hour",
    "usd_per_1k_requests",
    "saturated_usd_per_1k_requests",
    "usd_per_1k_images",
    "usd_per_1k_pages",
    "usd_per_million_tokens",
    "usd_per_month",
    "utilization",
    "requests_per_second",
    "ttft_seconds",
    "ttft_p50_seconds",
    "ttft_p95_seconds",
    "tpot_seconds",
    "tpot_p50_seconds",
    "tpot_p95_seconds",
    "e2e_seconds",
    "e2e_p50_seconds",
    "e2e_p95_seconds",
    "goodput",
    "basis",
    "error_median",
    "error_p90",
    "as_of",
    "source",
}


class TestCost:
    def test_keys_are_stable(self, vlmctl: CommandLine) -> None:
        """Each option of each model has the documented keys, on demand and spot, cheapest first."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "--rps", "2", "-o", "json").json
        assert set(found) == {"requirements", "assumptions", "owned", "models", "prices_as_of"}
        (model,) = found["models"]
        assert set(model) == {"model", "options", "scale_to_zero", "sweep", "apis", "problem"}
        assert all(set(option) == OPTION_KEYS for option in model["options"])
        assert {option["kind"] for option in model["options"]} >= {"on-demand", "spot"}
        prices = [option["usd_per_1k_requests"] for option in model["options"]]
        assert prices == sorted(prices)

    def test_more_images_never_cost_less(self, vlmctl: CommandLine) -> None:
        """The sweep over image counts goes from 1 to 8, and its price never falls."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "--image", "1280x720", "--images", "1..8", "-o", "json").json
        sweep = found["models"][0]["sweep"]
        assert [point["images"] for point in sweep] == list(range(1, 9))
        prices = [point["option"]["usd_per_1k_requests"] for point in sweep]
        assert prices == sorted(prices)

    def test_sizes_sweep_between_their_ends(self, vlmctl: CommandLine) -> None:
        """The sweep over sizes starts and ends where it was asked to."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "--image", "336..2048", "-o", "json").json
        images = [point["image"] for point in found["models"][0]["sweep"]]
        assert (images[0], images[-1]) == ("336x336", "2048x2048")

    def test_apis_are_compared_on_shared_benchmarks(self, vlmctl: CommandLine) -> None:
        """Hosted APIs have a price or a reason, and scores stand side by side with their split and mode."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "--rps", "2", "--compare-apis", "-o", "json").json
        apis = found["models"][0]["apis"]
        assert all((api["usd_per_1k_requests"] is None) == bool(api["problem"]) for api in apis)
        shared = [score for api in apis for score in api["shared_scores"]]
        assert shared
        assert all(set(score) == {"benchmark", "split", "mode", "own", "api"} for score in shared)

    def test_owning_is_shown_in_parts(self, vlmctl: CommandLine) -> None:
        """Purchase, power and operations of an owned GPU are given apart and add up to its hourly cost."""
        words = ("--owned", "4xL40S", "--purchase-usd", "8760", "--years", "2", "--pue", "1.4", "--kwh-usd", "0.2")
        found = vlmctl("cost", "qwen2.5-vl-7b", *words, "-o", "json").json
        (parts,) = found["owned"]
        assert parts["gpu"] == "L40S"
        assert parts["purchase_usd_per_hour"] == pytest.approx(0.5)
        assert parts["power_usd_per_hour"] == pytest.approx(0.350 * 0.7 * 1.4 * 0.2)
        assert {option["provider"] for option in found["models"][0]["options"]} == {"owned"}

    def test_one_model_that_cannot_be_served_hides_no_other(self, vlmctl: CommandLine) -> None:
        """Of two models, the one without an engine has its reason, the other its prices."""
        found = vlmctl("cost", "qwen2.5-vl-7b", "gemma-3-1b", "-o", "json").json
        served, text_only = found["models"]
        assert served["options"]
        assert not served["problem"]
        assert text_only["options"] == []
        assert "text only" in text_only["problem"]
