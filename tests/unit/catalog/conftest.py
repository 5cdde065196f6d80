"""A small catalog folder that tests may change, and a home of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmctl.catalog import folders, snapshot

MODELS = """\
family: tinyvl
models:
  - id: tinyvl-2b
    name: TinyVL 2B
    repository: Tiny/TinyVL-2B-Instruct
    aliases: [tiny-2b]
    released: 2025-01
    parameters: {total_billions: 2.2, active_billions: 2.2, source: card, verified: true}
    license: {name: Apache-2.0, spdx: Apache-2.0, commercial: "yes", permissive: true, source: card}
    context: {tokens: 32768, source: config}
    serving: {architecture: TinyVLForConditionalGeneration, served_by: [vllm], source: registry}
    languages: {text: [en, no], source: card}
    quantizations:
      - {precision: awq, repository: Tiny/TinyVL-2B-Instruct-AWQ, source: card}
    scores:
      - {benchmark: docvqa, value: 90.1, split: test, source: card, as_of: 2025-01}
  - id: tinyvl-7b
    name: TinyVL 7B
    repository: Tiny/TinyVL-7B-Instruct
    parameters: {total_billions: 8.3, active_billions: 8.3, source: card}
    license: {name: Tiny licence, source: card}
    context: {tokens: 32768, source: config}
    serving: {source: registry}
"""
GPUS = """\
gpus:
  - id: l4
    name: NVIDIA L4
    vendor: nvidia
    architecture: ada
    memory_gib_nominal: 24
    memory_bandwidth_gb_per_second: 300
    interconnect: {name: PCIe}
    aliases: [L4-24GB]
    kubernetes_labels: [NVIDIA-L4]
    source: datasheet
"""
PRICES = """\
offers:
  - {provider: aws, region: us-east-1, instance_type: g6.xlarge, gpu: l4, gpu_count: 1,
     kind: on-demand, usd_per_hour: 0.8, as_of: 2026-01-01, source: list}
  - {provider: aws, region: us-east-1, instance_type: g6.12xlarge, gpu: l4, gpu_count: 4,
     kind: on-demand, usd_per_hour: 4.6, as_of: 2026-01-01, source: list}
"""
BENCHMARKS = """\
benchmarks:
  - {id: docvqa, name: DocVQA, measures: reading documents, tasks: {document-ocr: 1.0}, source: paper}
"""
MISNOMERS = """\
misnomers:
  - {names: [TinyVL-9B], explanation: There is no 9B., instead: [tinyvl-7b], source: card}
"""


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog folder in the place of the shipped one; the user's folders are empty and apart."""
    folder = tmp_path / "catalog"
    files = {
        "models/tiny.yaml": MODELS,
        "gpus/nvidia.yaml": GPUS,
        "prices/aws.yaml": PRICES,
        "benchmarks.yaml": BENCHMARKS,
        "misnomers.yaml": MISNOMERS,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VLMCTL_CATALOG", raising=False)
    monkeypatch.setattr(folders, "shipped_folder", lambda: folder)
    monkeypatch.setattr(snapshot, "BUILT_IN", tmp_path / "no-snapshot")
    return folder
