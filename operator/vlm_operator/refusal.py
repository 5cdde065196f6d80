"""Why there is no plan: what a refused VLMDeployment says of itself."""

from __future__ import annotations

from vlm_operator.reasons import PlanReason

MESSAGE_LENGTH = 2_000  # characters: what it quotes may be of any length, and a condition of 32,768 at most


class Refused(Exception):
    """There is no plan, and none will come of trying again with the same spec, inventory and policy.

    `message`: what stands in the way and what to do, the same whenever it is the same.
    """

    def __init__(self, reason: PlanReason, message: str) -> None:
        self.reason = reason
        self.message = message if len(message) <= MESSAGE_LENGTH else f"{message[: MESSAGE_LENGTH - 1]}…"
        super().__init__(self.message)
