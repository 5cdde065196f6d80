"""`vlmctl advise`: the questions that lead to requirements, asked on a terminal or answered from a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Output
from vlmctl.cli.recommend import answer
from vlmctl.errors import InvalidValue, UsageError

app = options.command_app()


@app.command()
def advise(
    answers: Annotated[
        Path | None, options.option("Answers from a YAML file, by question: `task: chart`.", metavar="FILE")
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Ask what is needed, then recommend.

    Walks the decision: images at all, task, size and number of images, languages, licence, model size, grounding.
    Without a terminal give --answers FILE; questions that it leaves out take their defaults.

    JSON: as `vlmctl recommend`.
    """
    from vlmctl import library

    known = library.load_catalog(catalog)
    given = library.read_answers(answers) if answers is not None else _ask()
    answer(library.question_from_answers(given, catalog=known), Output(output))


def _ask() -> dict[str, str]:
    """Put the questions one by one, each again until its answer is one."""
    from vlmctl.planning.advise import check_answer, next_question

    if not sys.stdin.isatty():
        raise UsageError("advise asks on a terminal, and this is none.", remedy="Give --answers FILE.")
    given: dict[str, str] = {}
    while (question := next_question(given)) is not None:
        choices = f" ({', '.join(question.choices)})" if question.choices else ""
        said = typer.prompt(question.text + choices, default=question.default, err=True)
        try:
            given[question.id] = check_answer(question, said)
        except InvalidValue as error:
            typer.echo(str(error), err=True)
    return given
