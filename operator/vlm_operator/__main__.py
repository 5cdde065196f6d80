"""`python -m vlm_operator`: run until SIGTERM. Everything that can be set is in the file of config.py."""

from __future__ import annotations

import asyncio
import logging
import sys

import kopf

from vlm_operator import log_lines
from vlm_operator.cluster import ApiError, Cluster, Unreachable
from vlm_operator.config import OperatorConfig, read_config
from vlm_operator.handlers import Lifetime, registry
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.login import connect
from vlm_operator.running import Operator
from vlmctl.errors import VlmctlError

PAUSE_SECONDS = 1.0

log = logging.getLogger("vlm_operator")


def main() -> int:
    """The process; its exit code is 0 after a signal, and otherwise says that it is to be started again."""
    log_lines.configure("INFO")
    try:
        config = read_config()
        log_lines.configure(config.log_level)
        return asyncio.run(run(config))
    except VlmctlError as error:
        log.error("%s", error)
        return error.exit_code
    except Exception:  # of kopf's, or a bug: a new process starts afresh
        log.exception("The operator ends.")
        return 1


async def run(config: OperatorConfig) -> int:
    """Connect, wait for the CRD, and hand over to kopf."""
    async with Cluster(connect()) as cluster:
        await _served(cluster)
        lifetime = Lifetime(Operator(config, cluster))
        try:
            await kopf.operator(
                registry=registry(lifetime),
                settings=kopf.OperatorSettings(),
                clusterwide=not config.namespaces,
                namespaces=config.namespaces,
                standalone=True,
                stop_flag=lifetime.stop,
            )
        finally:
            await lifetime.end()
        if lifetime.error is not None:
            log.error("The operator ends.", exc_info=lifetime.error)
            return 1
    return 0


async def _served(cluster: Cluster) -> None:
    """Wait until the API server knows VLMDeployments: a chart installs them beside the operator."""
    told = False
    while True:
        try:
            if await cluster.serves(VLMDEPLOYMENT):
                return
            if not told:
                log.warning("Waiting for the CustomResourceDefinition of %s.", VLMDEPLOYMENT.plural)
                told = True
        except ApiError as error:
            log.warning("Whether VLMDeployments are served cannot be asked: %s", error)
        except Unreachable:
            pass  # the client has told it
        await asyncio.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
