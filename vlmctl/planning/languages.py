"""Whether a model reads or speaks a language, by what its makers list."""

from __future__ import annotations

from enum import StrEnum

from vlmctl.specs.model import ModelSpec
from vlmctl.specs.workload import Requirements, Task

# Tasks whose language is that of the text in the image.
READING_TASKS = frozenset({Task.DOCUMENT_OCR, Task.CHART, Task.TRANSCRIPTION, Task.MULTILINGUAL})


class Match(StrEnum):
    """Whether a model covers something: known, not known, or known not to."""

    YES = "yes"
    UNKNOWN = "unknown"
    NO = "no"


def language_match(model: ModelSpec, language: str, *, in_image: bool) -> Match:
    """Whether a source lists the language (BCP-47; a region falls back to its base language).

    A list that its source calls complete, or that is as long as the claimed count, excludes what it leaves out;
    a bare count proves nothing either way.
    """
    known = model.languages
    if known is None:
        return Match.UNKNOWN
    listed = known.ocr if in_image else tuple({*known.text, *known.ocr})
    claimed = known.ocr_claimed_count if in_image else known.text_claimed_count
    wanted = language.lower()
    tags = {tag.lower() for tag in listed}
    if wanted in tags or wanted.split("-")[0] in {tag.split("-")[0] for tag in tags}:
        return Match.YES
    if not listed or known.open_ended or (claimed or 0) > len(listed):
        return Match.UNKNOWN
    return Match.NO


def reads_text(requirements: Requirements) -> bool:
    """Whether the asked languages are those of text in images."""
    return any(task in READING_TASKS for task in requirements.tasks)
