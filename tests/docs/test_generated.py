"""Generated pages of the documentation: committed as they would be written, and true to their data."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import pages, published_claims
from docs.generate.published_claims import load_claims
from vlmctl.catalog.folders import shipped_folder
from vlmctl.catalog.load import load_folder

PAGES = pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_current(page: Path) -> None:
    """The committed page is what its generator writes."""
    assert page.read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


class TestPublishedClaims:
    def test_ids_are_unique(self) -> None:
        """A claim is answered once."""
        claims = load_claims()
        assert len({claim.id for claim in claims}) == len(claims) > 30

    def test_every_answer_has_evidence(self) -> None:
        """Each answer names where it can be checked, and stands on the page with it."""
        text = published_claims.render()
        for claim in load_claims():
            assert claim.evidence, claim.id
            assert all(source.strip() and source in text for source in claim.evidence), claim.id

    def test_models_are_in_the_catalog(self) -> None:
        """A claim about a model links to an id that the catalog holds."""
        known = {model.id for model in load_folder(shipped_folder()).models}
        missing = {model for claim in load_claims() for model in claim.models} - known
        assert not missing
