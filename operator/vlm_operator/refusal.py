"""Why there is no plan: what a refused VLMDeployment says of itself."""

from __future__ import annotations

from vlm_operator.reasons import PlanReason


class Refused(Exception):
    """There is no plan, and none will come of trying again with the same spec, inventory and policy.

    `message`: what stands in the way and what to do, the same whenever it is the same.
    """

    def __init__(self, reason: PlanReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
