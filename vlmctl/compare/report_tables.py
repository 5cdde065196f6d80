"""Tables of the page: on a wide screen as tables, on a narrow one each row as a card with its columns named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from vlmctl.compare.significance import Interval
from vlmctl.units import show_seconds, show_usd

NONE = "–"
Row = Sequence[str]


def table(heads: Sequence[str], rows: Iterable[Row], *, name: str, text: Sequence[str] = (), note: str = "") -> str:
    """Rows of cells that are already HTML. The head of a row is its first cell of the columns `text`, which align left.

    Roles are spelled out, since cards would otherwise lose them in some browsers. `name`: the id of the heading.
    """
    head = "".join(f'<th role="columnheader" scope="col"{_side(each, text)}>{escape(each)}</th>' for each in heads)
    titled = next((at for at, each in enumerate(heads) if each in text), 0)
    body = "\n".join(
        '<tr role="row">'
        + "".join(_cell(heads[at], cell, text, is_head=at == titled) for at, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    said = f'<p class="soft">{note}</p>' if note else ""
    return (
        f'{said}<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}"><table role="table">'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">\n{body}\n</tbody>'
        "</table></div>"
    )


def section(name: str, title: str, content: str) -> str:
    """A part of the page under its own heading."""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{content}</section>'


def quality(interval: Interval | None, *, whole: int | None = None) -> str:
    """A mean with its interval, as figures and as a small bar; `whole`: all cases, told where some are missing."""
    if interval is None:
        return NONE
    low, width = interval.low * 100, (interval.high - interval.low) * 100
    fewer = f", {interval.cases} of {whole} cases" if whole is not None and interval.cases < whole else ""
    return (
        f'{interval.mean:.1%}<span class="small">{interval.low:.1%} to {interval.high:.1%}{fewer}</span>'
        f'<span class="meter" aria-hidden="true"><i style="left:{low:.1f}%;width:{width:.1f}%"></i>'
        f'<b style="left:{min(interval.mean * 100, 98.5):.1f}%"></b></span>'
    )


def small(text: str) -> str:
    """Text below the main one of a cell."""
    return f'<span class="small">{escape(text)}</span>' if text else ""


def _or_dash(show: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: NONE if value is None else show(value)


seconds, usd, count = _or_dash(show_seconds), _or_dash(show_usd), _or_dash("{:,.0f}".format)


def _cell(head: str, cell: str, text: Sequence[str], *, is_head: bool) -> str:
    label = f' data-label="{escape(head)}"'
    if is_head:
        return f'<th role="rowheader" scope="row"{_side(head, text)}{label}>{cell}</th>'
    return f'<td role="cell"{_side(head, text)}{label}><div>{cell}</div></td>'


def _side(head: str, text: Sequence[str]) -> str:
    return ' class="text"' if head in text else ""
