"""The kinds of pictures, in the order in which a set takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vlmctl.cases import (
    bar_charts,
    differences,
    forms,
    line_charts,
    menus,
    pie_charts,
    receipts,
    seeing,
    small_print,
    tables,
    views,
)
from vlmctl.cases.fonts import Face
from vlmctl.cases.pictures import Kind
from vlmctl.errors import UnknownName

KINDS: tuple[Kind, ...] = (
    Kind("receipts", receipts.draw, scanned=True),
    Kind("tables", tables.draw),
    Kind("bar-charts", bar_charts.draw),
    Kind("line-charts", line_charts.draw),
    Kind("pie-charts", pie_charts.draw),
    Kind("forms", forms.draw, scanned=True),
    Kind("small-print", small_print.draw),
    Kind("latin", menus.latin, face=Face.ACCENTED),
    Kind("japanese", menus.japanese, face=Face.JAPANESE),
    Kind("arabic", menus.arabic, face=Face.ARABIC),
    Kind("devanagari", menus.devanagari, face=Face.DEVANAGARI),
    Kind("counting", seeing.counting),
    Kind("colours", seeing.colours),
    Kind("spatial", seeing.spatial),
    Kind("absent", seeing.absent),
    Kind("grounding", seeing.grounding),
    Kind("differences", differences.draw),
    Kind("views", views.draw),
)
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


def chosen_kinds(names: Iterable[str]) -> tuple[Kind, ...]:
    """The kinds of these names in their usual order, all without any; raises UnknownName."""
    from vlmctl.catalog.mistakes import nearest

    wanted = set(names)
    for name in sorted(wanted - BY_NAME.keys()):
        remedy = "" if nearest(name, BY_NAME) else f"Known: {', '.join(BY_NAME)}."
        raise UnknownName("category", name, nearest(name, BY_NAME), remedy=remedy)
    return tuple(kind for kind in KINDS if not wanted or kind.name in wanted)
