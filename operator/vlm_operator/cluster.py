"""The API server: requests with server-side apply in our name, and their failures as errors that say what to do."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, Self

import aiohttp
import msgspec

from vlm_operator import log_lines
from vlm_operator.kinds import POD, Resource
from vlm_operator.metrics import API_WRITES, VERBS
from vlm_operator.names import FIELD_MANAGER
from vlm_operator.records import KubernetesObject
from vlmctl.errors import NotReachable, VlmctlError
from vlmctl.version import __version__

APPLY = "application/apply-patch+yaml"  # JSON is YAML too
MERGE = "application/merge-patch+json"
REQUEST_SECONDS = 30.0  # half of the API server's own limit, --request-timeout
CONNECT_SECONDS = 5.0
BUSY = frozenset({429, 502, 503, 504})  # HTTP: come back later
PAGES_AT_ONCE = 2  # of all lists: when the operator starts, it lists all kinds
SILENCE_SECONDS = 75.0  # without an event or a bookmark, which come every minute: the connection is dead
WATCH_SECONDS = 300  # after which the server ends a watch, so that many do not all hang on one server for ever
MOST_RETRY_AFTER_SECONDS = 60.0  # what stands before an API server may ask for hours
LOG_LINES = 500  # of a container that ended: a traceback through vLLM's processes has some hundred
LOG_BYTES = 1024**2  # that cross the network; the kubelet cuts off the end, so this is far above the usual
LOG_KEPT_BYTES = 65_536  # from the end

log = logging.getLogger(__name__)


class Connection(NamedTuple):
    """Where the API server is. `headers`: asked anew for each request, since a service account's token is changed."""

    server: str
    tls: ssl.SSLContext
    headers: Callable[[], dict[str, str]]


class ApiError(VlmctlError):
    """The API server said no: an HTTP status, the reason that goes with it, and the name of the object it is about."""

    def __init__(self, message: str, *, status: int, reason: str = "", about: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.about = about

    @property
    def is_missing(self) -> bool:
        """Whether the object is not there (or no longer the one that was meant)."""
        return self.status == 404

    @property
    def is_taken(self) -> bool:
        """Whether there is an object of that name. Other conflicts (of a quota's count, say) made nothing."""
        return self.reason == "AlreadyExists"

    @property
    def is_forbidden(self) -> bool:
        """Whether the operator may not, by its rights or by a policy."""
        return self.status == 403

    @property
    def is_conflict(self) -> bool:
        """Whether it exists already, or is newer than was known."""
        return self.status == 409


class Unreachable(NotReachable):
    """The API server does not answer, or says that it cannot at present (`answered`).

    `retry_after_seconds`: where it says when to come back.
    """

    def __init__(self, message: str, *, answered: bool = False, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.answered = answered
        self.retry_after_seconds = retry_after_seconds


class WatchEvent(msgspec.Struct):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and the object that it is about."""

    type: str
    object: dict[str, Any]


class _Listed(msgspec.Struct):
    metadata: dict[str, Any]
    items: list[dict[str, Any]] = []


_EVENTS = msgspec.json.Decoder(WatchEvent)
_LISTS = msgspec.json.Decoder(_Listed)


class Cluster:
    """Connections to one API server. Every method raises Unreachable or ApiError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None
        self._paging = asyncio.Semaphore(PAGES_AT_ONCE)
        self._away = False

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._connection.tls),
            headers={"User-Agent": f"vlm-operator/{__version__}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> KubernetesObject:
        """The object as it is now."""
        return await self._json("GET", resource.path(namespace, name))

    async def find(self, resource: Resource, namespace: str, name: str) -> KubernetesObject | None:
        """The object if it is there, whoever made it. A list of one: it needs no other right than watching does."""
        content = await self._request(
            "GET", resource.path(namespace), query={"fieldSelector": f"metadata.name={name}", "limit": "1"}
        )
        items = _LISTS.decode(content).items
        return {"apiVersion": resource.api_version, "kind": resource.kind, **items[0]} if items else None

    async def serves(self, resource: Resource) -> bool:
        """Whether the cluster has this kind."""
        try:
            found = await self._json("GET", f"/apis/{resource.api_version}")
        except ApiError as error:
            if error.is_missing:
                return False
            raise
        return any(each.get("name") == resource.plural for each in found.get("resources", ()))

    async def pages(
        self, resource: Resource, namespace: str | None
    ) -> AsyncIterator[tuple[list[KubernetesObject], str]]:
        """All objects, a page at a time, each time with the version that the whole list has.

        No version is asked for ("0" would be any that the API server has), so that the list is as new as etcd: none
        that is asked for later has a lower version, whichever API server answers.
        """
        query = {"limit": str(resource.page), **_selecting(resource)}
        while True:
            async with self._paging:
                listed = _LISTS.decode(await self._request("GET", resource.path(namespace), query=query))
            for item in listed.items:  # in a list they do not say what they are
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            yield listed.items, listed.metadata.get("resourceVersion", "")
            following = listed.metadata.get("continue")
            if not following:
                return
            query["continue"] = following

    async def watch(self, resource: Resource, namespace: str | None, since: str) -> AsyncIterator[WatchEvent]:
        """What happens after version `since`, until the server ends the stream or is silent for too long."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(WATCH_SECONDS),
            **_selecting(resource),
        }
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        rest, began = b"", False
        try:
            async with self._open("GET", resource.path(namespace), query=query, timeout=timeout) as response:
                await self._check(response)
                began = True
                async for piece in response.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        yield _EVENTS.decode(line)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if began:  # streams break off for many reasons; whether the server is away, the next request tells
                raise Unreachable(f"the watch of {resource.plural} broke off") from error
            raise self._gone(error) from error

    async def apply(
        self, resource: Resource, body: KubernetesObject, *, status: bool = False, force: bool = True
    ) -> KubernetesObject:
        """Server-side apply in our name: other managers' fields are left, ours are taken back where `force` is set."""
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], "status" if status else None)
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        return await self._write(resource, "PATCH", path, body, query=query, form=APPLY)

    async def create(self, resource: Resource, body: KubernetesObject, *, dry_run: bool = False) -> KubernetesObject:
        """A new object; ApiError `is_taken` where one of the name exists. `dry_run`: ask, and make nothing."""
        path = resource.path(body["metadata"].get("namespace"))
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return await self._write(resource, "POST", path, body, query=query)

    async def merge(
        self, resource: Resource, namespace: str, name: str, patch: dict[str, Any], *, subresource: str | None = None
    ) -> KubernetesObject:
        """A JSON merge patch."""
        path = resource.path(namespace, name, subresource)
        return await self._write(resource, "PATCH", path, patch, query={"fieldManager": FIELD_MANAGER}, form=MERGE)

    async def replace(self, resource: Resource, body: KubernetesObject) -> KubernetesObject:
        """The whole object, if it still has the version that `body` tells; else ApiError is a conflict."""
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        return await self._write(resource, "PUT", path, body, query={"fieldManager": FIELD_MANAGER})

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Away with this one object, and in the background with what it owns; fine if it is gone already."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._write(resource, "DELETE", resource.path(namespace, name), options)
        except ApiError as error:
            if not (error.is_missing or error.is_conflict):  # a conflict: another object has taken its name
                raise

    async def log_tail(self, namespace: str, pod: str, *, container: str, previous: bool) -> str:
        """The last lines of a container; `previous`: of the run before the present one."""
        query = {"container": container, "tailLines": str(LOG_LINES), "limitBytes": str(LOG_BYTES)}
        if previous:
            query["previous"] = "true"
        content = await self._request("GET", POD.path(namespace, pod, "log"), query=query)
        return content[-LOG_KEPT_BYTES:].decode(errors="replace")

    async def _json(self, method: str, path: str) -> KubernetesObject:
        found: KubernetesObject = msgspec.json.decode(await self._request(method, path))
        return found

    async def _write(
        self,
        resource: Resource,
        method: str,
        path: str,
        body: dict[str, Any],
        *,
        query: dict[str, str] | None = None,
        form: str = "application/json",
    ) -> KubernetesObject:
        content = await self._request(method, path, query=query, body=msgspec.json.encode(body), form=form)
        if "dryRun" not in (query or {}):
            API_WRITES.labels(VERBS[method], resource.kind).inc()
        written: KubernetesObject = msgspec.json.decode(content)
        return written

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        form: str = "application/json",
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with self._open(method, path, query=query, timeout=timeout, body=body, form=form) as response:
                await self._check(response)
                content: bytes = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._gone(error) from error
        if self._away:
            self._away = False
            with log_lines.about(None):
                log.warning("The API server answers again.")
        return content

    def _open(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None,
        timeout: aiohttp.ClientTimeout,
        body: bytes | None = None,
        form: str = "application/json",
    ) -> Any:  # aiohttp's own context manager has no public name
        if self._session is None:
            raise RuntimeError("a Cluster is used inside `async with`")
        headers = self._connection.headers()
        if body is not None:
            headers["Content-Type"] = form
        url = self._connection.server.rstrip("/") + path
        return self._session.request(method, url, params=query, data=body, headers=headers, timeout=timeout)

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status < 400:
            return
        content = await response.read()
        try:
            told = msgspec.json.decode(content)
            message, reason = str(told["message"]), str(told.get("reason", ""))
            about = str((told.get("details") or {}).get("name", ""))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            message, reason, about = content[:200].decode(errors="replace"), "", ""
        # A write that fails with 500 may do so for good, as with a broken webhook: that is for the status to say.
        if response.status in BUSY or (response.status >= 500 and response.method == "GET"):
            later = response.headers.get("Retry-After", "")
            seconds = min(float(later), MOST_RETRY_AFTER_SECONDS) if later.isdecimal() else None
            raise Unreachable(f"{response.status} {message}", answered=True, retry_after_seconds=seconds)
        raise ApiError(message, status=response.status, reason=reason, about=about)

    def _gone(self, error: Exception) -> Unreachable:
        told = str(error) or type(error).__name__
        if not self._away:
            self._away = True
            with log_lines.about(None):
                log.warning("The API server does not answer: %s. Trying on.", told)
        return Unreachable(told)


def _selecting(resource: Resource) -> dict[str, str]:
    return {} if resource.selector is None else {"labelSelector": resource.selector}
