"""The images of a set of cases: each looked at once, files read again when they are asked about."""

from __future__ import annotations

from collections.abc import Sequence

from vlmctl.bench.images import EncodedImage
from vlmctl.compare.cases import Case
from vlmctl.compare.judging import expected_text, prompt_of
from vlmctl.compare.pictures import WEB_STARTS, facts, load_image, thumbnail_url
from vlmctl.compare.results import AskedCase


class Album:
    """Cases with what is known of their images. What came over the network is kept: it may not be the same again."""

    def __init__(self, cases: Sequence[Case]) -> None:
        """Look at every image; raises InvalidFile and NotReachable for those that cannot be had."""
        self.cases = tuple(cases)
        self._fetched: dict[str, EncodedImage] = {}
        self.asked = tuple(self._asked(case) for case in self.cases)

    def images(self, at: int) -> tuple[EncodedImage, ...]:
        """The images of the case at that position."""
        return tuple(self._image(source) for source in self.cases[at].images)

    def thumbnails(self, side_pixels: int) -> dict[str, str]:
        """Data URLs of all images with their longer side at most `side_pixels`, by the sha256 of the originals."""
        found: dict[str, str] = {}
        for at, case in enumerate(self.asked):
            for index, image in enumerate(case.images):
                if image.sha256 not in found:
                    found[image.sha256] = thumbnail_url(self._image(self.cases[at].images[index]), side_pixels)
        return found

    def _image(self, source: str) -> EncodedImage:
        if source in self._fetched:
            return self._fetched[source]
        image = load_image(source)
        if source.startswith(WEB_STARTS):
            self._fetched[source] = image
        return image

    def _asked(self, case: Case) -> AskedCase:
        return AskedCase(
            id=case.id,
            category=case.category,
            prompt=prompt_of(case),
            expected=expected_text(case),
            metric=case.metric.value,
            images=tuple(facts(source, self._image(source)) for source in case.images),
        )
