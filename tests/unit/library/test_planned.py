"""Plans read back for those who measure them: the deployment and the printed ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, command_line
from vlmctl.errors import InvalidFile
from vlmctl.library.planned import read_planned

ASKED = ("plan", "qwen2.5-vl-7b", "--gpu", "L4", "--image", "1280x720", "--images", "2", "--concurrency", "8")


@pytest.fixture
def vlmctl(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Run `vlmctl` and see what it says."""
    return command_line(capsys)


@pytest.mark.parametrize("form", [("-o", "json"), ("-o", "yaml"), ()])
def test_a_plan_is_read_from_all_its_forms(vlmctl: CommandLine, tmp_path: Path, form: tuple[str, ...]) -> None:
    """Model, GPU, requests and throughput from each; concurrency and latencies from the printed ones."""
    path = tmp_path / "plan"
    path.write_text(vlmctl(*ASKED, "--ttft", "9s", *form).out)
    planned = read_planned(path)
    assert (planned.model, planned.gpu, planned.gpu_count, planned.weights) == ("qwen2.5-vl-7b", "L4", 1, "bf16")
    assert planned.workload.image_count == 2
    assert planned.objectives.ttft_seconds == 9.0
    assert planned.requests_per_second is not None
    assert planned.usd_per_hour is not None
    printed = bool(form)
    assert planned.concurrency == (8 if printed else None)
    assert (planned.ttft_seconds is not None) == printed
    assert (planned.image_tokens is not None) == printed
    if planned.image_tokens is not None:
        assert planned.image_tokens == 2 * (46 * 26 + 2)  # cells of 28 pixels, and the markers around each image


@pytest.mark.parametrize("text", ["", "{", "a: 1", "plan: 3", "plan: {}", "kind: VLMDeployment", "- 1", "\x00"])
def test_what_is_no_plan_is_named(tmp_path: Path, text: str) -> None:
    """One line with the path."""
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InvalidFile, match=r"plan\.yaml"):
        read_planned(path)
    with pytest.raises(InvalidFile, match="cannot be read"):
        read_planned(tmp_path / "missing")
