"""Whether a busy engine still makes tokens. A hung one answers `/health`, so this is what its liveness rests on."""

from __future__ import annotations

from time import monotonic

from vlm_operator.agent import tasks
from vlm_operator.agent.config import AgentConfig
from vlm_operator.agent.engine import Engine

TOKENS = ("prompt_tokens", "output_tokens")


class ProgressWatch:
    """Looks at an engine's counters from time to time."""

    def __init__(self, config: AgentConfig, engine: Engine) -> None:
        self._config = config
        self._engine = engine
        self._seen: tuple[float | None, ...] = ()
        self._moved_at = monotonic()

    async def stuck(self) -> bool:
        """Whether it holds requests, has made no token for as long as `Pace.stuck`, and makes none for us either.

        Asking it ourselves tells a hung engine from a client that does not read its answer.
        """
        counters = await self._engine.counters()
        totals = counters.totals if counters is not None else {}
        seen = tuple(totals.get(name) for name in TOKENS)
        gauges = (counters.running, counters.waiting) if counters is not None else ()
        # An engine that hangs at once never tells that a request runs; then only its front end knows of one.
        idle = counters is not None and not any(gauges) and not await self._engine.in_flight()
        if idle or (counters is not None and seen != self._seen):
            self._seen, self._moved_at = seen, monotonic()
            return False
        if monotonic() - self._moved_at < self._config.pace.stuck:
            return False
        if await tasks.hangs(self._config):
            return True
        self._moved_at = monotonic()
        return False
