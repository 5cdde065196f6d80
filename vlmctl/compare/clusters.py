"""Which cases are no independent word on a model: those that show it the same image."""

from __future__ import annotations

from collections.abc import Iterable

from vlmctl.compare.results import AskedCase


def clusters_of(cases: Iterable[AskedCase]) -> dict[str, int]:
    """The cluster of each case, by its id: cases that share an image, directly or through others, are in one."""
    cluster_of_image: dict[str, int] = {}
    members: list[list[str]] = []
    images: list[set[str]] = []
    for case in cases:
        own = {image.sha256 for image in case.images}
        met = sorted({cluster_of_image[image] for image in own if image in cluster_of_image})
        into = met[0] if met else len(members)
        if not met:
            members.append([])
            images.append(set())
        for other in met[1:]:
            members[into] += members[other]
            images[into] |= images[other]
            members[other], images[other] = [], set()
        members[into].append(case.id)
        images[into] |= own
        cluster_of_image.update(dict.fromkeys(images[into] if met[1:] else own, into))
    return {case: number for number, each in enumerate(members) for case in each}
