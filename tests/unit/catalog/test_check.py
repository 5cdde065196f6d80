"""The integrity rules: each mistake that types cannot see is found, at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmctl.catalog.check import check
from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_model

MODEL = """\
family: ours
models:
  - id: ours-1b
    name: Ours
    repository: Ours/Ours-1B
    parameters: {total_billions: 1.0, active_billions: 1.0, source: card}
    license: {name: MIT, source: card}
    context: {tokens: 4096, source: card}
    serving: {source: card}
"""
LANGUAGE = """\
    language:
      name: base
      layers: 2
      hidden_size: 64
      vocabulary: 100
      intermediate_size: 256
      source: config
      attention:
        - {kind: full, layers: 2, query_heads: 4, kv_heads: 2, head_dim: 16}
"""


def test_a_sound_catalog_has_no_findings(shipped: Path, tmp_path: Path) -> None:
    """A catalog that keeps every rule passes, with and without an overlay."""
    assert check() == []
    assert findings(tmp_path, MODEL + LANGUAGE) == []


BROKEN = [
    ("ours-1b", "tinyvl_2b", 3, "both answer to 'tinyvl2b'"),
    ("name: Ours\n", "name: Ours\n    aliases: [TinyVL-7B]\n", None, None),  # an alias yields to another's id
    ("name: Ours\n", "name: Ours\n    aliases: [tiny_2b]\n", 3, "both answer to 'tiny2b'"),
    ("repository: Ours/Ours-1B", "repository: Ours-1B", 5, "is not a repository"),
    ("family: ours", "family: tinyvl-2b", 3, "the family 'tinyvl-2b' is also the id 'tinyvl-2b'"),
    ("active_billions: 1.0", "active_billions: 2.0", 6, "more are active"),
    ("active_billions: 1.0", "active_billions: 1.0, language_billions: 1.2", 6, "the parts hold 1.200"),
    (
        "active_billions: 1.0",
        "active_billions: 1.0, language_billions: 0.5, vision_billions: 0.1, projector_billions: 0.1",
        6,
        "the parts hold only 0.700",
    ),
    ("{name: MIT, source: card}", "{name: MIT, source: ' '}", 7, "the source is empty"),
    ("{name: MIT, source: card}", "{name: MIT, source: UNVERIFIED, verified: true}", 7, "is marked verified"),
    ("{name: MIT, source: card}", "{name: MIT, permissive: true, source: card}", 7, "is marked permissive"),
    ("serving: {source: card}", "serving: {source: card, first_version: latest}", 9, "'latest' is not a version"),
    ("serving: {source: card}", "serving: {source: card}\n    released: 2024-13", 10, "'2024-13' is not a date"),
    ("serving: {source: card}", "serving: {source: card}\n    languages: {ocr: [ja, jp_JP], source: a}", 10, "BCP-47"),
    ("serving: {source: card}", "serving: {source: card}\n    languages: {ocr: [ja, ja], source: a}", 10, "twice"),
    (
        "serving: {source: card}",
        "serving: {source: card}\n    scores:\n      - {benchmark: docvqa, value: 101, source: card}",
        11,
        "101 is above 100, where",
    ),
    (
        "serving: {source: card}",
        "serving: {source: card}\n    scores:\n      - {benchmark: docvqaa, value: 1, source: card}",
        11,
        "'docvqaa' is not in the catalog",
    ),
    (
        "serving: {source: card}",
        "serving: {source: card}\n    typical_output:\n      - {task: ocr, tokens: 9, source: card}",
        11,
        "'ocr' is not a task",
    ),
    ("layers: 2\n", "layers: 3\n", 17, "the groups hold 2 layers, the model 3"),
    ("kv_heads: 2", "kv_heads: 3", 18, "cannot share 3 KV heads"),
    ("kv_heads: 2, head_dim: 16", "kv_heads: 2", 18, "needs query_heads, kv_heads and head_dim"),
    ("kind: full", "kind: sliding", 18, "needs window_tokens"),
    ("kind: full", "kind: latent", 18, "needs latent_dim"),
    ("      intermediate_size: 256\n", "", 10, "needs an intermediate_size"),
    (
        "source: config\n",
        "source: config\n      experts: {count: 4, active: 8, intermediate_size: 9}\n",
        17,
        "8 of 4 experts",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "problem"), BROKEN)
def test_each_broken_rule_is_found_at_its_line(
    shipped: Path, tmp_path: Path, old: str, new: str, line: int | None, problem: str | None
) -> None:
    """One change to a sound entry gives one finding that names the line."""
    assert old in MODEL + LANGUAGE
    found = findings(tmp_path, (MODEL + LANGUAGE).replace(old, new, 1))
    assert [finding[0] for finding in found] == ([] if line is None else [line])
    assert all(problem is not None and problem in finding[1] for finding in found)


def test_misnomers_and_offers_refer_to_what_exists(shipped: Path, tmp_path: Path) -> None:
    """A misnomer may not be a model's name, and points to one; an offer names a known GPU."""
    folder = tmp_path / "ours"
    (folder / "prices").mkdir(parents=True)
    (folder / "misnomers.yaml").write_text(
        "misnomers:\n  - names: [TinyVL-7B]\n    explanation: a\n    instead: [tinyvl-8b]\n    source: s\n"
    )
    (folder / "prices" / "p.yaml").write_text(
        "offers:\n  - {provider: us, region: here, instance_type: box, gpu: h100, gpu_count: 8, kind: owned,\n"
        "     usd_per_hour: 2, as_of: yesterday, source: ledger}\n"
    )
    assert [(finding.line, finding.problem.split(" is ")[0]) for finding in check([folder])] == [
        (2, "'TinyVL-7B'"),
        (4, "'tinyvl-8b'"),
        (2, "the GPU 'h100'"),
        (3, "'yesterday'"),
    ]


def test_every_malformed_entry_is_told(shipped: Path, tmp_path: Path) -> None:
    """The check goes on after the first mistake, and tells of files it would otherwise pass over."""
    folder = tmp_path / "ours"
    (folder / "gpus").mkdir(parents=True)
    (folder / "gpus" / "a.yaml").write_text("gpus:\n  - {id: a}\n  - {id: b}\n")
    (folder / "gpu").mkdir()
    (folder / "gpu" / "b.yaml").write_text("")
    assert [(Path(finding.file).name, finding.line) for finding in check([folder])] == [
        ("b.yaml", None),
        ("a.yaml", 2),
        ("a.yaml", 3),
    ]


def findings(tmp_path: Path, text: str) -> list[tuple[int | None, str]]:
    path = tmp_path / "ours" / "models" / "ours.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    found = check([tmp_path / "ours"])
    assert {finding.file for finding in found} <= {str(path)}
    return [(finding.line, finding.problem) for finding in found]


def test_the_example_of_the_readme_is_sound(shipped: Path, tmp_path: Path) -> None:
    """The entry that catalog/README.md shows for writing one by hand passes the check as it stands."""
    readme = (Path(__file__).resolve().parents[3] / "catalog" / "README.md").read_text()
    example = readme.partition("```yaml\n")[2].partition("```")[0]
    assert findings(tmp_path, example) == []
    assert resolve_model(load_catalog([tmp_path / "ours"]), "example-vl-7b").license.permissive
