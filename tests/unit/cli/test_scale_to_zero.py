"""`vlmctl cost --scale-to-zero`: what people see, and the keys that machines may rely on."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine

ASKED = ("cost", "qwen2.5-vl-7b", "--rps", "0.001", "--gpu", "L4")
KEYS = {
    "gpu",
    "gpu_count",
    "replicas",
    "provider",
    "region",
    "instance_type",
    "kind",
    "cold_start_seconds",
    "cold_start",
    "idle_timeout_seconds",
    "starts_per_day",
    "paid_seconds_per_day",
    "starting_seconds_per_day",
    "idle_seconds_per_day",
    "busy_seconds_per_day",
    "waiting_share",
    "first_ttft_seconds",
    "usd_per_day",
    "always_on_usd_per_day",
}


def test_each_option_has_its_start_and_its_day(vlmctl: CommandLine) -> None:
    """The terms of a start add up, stopping never costs more, and the first user waits for the start."""
    (model,) = vlmctl(*ASKED, "--scale-to-zero", "-o", "json").json["models"]
    assert len(model["scale_to_zero"]) == len(model["options"])
    for option, idle in zip(model["options"], model["scale_to_zero"], strict=True):
        assert set(idle) == KEYS
        assert (idle["provider"], idle["kind"]) == (option["provider"], option["kind"])
        seconds = sum(term["value"] for term in idle["cold_start"]["terms"])
        assert idle["cold_start_seconds"] == pytest.approx(seconds)
        assert idle["first_ttft_seconds"] > seconds
        assert idle["always_on_usd_per_day"] == pytest.approx(24 * option["usd_per_hour"])
        assert idle["usd_per_day"] < idle["always_on_usd_per_day"]
        assert idle["cold_start"]["unknown"]


def test_without_the_option_nothing_is_said_of_it(vlmctl: CommandLine) -> None:
    """The key is there and empty."""
    (model,) = vlmctl(*ASKED, "-o", "json").json["models"]
    assert model["scale_to_zero"] == []
    assert "Stopped when idle" not in vlmctl(*ASKED).out


def test_what_the_start_finds_is_taken_from_the_options(vlmctl: CommandLine) -> None:
    """Cached files, fast storage and a known machine change the start as they should."""
    cached = (
        "--image-cached",
        "--compile-cached",
        "--storage",
        "nvme",
        "--storage-speed",
        "4",
        "--machine-start",
        "0s",
    )
    (bare,) = vlmctl(*ASKED, "--scale-to-zero", "-o", "json").json["models"]
    (found,) = vlmctl(*ASKED, "--scale-to-zero", *cached, "--idle-timeout", "1m", "-o", "json").json["models"]
    names = [term["name"] for term in found["scale_to_zero"][0]["cold_start"]["terms"]]
    assert not {"image pull", "weight download"} & set(names)
    assert found["scale_to_zero"][0]["cold_start"]["unknown"] == []
    assert found["scale_to_zero"][0]["idle_timeout_seconds"] == 60
    assert found["scale_to_zero"][0]["cold_start_seconds"] < bare["scale_to_zero"][0]["cold_start_seconds"]


def test_a_start_that_is_known_replaces_the_estimate(vlmctl: CommandLine) -> None:
    """It is counted as given, on every offer, with nothing left out of it and no error of an estimate."""
    given = (*ASKED, "--scale-to-zero", "--cold-start", "340s")
    (model,) = vlmctl(*given, "-o", "json").json["models"]
    for idle in model["scale_to_zero"]:
        assert set(idle) == KEYS
        assert idle["cold_start_seconds"] == 340
        assert idle["starting_seconds_per_day"] == pytest.approx(340 * idle["starts_per_day"])
        (term,) = idle["cold_start"]["terms"]
        assert (term["formula"], idle["cold_start"]["unknown"]) == ("as given", [])
    page = vlmctl(*given).out
    assert "as given" in page
    assert "--machine-start" not in page
    assert "Starts are off by" not in page


def test_people_see_the_start_term_by_term(vlmctl: CommandLine) -> None:
    """The page has the day, the terms, what is not counted and how far starts are off."""
    page = vlmctl(*ASKED, "--scale-to-zero").out
    for text in ("Stopped when idle", "image pull", "torch.compile", "--machine-start", "90th percentile"):
        assert text in page


@pytest.mark.parametrize(
    "words",
    [
        ("cost", "qwen2.5-vl-7b", "--gpu", "L4", "--scale-to-zero"),
        (*ASKED, "--idle-timeout", "5m"),
        (*ASKED, "--scale-to-zero", "--storage", "tape"),
        (*ASKED, "--scale-to-zero", "--storage-speed", "0"),
        (*ASKED, "--scale-to-zero", "--idle-timeout", "soon"),
        (*ASKED, "--cold-start", "3m"),
        (*ASKED, "--scale-to-zero", "--cold-start", "soon"),
        (*ASKED, "--scale-to-zero", "--cold-start", "3m", "--machine-start", "1m"),
        (*ASKED, "--scale-to-zero", "--cold-start", "3m", "--image-cached"),
    ],
    ids=[
        "no rate",
        "not stopped",
        "unknown storage",
        "no speed",
        "no duration",
        "a start of what never stops",
        "no duration of a start",
        "a start and its machine's",
        "a start and what it finds",
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(vlmctl: CommandLine, words: tuple[str, ...]) -> None:
    """Each is a mistake in use, not an answer."""
    ran = vlmctl(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err
