"""What agents are told: what follows from a plan, and how it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from vlm_operator.agent.config import agent_config, encode_config, read_config

from tests.support.plans import PLAN
from tests.vlm_operator.test_benchmarks import PLANNED
from vlmctl.errors import InvalidFile
from vlmctl.specs.workload import Workload


def test_it_follows_from_the_plan() -> None:
    """What is sent and what the results say: the same text for the same plan."""
    plan = replace(PLAN, request_tokens=64 + 3560 + 4 + 1280, marker_tokens=4)
    config = agent_config(replace(PLANNED, plan=plan))
    assert config.workload == Workload(images=PLAN.workload.images, prompt_tokens=64, output_tokens=1280)
    assert config.image_tokens == (3560, 3564)
    assert (config.served_name, config.concurrency, config.maximum_concurrency) == ("tinyvl", 8, 128)
    assert config.about.arguments == ("--max-num-seqs=128",)
    assert (config.about.model_revision, config.about.gpu, config.about.weights) == ("abc123", "L4", "bf16")
    assert encode_config(config) == encode_config(agent_config(replace(PLANNED, plan=plan)))


def test_a_plan_that_does_not_tell_markers_is_not_checked() -> None:
    """One that an earlier version wrote."""
    config = agent_config(PLANNED)
    assert config.image_tokens is None
    assert config.workload.output_tokens == 256


def test_a_file_is_read_strictly(tmp_path: Path) -> None:
    """As it was written; a mistake is named with its file."""
    path = tmp_path / "agent.json"
    path.write_text(encode_config(agent_config(PLANNED)))
    assert read_config(path) == agent_config(PLANNED)
    path.write_text("{}")
    with pytest.raises(InvalidFile, match=r"agent\.json"):
        read_config(path)
    with pytest.raises(InvalidFile, match="cannot be read"):
        read_config(tmp_path / "missing.json")
