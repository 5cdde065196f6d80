"""`vlmctl tokens`: what images become inside each model, and what that takes of context and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.options import CatalogOption, Format, ModelsArgument, OutputOption
from vlmctl.cli.output import Output, Table, Text
from vlmctl.errors import VlmctlError
from vlmctl.units import split_commas

if TYPE_CHECKING:
    from vlmctl.specs.model import ModelSpec

app = options.command_app()


@app.command()
def tokens(
    models: ModelsArgument,
    image: Annotated[list[str], typer.Option(metavar="WxH", help="Image size in pixels; repeatable.")],
    images: Annotated[
        int, typer.Option(metavar="N", help="Images of that size in one request.", min=1, max=100_000)
    ] = 1,
    max_pixels: Annotated[int | None, options.option("Bound set on the image processor.", metavar="N", min=1)] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Count image tokens.

    The size after resizing, tiles or grid, tokens with and without markers, share of the context, KV cache bytes.

    JSON: an array of objects with model, image, images, resized_width_pixels, resized_height_pixels, views, columns,
    rows, image_tokens and marker_tokens and total_tokens (of one image), request_tokens (of all images),
    context_tokens, context_share, kv_cache_bytes (null where the language model's shape is unknown), verified.
    """
    from vlmctl import library
    from vlmctl.units import parse_image_size

    known = library.load_catalog(catalog)
    sizes = [parse_image_size(text) for text in split_commas(image)]
    rows, refusals = [], []
    for model in library.find_models(models, catalog=known):
        for size in sizes:
            try:
                rows.append(_row(model, *size, images=images, max_pixels=max_pixels))
            except VlmctlError as error:
                refusals.append(error)
    if not rows and refusals:
        raise refusals[0]
    headers = ("Model", "Image", "Seen as", "Grid", "Views", "Tokens", "Context", "KV")
    table = Table(headers, [_cells(row) for row in rows], right=headers[4:])
    whose = f"of all {images} images" if images > 1 else "of one image"
    note = (
        "Seen as: the size after resizing, all tiles together. Tokens: of one image, and after the plus the markers "
        f"around it. Context, KV: share of the model's context and KV cache in 16 bit {whose}. * not verified."
    )
    refused = [Text(str(error), bullet=True) for error in refusals]
    Output(output).show(rows, [table, Text(note), *refused])


def _row(model: ModelSpec, width: int, height: int, *, images: int, max_pixels: int | None) -> dict[str, Any]:
    from vlmctl import library

    one = library.image_tokens(model, width, height, images=images, max_pixels=max_pixels)
    total = one.total_tokens * images
    return {
        "model": model.id,
        "image": f"{width}x{height}",
        "images": images,
        "resized_width_pixels": one.resized_width_pixels,
        "resized_height_pixels": one.resized_height_pixels,
        "views": one.views,
        "columns": one.columns,
        "rows": one.rows,
        "image_tokens": one.image_tokens,
        "marker_tokens": one.marker_tokens,
        "total_tokens": one.total_tokens,
        "request_tokens": total,
        "context_tokens": model.context.tokens,
        "context_share": total / model.context.tokens,
        "kv_cache_bytes": library.image_kv_bytes(model, one, images=images),
        "verified": model.verified,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    from vlmctl.units import show_bytes

    kv_bytes = row["kv_cache_bytes"]
    return [
        row["model"] + ("" if row["verified"] else " *"),
        row["image"],
        f"{row['resized_width_pixels']}x{row['resized_height_pixels']}",
        f"{row['columns']}x{row['rows']}",
        str(row["views"]),
        f"{row['image_tokens']:,} + {row['marker_tokens']}",
        f"{row['context_share']:.1%}",
        "unknown" if kv_bytes is None else show_bytes(kv_bytes),
    ]
