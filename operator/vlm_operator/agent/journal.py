"""What the agent knows, kept in a file of the pod, so that an agent that dies loses nothing of it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from vlm_operator.results import AgentResult, cut, encode, read_result, rfc3339
from vlmctl.errors import InvalidValue
from vlmctl.files import write_atomically

FILE = "result.json"
log = logging.getLogger(__name__)


class Journal:
    """The result as it stands; each change is written before it is told."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.result = _earlier(self._path)

    def write(self, **changes: Any) -> None:
        """Change fields of the result; what is as it was is not written."""
        if "message" in changes:
            changes["message"] = cut(changes["message"])
        changed = replace(self.result, **changes)
        if changed == self.result:
            return
        write_atomically(self._path, encode(changed))
        if (changed.stage, changed.problem) != (self.result.stage, self.result.problem):
            log.info("%s", " ".join(filter(None, (changed.stage, changed.problem, changed.message))))
        self.result = changed


def now() -> str:
    """The time, RFC 3339."""
    return rfc3339(datetime.now(UTC))


def _earlier(path: Path) -> AgentResult:
    """What an agent of this pod knew before; a file that cannot be read counts as none."""
    try:
        return read_result(path.read_bytes())
    except FileNotFoundError:
        return AgentResult()
    except (OSError, InvalidValue) as error:
        log.warning("begun anew: %s", error)
        return AgentResult()
