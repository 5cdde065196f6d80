"""How far estimates are from measurements: files of serving runs and of start-up memory, summed up in one report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmctl.catalog.load import load_catalog
from vlmctl.library.judging import Judged, Predicted, group_keys, judge, summaries
from vlmctl.library.lookup import known_spellings
from vlmctl.specs import engine_memory
from vlmctl.specs.accuracy import AccuracyReport, Group, Refused, StartGroup
from vlmctl.specs.estimates import Basis
from vlmctl.specs.hardware import Catalog

if TYPE_CHECKING:  # YAML and the readers of configurations, which no other question needs
    from vlmctl.catalog.engine_memory import EngineMemoryFile
    from vlmctl.catalog.measurements import MeasurementFile
    from vlmctl.library.judging_memory import JudgedStarts


def accuracy(
    files: Sequence[str | Path], *, basis: Basis = Basis.ESTIMATED, catalog: Catalog | None = None
) -> AccuracyReport:
    """Predicts every row of measurement files, and every case of start-up memory, and compares.

    `basis`: `estimated`, from the model of the engine alone; `calibrated`, with what all other rows of the files say.
    Raises InvalidFile for a file that is neither; a row that cannot be read is among `refused`.
    """
    from vlmctl.library.judging_memory import judge_starts

    serving, starts = read_files(files)
    known = catalog or load_catalog()
    return report(judge(serving, known, basis=basis), judge_starts(starts, known))


def accuracy_basis(name: str) -> Basis:
    """What a prediction may rest on, by name; raises UnknownName."""
    (known,) = known_spellings("basis", [name], [Basis.ESTIMATED.value, Basis.CALIBRATED.value])
    return Basis(known)


def read_files(paths: Sequence[str | Path]) -> tuple[list[MeasurementFile], list[EngineMemoryFile]]:
    """The files by kind; raises InvalidFile."""
    from vlmctl.catalog.engine_memory import engine_memory_of
    from vlmctl.catalog.measurements import measurements_of, read_document

    serving: list[MeasurementFile] = []
    starts: list[EngineMemoryFile] = []
    for path in map(Path, paths):
        content = read_document(path)
        if content.get("schema") == engine_memory.SCHEMA:
            starts.append(engine_memory_of(content, path))
        else:
            serving.append(measurements_of(content, path))
    return serving, starts


def report(serving: Judged, starts: JudgedStarts) -> AccuracyReport:
    """The errors summed up, over all and by group."""
    from vlmctl.library.judging_memory import memory_summaries

    refused = [Refused(id=row.id, reason=reason) for row, reason in serving.refused]
    refused += [Refused(id=case.id, reason=reason) for case, reason in starts.refused]
    refused += [Refused(id=each.id, reason=each.reason) for each in (*serving.unread, *starts.unread)]
    answered = len(serving.predicted) + len(starts.predicted)
    return AccuracyReport(
        rows=answered + len(refused),
        answered=answered,
        serving=summaries(serving.predicted),
        groups=tuple(_serving_groups(serving)),
        starts=memory_summaries(starts.predicted),
        start_groups=tuple(_start_groups(starts)),
        refused=tuple(refused),
    )


def _serving_groups(judged: Judged) -> list[Group]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    members: dict[tuple[str, str], list[Predicted]] = defaultdict(list)
    for row in (*(each.row for each in judged.predicted), *(row for row, _ in judged.refused)):
        for key in group_keys(row):
            counts[key] += 1
    for each in judged.predicted:
        for key in group_keys(each.row):
            members[key].append(each)
    return [
        Group(by=by, value=value, rows=count, answered=len(found), quantities=summaries(found))
        for (by, value), count in sorted(counts.items())
        for found in (members[by, value],)
    ]


def _start_groups(judged: JudgedStarts) -> list[StartGroup]:
    from vlmctl.library.judging_memory import TEXT, VISION, memory_summaries

    groups: list[StartGroup] = []
    for value, sees in ((TEXT, False), (VISION, True)):
        found = [each for each in judged.predicted if each.case.is_vlm is sees]
        rows = len(found) + sum(1 for case, _ in judged.refused if case.is_vlm is sees)
        if rows:
            errors = memory_summaries(found)
            groups.append(StartGroup(by="modality", value=value, rows=rows, answered=len(found), errors=errors))
    return groups
