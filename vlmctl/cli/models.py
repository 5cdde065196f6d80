"""`vlmctl models`: what the catalog knows of models, one by one and side by side, and how a new one gets in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.options import (
    CatalogOption,
    Format,
    ModelArgument,
    ModelsArgument,
    OutputOption,
    bare_group_shows_help,
)
from vlmctl.cli.output import Block, Output, Table, Text
from vlmctl.units import A4_SCAN, split_commas

if TYPE_CHECKING:
    from vlmctl.catalog.checkpoint import Checkpoint
    from vlmctl.specs.model import ModelSpec

app = options.command_app(help="List, show, compare and import models.")
app.callback(invoke_without_command=True)(bare_group_shows_help)


@app.command("list")
def list_models(
    family: Annotated[
        list[str] | None, options.option("Only this family, such as qwen2.5-vl; repeatable.", metavar="NAME")
    ] = None,
    max_params: Annotated[
        float | None, options.option("Billion parameters at most, all counted.", min=0, metavar="N")
    ] = None,
    license: Annotated[
        str, typer.Option(metavar="POLICY", help="Only models whose licence allows it, as for `recommend`.")
    ] = "any",
    verified: Annotated[
        bool, typer.Option("--verified", help="Only models whose facts were all read in a source.")
    ] = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """List models.

    JSON: an array of objects with id, name, repository, family, edition, modality, released, parameters (count),
    active_parameters, context_tokens, license, license_commercial, license_permissive, resolution_strategy,
    maximum_images, capabilities, served_by, verified.
    """
    from vlmctl import library

    models = library.select_models(
        library.load_catalog(catalog),
        families=split_commas(family),
        maximum_parameters_billions=max_params,
        license=license,
        verified=verified,
    )
    Output(output).show([_summary(model) for model in models], _overview(models))


def _overview(models: Sequence[ModelSpec]) -> list[Block]:
    from vlmctl.cli import wording

    rows = [
        (
            model.id + ("" if model.verified else wording.UNVERIFIED_MARK),
            wording.parameters(model.parameters),
            wording.license_name(model.license),
            f"{model.context.tokens:,}",
            model.resolution.strategy.value if model.resolution else wording.UNKNOWN,
            ", ".join(model.serving.served_by) or "none",
        )
        for model in models
    ]
    headers = ("Model", "Parameters", "Licence", "Context", "Resolution", "Served by")
    note = f"{len(rows)} models. {wording.UNVERIFIED_NOTE} `vlmctl models show MODEL` tells more."
    return [Table(headers, rows, right=("Context",)), Text(note)]


def _summary(model: ModelSpec) -> dict[str, Any]:
    from vlmctl.cli import wording

    return {
        "id": model.id,
        "name": model.name,
        "repository": model.repository,
        "family": model.family,
        "edition": model.edition.value,
        "modality": model.modality.value,
        "released": model.released,
        "parameters": round(model.parameters.total_billions * 1e9),
        "active_parameters": round(model.parameters.active_billions * 1e9),
        "context_tokens": model.context.tokens,
        "license": wording.license_name(model.license),
        "license_commercial": model.license.commercial.value,
        "license_permissive": model.license.permissive,
        "resolution_strategy": model.resolution.strategy.value if model.resolution else None,
        "maximum_images": model.images.maximum if model.images else None,
        "capabilities": list(model.capabilities),
        "served_by": list(model.serving.served_by),
        "verified": model.verified,
    }


@app.command("show")
def show_model(model: ModelArgument, catalog: CatalogOption = None, output: OutputOption = Format.TABLE) -> None:
    """Show what is known of a model.

    Every fact with its source; those that nobody verified are marked. A family lists its members.

    JSON: the catalog's record with every field, and `verified` for the facts that estimates rest on. For a family: an
    object with family and members, each such a record.
    """
    from vlmctl import library
    from vlmctl.cli.model_page import model_page
    from vlmctl.cli.output import plain

    found = library.find_models([model], catalog=library.load_catalog(catalog))
    records = [plain(each) | {"verified": each.verified} for each in found]
    if len(found) == 1:
        Output(output).show(records[0], model_page(found[0]))
    else:
        Output(output).show({"family": found[0].family, "members": records}, _overview(found), rows=records)


@app.command("compare")
def compare_models(
    models: ModelsArgument,
    image: Annotated[str, typer.Option(metavar="WxH", help="Count tokens for an image of this size.")] = A4_SCAN,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Put models side by side.

    Encoder, connector, language model, resolution strategy, parameters, tokens for a page, licence and scores. Scores
    of different splits or modes stand on rows of their own: they cannot be compared.

    JSON: an object with image, models (each with id, encoder, connector, language_model, resolution_strategy,
    parameters, image_tokens, license, unverified and more) and scores (benchmark, split, mode, values by model).
    """
    from vlmctl import library
    from vlmctl.cli.comparison import comparison_blocks, comparison_data
    from vlmctl.units import parse_image_size

    known = library.load_catalog(catalog)
    size = parse_image_size(image)
    found = library.find_models(models, catalog=known)
    data = comparison_data(found, *size)
    Output(output).show(data, comparison_blocks(found, *size), rows=data["models"])


@app.command("import")
def import_model(
    repository_or_folder: Annotated[
        str, typer.Argument(metavar="REPO_OR_FOLDER", help="A Hugging Face repository, or a folder with config.json.")
    ],
    write: Annotated[
        Path | None, options.option("Add the entry to this overlay folder instead of showing it.", metavar="DIR")
    ] = None,
    spec: Annotated[
        bool, typer.Option("--spec", help="Show spec.model of a VLMDeployment instead, with the facts in the files.")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a catalog entry from a repository.

    Reads config.json, preprocessor_config.json and safetensors headers, and writes the entry as YAML to stdout. A
    folder works offline; a repository is read from the hub. What is not understood is refused, never guessed.

    JSON: the catalog's record with every field; with --spec, spec.model.
    """
    from vlmctl.catalog.add import add_model, model_file
    from vlmctl.catalog.hub import model_from_checkpoint, read_checkpoint
    from vlmctl.cli.model_page import model_page
    from vlmctl.errors import UsageError

    out = Output(output)
    if spec and write is not None:
        raise UsageError("--spec is shown, and --write keeps an entry of the catalog.", remedy="Leave one of them out.")
    if not Path(repository_or_folder).expanduser().is_dir():
        out.note(f"reading {repository_or_folder} from the hub ...")
    checkpoint = read_checkpoint(repository_or_folder, download=True)
    if spec:
        _show_spec(out, checkpoint)
        return
    entry = model_from_checkpoint(checkpoint)
    if write is not None:
        out.note(f"wrote {add_model(write, entry)}")
    elif output is Format.TABLE:
        out.raw(model_file(entry))
    else:
        out.show(entry, model_page(entry))


def _show_spec(out: Output, checkpoint: Checkpoint) -> None:
    import msgspec

    from vlmctl.serving.described import described_yaml, model_reference

    reference = model_reference(checkpoint)
    if out.format in (Format.JSON, Format.YAML):
        out.show(msgspec.to_builtins(reference), [])
    else:
        out.raw(described_yaml(reference))
