"""`vlmctl cases`: labelled pictures and questions that the project makes itself, to compare models with."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.extras import needing_bench
from vlmctl.cli.options import Format, OutputOption, bare_group_shows_help
from vlmctl.cli.output import Block, Output, Table, Text
from vlmctl.units import parse_image_size, split_commas

if TYPE_CHECKING:
    from vlmctl.cases.canvas import Size
    from vlmctl.cases.making import Made

app = options.command_app(help="Make labelled pictures and questions.")
app.callback(invoke_without_command=True)(bare_group_shows_help)

TOLD_EVERY = 100  # cases between two lines of progress where stderr is no terminal


@app.command("make")
def make_cases(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made where it is not there.")],
    cases: Annotated[int | None, options.option("How many questions, 180 if not said.", metavar="N")] = None,
    size: Annotated[
        str | None,
        options.option("Longest side of the pictures, 1024 if not said; or all of one size.", metavar="PIXELS|WxH"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Another number gives other pictures.")] = 1,
    categories: Annotated[
        list[str] | None, options.option("Only these, such as receipts,counting; repeatable.", metavar="NAME")
    ] = None,
    fonts: Annotated[
        list[Path] | None, options.option("A folder of fonts to look in first; repeatable.", metavar="DIR")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Draw pictures with questions whose answers are known exactly.

    Receipts, tables, charts, forms, small print, menus in several scripts, counting, colours, positions, things that
    are not there, boxes, differences of two pictures and views of one object: DIR/cases.yaml, for `vlmctl compare
    --cases`, and DIR/images. The same seed gives the same bytes, and the same content at any size. A script whose font
    is not found is left out, and said.

    JSON: an object with path, cases and images (how many), categories (how many cases of each), left_out (what,
    reason). CSV: the categories.
    """
    with needing_bench("drawing"):
        from vlmctl.cases import fonts as known_fonts
        from vlmctl.cases import kinds, making
    found = making.make_set(
        folder,
        cases=making.DEFAULT_CASES if cases is None else cases,
        size=making.DEFAULT_SIZE if size is None else _size(size),
        seed=seed,
        kinds=kinds.chosen_kinds(split_commas(categories)),
        fonts=known_fonts.Fonts(fonts or ()),
        progress=_tell,
    )
    data = _data(found)
    Output(output).show(data, _blocks(data), rows=data["categories"])


def _size(text: str) -> Size:
    """One number is the longest side, whatever the shape of a picture; two are the size of all."""
    from vlmctl.cases.canvas import Size

    width, height = parse_image_size(text)
    return Size(width) if text.strip().isdecimal() else Size(width, height)


def _tell(done: int, whole: int) -> None:
    """Progress on stderr: one line that counts up on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {whole} cases" + ("\n" if done == whole else ""))
        sys.stderr.flush()
    elif done % TOLD_EVERY == 0:
        sys.stderr.write(f"{done} of {whole} cases\n")


def _data(made: Made) -> dict[str, Any]:
    counts = Counter(case.category for case in made.cases.cases)
    return {
        "path": str(made.path),
        "cases": len(made.cases.cases),
        "images": made.images,
        "categories": [{"category": name, "cases": count} for name, count in counts.items()],
        "left_out": [
            {"what": each.what, "reason": each.reason}
            for each in (made.cases.made_with.left_out if made.cases.made_with is not None else ())
        ],
    }


def _blocks(data: dict[str, Any]) -> list[Block]:
    rows = [(each["category"], str(each["cases"])) for each in data["categories"]]
    left_out = [Text(f"{each['what']} left out: {each['reason']}.", bullet=True) for each in data["left_out"]]
    written = Text(f"{data['cases']} cases on {data['images']} images are in {data['path']}.")
    return [Table(("Category", "Cases"), rows, right=("Cases",)), *left_out, written]
