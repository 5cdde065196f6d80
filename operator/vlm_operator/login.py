"""Who the operator is to the API server: its service account in a cluster, a kubeconfig elsewhere."""

from __future__ import annotations

import dataclasses
import os
import ssl
from pathlib import Path

import aiohttp
import kopf

from vlm_operator.cluster import Connection
from vlmctl.errors import NotReachable

TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")  # the kubelet writes it anew before it expires
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"  # set in every container; no DNS is needed


def session() -> kopf.AiohttpSession:
    """What kopf connects with, read now; raises NotReachable as `login` does. Called inside a running loop."""
    info = login()
    opened = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=trust(info)),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
    )
    return kopf.AiohttpSession(
        server=info.server, default_namespace=info.default_namespace, expiration=info.expiration, aiohttp_session=opened
    )


def trust(info: kopf.ConnectionInfo) -> ssl.SSLContext:
    """Which certificates are trusted.

    Python 3.13 began to ask for extensions that the certificates of many clusters lack, and `kubectl` does not ask for.
    """
    context = info.as_ssl_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def login() -> kopf.ConnectionInfo:
    """Where the API server is and who we are; raises NotReachable where neither of the two is there."""
    settings = kopf.OperatorSettings()
    account = kopf.login_with_service_account(settings=settings)
    if account is not None and HOST in os.environ:
        host = os.environ[HOST]
        named = f"[{host}]" if ":" in host else host
        return dataclasses.replace(account, server=f"https://{named}:{os.environ.get(PORT, '443')}")
    found = account or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise NotReachable("no cluster: there is neither a service account nor a kubeconfig.", remedy="Set KUBECONFIG.")
    return found


def connect() -> Connection:
    """What our own requests need. The token is read again when its file has changed."""
    info = login()
    if TOKEN.exists():
        headers = RotatedToken(TOKEN)
        return Connection(info.server, trust(info), headers)
    return Connection(info.server, trust(info), info.as_http_headers)


class RotatedToken:
    """The header of a service account, from its file as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -1
        self._token = ""

    def __call__(self) -> dict[str, str]:
        """The header for a request that is sent now."""
        changed_at = self._path.stat().st_mtime_ns
        if changed_at != self._read_at:
            self._token, self._read_at = self._path.read_text(encoding="utf-8").strip(), changed_at
        return {"Authorization": f"Bearer {self._token}"}
