"""What leaving a model or a GPU out of the fit does to the predictions of its rows: kept in a file for the docs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import yaml

from vlmctl.errors import InvalidFile
from vlmctl.library.judging import Predicted, summaries
from vlmctl.specs.accuracy import Summary
from vlmctl.specs.error_bands import Workloads
from vlmctl.specs.record import Record

SCHEMA = "vlmctl.dev/leave-one-out/v1"
EVERY = "every"  # all folds together
HEAD = "# Written by the fit of the speed model: the rows of each fold predicted with constants fitted without them.\n"


class LeftOut(Record, frozen=True, kw_only=True):
    """The rows of one fold, or of all of them. `by`: model or gpu; `value`: which was left out, or `every`."""

    by: str
    value: str
    workloads: Workloads
    throughput: Summary
    ttft: Summary
    tpot: Summary


class LeaveOneOut(Record, frozen=True, kw_only=True):
    """All folds of the models and of the GPUs."""

    schema: str
    folds: tuple[LeftOut, ...]

    def every(self, by: str, workloads: Workloads) -> LeftOut | None:
        """All folds together; None where none was made."""
        found = (fold for fold in self.folds if (fold.by, fold.value, fold.workloads) == (by, EVERY, workloads))
        return next(found, None)


def leave_one_out(folds: Mapping[tuple[str, str], Iterable[Predicted]]) -> LeaveOneOut:
    """The folds summed up. `folds`: by (`model` or `gpu`, what was left out), the predictions of exactly those rows."""
    together: dict[tuple[str, str], list[Predicted]] = {}
    for (by, value), predicted in folds.items():
        rows = list(predicted)
        together[by, value] = rows
        together.setdefault((by, EVERY), []).extend(rows)
    found = [
        LeftOut(by=by, value=value, workloads=kind, **{name: errors[name] for name in ("throughput", "ttft", "tpot")})
        for (by, value), rows in sorted(together.items())
        for kind in Workloads
        if (alike := [each for each in rows if bool(each.row.workload.images) is (kind is Workloads.IMAGES)])
        for errors in (summaries(alike),)
    ]
    return LeaveOneOut(schema=SCHEMA, folds=tuple(found))


def write_leave_one_out(found: LeaveOneOut, path: Path) -> None:
    """Write the file that the docs read."""
    text = yaml.safe_dump(msgspec.to_builtins(found), sort_keys=False, width=120)
    path.write_text(HEAD + text, encoding="utf-8")


def read_leave_one_out(path: Path) -> LeaveOneOut | None:
    """The file's folds, None where it is not there; raises InvalidFile."""
    if not path.is_file():
        return None
    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()), LeaveOneOut)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise InvalidFile(str(path), str(error)) from error
