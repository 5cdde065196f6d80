"""The one way to answer: data to stdout as a table, JSON, YAML, CSV or Markdown; talk to stderr. Commands never print.

A command hands over the data (for machines) and blocks that say the same to people; the format picks one of them.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import typer

from vlmctl.cli.errors import EXIT_BROKEN_PIPE, silence_stdout
from vlmctl.cli.options import Format
from vlmctl.errors import CannotWrite

DEFAULT_WIDTH = 100  # columns, where stdout is no terminal
MINIMUM_COLUMN_WIDTH = 8  # columns; narrower cells break words into pieces nobody can read
COLUMN_GAP = 2  # columns between cells


class Heading(NamedTuple):
    """The title of what follows."""

    text: str


class Text(NamedTuple):
    """A paragraph, wrapped to the width; `bullet` marks an item of a list."""

    text: str
    bullet: bool = False


class Pre(NamedTuple):
    """Lines that keep their shape: bars, a manifest."""

    text: str


class Facts(NamedTuple):
    """Names and values, one a line."""

    pairs: Sequence[tuple[str, str]]


class Table(NamedTuple):
    """Rows of cells that are already text. `right`: titles of the columns that align right, as numbers do."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[str] = ()


Block = Heading | Text | Pre | Facts | Table
Rows = Sequence[Mapping[str, Any]]


class Output:
    """Where a command's answer goes. `rows` are what CSV writes where the data itself is not a list."""

    def __init__(self, format: Format = Format.TABLE) -> None:
        self.format = format

    @property
    def for_people(self) -> bool:
        """Whether the blocks are shown at all, so that costly ones need not be made for machines."""
        return self.format in (Format.TABLE, Format.MARKDOWN)

    def show(
        self, data: object, blocks: Sequence[Block] = (), *, rows: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Write the answer in the format that was asked for; raises CannotWrite where stdout takes no more."""
        if self.format is Format.TABLE:
            write(render_text(blocks, width=terminal_width(), bold=colourful()))
        elif self.format is Format.MARKDOWN:
            write(render_markdown(blocks))
        elif self.format is Format.CSV:
            write(render_csv(plain(data) if rows is None else plain(rows)))
        elif self.format is Format.JSON:
            import json

            write(json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            import yaml

            write(yaml.safe_dump(plain(data), sort_keys=False, allow_unicode=True, width=DEFAULT_WIDTH))

    def raw(self, text: str) -> None:
        """Write text that is itself the answer, such as a manifest."""
        write(text if text.endswith("\n") else text + "\n")

    def note(self, text: str) -> None:
        """Talk: progress and remarks, on stderr."""
        sys.stderr.write(text + "\n")


def plain(value: object) -> Any:
    """Dictionaries, lists, strings and numbers. Unlike msgspec's own, defaults are kept: keys must not come and go."""
    import msgspec

    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        tag = {config.tag_field: config.tag} if config.tag_field else {}
        return tag | {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return msgspec.to_builtins(value)


def write(text: str) -> None:
    """Put text on stdout at once, so that a closed pipe or a full disk is met here and nowhere later."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:  # the reader has seen enough; typer would make a bug of it
        silence_stdout()
        raise typer.Exit(EXIT_BROKEN_PIPE) from error
    except OSError as error:
        silence_stdout()
        reason = os.strerror(error.errno or errno.EIO)
        raise CannotWrite(
            f"cannot write to standard output: {reason}.", remedy="Free space or write elsewhere."
        ) from error


def terminal_width() -> int:
    """Columns of the terminal, or of a page where stdout is none."""
    return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns if sys.stdout.isatty() else DEFAULT_WIDTH


def colourful() -> bool:
    """Whether stdout is a terminal whose user has not asked for plain text (see no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def render_text(blocks: Sequence[Block], *, width: int, bold: bool = False) -> str:
    """Blocks for a terminal `width` columns wide, a blank line between them but none between bullets."""
    parts: list[str] = []
    for previous, block in zip((None, *blocks), blocks, strict=False):
        if (
            previous is not None
            and not (_is_bullet(previous) and _is_bullet(block))
            and not isinstance(previous, Heading)
        ):
            parts.append("")
        parts.append(_text_block(block, width, bold))
    return "\n".join(parts) + "\n"


def _text_block(block: Block, width: int, bold: bool) -> str:
    if isinstance(block, Heading):
        return f"\x1b[1m{block.text}\x1b[0m" if bold else block.text
    if isinstance(block, Text):
        return _wrap(block.text, width, first="- " if block.bullet else "", rest="  " if block.bullet else "")
    if isinstance(block, Pre):
        return block.text
    if isinstance(block, Facts):
        label = max((len(name) for name, _ in block.pairs), default=0) + COLUMN_GAP
        return "\n".join(_wrap(value, width, first=name.ljust(label), rest=" " * label) for name, value in block.pairs)
    return _text_table(block, width)


def _wrap(text: str, width: int, *, first: str = "", rest: str = "") -> str:
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return "\n".join(lines) or first.rstrip()


def _text_table(table: Table, width: int) -> str:
    """A header, a rule and rows. Cells are wrapped here: tabulate's wrapping fails on numbers with commas."""
    import tabulate

    tabulate.MIN_PADDING = 0
    widths = fitted_widths(table, width)
    header, *rows = (
        [_wrap(cell, w) for cell, w in zip(row, widths, strict=True)] for row in (table.headers, *table.rows)
    )
    alignment = _alignment(table)
    return tabulate.tabulate(rows, headers=header, tablefmt="simple", disable_numparse=True, colalign=alignment)


def fitted_widths(table: Table, width: int) -> tuple[int, ...]:
    """Column widths that fit in all: the widest column gives way first, so that short ones stay whole."""
    columns = list(zip(table.headers, *table.rows, strict=True))
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    room = width - COLUMN_GAP * (len(widths) - 1)
    while sum(widths) > room and max(widths) > MINIMUM_COLUMN_WIDTH:
        widths[widths.index(max(widths))] -= 1
    return tuple(widths)


def _alignment(table: Table) -> list[str]:
    return ["right" if header in table.right else "left" for header in table.headers]


def _is_bullet(block: Block | None) -> bool:
    return isinstance(block, Text) and block.bullet


def render_markdown(blocks: Sequence[Block]) -> str:
    """Blocks as Markdown; cells are escaped so that a bar in a name breaks no table."""
    parts: list[str] = []
    for block in blocks:
        if _is_bullet(block) and parts and parts[-1].startswith("- "):
            parts[-1] += "\n" + _markdown_block(block)
        else:
            parts.append(_markdown_block(block))
    return "\n\n".join(parts) + "\n"


def _markdown_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Text):
        return f"- {block.text}" if block.bullet else block.text
    if isinstance(block, Pre):
        return f"```text\n{block.text}\n```"
    if isinstance(block, Facts):
        return "\n".join(f"- **{name}**: {value}" for name, value in block.pairs)
    rule = ["---:" if align == "right" else "---" for align in _alignment(block)]
    lines = [block.headers, rule, *block.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def render_csv(data: Any) -> str:
    """Rows with a header; a single object becomes one row; nested values become JSON in their cell."""
    import csv
    import io
    import json

    rows = data if isinstance(data, list) else [data]
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        cells = [row.get(name) for name in names]
        writer.writerow(
            [json.dumps(cell, ensure_ascii=False) if isinstance(cell, (list, dict)) else cell for cell in cells]
        )
    return stream.getvalue()
