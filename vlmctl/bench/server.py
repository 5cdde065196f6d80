"""What a server says of itself: version, checkpoint, context, settings of its cache. What it does not say is None."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from vlmctl.bench.client import Client
from vlmctl.errors import NotReachable
from vlmctl.specs.record import Record

CACHE_CONFIG = "vllm:cache_config_info"
_T = TypeVar("_T")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class ServerFacts(Record, frozen=True, kw_only=True):
    """`checkpoint`: path or repository that the model was loaded from. `cache_settings`: as vLLM publishes them."""

    engine: str = "unknown"
    engine_version: str = ""
    checkpoint: str | None = None
    max_model_len: int | None = None
    cache_settings: dict[str, str] = {}  # noqa: RUF012  # msgspec gives each record its own


class _Version(msgspec.Struct, frozen=True):
    version: str = ""


class _Card(msgspec.Struct, frozen=True):
    id: str = ""
    owned_by: str = ""
    root: str | None = None
    max_model_len: int | None = None


class _Cards(msgspec.Struct, frozen=True):
    data: list[_Card] = []


async def server_facts(client: Client) -> ServerFacts:
    """What can be learnt without a request to the model."""
    cards = await _read(client, "/v1/models", _Cards)
    card = next((each for each in cards.data if each.id == client.model), _Card()) if cards else _Card()
    version = await _read(client, "/version", _Version)
    settings = cache_settings(await _page(client, "/metrics"))
    vllm = bool(settings) or card.owned_by == "vllm"
    return ServerFacts(
        engine="vllm" if vllm else "unknown",
        engine_version=version.version if version is not None else "",
        checkpoint=card.root,
        max_model_len=card.max_model_len,
        cache_settings=settings,
    )


def cache_settings(metrics: str) -> dict[str, str]:
    """The labels under which vLLM publishes the settings of its KV cache."""
    line = next((each for each in metrics.splitlines() if each.startswith(CACHE_CONFIG)), "")
    return dict(sorted(_LABEL.findall(line)))


async def _page(client: Client, path: str) -> str:
    try:
        return (await client.get(path)).decode("utf-8", "replace")
    except NotReachable:
        return ""


async def _read(client: Client, path: str, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(await _page(client, path), type=kind)
    except msgspec.MsgspecError:
        return None
