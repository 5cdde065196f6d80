"""What the catalog holds, by name and by condition; and what an image becomes in one of its models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vlmctl.catalog import load, names
from vlmctl.catalog.mistakes import Finding
from vlmctl.errors import UnknownName, UnsupportedModel
from vlmctl.planning import image_tokens as token_rules
from vlmctl.planning.architecture import crosses, kv_bytes_per_sequence
from vlmctl.planning.demand import require_token_rule
from vlmctl.planning.requirements import license_breach
from vlmctl.specs.estimates import ImageTokens
from vlmctl.specs.hardware import Benchmark, Catalog, GpuSpec, Offer, OfferKind
from vlmctl.specs.model import Modality, ModelSpec
from vlmctl.specs.workload import LicensePolicy

if TYPE_CHECKING:
    from vlmctl.catalog.refresh import Refreshed


def load_catalog(overlays: Sequence[str | Path] | None = None) -> Catalog:
    """The shipped catalog with the user's own folders laid over it, `overlays` last.

    Raises InvalidFile (file, line, remedy) for a mistake in a file, UsageError for a folder that is not there.
    """
    return load.load_catalog([Path(folder) for folder in overlays or ()])


def find_model(name: str, *, catalog: Catalog | None = None) -> ModelSpec:
    """The model behind an id, alias or repository, in any usual spelling; raises UnknownName with close matches."""
    return names.resolve_model(catalog or load_catalog(), name)


def find_models(model_names: Sequence[str], *, catalog: Catalog | None = None) -> tuple[ModelSpec, ...]:
    """The models behind several names, each once; a family stands for its members. Raises UnknownName."""
    known = catalog or load_catalog()
    found = (model for name in model_names for model in names.resolve_models(known, name))
    return tuple({model.id: model for model in found}.values())


def find_gpu(name: str, *, catalog: Catalog | None = None) -> GpuSpec:
    """The GPU behind an id or alias; raises UnknownName with close matches."""
    return names.resolve_gpu(catalog or load_catalog(), name)


def find_benchmark(name: str, *, catalog: Catalog | None = None) -> Benchmark:
    """The benchmark behind an id or name; raises UnknownName with close matches."""
    return names.resolve_benchmark(catalog or load_catalog(), name)


def image_tokens(
    model: str | ModelSpec,
    width_pixels: int,
    height_pixels: int,
    *,
    images: int = 1,
    max_pixels: int | None = None,
    catalog: Catalog | None = None,
) -> ImageTokens:
    """What one image of that size becomes: resized size, grid, tokens with and without markers.

    `images`: how many the request holds, since some models tile less with several; `max_pixels`: the bound set on the
    image processor, where it is not the model's own. Raises UnknownName, UnsupportedModel or InvalidValue.
    """
    spec = model if isinstance(model, ModelSpec) else find_model(model, catalog=catalog)
    rule = require_token_rule(require_vision(spec))
    return token_rules.image_tokens(rule, width_pixels, height_pixels, images=images, max_pixels=max_pixels)


def require_vision(model: ModelSpec) -> ModelSpec:
    """The model itself; raises UnsupportedModel where it reads no images."""
    if model.modality is Modality.TEXT:
        raise UnsupportedModel(f"{model.id} is text only: it reads no images.", remedy=model.note)
    return model


def image_kv_bytes(model: ModelSpec, tokens: ImageTokens, *, images: int = 1) -> int | None:
    """Bytes that so many images hold in the KV cache in 16 bit; None where the language model's shape is unknown."""
    if model.language is None:
        return None
    text, image = tokens.marker_tokens * images, tokens.image_tokens * images
    crossed = image if crosses(model.language) else 0
    held = kv_bytes_per_sequence(model.language, text + image - crossed, cross_tokens=crossed)
    return int(held - kv_bytes_per_sequence(model.language, 0))


def select_models(
    catalog: Catalog,
    *,
    families: Sequence[str] = (),
    maximum_parameters_billions: float | None = None,
    license: str = "any",
    verified: bool = False,
) -> tuple[ModelSpec, ...]:
    """The catalog's models that meet every condition, by id; raises UnknownName for a family or policy that is none."""
    wanted = known_spellings("family", families, names.families(catalog))
    (policy,) = known_spellings("licence policy", [license], {each.value for each in LicensePolicy})
    return tuple(
        model
        for model in catalog.models
        if (not wanted or model.family in wanted)
        and (maximum_parameters_billions is None or model.parameters.total_billions <= maximum_parameters_billions)
        and license_breach(model.license, LicensePolicy(policy)) is None
        and (model.verified or not verified)
    )


def select_offers(
    catalog: Catalog,
    *,
    gpus: Sequence[str] = (),
    providers: Sequence[str] = (),
    regions: Sequence[str] = (),
    kinds: Sequence[str] = (),
    maximum_usd_per_hour: float | None = None,
) -> tuple[Offer, ...]:
    """The catalog's offers that meet every condition, the cheapest per GPU first.

    Raises UnknownName for a GPU, provider, region or kind that no offer has.
    """
    wanted_gpus = {find_gpu(name, catalog=catalog).id for name in gpus}
    wanted_providers = known_spellings("provider", providers, {offer.provider for offer in catalog.offers})
    wanted_regions = {name.lower() for name in known_spellings("region", regions, offer_regions(catalog))}
    wanted_kinds = known_spellings("kind of offer", kinds, {kind.value for kind in OfferKind})
    return tuple(
        offer
        for offer in catalog.offers
        if (not wanted_gpus or offer.gpu in wanted_gpus)
        and (not wanted_providers or offer.provider in wanted_providers)
        and (not wanted_regions or offer.covers(wanted_regions))
        and (not wanted_kinds or offer.kind.value in wanted_kinds)
        and (maximum_usd_per_hour is None or offer.usd_per_hour <= maximum_usd_per_hour)
    )


def offer_regions(catalog: Catalog) -> set[str]:
    """Every region that an offer stands in, by all its names."""
    return {name for offer in catalog.offers for name in offer.regions}


def known_spellings(kind: str, asked: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """The known spelling of each name that was asked for, case, dots and dashes aside; raises UnknownName."""
    by_spelling = {names.normalized(name): name for name in sorted(known)}
    found: dict[str, None] = {}
    for name in asked:
        key = names.normalized(name)
        if key not in by_spelling:
            from difflib import get_close_matches

            close = [by_spelling[match] for match in get_close_matches(key, by_spelling, n=4)]
            raise UnknownName(kind, name, close, remedy="" if close else f"Known: {', '.join(sorted(known))}.")
        found[by_spelling[key]] = None
    return tuple(found)


def check_catalog(folder: str | Path | None = None) -> list[Finding]:
    """Every mistake in the catalog, with `folder` laid over it if given: file, line, problem, remedy."""
    from vlmctl.catalog.check import check

    return check([Path(folder)] if folder is not None else [])


def refresh_prices(providers: Sequence[str] = ()) -> Refreshed:
    """Bring today's offers into the user's data folder, of all providers that publish a list where none is named.

    Raises UsageError without the `catalog` extra, UnknownName, NotReachable and CannotWrite.
    """
    from vlmctl.catalog.refresh import refresh_prices as refresh

    return refresh(load_catalog(), providers=providers, today=datetime.now(UTC).date())
