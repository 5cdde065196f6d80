"""The one output object: what fits, what wraps, what machines read."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmctl.cli.options import Format
from vlmctl.cli.output import (
    Facts,
    Heading,
    Output,
    Table,
    Text,
    fitted_widths,
    plain,
    render_csv,
    render_markdown,
    render_text,
)
from vlmctl.specs.model import License
from vlmctl.specs.tokens import FixedTokens

TABLE = Table(("Name", "Count"), [("a", "1"), ("bb", "22")], right=("Count",))
WORDS = st.text(alphabet="abc xyz-/,.$1", max_size=60)


def test_a_table_aligns_its_columns() -> None:
    """Text stands left and numbers right, under a rule as wide as each column."""
    assert render_text([TABLE], width=40) == "Name  Count\n----  -----\na         1\nbb       22\n"


@given(rows=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=6), width=st.integers(40, 120))
def test_a_table_fits_its_page(rows: list[tuple[str, str, str]], width: int) -> None:
    """However long the cells are, no line is wider than the page, and no letter is lost."""
    text = render_text([Table(("One", "Two", "Three"), rows)], width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    letters = sorted("".join(text.splitlines()[2:]).replace(" ", "").replace("\n", ""))
    assert letters == sorted("".join(cell for row in rows for cell in row).replace(" ", ""))


def test_the_widest_column_gives_way_first() -> None:
    """Short cells stay whole while a long one wraps."""
    table = Table(("Id", "Source"), [("qwen2.5-vl-7b", "x" * 300)])
    assert fitted_widths(table, 60) == (13, 45)


def test_blocks_are_set_apart_but_bullets_are_not() -> None:
    """A heading joins what follows it, bullets stand together, all else has a line between."""
    blocks = [Heading("Mind"), Text("one", bullet=True), Text("two", bullet=True), Facts([("a", "b")])]
    assert render_text(blocks, width=40) == "Mind\n- one\n- two\n\na  b\n"


def test_markdown_survives_bars_in_cells() -> None:
    """A bar inside a cell breaks no table."""
    assert "| a\\|b | 1 |" in render_markdown([Table(("x", "y"), [("a|b", "1")])])


def test_csv_has_one_line_a_row() -> None:
    """Rows become lines under all their keys; nested values become JSON."""
    text = render_csv([{"a": 1, "b": [1, 2]}, {"a": 2, "c": "x,y"}])
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"a": "1", "b": "[1, 2]", "c": ""},
        {"a": "2", "b": "", "c": "x,y"},
    ]


def test_defaults_stay_in_machine_output() -> None:
    """Keys do not come and go with their values: unlike in catalog files, defaults are written out."""
    licence = plain(License(name="MIT", source="card"))
    assert licence["verified"] is False
    assert licence["commercial"] == "unknown"
    assert set(licence) == set(License.__struct_fields__)


def test_tagged_records_keep_their_kind() -> None:
    """The rule of a model says which rule it is."""
    assert plain(FixedTokens(tokens=576, width_pixels=336, height_pixels=336))["kind"] == "fixed"


def test_numbers_that_json_lacks_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    """Infinity and not-a-number are no JSON."""
    Output(Format.JSON).show({"a": float("inf"), "b": [float("nan")]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None]}


def test_colour_is_for_terminals_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """What is piped holds no escape codes."""
    Output().show({}, [Heading("Mind")])
    assert capsys.readouterr().out == "Mind\n"


def test_a_terminal_sees_bold_headings_unless_it_asks_not_to() -> None:
    """Headings are bold where colour is wanted."""
    assert render_text([Heading("Mind")], width=40, bold=True) == "\x1b[1mMind\x1b[0m\n"
