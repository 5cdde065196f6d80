"""Images of cases from wherever they are: read as they are, and no password of an address in what is kept or told."""

from __future__ import annotations

import base64
from io import BytesIO

import pytest
from PIL import Image

from vlmctl.compare.pictures import facts, load_image
from vlmctl.errors import InvalidFile, NotReachable

DATA_URL = "data:image/png;base64,"


def _png() -> bytes:
    stream = BytesIO()
    Image.new("RGB", (8, 6)).save(stream, "PNG")
    return stream.getvalue()


PNG = _png()


def test_an_image_in_a_data_url_is_read_as_it_is() -> None:
    """The same bytes, with their size; what is no image is refused by its source."""
    found = load_image(DATA_URL + base64.b64encode(PNG).decode())
    assert (found.data, found.width_pixels, found.height_pixels) == (PNG, 8, 6)
    with pytest.raises(InvalidFile, match=r"data:image/png;base64,AAAA.*no image"):
        load_image(DATA_URL + "AAAA")


def test_a_password_in_the_address_of_an_image_is_not_shown() -> None:
    """Neither in the error nor in the results."""
    url = "http://bob:s3cret@127.0.0.1:9/receipt.png"
    with pytest.raises(NotReachable, match=r"http://127\.0\.0\.1:9/receipt\.png") as refused:
        load_image(url)
    assert "s3cret" not in str(refused.value)
    image = load_image(DATA_URL + base64.b64encode(PNG).decode())
    assert facts(url, image).source == "http://127.0.0.1:9/receipt.png"
