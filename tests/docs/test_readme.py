"""What the README says of the catalog and shows of the program is what is there, and every claim of it has its test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

from docs.generate.cli_reference import EXAMPLES, commands
from tests.support.command_line import command_line
from vlmctl.api.crds import vlmdeployment_crd
from vlmctl.catalog.load import load_catalog
from vlmctl.cli.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())
CLAIMS = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
SHOWN_BY = re.compile(r"`(?:make (?P<target>[a-z-]+)|(?P<file>tests/[\w/]+\.py)(?:::(?P<function>test_\w+))?)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
WITHOUT_ANSWER = {"prices refresh"}  # it writes prices, and says where
NETWORK, CLUSTER = "# needs a network", "# needs a cluster"


def test_the_readme_counts_the_catalog() -> None:
    """Models, accelerators and priced machines are as many as the README says."""
    said = re.search(r"It knows (\d+) models, (\d+) accelerators and (\d+) priced machines", README)
    assert said is not None
    catalog = load_catalog()
    assert [int(number) for number in said.groups()] == [len(catalog.models), len(catalog.gpus), len(catalog.offers)]


def _records(value: Any) -> Iterator[Any]:
    if isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from _records(getattr(value, name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _records(each)


def test_every_fact_has_a_source() -> None:
    """Each group of facts of a model, an accelerator or a priced machine says where it is from."""
    catalog = load_catalog()
    for whole in (*catalog.models, *catalog.gpus, *catalog.offers):
        sourced = [each for each in _records(whole) if hasattr(each, "source")]
        assert sourced, whole
        assert all(each.source for each in sourced), whole


def test_the_transcript_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """The transcript of the main question is the command's own output."""
    transcript = re.search(r"```console\n\$ vlmctl ([^\n]*)\n(.*?)```", README, re.DOTALL)
    assert transcript is not None
    printed = command_line(capsys)(*transcript[1].split()).out
    assert printed.strip() == transcript[2].strip(), "run the command and paste what it prints"


def test_every_answer_has_its_forms() -> None:
    """Every command that answers takes ``-o``."""
    for words in commands():
        command = get_command(app)
        for word in words:
            command = command.commands[word]  # type: ignore[attr-defined]
        name = " ".join(words)
        if name in EXAMPLES and name not in WITHOUT_ANSWER:
            assert "-o" in {flag for each in command.params for flag in each.opts}, name


def test_who_needs_a_network_is_told() -> None:
    """The commands of which no example runs without one are those that the README names."""
    said = re.search(r"Answers need no network: ([^.]*)\.", PROSE)
    assert said is not None
    reaching = {name for name, lines in EXAMPLES.items() if all(NETWORK in line or CLUSTER in line for line in lines)}
    assert set(re.findall(r"`([a-z ]+)`", said[1])) == reaching


def test_accuracy_is_that_of_its_page() -> None:
    """The figures are those of docs/accuracy.md."""
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    text, images = (
        re.search(rf"^\| \*\*every model\*\* \| {kind} \| \d+ \| ([\d.]+%)", page, re.MULTILINE)
        for kind in ("text", "images")
    )
    old = re.search(r"(\d+) of the (\d+) rows with images are of (vLLM [\d.]*\d)", page)
    runs = re.search(r"^([\d,]+) of \1 serving runs are answered", page, re.MULTILINE)
    assert text is not None
    assert images is not None
    assert old is not None
    assert runs is not None
    assert f"beside {runs[1]} published measurements" in PROSE
    assert f"half of the text rows are within {text[1]} and half of the rows with images within {images[1]}" in PROSE
    assert f"{old[1]} of all {old[2]} rows with images are of {old[3]}" in PROSE


@pytest.mark.parametrize(
    "line",
    [
        "recommend --task chart",
        "cost qwen2.5-vl-7b --rps 2",
        "plan qwen2.5-vl-7b --rps 2",
        "simulate qwen2.5-vl-7b --rate 0.5 --gpu L40S",
    ],
)
def test_bands_are_printed(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Estimates come with how far such estimates were off."""
    printed = " ".join(command_line(capsys)(*line.split()).out.split())
    assert re.search(r"nine in ten within \d+%|median error \d+%", printed), printed


def test_the_cluster_table_is_the_walk_throughs() -> None:
    """Columns are the definition's; the row is that of docs/operator.md, which is compared with what kubectl prints."""
    table = re.search(r"^\$ kubectl get vlmd\n(.*)\n(.*)$", README, re.MULTILINE)
    page = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    wide = re.search(r"^\$ kubectl get vlmd -o wide\n(.*)\n(.*)$", page, re.MULTILINE)
    assert table is not None
    assert wide is not None
    columns = vlmdeployment_crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    headers = ["NAME", *(each["name"].upper() for each in columns if not each.get("priority"))]
    assert table[1].split() == headers
    assert [table[1].split(), table[2].split()] == [line.split()[: len(headers)] for line in wide.groups()]


def test_links_hold() -> None:
    """Every file and folder that is linked is there."""
    assert [target for target in LINK.findall(README) if not (ROOT / target).exists()] == []


def test_every_document_is_in_the_table() -> None:
    """Each page of docs/, and the folder of decisions."""
    linked = set(LINK.findall(README))
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages | {"docs/adr/"} <= linked


def test_the_map_is_the_tree() -> None:
    """Each folder of the map is there, and each room of the packages is on it."""
    shown = set(re.findall(r"^    (\w[\w/]*/) ", README.partition("## Map")[2], re.MULTILINE))
    rooms = {f"vlmctl/{each.parent.name}/" for each in (ROOT / "vlmctl").glob("*/__init__.py")}
    assert shown == rooms | {"catalog/", "operator/", "charts/"}
    assert all((ROOT / each).is_dir() for each in shown)


def _sentences() -> Iterator[str]:
    """Those of the README outside headings, tables and blocks of code."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^(#|\||    ).*$", "", prose, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n|\n- ", prose):
        text = " ".join(paragraph.removeprefix("- ").split())
        yield from filter(None, re.split(r"(?<=[.?!])(?:\*\*)? (?=[A-Z`\[])", text))


def _claims() -> dict[str, str]:
    """What shows each claim of the README, by its words."""
    rows = re.findall(r"^\| (.*) \| (.*) \|$", CLAIMS, re.MULTILINE)[1:]
    return dict(rows)


def test_every_sentence_is_a_claim_with_its_test_or_claims_nothing() -> None:
    """None is missing on docs/claims.md, and none stands there that the README does not say."""
    idle = set(re.findall(r"^- (.*)$", CLAIMS, re.MULTILINE))
    commands_said = set(re.findall(r"^    (make .*)$", README, re.MULTILINE))
    assert set(_sentences()) | commands_said == set(_claims()) | idle


@pytest.mark.parametrize("shown_by", _claims().values(), ids=list(_claims()))
def test_what_shows_a_claim_exists(shown_by: str) -> None:
    """A target of the Makefile, or a file of tests and a function in it."""
    named = list(SHOWN_BY.finditer(shown_by))
    assert len(named) == shown_by.count("`") // 2 > 0
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for each in named:
        if each["target"]:
            assert re.search(rf"^{each['target']}:", makefile, re.MULTILINE), each[0]
        else:
            tests = (ROOT / each["file"]).read_text(encoding="utf-8")
            assert each["function"] is None or f"def {each['function']}(" in tests, each[0]
