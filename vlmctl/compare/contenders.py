"""Who is compared: an endpoint or a model to serve here, its price, and what its boxes mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

from msgspec.structs import replace

from vlmctl.bench.endpoint import Endpoint, key_from, parse_headers, shown_address
from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.names import resolve_model
from vlmctl.compare.boxes import Frame
from vlmctl.errors import InvalidValue, UnknownName
from vlmctl.specs.hardware import Catalog
from vlmctl.specs.model import GroundingConvention, ModelSpec
from vlmctl.specs.record import Record
from vlmctl.units import SECONDS_PER_HOUR, parse_usd, parse_usd_per_hour

TOKENS_PER_PRICE = 1_000_000  # hosted models are priced per million tokens
FIELDS = ("model", "price", "catalog", "boxes", "key")
_EXAMPLE = (
    "Write NAME=URL, such as small=http://localhost:8000, and after commas model=, price=, catalog=, boxes=, key=."
)
_PRICE_EXAMPLE = "Write dollars per hour of the server, 1.20/h, or per million tokens in and out, 0.10:0.40."

FindModel = Callable[[str], ModelSpec | None]


class Price(Record, frozen=True, kw_only=True):
    """What a server costs: by the hour, or by the million tokens in and out."""

    usd_per_hour: float | None = None
    usd_per_million_input: float | None = None
    usd_per_million_output: float | None = None

    def usd_of_tokens(self, prompt_tokens: int | None, output_tokens: int | None) -> float | None:
        """Dollars of one request; None where it is priced by the hour or the server did not count its tokens."""
        if self.usd_per_million_input is None or self.usd_per_million_output is None:
            return None
        if prompt_tokens is None or output_tokens is None:
            return None
        usd = prompt_tokens * self.usd_per_million_input + output_tokens * self.usd_per_million_output
        return usd / TOKENS_PER_PRICE

    def usd_of_seconds(self, server_seconds: float) -> float | None:
        """Dollars of so many seconds of the whole server; None where it is priced by tokens."""
        return None if self.usd_per_hour is None else self.usd_per_hour * server_seconds / SECONDS_PER_HOUR


class LocalModel(Record, frozen=True, kw_only=True):
    """A model that `vllm serve` is to serve here: a repository or folder, and further arguments."""

    checkpoint: str
    arguments: tuple[str, ...] = ()


class Contender(Record, frozen=True, kw_only=True):
    """One side of a comparison, at an `endpoint` or served as `local`. `frame`: None where its boxes are unknown."""

    name: str
    endpoint: Endpoint | None = None
    local: LocalModel | None = None
    price: Price | None = None
    catalog_id: str | None = None
    frame: Frame | None = None


def parse_contender(text: str, find_model: FindModel, environment: Mapping[str, str] = os.environ) -> Contender:
    """A contender from ``NAME=URL[,model=…,price=…,catalog=…,boxes=…,key=…]``; raises InvalidValue.

    `model`: the name it is served by, where there are several. `price`: see `parse_price`. `catalog`: the catalog's id
    for it, else `model` is looked up there; it tells what boxes mean unless `boxes` names a convention. `key`: the
    environment variable with its API key.
    """
    first, *rest = text.split(",")
    name, equals, url = (part.strip() for part in first.partition("="))
    if not (equals and name and url.startswith(("http://", "https://"))):
        raise InvalidValue(f"--endpoint {shown_address(first)!r} is no name and URL.", remedy=_EXAMPLE)
    said: dict[str, str] = {}
    for part in rest:
        key, equals, value = (each.strip() for each in part.partition("="))
        if key not in FIELDS or not value or key in said:
            # The value may be a key that was pasted, and what has no name the end of a password with a comma.
            problem = f"{key!r} twice, unknown or without a value" if key.isalpha() and equals else "a part without ="
            raise InvalidValue(f"--endpoint {name} has {problem}.", remedy=_EXAMPLE)
        said[key] = value
    endpoint = Endpoint(url=url, model=said.get("model"), api_key=key_from(said.get("key"), environment))
    price = parse_price(said["price"]) if "price" in said else None
    contender = Contender(name=name, endpoint=endpoint, price=price)
    return described(contender, find_model, catalog=said.get("catalog"), boxes=said.get("boxes"))


def described(
    contender: Contender, find_model: FindModel, *, catalog: str | None = None, boxes: str | None = None
) -> Contender:
    """The contender with its model as `catalog` names it, else as it is served; it tells what boxes mean.

    `boxes`: their convention, where the catalog's is not meant. Raises InvalidValue for a name that is none.
    """
    served = contender.endpoint.model if contender.endpoint is not None else None
    name = catalog or served
    spec = find_model(name) if name is not None else None
    if catalog is not None and spec is None:
        raise InvalidValue(f"the catalog holds no {catalog!r}.", remedy="See `vlmctl models`.")
    return replace(contender, catalog_id=spec.id if spec else None, frame=_frame(boxes, spec))


def finder(catalog: Catalog | None = None) -> FindModel:
    """The catalog's model behind a name, or None: most served names are in no catalog.

    Without a catalog it is that of `vlmctl models`, loaded when the first name is looked up; errors as load_catalog.
    """
    known = cache(lambda: catalog if catalog is not None else load_catalog([]))

    def find(name: str) -> ModelSpec | None:
        try:
            return resolve_model(known(), name)
        except UnknownName:
            return None

    return find


def with_headers(contenders: Sequence[Contender], texts: Iterable[str]) -> list[Contender]:
    """The contenders with headers from ``[CONTENDER:]NAME=VALUE``: for all that are at an endpoint, or for one of them.

    Raises InvalidValue for what is no header, UnknownName for a contender that there is not.
    """
    at_endpoints = [each.name for each in contenders if each.endpoint is not None]
    headers: dict[str, dict[str, str]] = {name: {} for name in at_endpoints}
    for text in texts:
        whose, colon, name = text.partition("=")[0].rpartition(":")
        if colon and whose not in headers:
            raise UnknownName("endpoint of a --header", whose, remedy=f"There are {', '.join(at_endpoints) or 'none'}.")
        given = parse_headers([f"{name}={text.partition('=')[2]}" if colon else text])
        for each in [whose] if colon else at_endpoints:
            headers[each] |= given
    return [
        each
        if each.endpoint is None
        else replace(each, endpoint=replace(each.endpoint, headers={**each.endpoint.headers, **headers[each.name]}))
        for each in contenders
    ]


def parse_price(text: str) -> Price:
    """``1.20/h``: dollars per hour of the whole server; ``0.10:0.40``: per million tokens in, out; or InvalidValue."""
    given, colon, back = text.partition(":")
    try:
        if not colon:
            return Price(usd_per_hour=parse_usd_per_hour(text))
        return Price(usd_per_million_input=parse_usd(given), usd_per_million_output=parse_usd(back))
    except InvalidValue as error:
        raise InvalidValue(f"{text!r} is no price.", remedy=_PRICE_EXAMPLE) from error


def with_model(contender: Contender, spec: ModelSpec | None) -> Contender:
    """The contender with what the catalog knows of the model it serves, where nothing was said of its boxes."""
    if spec is None or contender.catalog_id is not None:
        return contender
    return replace(contender, catalog_id=spec.id, frame=contender.frame or _frame(None, spec))


def _frame(boxes: str | None, spec: ModelSpec | None) -> Frame | None:
    """What boxes mean: as was said, else as the catalog has it."""
    rule = spec.image_tokens.rule if spec is not None and spec.image_tokens is not None else None
    if boxes is not None:
        if boxes not in {each.value for each in GroundingConvention}:
            known = ", ".join(each.value for each in GroundingConvention)
            raise InvalidValue(f"boxes={boxes} is no convention.", remedy=f"Known: {known}.")
        return Frame(convention=GroundingConvention(boxes), rule=rule)
    if spec is None or spec.grounding is None:
        return None
    return Frame(convention=spec.grounding.convention, rule=rule)
