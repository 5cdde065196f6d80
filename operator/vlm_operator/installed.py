"""`helm test`: whether the operator answers and leads, and the API server takes a VLMDeployment. Nothing is made."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from urllib.parse import urljoin

import aiohttp

from vlm_operator.cluster import Connection
from vlm_operator.kinds import VLMDEPLOYMENT
from vlm_operator.login import connect
from vlmctl.errors import NotReachable, VlmctlError

MODEL = "qwen2.5-vl-7b-instruct"  # any of the catalog's
TIMEOUT = aiohttp.ClientTimeout(total=30)
TRIES = 10  # a Service takes some seconds to know its pods
PAUSE_SECONDS = 2.0
LEADER_TRIES = 30  # each asks one of up to 5 operators by chance, and another takes over within 9 s
LEADER_PAUSE_SECONDS = 1.0
LEADS = re.compile(r"^vlmctl_leader 1(\.0)?$", re.MULTILINE)
CREATED = 201  # HTTP status


async def answers(http: aiohttp.ClientSession, health: str) -> None:
    """Raises NotReachable where the operator's /healthz (`health`) does not say that all is well."""
    told = ""
    for _ in range(TRIES):
        try:
            async with http.get(health) as answer:
                told = f"{answer.status} {await answer.text()}"
                if answer.status == 200:
                    return
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            told = str(error) or type(error).__name__
        await asyncio.sleep(PAUSE_SECONDS)
    raise NotReachable(f"{health}: {told}", remedy="See the log of the operator's Deployment.")


async def leads(http: aiohttp.ClientSession, metrics: str) -> None:
    """Raises NotReachable where no operator says at /metrics (`metrics`) that it leads: then nobody works."""
    for _ in range(LEADER_TRIES):
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):  # one that ends, behind the same address
            async with http.get(metrics) as answer:
                if LEADS.search(await answer.text()):
                    return
        await asyncio.sleep(LEADER_PAUSE_SECONDS)
    raise NotReachable(
        f"{metrics}: no operator leads", remedy="See the log of the operator's Deployment, and its Lease."
    )


async def takes(http: aiohttp.ClientSession, connection: Connection, namespace: str) -> None:
    """Raises VlmctlError where the API server would not let a VLMDeployment in."""
    body = {
        "apiVersion": VLMDEPLOYMENT.api_version,
        "kind": VLMDEPLOYMENT.kind,
        "metadata": {"name": "helm-test"},
        "spec": {"model": {"name": MODEL}},
    }
    url = f"{connection.server.rstrip('/')}{VLMDEPLOYMENT.path(namespace)}?dryRun=All"
    async with http.post(url, json=body, headers=connection.headers(), ssl=connection.tls) as answer:
        if answer.status != CREATED:
            raise VlmctlError(f"a VLMDeployment is not taken: {answer.status} {await answer.text()}")


async def check(health: str, namespace: str | None) -> None:
    """All of it; the last where a namespace is given."""
    each_anew = aiohttp.TCPConnector(force_close=True)  # a connection stays with one operator
    async with aiohttp.ClientSession(connector=each_anew, timeout=TIMEOUT, trust_env=False) as http:
        await answers(http, health)
        print("The operator answers.")
        await leads(http, urljoin(health, "/metrics"))
        print("One leads.")
        if namespace is not None:
            await takes(http, connect(), namespace)
            print("VLMDeployments are taken.")


def main() -> int:
    """`python -m vlm_operator.installed HEALTH_URL [NAMESPACE]`; the exit code says whether all is well."""
    health, *namespace = sys.argv[1:]
    try:
        asyncio.run(check(health, next(iter(namespace), None)))
    except (VlmctlError, aiohttp.ClientError, OSError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
