"""`vlmctl benchmarks`: what each benchmark measures, and who leads it, split by split and mode by mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, OutputOption
from vlmctl.cli.output import Block, Facts, Heading, Output, Table, Text

if TYPE_CHECKING:
    from vlmctl.specs.hardware import Benchmark, Catalog
    from vlmctl.specs.model import ModelSpec, Score

app = options.command_app()

LEADERS = 10  # models shown per split and mode


@app.command()
def benchmarks(
    name: Annotated[
        str | None, typer.Argument(help="One benchmark, with caveats and leaders.", show_default=False)
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say what benchmarks measure.

    On which scale, with which caveats, as evidence for what, and who leads. Scores of different splits or modes are
    never ranked together.

    JSON without NAME: an array of the catalog's records. With NAME: the record with `rankings`, one for each split
    and mode, each an array of model, value, reporter, as_of, source.
    """
    from vlmctl import library

    known = library.load_catalog(catalog)
    if name is None:
        Output(output).show(known.benchmarks, _overview(known))
        return
    found = library.find_benchmark(name, catalog=known)
    ranked = _rankings(known, found)
    data = _data(found, ranked)
    flat = [{"split": one["split"], "mode": one["mode"], **row} for one in data["rankings"] for row in one["ranking"]]
    Output(output).show(data, _page(found, ranked), rows=flat)


_Key = tuple[str, str]
_Ranking = list[tuple["ModelSpec", "Score"]]


def _overview(catalog: Catalog) -> list[Block]:
    from vlmctl.cli.wording import marked, number

    rows = [
        (marked(item.id, item), item.measures, number(item.scale_maximum), ", ".join(item.tasks) or "-")
        for item in catalog.benchmarks
    ]
    table = Table(("Benchmark", "Measures", "Scale", "Evidence for"), rows, right=("Scale",))
    return [table, Text("Scale: the highest possible score. `vlmctl benchmarks NAME` shows caveats and who leads.")]


def _rankings(catalog: Catalog, benchmark: Benchmark) -> dict[_Key, _Ranking]:
    """Scores by split and mode, the best first; the third-party figure first where two are equal."""
    found: dict[_Key, _Ranking] = {}
    for model in catalog.models:
        for score in model.scores:
            if score.benchmark == benchmark.id:
                found.setdefault((score.split or "", score.mode or ""), []).append((model, score))
    sign = -1 if benchmark.higher_is_better else 1
    for ranking in found.values():
        ranking.sort(key=lambda item: (sign * item[1].value, item[1].reporter == "maker", item[0].id))
    return dict(sorted(found.items()))


def _data(benchmark: Benchmark, ranked: dict[_Key, _Ranking]) -> dict[str, Any]:
    from vlmctl.cli.output import plain

    rankings = [
        {
            "split": split or None,
            "mode": mode or None,
            "ranking": [
                {
                    "model": model.id,
                    "value": score.value,
                    "reporter": score.reporter,
                    "as_of": score.as_of,
                    "source": score.source,
                }
                for model, score in ranking
            ],
        }
        for (split, mode), ranking in ranked.items()
    ]
    return {**plain(benchmark), "rankings": rankings}


def _page(benchmark: Benchmark, ranked: dict[_Key, _Ranking]) -> list[Block]:
    from vlmctl.cli.wording import marked, number

    better = "higher is better" if benchmark.higher_is_better else "lower is better"
    pairs = [
        ("Measures", marked(benchmark.measures, benchmark)),
        ("Scale", f"up to {number(benchmark.scale_maximum)}, {better}"),
        ("Evidence for", ", ".join(f"{task} ({weight:g})" for task, weight in benchmark.tasks.items()) or "no task"),
        ("Languages", ", ".join(benchmark.languages) or "not stated"),
        ("Source", benchmark.source),
    ]
    blocks: list[Block] = [Heading(f"{benchmark.name} ({benchmark.id})"), Facts(pairs)]
    if benchmark.caveats:
        blocks += [Heading("Caveats"), *(Text(caveat, bullet=True) for caveat in benchmark.caveats)]
    for (split, mode), ranking in ranked.items():
        title = ", ".join(part for part in (f"split {split}" if split else "", f"mode {mode}" if mode else "") if part)
        rows = [
            (model.id, number(score.value), score.reporter, score.as_of or "-", score.source)
            for model, score in ranking[:LEADERS]
        ]
        more = f", first {LEADERS} of {len(ranking)}" if len(ranking) > LEADERS else ""
        blocks.append(Heading(f"Leaders ({title or 'split and mode not stated'}{more})"))
        blocks.append(Table(("Model", "Score", "Reported by", "As of", "Source"), rows, right=("Score",)))
    if not ranked:
        blocks.append(Text("No model of the catalog has a score on it."))
    return blocks
