"""Addresses and keys: what is sent of them, and that nothing secret in them is ever shown."""

from __future__ import annotations

import base64

import pytest
from msgspec.structs import replace

from vlmctl.bench.endpoint import Endpoint, key_from
from vlmctl.errors import InvalidValue


@pytest.mark.parametrize(
    ("written", "root", "basic"),
    [
        ("http://bob:s3cret@h:8000/v1", "http://h:8000", "bob:s3cret"),
        ("bob:s3cret@h", "http://h", "bob:s3cret"),
        ("https://bob@h", "https://h", "bob"),
        ("http://bob:s3cr%40t@h", "http://h", "bob:s3cr@t"),
    ],
)
def test_a_password_in_the_address_goes_into_a_header(written: str, root: str, basic: str) -> None:
    """As basic authentication (RFC 7617), and it is in neither the address nor what is shown of the endpoint."""
    found = Endpoint(url=written)
    assert found.root == root
    assert found.headers == {"Authorization": "Basic " + base64.b64encode(basic.encode()).decode()}
    assert "@" not in found.url + repr(found) + repr(found.__rich_repr__())
    assert replace(found, model="m").headers == found.headers


def test_an_authorization_that_is_given_stands() -> None:
    """It wins over the address; a key and a password in the address are one too many."""
    assert Endpoint(url="http://bob:s3cret@h", headers={"authorization": "x"}).headers == {"authorization": "x"}
    with pytest.raises(InvalidValue, match="holds a password") as refused:
        Endpoint(url="http://bob:s3cret@h", api_key="sk-12345")
    assert "s3cret" not in str(refused.value)
    assert "sk-12345" not in str(refused.value)


@pytest.mark.parametrize("written", ["ftp://bob:s3cret@h", "http://bob:s3/cret@h", "http://bob:s3cret@h:99999"])
def test_what_is_no_address_is_told_without_its_password(written: str) -> None:
    """A slash in a password ends the host's part: what is refused for it is not repeated."""
    with pytest.raises(InvalidValue, match="is not an address") as refused:
        _ = Endpoint(url=written).root
    assert "s3" not in str(refused.value)
    assert "cret" not in str(refused.value)


def test_no_secret_is_in_what_rich_shows() -> None:
    """The key and the headers are no part of it, as they are none of repr."""
    found = Endpoint(url="http://h", model="m", api_key="sk-12345", headers={"X-Key": "hidden"})
    assert found.__rich_repr__() == [("url", "http://h"), ("model", "m")]


@pytest.mark.parametrize("pasted", ["sk-12345", "hf_abcDEF", "AKIA1234567890", "0123456789abcdef"])
def test_a_key_that_is_pasted_for_its_variable_is_not_repeated(pasted: str) -> None:
    """The error says what to name; a name that is one is in it."""
    with pytest.raises(InvalidValue) as refused:
        key_from(pasted, {})
    assert pasted not in str(refused.value)
    with pytest.raises(InvalidValue, match="environment variable THE_KEY"):
        key_from("THE_KEY", {})


@pytest.mark.parametrize("written", ["http://a..b", f"http://{'x' * 64}.example", "x" * 3000])
def test_a_host_that_no_resolver_takes_is_no_address(written: str) -> None:
    """A label has 1 to 63 characters (RFC 1035, 2.3.4)."""
    with pytest.raises(InvalidValue, match="is not an address"):
        Endpoint(url=written).root  # noqa: B018
