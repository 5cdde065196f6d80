"""`vlmctl compare`: several models on the same images and questions: answers, quality, speed and cost side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vlmctl.cli import compare_options as own
from vlmctl.cli import options
from vlmctl.cli.errors import EXIT_INTERRUPTED
from vlmctl.cli.extras import needing_bench
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Block, Output
from vlmctl.errors import InvalidValue, NotReachable, UsageError
from vlmctl.files import check_writable

if TYPE_CHECKING:
    from vlmctl.compare.album import Album
    from vlmctl.compare.comparison import Comparison
    from vlmctl.compare.contenders import Contender, FindModel
    from vlmctl.compare.results import ComparisonResult

app = options.command_app()


@app.command()
def compare(
    cases: own.CasesOption,
    endpoint: own.EndpointOption = None,
    deployment: own.DeploymentOption = None,
    local: own.LocalOption = None,
    engine_argument: own.EngineArgumentOption = None,
    header: own.HeaderOption = None,
    sweep_resolution: own.SweepResolutionOption = None,
    sweep_images: own.SweepImagesOption = None,
    repeats: own.RepeatsOption = 1,
    concurrency: own.ConcurrencyOption = 4,
    max_tokens: own.MaxTokensOption = 512,
    temperature: own.TemperatureOption = 0.0,
    retries: own.RetriesOption = 2,
    alpha: own.AlphaOption = 0.05,
    seed: own.SeedOption = 0,
    report: own.ReportOption = None,
    report_image_side: own.ReportImageSideOption = 640,
    results: own.ResultsOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Compare models on the same cases.

    Every model is asked every case, the same bytes in the same order, one model after another. Quality comes with its
    95% interval, and one model is called better only where a paired test says so, all pairs counted. Needs the `bench`
    extra; --local needs `engine`, --deployment `cluster`. Ctrl-C keeps what was answered.

    JSON: an object with made_at, cases, settings, complete, verdict, winner, warnings, leaderboard, pairs,
    category_winners, pareto, resolution and images (points and plateaus of the sweeps). CSV: the leaderboard. Exit code
    4 where no model could be asked, 130 where it was interrupted.
    """
    with needing_bench("comparing"):
        from vlmctl import library
        from vlmctl.cli.compare_progress import Line
        from vlmctl.compare import contenders, sweep
        from vlmctl.compare.album import Album
        from vlmctl.compare.cases import read_cases
        from vlmctl.compare.comparison import Comparison
        from vlmctl.compare.results import Settings

    sides, counts = sweep.parse_sides(sweep_resolution), sweep.parse_counts(sweep_images)
    find_model = contenders.finder(library.load_catalog(catalog))
    settings = Settings(
        repeats=repeats,
        concurrency=concurrency,
        max_tokens=max_tokens,
        temperature=temperature,
        retries=retries,
        seed=seed,
        alpha=alpha,
    )
    for path in filter(None, (report, results)):
        check_writable(path)
    named = _contenders(endpoint or [], local or [], engine_argument or [], find_model)
    album = Album(read_cases(cases).cases)
    with Comparison(find_model=find_model) as comparison, Line() as line:
        _add(comparison, named, deployment or [], header or [], find_model)
        result = comparison.compare(
            album, source=cases.name, settings=settings, sides_pixels=sides, image_counts=counts, on_progress=line.show
        )
    _tell(result, album, results, report, report_image_side, Output(output))


def _tell(
    result: ComparisonResult, album: Album, results: Path | None, report: Path | None, side: int, out: Output
) -> None:
    """Write the files that were asked for, show the answer, and exit as the comparison ended."""
    from vlmctl.compare.report import report_html
    from vlmctl.compare.results import write_results
    from vlmctl.files import write_atomically

    try:
        if results is not None:
            write_results(results, result)
            out.note(f"wrote {results}")
        if report is not None:
            write_atomically(report, report_html(result, album.thumbnails(side)).encode())
            out.note(f"wrote {report}")
    finally:  # whatever became of the files, what took an hour to ask is shown
        _show(result, out)
    _end(result)


def _show(result: ComparisonResult, out: Output) -> None:
    from vlmctl.cli import compare_page

    data = compare_page.data(result)
    blocks: list[Block] = compare_page.blocks(result) if out.for_people else []
    out.show(data, blocks, rows=data["leaderboard"])


def _end(result: ComparisonResult) -> None:
    """Exit as the comparison ended; raises NotReachable where no model answered."""
    if not result.complete:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not any(reply.answered for reply in result.replies):
        problem = next((each.problem for each in result.contenders if each.problem), "")
        raise NotReachable("no model answered.", remedy=problem)


def _contenders(endpoints: list[str], local: list[str], arguments: list[str], find_model: FindModel) -> list[Contender]:
    """Those at an endpoint and those to be served here."""
    from vlmctl.compare.contenders import Contender, LocalModel, parse_contender, with_model

    found = [parse_contender(text, find_model) for text in endpoints]
    for name in local:
        spec = find_model(name)
        checkpoint = spec.repository if spec is not None else name
        served = LocalModel(checkpoint=checkpoint, arguments=tuple(arguments))
        found.append(with_model(Contender(name=spec.id if spec else Path(name).name, local=served), spec))
    if arguments and not local:
        raise UsageError(
            "--engine-argument goes with --local.", remedy="Set the arguments where the server is started."
        )
    return found


def _add(
    comparison: Comparison, contenders: list[Contender], names: list[str], headers: list[str], find_model: FindModel
) -> None:
    """Take everyone in, deployments of a cluster last; raises InvalidValue where there is nobody."""
    from vlmctl.compare.contenders import with_headers
    from vlmctl.compare.deployments import deployed

    found = deployed(names, find_model) if names else []
    remedies = {each.contender.name: each.remedy for each in found}
    everyone = with_headers([*contenders, *(each.contender for each in found)], headers)
    if not everyone:
        raise InvalidValue(
            "there is nobody to compare.",
            remedy="Name models with --endpoint NAME=URL, --deployment NAME or --local MODEL.",
        )
    for contender in everyone:
        try:
            comparison.add(contender)
        except NotReachable as error:
            raise NotReachable(error.message, remedy=remedies.get(contender.name, error.remedy)) from error
