"""One request as it is kept while a run lasts: times and counts, without text, in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise

from vlmctl.bench.endpoint import Answer, Failure
from vlmctl.specs.record import Record


class Sample(Record, frozen=True, kw_only=True):
    """Times in monotonic seconds. `gaps`: seconds between pieces of output. `output_tokens`: the server's count, else
    the number of pieces. `text_tokens`: what the text was made to have, the chat template included.
    """

    intended_at: float
    sent_at: float
    finished_at: float
    first_token_at: float | None
    output_tokens: int
    prompt_tokens: int | None
    image_tokens: int | None
    cached_tokens: int | None
    gaps: Sequence[float]
    images: int
    text_tokens: float
    failure: Failure | None = None

    @property
    def ttft_seconds(self) -> float | None:
        """From the intended time to the first output."""
        return None if self.first_token_at is None else self.first_token_at - self.intended_at

    @property
    def e2e_seconds(self) -> float:
        """From the intended time to the last output."""
        return self.finished_at - self.intended_at

    @property
    def tpot_seconds(self) -> float | None:
        """Per output token after the first: (E2E - TTFT) / (n - 1)."""
        if self.first_token_at is None or self.output_tokens < 2:
            return None
        return (self.finished_at - self.first_token_at) / (self.output_tokens - 1)


class CutOff(Record, frozen=True, kw_only=True):
    """A request that was in flight when time was up; `first_token_at` of None: nothing had come."""

    intended_at: float
    first_token_at: float | None


def sample_of(answer: Answer, *, images: int, text_tokens: float) -> Sample:
    """What is kept of an answer."""
    counted = answer.output_tokens if answer.output_tokens is not None else len(answer.token_at)
    return Sample(
        intended_at=answer.intended_at,
        sent_at=answer.sent_at,
        finished_at=answer.finished_at,
        first_token_at=answer.first_token_at,
        output_tokens=counted,
        prompt_tokens=answer.prompt_tokens,
        image_tokens=answer.image_tokens,
        cached_tokens=answer.cached_tokens,
        gaps=array("f", (later - earlier for earlier, later in pairwise(answer.token_at))),
        images=images,
        text_tokens=text_tokens,
        failure=answer.failure,
    )
