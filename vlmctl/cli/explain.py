"""`vlmctl explain`: every term of an estimate with its formula, value and source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, ModelArgument, OutputOption
from vlmctl.cli.output import Block, Heading, Output, Table, Text
from vlmctl.cli.question_options import OWNERSHIP, PLACE, WORKLOAD, asking

if TYPE_CHECKING:
    from vlmctl.planning.explain import Section
    from vlmctl.specs.estimates import Plan

app = options.command_app()

NAMES = (*WORKLOAD, *PLACE, *OWNERSHIP)


@app.command()
@asking(NAMES)
def explain(
    context: typer.Context,
    model: ModelArgument,
    require: options.RequireOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show how an estimate is made.

    Every term of the cheapest placement's estimate, in the order in which it is worked out: value, formula, source.

    JSON: an object with model, assumptions, placement, sections (each with title and terms: name, value, unit, formula,
    source). CSV: the terms.
    """
    from vlmctl import library
    from vlmctl.cli.output import plain

    known = library.load_catalog(catalog)
    question = library.Question(options.wishes(context, NAMES, require), catalog=known)
    chosen, sections = question.explain(model)
    blocks: list[Block] = [Text(title(chosen))]
    if question.assumptions:
        blocks.append(Text(f"Assumed: {'; '.join(question.assumptions)}."))
    blocks += term_tables(sections)
    data = {
        "model": chosen.placement.model,
        "assumptions": question.assumptions,
        "placement": chosen.placement,
        "sections": sections,
    }
    rows = [{"section": section.title, **plain(term)} for section in sections for term in section.terms]
    Output(output).show(data, blocks, rows=rows)


def term_tables(sections: Iterable[Section]) -> list[Block]:
    """Each section as a table of its terms."""
    blocks: list[Block] = []
    for section in sections:
        cells = [(term.name, _value(term.value), term.unit, term.formula, term.source) for term in section.terms]
        headers = ("Term", "Value", "Unit", "Formula", "Source")
        blocks += [Heading(section.title), Table(headers, cells, right=("Value",))]
    return blocks


def title(plan: Plan) -> str:
    """What was chosen, in a sentence."""
    placement = plan.placement
    where = f"{placement.gpu_count}x {placement.gpu}"
    return f"{placement.model} ({placement.precision.value}) on {where}, the cheapest placement that serves it."


def _value(value: float) -> str:
    """Enough digits to check the sum with: whole above 1,000, four significant ones below."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
