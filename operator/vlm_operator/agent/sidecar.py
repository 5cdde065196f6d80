"""The agent of one pod: it waits for the engine, tries it, measures it where it is told to, and lets traffic in.

What gates traffic is the latch. Once it is open the agent is not needed: one that dies takes no healthy engine out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path
from time import monotonic

from vlm_operator.agent import tasks
from vlm_operator.agent.config import CONFIG_PATH, AgentConfig, read_config
from vlm_operator.agent.engine import Engine, Health
from vlm_operator.agent.journal import Journal, now
from vlm_operator.agent.latch import Latch
from vlm_operator.agent.progress import ProgressWatch
from vlm_operator.agent.server import serving
from vlm_operator.results import Ladder, Problem, Stage, Task, Word, read_word
from vlmctl.errors import NotReachable, VlmctlError

LADDER_ATTEMPTS = 2  # an engine that ends under its load is not measured for ever
PROBES_BEFORE_SHUT = 2  # one that is too slow may have had a busy neighbour
NOTHING_ENDED = "No request ended within the budget."
log = logging.getLogger(__name__)


class Sidecar:
    """One engine's way to traffic, as often as it starts."""

    def __init__(self, config: AgentConfig, engine: Engine, journal: Journal, latch: Latch) -> None:
        self._config = config
        self._pace = config.pace
        self._engine = engine
        self._journal = journal
        self._latch = latch
        self._ready_at = 0.0
        self._retry = self._pace.first_retry
        self._slow_probes = 0
        self._drawing: asyncio.Task[tasks.Drawn] | None = None

    async def run(self) -> None:
        """Never returns."""
        while True:
            if self._latch.is_open:  # by an earlier agent of this pod
                self._tell_open()
            else:
                await self._ready()
                if not await self._admitted():
                    continue
            await self._watch()

    async def _ready(self) -> None:
        """Wait for the engine to answer, however long its weights take."""
        waited = self._journal.result.engine_ready is None
        while (health := await self._engine.health()) is not Health.WELL:
            waited = True
            self._draw()
            # What keeps traffic away stays said while the engine is there; one that is gone is another when it is back.
            if health is Health.GONE:
                self._slow_probes = 0
            if health is Health.GONE or self._journal.result.stage is not Stage.SHUT:
                self._journal.write(stage=Stage.WAITING, problem=None, message="")
            await asyncio.sleep(self._pace.poll)
        if waited:
            self._journal.write(engine_ready=now())
        self._ready_at = monotonic()

    def _draw(self) -> asyncio.Task[tasks.Drawn]:
        """The pictures; they are drawn while the engine loads, and let go once it takes traffic."""
        if self._drawing is None:
            self._drawing = asyncio.ensure_future(tasks.draw(self._config))
        return self._drawing

    async def _admitted(self) -> bool:
        """Try the engine, measure it where it is told to, and open the latch; False: it is to be tried again."""
        if not await self._smoked():
            return False
        if self._journal.result.opened is None:
            word = await self._word()
            self._journal.write(task=word.task)
            if not await self._did(word):
                return False
        counters = await self._engine.counters()
        if await self._engine.health() is Health.GONE:
            return False
        self._journal.write(counted_before=counters.totals if counters is not None else {})
        self._latch.open()
        self._drawing = None
        self._tell_open()
        return True

    def _tell_open(self) -> None:
        result = self._journal.result
        unmeasured = result.task is Task.LADDER and not result.measured
        self._journal.write(
            stage=Stage.OPEN,
            problem=Problem.NOT_MEASURED if unmeasured else None,
            message=" ".join(result.ladder.notes or (NOTHING_ENDED,)) if unmeasured else "",
            opened=result.opened or now(),
        )

    async def _smoked(self) -> bool:
        """Send one request; after one that was not answered rightly, wait, longer each time."""
        if self._journal.result.stage is not Stage.SHUT:
            self._journal.write(stage=Stage.SMOKE)
        try:
            found = await tasks.smoke(self._config, await self._draw())
        except VlmctlError as error:  # nobody can send what was planned
            found = tasks.Smoke(problem=Problem.REQUEST_FAILED, message=str(error))
        if found.problem is None:
            self._retry = self._pace.first_retry
            self._journal.write(smoked=now(), image_tokens=found.image_tokens)
            return True
        health = await self._engine.health()
        if health is not Health.GONE:  # one that has ended is waited for, and not to blame yet
            self._journal.write(
                stage=Stage.SHUT, problem=found.problem, message=found.message, image_tokens=found.image_tokens
            )
        # A large request may take too long; an engine that leaves a word unanswered too never takes traffic.
        if found.unanswered and health is Health.WELL and await tasks.hangs(self._config):
            self._report_stuck()
        await asyncio.sleep(self._retry)
        self._retry = min(2 * self._retry, self._pace.last_retry)
        return False

    async def _word(self) -> Word:
        """What the operator says to do; where it says nothing in time, what it left behind: a probe against what was
        measured. Where nothing was, no more than the smoke request.
        """
        while (word := _word_in(self._config.word_path)) is None:
            if monotonic() - self._ready_at >= self._pace.word:
                return _word_in(self._config.standing_word_path) or Word(task=Task.SMOKE)
            await asyncio.sleep(self._pace.poll)
        return word

    async def _did(self, word: Word) -> bool:
        """Do it; False where the engine is to be tried anew first."""
        if word.task is Task.SMOKE:
            return True
        if not tasks.measurable(self._config):
            self._journal.write(ladder=Ladder(notes=("Requests with videos are not measured.",)))
            return True
        return await (self._probed(word) if word.task is Task.PROBE else self._climbed(word))

    async def _probed(self, word: Word) -> bool:
        """Whether the engine is about as fast as one like it was; if not, wait before it is tried again."""
        if self._journal.result.stage is not Stage.SHUT:
            self._journal.write(stage=Stage.PROBE)
        try:
            found = await tasks.probe(self._config, word, await self._draw())
        except NotReachable as error:
            self._journal.write(stage=Stage.SHUT, problem=Problem.REQUEST_FAILED, message=str(error))
            await asyncio.sleep(self._pace.again)
            return False
        self._journal.write(probe=found)
        if found is None or not found.too_slow:
            self._slow_probes = 0
            return True
        self._slow_probes += 1
        if self._slow_probes >= PROBES_BEFORE_SHUT:
            message = "the replica serves less than the minimum of what was measured before."
            self._journal.write(stage=Stage.SHUT, problem=Problem.BELOW_MINIMUM, message=message)
        await asyncio.sleep(self._pace.again if self._slow_probes < PROBES_BEFORE_SHUT else self._pace.below)
        return False

    async def _climbed(self, word: Word) -> bool:
        """Measure, whatever comes of it; False where requests failed under the load."""
        earlier = self._journal.result.ladder
        if earlier.best is not None or earlier.attempts >= LADDER_ATTEMPTS:
            return True
        attempt = earlier.attempts + 1
        self._journal.write(stage=Stage.LADDER, ladder=Ladder(attempts=attempt))
        drawn, self._drawing = await self._draw(), None  # another attempt has other requests
        found = await tasks.ladder(self._config, word, drawn, attempt=attempt)
        self._journal.write(ladder=found.ladder, engine_version=found.engine_version)
        return found.whole

    async def _watch(self) -> None:
        """Return when the engine has started anew, which removes the latch, or has ended."""
        watch, looked_at = ProgressWatch(self._config, self._engine), monotonic()
        while True:
            await asyncio.sleep(self._pace.open)
            if not self._latch.is_open:
                return
            if await self._is_gone():
                self._latch.shut()  # whatever listens there next is another engine, which nobody has tried
                return
            if monotonic() - looked_at >= self._pace.progress:
                looked_at = monotonic()
                if await watch.stuck():
                    self._report_stuck()

    def _report_stuck(self) -> None:
        self._latch.report_stuck()
        self._journal.write(stuck=now())

    async def _is_gone(self) -> bool:
        """Whether nothing listens, and still not a moment later: a single look takes no healthy engine out.

        One that has started anew in between has removed the latch itself.
        """
        if await self._engine.health() is not Health.GONE:
            return False
        await asyncio.sleep(self._pace.confirm)
        return await self._engine.health() is Health.GONE


def _word_in(path: str) -> Word | None:
    """The word in a file; None where there is none."""
    try:
        return read_word(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


async def serve(config: AgentConfig) -> None:
    """Tell the result and see to the engine; never returns."""
    folder = Path(config.run_folder)
    journal = Journal(folder)
    async with serving(journal, config.port), Engine(config.engine_url) as engine:
        await Sidecar(config, engine, journal, Latch(folder)).run()


async def until_signal(config: AgentConfig) -> None:
    """The same until SIGTERM or SIGINT."""
    serving_task = asyncio.ensure_future(serve(config))
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, serving_task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving_task


def main(path: Path) -> int:
    """The process; its exit code."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    try:
        asyncio.run(until_signal(read_config(path)))
    except VlmctlError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CONFIG_PATH))
