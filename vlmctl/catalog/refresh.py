"""Today's offers through gpuhunt, into the user's data folder. The shipped prices are never touched."""

from __future__ import annotations

import datetime
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from vlmctl.catalog.folders import Source
from vlmctl.catalog.names import identity, resolve_gpu
from vlmctl.errors import CannotWrite, NotReachable, UnknownName, UsageError
from vlmctl.files import user_data_folder, write_atomically
from vlmctl.specs.hardware import Catalog, GpuSpec, Offer, OfferKind

EXTRA = "pip install 'vlmctl[catalog]'"
FILE = Path("catalog", "prices", "refreshed.yaml")
TIMEOUT_SECONDS = 30.0
# Providers whose price lists gpuhunt publishes; the others need an account, or are markets of single machines.
PROVIDERS = ("aws", "azure", "cloudrift", "gcp", "lambdalabs", "nebius", "oci", "runpod", "verda")
OUR_NAMES = {"lambdalabs": "lambda"}
# Conditions of offers that are none for us; those of reservations, clusters and previews are left out.
ACCEPTED_FLAGS = frozenset({"gcp-a4", "gcp-g4", "lambda-arm", "oci-spot"})
# Parts of a GPU are sold too (AWS g6f): a memory this far from the whole card's is another thing.
MEMORY_TOLERANCE = 0.15
_HEADER = "# Written by `vlmctl prices refresh`; it will be written over. Your own prices belong into another file.\n"


class Listed(Protocol):
    """What is read of an item of gpuhunt's catalog."""

    provider: str
    instance_name: str
    location: str
    price: float
    gpu_count: int
    gpu_name: str | None
    gpu_memory: float | None
    spot: bool


class Refreshed(NamedTuple):
    """What came of a refresh. `unknown_gpus`: listed ones that the catalog does not hold, left out."""

    path: Path
    offers: tuple[Offer, ...]
    unknown_gpus: tuple[str, ...]


def ask_gpuhunt(providers: Sequence[str]) -> Iterable[Listed]:
    """Everything that the providers list with a GPU.

    Raises UsageError without the `catalog` extra or for a provider that gpuhunt does not know, NotReachable where no
    list can be had. Honours gpuhunt's GPUHUNT_CATALOG_DIR and GPUHUNT_CATALOG_URL.
    """
    try:
        import gpuhunt
    except ImportError as error:
        raise UsageError("refreshing prices needs gpuhunt.", remedy=f"Run: {EXTRA}") from error
    logging.getLogger("gpuhunt").addHandler(logging.NullHandler())  # it logs tracebacks of what it then raises
    logging.getLogger("gpuhunt").propagate = False
    earlier = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        found = gpuhunt.Catalog(balance_resources=False, auto_reload=False)
        if "GPUHUNT_CATALOG_DIR" not in os.environ:
            found.load()
        items: Iterable[Listed] = found.query(provider=list(providers), min_gpu_count=1, allowed_flags=ACCEPTED_FLAGS)
        return items
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__.startswith("gpuhunt"):
            cause = error.__cause__ or error
            problem = f"no price list could be had: {str(cause).splitlines()[0].rstrip('.')}."
            raise NotReachable(problem, remedy="The shipped prices are still there.") from error
        raise
    finally:
        socket.setdefaulttimeout(earlier)


def refresh_prices(
    catalog: Catalog,
    *,
    providers: Sequence[str] = (),
    today: datetime.date,
    ask: Callable[[Sequence[str]], Iterable[Listed]] = ask_gpuhunt,
) -> Refreshed:
    """Write today's offers of some providers (none named: all of PROVIDERS) for the GPUs of the catalog.

    Offers that an earlier refresh brought from other providers stay. Raises as `ask_gpuhunt` does, NotReachable where
    nothing usable is listed, and CannotWrite.
    """
    home = user_data_folder()
    if home is None:
        raise CannotWrite("there is no home folder to keep prices in.", remedy="Set XDG_DATA_HOME.")
    asked = _asked(providers)
    offers, unknown = _offers(catalog, ask(asked), today)
    if not offers:
        raise NotReachable(f"{', '.join(asked)}: nothing is listed that the catalog's GPUs match.")
    path = home / FILE
    renewed = {OUR_NAMES.get(name, name) for name in asked}
    kept = [offer for offer in _earlier(path) if offer.provider not in renewed]
    everything = tuple(sorted([*kept, *offers], key=identity))
    lines = "".join(f"- {msgspec.json.encode(offer).decode()}\n" for offer in everything)
    write_atomically(path, f"{_HEADER}offers:\n{lines}".encode(), make_folders=True)
    return Refreshed(path, tuple(offers), unknown)


def _asked(providers: Sequence[str]) -> tuple[str, ...]:
    theirs = {ours: name for name, ours in OUR_NAMES.items()}
    asked = tuple(dict.fromkeys(theirs.get(name.lower(), name.lower()) for name in providers)) or PROVIDERS
    for name in asked:
        if name not in PROVIDERS:
            raise UnknownName("provider", name, remedy=f"Price lists are published for {', '.join(PROVIDERS)}.")
    return asked


def _offers(catalog: Catalog, items: Iterable[Listed], today: datetime.date) -> tuple[list[Offer], tuple[str, ...]]:
    found: dict[tuple[str, ...], Offer] = {}
    unknown: set[str] = set()
    for item in items:
        if not item.gpu_name or item.gpu_count < 1 or not 0 < item.price < float("inf"):
            continue
        gpu = _gpu(catalog, item)
        if gpu is None:
            unknown.add(item.gpu_name)
            continue
        offer = Offer(
            provider=OUR_NAMES.get(item.provider, item.provider),
            region=_region(item),
            instance_type=item.instance_name,
            gpu=gpu.id,
            gpu_count=item.gpu_count,
            kind=OfferKind.SPOT if item.spot else OfferKind.ON_DEMAND,
            usd_per_hour=round(item.price, 6),
            as_of=today.isoformat(),
            source=f"gpuhunt ({item.provider} price list)",
        )
        cheapest = found.get(identity(offer))
        if cheapest is None or offer.usd_per_hour < cheapest.usd_per_hour:
            found[identity(offer)] = offer
    return list(found.values()), tuple(sorted(unknown))


def _gpu(catalog: Catalog, item: Listed) -> GpuSpec | None:
    for name in _names(item):
        try:
            gpu = resolve_gpu(catalog, name)
        except UnknownName:
            continue
        memory = item.gpu_memory or gpu.memory_gib_nominal
        if abs(memory - gpu.memory_gib_nominal) <= MEMORY_TOLERANCE * gpu.memory_gib_nominal:
            return gpu
    return None


def _names(item: Listed) -> Iterator[str]:
    """What the GPU may be called here, the most particular first. gpuhunt's names leave out the form of the card."""
    name, memory = item.gpu_name or "", f"{item.gpu_memory or 0:.0f}GB"
    if "pcie" in item.instance_name.lower():
        yield f"{name}-{memory}-PCIe"
        yield f"{name}-PCIe"
    yield f"{name}-{memory}"
    yield name


def _region(item: Listed) -> str:
    """The region of a location. Google's list names zones, which share their region's price."""
    return item.location.rpartition("-")[0] if item.provider == "gcp" else item.location


def _earlier(path: Path) -> list[Offer]:
    """Offers of an earlier refresh; none where the file is not there or was damaged, since it will be replaced."""
    from vlmctl.catalog.entries import parse_source

    try:
        content = path.read_bytes()
    except OSError:
        return []
    entries, _ = parse_source(path.parent, Source(path.name, "offers", content))
    return [entry.record for entry in entries if isinstance(entry.record, Offer)]
