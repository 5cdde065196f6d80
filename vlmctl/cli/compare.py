"""`vlmctl compare`: several models on the same images and questions: answers, quality, speed and cost side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmctl.cli import options
from vlmctl.cli.errors import EXIT_INTERRUPTED
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Block, Output
from vlmctl.errors import InvalidValue, NotReachable, UsageError

if TYPE_CHECKING:
    from vlmctl.compare.album import Album
    from vlmctl.compare.contenders import Contender, FindModel
    from vlmctl.compare.results import ComparisonResult

app = options.command_app()

EXTRA = "pip install 'vlmctl[bench]'"
MAXIMUM_REPEATS, MAXIMUM_CONCURRENCY, MAXIMUM_OUTPUT_TOKENS = 100, 1_000, 1_000_000


@app.command()
def compare(
    cases: Annotated[Path, typer.Option("--cases", metavar="FILE", help="Images, questions and what is right.")],
    endpoint: Annotated[
        list[str] | None,
        options.option(
            "A model: NAME=URL and, after commas, model=, price=1.20/h or price=0.10:0.40 per million tokens in and "
            "out, catalog=, boxes=, key=VARIABLE; repeatable.",
            metavar="NAME=URL",
        ),
    ] = None,
    local: Annotated[
        list[str] | None,
        options.option("A model to serve here with vLLM, one after another; repeatable.", metavar="MODEL"),
    ] = None,
    engine_argument: Annotated[
        list[str] | None,
        options.option("Passed to `vllm serve` of --local, such as --max-model-len=8192; repeatable.", metavar="ARG"),
    ] = None,
    sweep_resolution: Annotated[
        str | None, options.option("Longer sides in pixels: 336..2048 or 224,336,512.", metavar="SIDES")
    ] = None,
    sweep_images: Annotated[
        str | None, options.option("Images in a request, filled up from other cases: 1..8 or 1,2,4.", metavar="COUNTS")
    ] = None,
    repeats: Annotated[
        int, typer.Option(metavar="N", help="Times each case is asked.", min=1, max=MAXIMUM_REPEATS)
    ] = 1,
    concurrency: Annotated[
        int, typer.Option(metavar="N", help="Requests in flight.", min=1, max=MAXIMUM_CONCURRENCY)
    ] = 4,
    max_tokens: Annotated[
        int, typer.Option(metavar="N", help="Tokens of an answer at most.", min=1, max=MAXIMUM_OUTPUT_TOKENS)
    ] = 512,
    temperature: Annotated[float, typer.Option(metavar="N", help="0: the likeliest answer.", min=0.0, max=2.0)] = 0.0,
    retries: Annotated[int, typer.Option(metavar="N", help="Tries after a request broke off.", min=0, max=20)] = 2,
    alpha: Annotated[
        float, typer.Option(metavar="N", help="Chance of calling equal models different.", min=1e-6, max=0.5)
    ] = 0.05,
    seed: Annotated[int, typer.Option(metavar="N", help="Of what is drawn at random.")] = 0,
    report: Annotated[Path | None, options.option("Write one HTML page with everything.", metavar="FILE")] = None,
    report_image_side: Annotated[
        int, typer.Option(metavar="N", help="Longer side of images in the page, in pixels.", min=64, max=4096)
    ] = 640,
    results: Annotated[Path | None, options.option("Write every answer as JSON.", metavar="FILE")] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Compare models on the same cases.

    Every model is asked every case, the same bytes in the same order, one model after another. Quality comes with its
    95% interval, and one model is called better only where a paired test says so, all pairs counted. Needs the `bench`
    extra; --local needs `engine`. Ctrl-C keeps what was answered.

    JSON: an object with made_at, cases, settings, complete, verdict, winner, warnings, leaderboard, pairs,
    category_winners, pareto, resolution and images (points and plateaus of the sweeps). CSV: the leaderboard. Exit code
    4 where no model could be asked, 130 where it was interrupted.
    """
    try:
        from vlmctl.cli import compare_page
        from vlmctl.cli.compare_progress import Line
        from vlmctl.compare import sweep
        from vlmctl.compare.album import Album
        from vlmctl.compare.cases import read_cases
        from vlmctl.compare.comparison import Comparison
        from vlmctl.compare.results import Settings, write_results
    except ImportError as error:
        raise UsageError(f"comparing needs the package {error.name}.", remedy=f"Run: {EXTRA}") from error

    out = Output(output)
    sides = sweep.parse_sides(sweep_resolution) if sweep_resolution is not None else ()
    counts = sweep.parse_counts(sweep_images) if sweep_images is not None else ()
    find_model = _finder(catalog)
    contenders = _contenders(endpoint or [], local or [], engine_argument or [], find_model)
    album = Album(read_cases(cases).cases)
    settings = Settings(
        repeats=repeats,
        concurrency=concurrency,
        max_tokens=max_tokens,
        temperature=temperature,
        retries=retries,
        seed=seed,
        alpha=alpha,
    )
    with Comparison(find_model=find_model) as comparison, Line() as line:
        for contender in contenders:
            comparison.add(contender)
        result = comparison.compare(
            album,
            source=cases.name,
            settings=settings,
            sides_pixels=sides,
            image_counts=counts,
            on_progress=line.show,
        )
    if results is not None:
        write_results(results, result)
        out.note(f"wrote {results}")
    if report is not None:
        _write_report(report, result, album, report_image_side)
        out.note(f"wrote {report}")
    data = compare_page.data(result)
    blocks: list[Block] = compare_page.blocks(result) if out.for_people else []
    out.show(data, blocks, rows=data["leaderboard"])
    if not result.complete:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not any(reply.answered for reply in result.replies):
        problem = next((each.problem for each in result.contenders if each.problem), "")
        raise NotReachable("no model answered.", remedy=problem)


def _finder(catalog: list[Path] | None) -> FindModel:
    """The catalog's model behind a name, or none: most served names are in no catalog."""
    from vlmctl import library
    from vlmctl.errors import UnknownName
    from vlmctl.specs.model import ModelSpec

    known = library.load_catalog(catalog)

    def find(name: str) -> ModelSpec | None:
        try:
            return library.find_model(name, catalog=known)
        except UnknownName:
            return None

    return find


def _contenders(endpoints: list[str], local: list[str], arguments: list[str], find_model: FindModel) -> list[Contender]:
    """Who is compared; raises InvalidValue where there is nobody."""
    from vlmctl.compare.contenders import Contender, LocalModel, parse_contender, with_model

    found = [parse_contender(text, find_model) for text in endpoints]
    for name in local:
        spec = find_model(name)
        checkpoint = spec.repository if spec is not None else name
        served = LocalModel(checkpoint=checkpoint, arguments=tuple(arguments))
        found.append(with_model(Contender(name=spec.id if spec else Path(name).name, local=served), spec))
    if not found:
        raise InvalidValue(
            "there is nobody to compare.", remedy="Name models with --endpoint NAME=URL or --local MODEL."
        )
    if arguments and not local:
        raise UsageError(
            "--engine-argument goes with --local.", remedy="Set the arguments where the server is started."
        )
    return found


def _write_report(path: Path, result: ComparisonResult, album: Album, side: int) -> None:
    from vlmctl.compare.report import report_html
    from vlmctl.files import write_atomically

    write_atomically(path, report_html(result, album.thumbnails(side)).encode())
