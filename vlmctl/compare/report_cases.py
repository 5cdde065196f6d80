"""Every case on the page: its images, its question, and the answers side by side, the worst ones first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from vlmctl.compare.results import AskedCase, ComparisonResult, Reply
from vlmctl.units import show_seconds

OPEN_AT_FIRST = 3  # cases that are unfolded when the page opens
SHOWN_CHARACTERS = 4_000  # of one answer


def cases_section(result: ComparisonResult, pictures: Mapping[str, str]) -> str:
    """All cases over the images as they are; the page's script filters them, and without it all are there."""
    replies: dict[str, dict[str, list[Reply]]] = {case.id: {} for case in result.cases}
    for facts in result.contenders:
        for reply in result.of(facts.name):
            replies[reply.case].setdefault(facts.name, []).append(reply)
    ordered = sorted(result.cases, key=lambda case: (_badness(replies[case.id]), case.category, case.id))
    shown = [
        _case(case, replies[case.id], pictures, opened=number < OPEN_AT_FIRST) for number, case in enumerate(ordered)
    ]
    categories = "".join(
        f'<option value="{escape(name)}">{escape(name)}</option>'
        for name in sorted({case.category for case in result.cases})
    )
    return (
        '<section aria-labelledby="cases"><h2 id="cases">Every case, wrong answers first</h2>'
        '<form class="filters" onsubmit="return false">'
        f'<label>Category <select id="category"><option value="">all</option>{categories}</select></label>'
        '<label>Search <input type="search" id="search" autocomplete="off"></label>'
        '<label class="tick"><input type="checkbox" id="wrong"> only with a wrong answer</label>'
        '<label class="tick"><input type="checkbox" id="differ"> only where models differ</label>'
        f'<span id="shown" role="status" class="soft">{len(shown)} of {len(shown)} shown</span></form>\n'
        + "\n".join(shown)
        + "</section>"
    )


def _case(case: AskedCase, replies: Mapping[str, Sequence[Reply]], pictures: Mapping[str, str], *, opened: bool) -> str:
    means = {name: _mean(own) for name, own in replies.items()}
    known = [score for score in means.values() if score is not None]
    wrong = "yes" if any(score < 1 for score in known) else "no"
    differ = "yes" if known and max(known) - min(known) > 1e-9 else "no"
    chips = "".join(_chip(score, f"{name} ") for name, score in means.items())
    images = "".join(_picture(case, index, pictures) for index in range(len(case.images)))
    answers = "".join(_answer(name, own) for name, own in replies.items())
    return (
        f'<details class="case" data-category="{escape(case.category)}" data-wrong="{wrong}" data-differ="{differ}"'
        f'{" open" if opened else ""}><summary><span class="id">{escape(case.id)}</span>'
        f'<span class="soft">{escape(case.category)}, {escape(case.metric)}</span><span class="chips">{chips}</span>'
        f'</summary><div class="body"><div class="pictures">{images}</div>'
        f'<p class="prompt" dir="auto">{escape(case.prompt)}</p>'
        f'<p><span class="soft">Right:</span> <span class="answer" dir="auto">{escape(case.expected)}</span></p>'
        f'<div class="answers">{answers}</div></div></details>'
    )


def _picture(case: AskedCase, index: int, pictures: Mapping[str, str]) -> str:
    image = case.images[index]
    size = f"{image.width_pixels}×{image.height_pixels}"
    url = pictures.get(image.sha256)
    name = f"Image {index + 1} of case {case.id}"
    if url is None:
        return f'<p class="soft">{escape(name)}, {size}: not in this page ({escape(image.source)}).</p>'
    return (
        f'<figure><img src="{url}" alt="{escape(name)}" width="{image.width_pixels}" height="{image.height_pixels}" '
        'decoding="async">'
        f"<figcaption>{size}</figcaption></figure>"
    )


def _answer(name: str, replies: Sequence[Reply]) -> str:
    """What one model said; further repeats only where they differ."""
    said = dict.fromkeys(_said(reply) for reply in replies)
    texts = "".join(f'<p class="answer" dir="auto">{text}</p>' for text in said)
    first = replies[0]
    notes = list(dict.fromkeys(reply.note for reply in replies if reply.note))
    if first.e2e_seconds is not None:
        notes.append(show_seconds(first.e2e_seconds))
    if first.output_tokens is not None:
        notes.append(f"{first.output_tokens} token{'s' * (first.output_tokens != 1)} out")
    if len(replies) > 1:
        notes.append(f"asked {len(replies)} times")
    return (
        f"<section><h4><span>{escape(name)}</span>{_chip(_mean(replies))}</h4>{texts}"
        f'<span class="small">{escape("; ".join(notes))}</span></section>'
    )


def _said(reply: Reply) -> str:
    if not reply.answered and not reply.text:
        return f'<span class="soft">no answer ({escape(str(reply.failure))})</span>'
    cut = reply.text if len(reply.text) <= SHOWN_CHARACTERS else reply.text[:SHOWN_CHARACTERS] + " …"
    return escape(cut.strip()) or '<span class="soft">an empty answer</span>'


def _chip(score: float | None, name: str = "") -> str:
    """A score that colour, sign and figure tell alike."""
    if score is None:
        return f'<span class="chip none">{escape(name)}? none</span>'
    kind, sign = ("right", "✓") if score >= 1 else ("wrong", "✗") if score <= 0 else ("part", "~")
    return f'<span class="chip {kind}">{escape(name)}{sign} {score:.2f}</span>'


def _mean(replies: Sequence[Reply]) -> float | None:
    scores = [reply.score for reply in replies if reply.score is not None]
    return math.fsum(scores) / len(scores) if scores else None


def _badness(replies: Mapping[str, Sequence[Reply]]) -> float:
    """The mean score over models: cases that most got wrong come first, those without a score last."""
    means = [score for own in replies.values() if (score := _mean(own)) is not None]
    return math.fsum(means) / len(means) if means else 2.0
