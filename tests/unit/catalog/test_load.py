"""Loading: layers, order, snapshots that cannot go stale, and mistakes told with their line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.catalog import entries, snapshot
from vlmctl.catalog.folders import Source
from vlmctl.catalog.load import load_catalog
from vlmctl.errors import InvalidFile, UsageError

MODELS = """\
family: tinyvl
models:
  - id: tinyvl-7b
    name: TinyVL 7B
    repository: Tiny/TinyVL-7B-Instruct
    parameters: {total_billions: 8.3, active_billions: 8.3, source: card}
    license: {name: Tiny licence, source: card}
    context: {tokens: 32768, source: config}
    serving: {source: registry}
"""
OFFER = """\
offers:
  - provider: {provider}
    region: us-east-1
    instance_type: g6.xlarge
    gpu: {gpu}
    gpu_count: 1
    kind: {kind}
    usd_per_hour: {price}
    as_of: 2026-02-01
    source: contract
"""


def overlay(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_suffix(".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def offer(price: float = 0.5, provider: str = "aws", kind: str = "on-demand", gpu: str = "l4") -> str:
    return OFFER.format(price=price, provider=provider, kind=kind, gpu=gpu)


@pytest.mark.usefixtures("shipped")
def test_everything_is_read_and_sorted() -> None:
    """Every section is read, the family is filled in, offers are sorted by the price of a GPU."""
    catalog = load_catalog()
    assert [model.id for model in catalog.models] == ["tinyvl-2b", "tinyvl-7b"]
    assert {model.family for model in catalog.models} == {"tinyvl"}
    assert [offer.instance_type for offer in catalog.offers] == ["g6.xlarge", "g6.12xlarge"]
    assert catalog.models[0].languages is not None
    assert catalog.models[0].languages.text == ("en", "no")
    assert catalog.models[0].released == "2025-01"
    assert [benchmark.id for benchmark in catalog.benchmarks] == ["docvqa"]
    assert catalog.misnomers[0].instead == ("tinyvl-7b",)


def test_overlays_win_in_order(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's data folder is the weakest overlay, then VLMCTL_CATALOG, then folders that were named."""
    home = overlay(tmp_path / "data" / "vlmctl" / "catalog", prices__mine=offer(0.7))
    assert home.is_dir()
    prices = [[o.usd_per_hour for o in load_catalog().offers if o.instance_type == "g6.xlarge"]]
    named = overlay(tmp_path / "named", prices__mine=offer(0.6))
    monkeypatch.setenv("VLMCTL_CATALOG", str(named))
    prices.append([o.usd_per_hour for o in load_catalog().offers if o.instance_type == "g6.xlarge"])
    explicit = overlay(tmp_path / "explicit", prices__mine=offer(0.4))
    prices.append([o.usd_per_hour for o in load_catalog([explicit]).offers if o.instance_type == "g6.xlarge"])
    assert prices == [[0.7], [0.6], [0.4]]


def test_offers_of_another_kind_are_added(shipped: Path, tmp_path: Path) -> None:
    """A committed price stands beside the on-demand price of the same instance."""
    folder = overlay(tmp_path / "ours", prices__committed=offer(0.3, kind="committed"))
    assert len(load_catalog([folder]).offers) == len(load_catalog().offers) + 1


def test_one_changed_byte_changes_the_answer(shipped: Path) -> None:
    """A snapshot never answers for files that are no longer what it was made of."""
    load_catalog()
    path = shipped / "prices" / "aws.yaml"
    path.write_text(path.read_text().replace("usd_per_hour: 0.8", "usd_per_hour: 0.9"))
    assert load_catalog().offers[0].usd_per_hour == 0.9


def test_the_second_load_parses_nothing(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was parsed once is read from the snapshot, and is the same catalog."""
    first = load_catalog()
    monkeypatch.setattr(entries, "parse_folder", lambda *_: pytest.fail("parsed again"))
    assert load_catalog() == first


@pytest.mark.parametrize("damage", [b"", b"garbage", "flip", "cut"])
def test_a_damaged_snapshot_is_passed_over(shipped: Path, damage: bytes | str) -> None:
    """A snapshot that was cut short or altered is ignored, and written anew."""
    expected = load_catalog()
    path = snapshot.cache_path(shipped)
    assert path is not None
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    path.write_bytes({"flip": bytes(flipped), "cut": whole[:-9]}[damage] if isinstance(damage, str) else damage)
    assert load_catalog() == expected
    assert path.read_bytes() == whole


def test_a_changed_record_invalidates_the_snapshot(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot made by other code is not read: the code's bytes are part of its key."""
    before = snapshot.digest(())
    monkeypatch.setattr(snapshot, "__version__", "0.0.0")
    assert snapshot.digest(()) != before


def test_a_home_that_cannot_be_written_is_harmless(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no snapshot can be kept the catalog still loads, in silence."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_catalog().models
    assert capsys.readouterr() == ("", "")


def test_the_fast_path_imports_no_yaml(shipped: Path) -> None:
    """With a snapshot that matches, YAML is not even imported."""
    code = (
        "import sys; from pathlib import Path; from vlmctl.catalog import folders, load;"
        f"folders.shipped_folder = lambda: Path({str(shipped)!r});"
        "load.load_catalog(); print('yaml' in sys.modules)"
    )
    seen = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert [run.stdout.strip() for run in seen] == ["True", "False"]


RULE = "family: f\nmodels:\n  - id: a\n    image_tokens:\n      source: s\n      rule:\n        kind: {kind}\n"
MISTAKES = [
    ("gpus/x.yaml", "gpus:\n  - id: a\n    nmae: b\n", 3, "unknown field 'nmae'", "Did you mean 'name'?"),
    ("gpus/x.yaml", "gpus:\n  - id: a\n    source: s\n", 2, "'name' is missing", "Add a line"),
    (
        "prices/x.yaml",
        offer().replace("on-demand", "ondemand"),
        7,
        "'ondemand' is not a value of 'kind'",
        "'on-demand'",
    ),
    ("prices/x.yaml", offer().replace("0.5", "cheap"), 8, "'usd_per_hour' must be float, not str", "without quotes"),
    ("prices/x.yaml", offer().replace("0.5", "-3"), 8, "-3, which cannot be", "0 or more"),
    ("prices/x.yaml", offer().replace("0.5", ".nan"), 8, "nan, which cannot be", "0 or more"),
    ("prices/x.yaml", offer().replace("gpu_count: 1", "gpu_count: 0"), 6, "'gpu_count' is 0", "above 0"),
    ("prices/x.yaml", offer(gpu="l44"), 5, "the GPU 'l44' is not in the catalog", "Did you mean 'l4'?"),
    ("prices/x.yaml", offer() + offer().partition("\n")[2], 11, "stands already at", "Keep one"),
    ("prices/x.yaml", "offer: []\n", 1, "has the key 'offer'", ""),
    ("prices/x.yaml", "- 1\n", 1, "must be a mapping", ""),
    ("prices/x.yaml", "offers: 3\n", 1, "needs a list", ""),
    ("prices/x.yaml", "offers:\n  - {a: 1, a: 2}\n", 2, "gives 'a' twice", ""),
    ("prices/x.yaml", "offers:\n  - [\n", 3, "is not YAML", ""),
    ("prices/x.yaml", "offers: &a [*a]\n", 1, "refers to itself", ""),
    ("prices/x.yaml", "offers: !!python/name:os.system []\n", 1, "tag", ""),
    ("prices/x.yaml", "offers: " + "[" * 200_000 + "]" * 200_000, None, "nested too deeply", ""),
    ("prices/x.yaml", "\x00\x01", None, "is not YAML", ""),
    ("models/x.yaml", RULE.format(kind="fixd"), 7, "'fixd' is not a value of 'kind'", "'fixed'"),
    (
        "models/x.yaml",
        RULE.format(kind="fixed") + "        tokns: 3\n",
        8,
        "unknown field 'tokns' in 'rule'",
        "'tokens'",
    ),
    ("gpus.yaml", "gpus: []\n", None, "not where the catalog looks", "gpus/"),
    ("models/ours.yml", "models: []\n", None, "not where the catalog looks", "models/"),
]


@pytest.mark.parametrize(("name", "text", "line", "problem", "remedy"), MISTAKES)
def test_a_mistake_is_told_with_its_line(
    shipped: Path, tmp_path: Path, name: str, text: str, line: int | None, problem: str, remedy: str
) -> None:
    """Every mistake in an overlay is one line: file, line, what is wrong, and what to do."""
    path = tmp_path / "ours" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InvalidFile) as caught:
        load_catalog([tmp_path / "ours"])
    assert caught.value.path == str(path)
    assert caught.value.line == line
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_an_overlay_that_is_not_there(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was named but does not exist is a usage error that says where the name came from."""
    with pytest.raises(UsageError, match="nowhere is not a folder"):
        load_catalog([tmp_path / "nowhere"])
    monkeypatch.setenv("VLMCTL_CATALOG", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="VLMCTL_CATALOG"):
        load_catalog()


def test_an_empty_file_holds_nothing(shipped: Path, tmp_path: Path) -> None:
    """A file of comments alone is no mistake."""
    folder = overlay(tmp_path / "ours", prices__later="# nothing yet\n")
    assert load_catalog([folder]) == load_catalog()


@given(st.one_of(st.binary(max_size=200), st.text(alphabet=" \n\t-:{}[]&*!|>'\"%@`#,?ab1~", max_size=60)))
def test_no_content_ends_in_a_traceback(content: bytes | str) -> None:
    """Whatever a file holds, it is entries or a finding."""
    raw = content if isinstance(content, bytes) else content.encode()
    for section in entries.KINDS:
        parsed, findings = entries.parse_source(Path("folder"), Source("x.yaml", section, raw))
        assert all(finding.problem for finding in findings)
        assert not parsed or not findings


@given(
    st.integers(0, len(MODELS) - 1), st.sampled_from([*":{}[]&*!|>'\"%@`#,?-\n 9", "\x00", "null", "[]", ".nan", "- "])
)
def test_a_slip_of_the_pen_is_a_finding_or_an_entry(position: int, slip: str) -> None:
    """A character typed over another in a sound file never ends in a traceback."""
    text = MODELS[:position] + slip + MODELS[position + 1 :]
    _, findings = entries.parse_source(Path("folder"), Source("x.yaml", "models", text.encode()))
    assert all(finding.problem and "\n" not in finding.problem for finding in findings)
