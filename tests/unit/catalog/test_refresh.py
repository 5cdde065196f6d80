"""Refreshing prices: what gpuhunt lists becomes offers in the user's data folder, whole or not at all."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from vlmctl.catalog.load import load_catalog
from vlmctl.catalog.refresh import FILE, PROVIDERS, Listed, ask_gpuhunt, refresh_prices
from vlmctl.errors import CannotWrite, NotReachable, UnknownName, UsageError
from vlmctl.specs.hardware import OfferKind

TODAY = datetime.date(2026, 3, 1)


class Item(NamedTuple):
    provider: str = "aws"
    instance_name: str = "g6.xlarge"
    location: str = "us-east-1"
    price: float = 0.75
    gpu_count: int = 1
    gpu_name: str | None = "L4"
    gpu_memory: float | None = 24
    spot: bool = False


class Lists:
    """Stands for gpuhunt: answers with items, and remembers who was asked."""

    def __init__(self, *items: Item) -> None:
        self.items = items
        self.asked: Sequence[str] = ()

    def __call__(self, providers: Sequence[str]) -> Iterable[Listed]:
        self.asked = providers
        return [item for item in self.items if item.provider in providers]  # type: ignore[misc]


def test_offers_are_brought_and_loaded(shipped: Path, tmp_path: Path) -> None:
    """Today's price replaces the shipped one of the same instance, others are added, the shipped files stay."""
    before = {path: path.read_bytes() for path in shipped.rglob("*.yaml")}
    lists = Lists(Item(), Item(spot=True, price=0.3), Item("lambdalabs", "gpu_1x_l4", "us-west-1", 0.6))
    found = refresh_prices(load_catalog(), today=TODAY, ask=lists)
    assert lists.asked == PROVIDERS
    assert found.path == tmp_path / "data" / "vlmctl" / FILE
    offers = load_catalog().offers
    assert len(found.offers) == 3
    assert [(offer.provider, offer.kind, offer.usd_per_hour, offer.as_of) for offer in offers[:3]] == [
        ("aws", OfferKind.SPOT, 0.3, "2026-03-01"),
        ("lambda", OfferKind.ON_DEMAND, 0.6, "2026-03-01"),
        ("aws", OfferKind.ON_DEMAND, 0.75, "2026-03-01"),
    ]
    assert len(offers) == 4
    assert {path: path.read_bytes() for path in shipped.rglob("*.yaml")} == before


def test_only_what_was_asked_for_is_renewed(shipped: Path) -> None:
    """A refresh of one provider keeps what an earlier one brought from the others, and drops its own old offers."""
    first = Lists(Item(), Item(instance_name="old"), Item("runpod", "pod", "any", 0.5))
    refresh_prices(load_catalog(), today=TODAY, ask=first)
    lists = Lists(Item(price=0.9))
    path = refresh_prices(load_catalog(), providers=["AWS"], today=TODAY, ask=lists).path
    assert lists.asked == ("aws",)
    text = path.read_text()
    assert "0.9" in text
    assert "runpod" in text
    assert "old" not in text


def test_zones_share_a_region_and_parts_of_a_gpu_are_left_out(shipped: Path) -> None:
    """Google's zones become one offer at the lowest price; an eighth of an L4 and an unknown card are no offers."""
    lists = Lists(
        Item("gcp", "g2-standard-4", "us-central1-a", 0.71),
        Item("gcp", "g2-standard-4", "us-central1-b", 0.70),
        Item("aws", "g6f.large", gpu_memory=3),
        Item("aws", "p9.large", gpu_name="Z900"),
        Item("aws", "free", price=0.0),
        Item("aws", "cpu", gpu_count=0, gpu_name=None),
    )
    found = refresh_prices(load_catalog(), today=TODAY, ask=lists)
    assert [(offer.region, offer.usd_per_hour) for offer in found.offers] == [("us-central1", 0.70)]
    assert found.unknown_gpus == ("L4", "Z900")


def test_a_refresh_that_brings_nothing_changes_nothing(shipped: Path, tmp_path: Path) -> None:
    """Where nothing usable is listed the earlier refresh stays, and the user is told."""
    path = refresh_prices(load_catalog(), today=TODAY, ask=Lists(Item())).path
    before = path.read_bytes()
    with pytest.raises(NotReachable, match="nothing is listed"):
        refresh_prices(load_catalog(), today=TODAY, ask=Lists())
    assert path.read_bytes() == before


def test_a_damaged_earlier_file_is_replaced(shipped: Path, tmp_path: Path) -> None:
    """What a refresh finds broken in its own file it writes anew."""
    catalog = load_catalog()
    path = tmp_path / "data" / "vlmctl" / FILE
    path.parent.mkdir(parents=True)
    path.write_text("offers: [")
    refresh_prices(catalog, today=TODAY, ask=Lists(Item()))
    assert load_catalog().offers[0].as_of == "2026-03-01"


def test_providers_and_homes_that_are_not_there(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown provider lists the known ones; without a home the remedy is told."""
    with pytest.raises(UnknownName, match="runpod"):
        refresh_prices(load_catalog(), providers=["awz"], today=TODAY, ask=Lists())
    catalog = load_catalog()
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError()))
    with pytest.raises(CannotWrite, match="XDG_DATA_HOME"):
        refresh_prices(catalog, today=TODAY, ask=Lists(Item()))


def test_without_the_extra_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lean install says what to install, in one line."""
    monkeypatch.setitem(sys.modules, "gpuhunt", None)
    with pytest.raises(UsageError, match=r"pip install 'vlmctl\[catalog\]'"):
        ask_gpuhunt(["aws"])


CSV_HEADER = "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor,flags\n"


@pytest.mark.skipif(
    importlib.util.find_spec("gpuhunt") is None, reason="gpuhunt is not installed: pip install 'vlmctl[catalog]'"
)
class TestGpuhunt:
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gpuhunt leaves its file open
    def test_a_folder_of_lists_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The real gpuhunt gives the items that are expected of it; reservations are left out."""
        plain = "g6.xlarge,us-east-1,0.8,4,16,1,L4,24,False,,nvidia,\n"
        reserved = "a3,us-east-1,9,4,16,8,H100,80,False,,nvidia,gcp-dws-calendar-mode\n"
        (tmp_path / "aws.csv").write_text(CSV_HEADER + plain + reserved)
        monkeypatch.setenv("GPUHUNT_CATALOG_DIR", str(tmp_path))
        (item,) = ask_gpuhunt(["aws"])
        assert (item.provider, item.instance_name, item.gpu_name, item.gpu_memory) == ("aws", "g6.xlarge", "L4", 24)

    def test_without_a_network_it_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Where no list can be had the error is one line, and gpuhunt's own tracebacks stay away."""
        monkeypatch.setenv("GPUHUNT_CATALOG_URL", "http://127.0.0.1:9")
        with pytest.raises(NotReachable) as caught:
            ask_gpuhunt(["aws"])
        assert "\n" not in str(caught.value)
        assert capfd.readouterr() == ("", "")
