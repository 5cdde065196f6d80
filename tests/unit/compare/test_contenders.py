"""Who is compared, from the command line: name, address, price, model and what boxes mean."""

from __future__ import annotations

import pytest

from vlmctl import library
from vlmctl.bench.endpoint import Endpoint
from vlmctl.compare.contenders import (
    Contender,
    LocalModel,
    Price,
    finder,
    parse_contender,
    parse_price,
    with_headers,
    with_model,
)
from vlmctl.errors import InvalidValue, UnknownName
from vlmctl.specs.model import GroundingConvention, ModelSpec


def find(name: str) -> ModelSpec | None:
    try:
        return library.find_model(name)
    except UnknownName:
        return None


def test_all_that_can_be_said_of_an_endpoint() -> None:
    """The key comes from the environment, the model's token rule and boxes from the catalog."""
    found = parse_contender(
        "big=http://host:8000/v1,model=qwen2.5-vl-7b,price=1.5/h,key=THE_KEY", find, {"THE_KEY": "secret"}
    )
    assert found.name == "big"
    assert found.endpoint is not None
    assert (found.endpoint.url, found.endpoint.model) == ("http://host:8000/v1", "qwen2.5-vl-7b")
    assert found.endpoint.api_key == "secret"
    assert "secret" not in repr(found)
    assert found.price == Price(usd_per_hour=1.5)
    assert found.frame is not None
    assert found.frame.convention is GroundingConvention.RESIZED_PIXELS
    assert found.frame.rule is not None


def test_boxes_override_the_catalog() -> None:
    """A named convention is taken as it is, with or without a known model."""
    found = parse_contender("a=http://h,catalog=qwen2.5-vl-7b,boxes=relative-1000", find)
    assert found.frame is not None
    assert found.frame.convention is GroundingConvention.RELATIVE_1000
    assert parse_contender("a=http://h", find).frame is None


def test_what_a_server_serves_is_looked_up() -> None:
    """A name learnt from the server tells what boxes mean, unless something was said already."""
    plain = Contender(name="a")
    spec = find("Qwen/Qwen2.5-VL-7B-Instruct")
    assert with_model(plain, spec).catalog_id == "qwen2.5-vl-7b"
    assert with_model(plain, None) == plain
    said = parse_contender("a=http://h,boxes=relative-999", find)
    assert with_model(said, spec).frame == said.frame


@pytest.mark.parametrize(
    "text",
    [
        "http://host",
        "=http://host",
        "a=host:8000",
        "a=http://h,colour=red",
        "a=http://h,model=",
        "a=http://h,model=x,model=y",
        "a=http://h,price=cheap",
        "a=http://h,boxes=nowhere",
        "a=http://h,catalog=no-such-model",
        "a=http://h,key=NOT_SET",
    ],
)
def test_mistakes_are_refused(text: str) -> None:
    """Each is an InvalidValue that says what to write."""
    with pytest.raises(InvalidValue):
        parse_contender(text, find, {})


@pytest.mark.parametrize(
    "text",
    [
        "a=ftp://bob:s3cret@h",
        "a=bob:s3cret@h",
        "http://bob:s3cret@h",
        "a=http://bob:x,s3cret@h",
        "a=http://h,key=s3cret",
        "a=http://h,key=THE_KEY,key=s3cret",
        "a=http://h,token=s3cret",
        "a=http://h,s3cret",
        "a=http://bob:s3cret@h,key=THE_KEY",
    ],
)
def test_no_mistake_repeats_a_secret(text: str) -> None:
    """Passwords of addresses and keys that were pasted are in no error."""
    with pytest.raises(InvalidValue) as refused:
        parse_contender(text, find, {"THE_KEY": "x"})
    assert "s3cret" not in str(refused.value)


def test_a_finder_knows_the_catalog_and_nothing_else() -> None:
    """Any usual spelling of a model's name; None for what most servers call theirs."""
    known = finder()
    assert getattr(known("Qwen/Qwen2.5-VL-7B-Instruct"), "id", None) == "qwen2.5-vl-7b"
    assert known("my-finetune-3") is None


def test_headers_go_to_all_endpoints_or_to_one() -> None:
    """One endpoint's own come on top of everyone's; a model that is served here gets none."""
    contenders = [
        Contender(name="a", endpoint=Endpoint(url="http://a")),
        Contender(name="b:c", endpoint=Endpoint(url="http://b")),
        Contender(name="here", local=LocalModel(checkpoint="m")),
    ]
    found = with_headers(contenders, ["X-Team=blue", "b:c:X-Key=x:y=z", "a:X-Team=red"])
    assert [each.endpoint.headers for each in found if each.endpoint is not None] == [
        {"X-Team": "red"},
        {"X-Team": "blue", "X-Key": "x:y=z"},
    ]
    assert found[2] == contenders[2]
    assert "blue" not in repr(found)
    with pytest.raises(UnknownName, match="There are a, b:c"):
        with_headers(contenders, ["nobody:X-Key=secret"])
    with pytest.raises(InvalidValue, match="NAME=VALUE"):
        with_headers(contenders, ["secret"])


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("1.20/h", Price(usd_per_hour=1.2)),
        ("1.20", Price(usd_per_hour=1.2)),
        ("$1.20/h", Price(usd_per_hour=1.2)),
        ("$0.10:$0.40", Price(usd_per_million_input=0.1, usd_per_million_output=0.4)),
        ("0.10:0.40", Price(usd_per_million_input=0.1, usd_per_million_output=0.4)),
    ],
)
def test_prices(text: str, price: Price) -> None:
    """By the hour, or by the million tokens in and out."""
    assert parse_price(text) == price


@pytest.mark.parametrize("text", ["-1/h", "nan", "inf/h", "1:2:3", "1:2/h", ""])
def test_no_prices(text: str) -> None:
    """What is negative, endless or no number is no price."""
    with pytest.raises(InvalidValue):
        parse_price(text)


def test_dollars_of_a_request() -> None:
    """A million tokens cost the price; an hour costs the price; tokens nobody counted cost nobody knows what."""
    tokens = Price(usd_per_million_input=0.1, usd_per_million_output=0.4)
    assert tokens.usd_of_tokens(1_000_000, 500_000) == pytest.approx(0.3)
    assert tokens.usd_of_tokens(None, 5) is None
    assert tokens.usd_of_seconds(10) is None
    assert Price(usd_per_hour=3.6).usd_of_seconds(10) == pytest.approx(0.01)
