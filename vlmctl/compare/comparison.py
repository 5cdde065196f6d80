"""A comparison put together: contenders loaded, asked one after another, and what came of it as one record.

with Comparison() as comparison:
    comparison.load("small", "http://localhost:8000")
    comparison.load("large", "http://localhost:8001", price="1.20/h")
    comparison.ask("What is the total?", ["receipt.png"])
    comparison.compare("cases.yaml")
    comparison.results[-1]
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec.structs import replace

from vlmctl.bench.body import ChatRequest
from vlmctl.bench.client import Client
from vlmctl.bench.endpoint import Answer, Endpoint
from vlmctl.compare.album import Album
from vlmctl.compare.asking import Asking, Block, blocks
from vlmctl.compare.cases import Case, read_cases
from vlmctl.compare.contenders import Contender, FindModel, LocalModel, described, finder, parse_price, with_model
from vlmctl.compare.local import require_engine, served
from vlmctl.compare.pictures import load_image
from vlmctl.compare.results import ComparisonResult, ContenderFacts, Reply, Settings
from vlmctl.compare.sweep import companions
from vlmctl.errors import InvalidValue, NotReachable, UsageError
from vlmctl.specs.record import Record
from vlmctl.version import __version__

Result = TypeVar("Result")


class Progress(Record, frozen=True, kw_only=True):
    """How far a comparison is: answers of `total`, and how many of them broke off. `stage`: what is going on."""

    contender: str
    stage: str
    done: int
    total: int
    unanswered: int


OnProgress = Callable[[Progress], None]


class Comparison:
    """Several models on the same images and questions. Blocking; `compare_all` is the same for asyncio."""

    def __init__(self, *, find_model: FindModel | None = None) -> None:
        """`find_model`: the model behind a name, which tells what its boxes mean; in the catalog where not said."""
        self.contenders: list[Contender] = []
        self.results: list[ComparisonResult] = []
        self._find_model = find_model or finder()
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(
        self,
        name: str,
        url: str | None = None,
        *,
        local: str | None = None,
        model: str | None = None,
        price: str | None = None,
        catalog: str | None = None,
        boxes: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> Contender:
        """Take in a model: at `url`, or a `local` repository or folder that vLLM then serves whenever it is its turn.

        `price`: 1.20/h, or 0.10:0.40 per million tokens. `catalog`: the catalog's id of the model, if the name it is
        served by does not tell; it says what its boxes mean, unless `boxes` names a convention. `headers`: of every
        request to `url`. Raises InvalidValue, UsageError, and NotReachable where the endpoint does not answer.
        """
        if (url is None) == (local is None):
            raise InvalidValue(f"{name} needs a url or a local model, one of them.")
        endpoint = None
        if url is not None:
            endpoint = Endpoint(url=url, model=model, api_key=api_key, headers=dict(headers or {}))
        contender = Contender(
            name=name,
            endpoint=endpoint,
            local=LocalModel(checkpoint=local, arguments=tuple(arguments)) if local is not None else None,
            price=parse_price(price) if price is not None else None,
        )
        contender = described(contender, self._find_model, catalog=catalog, boxes=boxes)
        self.add(contender)
        return contender

    def add(self, contender: Contender) -> None:
        """Take in a contender that was made elsewhere; errors as `load`."""
        if contender.name in {each.name for each in self.contenders}:
            raise InvalidValue(f"there are two contenders named {contender.name}.", remedy="Give each its own name.")
        self._run(check(contender))
        self.contenders.append(contender)

    def ask(self, question: str, images: Sequence[str | Path], *, max_tokens: int = 512) -> dict[str, Answer]:
        """Every model's answer to one question about the same images, by name."""
        request = ChatRequest(
            prompt=question, images=tuple(load_image(str(image)) for image in images), max_tokens=max_tokens
        )
        return {each.name: self._run(_ask_one(each, request)) for each in self.contenders}

    def compare(
        self,
        cases: str | Path | Sequence[Case] | Album,
        *,
        source: str | None = None,
        settings: Settings | None = None,
        sides_pixels: Sequence[int] = (),
        image_counts: Sequence[int] = (),
        on_progress: OnProgress | None = None,
    ) -> ComparisonResult:
        """Ask everyone all cases of a file, or given ones, and keep the record in `results`.

        `source`: what the record says of where the cases are from. Raises InvalidFile and NotReachable for cases and
        images that cannot be had, InvalidValue for a sweep over more images than there are.
        """
        if isinstance(cases, str | Path):
            album, source = Album(read_cases(Path(cases)).cases), source or str(cases)
        else:
            album = cases if isinstance(cases, Album) else Album(cases)
        result = self._run(
            compare_all(
                self.contenders,
                album,
                settings or Settings(),
                cases_source=source or "cases given in Python",
                sides_pixels=sides_pixels,
                image_counts=image_counts,
                find_model=self._find_model,
                on_progress=on_progress,
            )
        )
        self.results.append(result)
        return result

    def close(self) -> None:
        """Give back what is held; results stay."""
        self._runner.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)


async def compare_all(
    contenders: Sequence[Contender],
    album: Album,
    settings: Settings,
    *,
    cases_source: str,
    sides_pixels: Sequence[int] = (),
    image_counts: Sequence[int] = (),
    find_model: FindModel = lambda _: None,
    on_progress: OnProgress | None = None,
) -> ComparisonResult:
    """Ask each contender in turn, so that none slows another down; interrupted, it returns what there is.

    Raises InvalidValue where the cases hold too few images for a sweep. Who cannot be reached has a `problem` in it.
    """
    work = blocks(album, settings, sides_pixels, image_counts)
    _check_counts(album, settings, image_counts)
    total = len(contenders) * sum(len(block.cases) for block in work)
    most = max(1, *(len(case.images) for case in album.asked), *image_counts)
    turns, complete = list[_Turn](), True
    for contender in contenders:
        before = [reply for turn in turns for reply in turn.replies]
        turns.append(_Turn(contender, album, settings, before, total, on_progress))
        try:
            await turns[-1].run(work, find_model, most)
        except asyncio.CancelledError:
            complete = False
            break
    return ComparisonResult(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        program=f"vlmctl {__version__}",
        cases_source=cases_source,
        settings=settings,
        contenders=tuple(turn.facts for turn in turns),
        cases=album.asked,
        replies=tuple(reply for turn in turns for reply in turn.replies),
        sides_pixels=tuple(sides_pixels),
        image_counts=tuple(image_counts),
        complete=complete,
    )


def _check_counts(album: Album, settings: Settings, counts: Sequence[int]) -> None:
    """Raise InvalidValue before anything is asked where the cases hold too few images for the highest count."""
    for case in album.asked if counts else ():
        companions(case, album.asked, max(counts), settings.seed)


async def check(contender: Contender) -> None:
    """Whether the contender can be had at all; raises NotReachable, UsageError, UnknownName or InvalidValue."""
    if contender.endpoint is None:
        require_engine()
        return
    async with Client(contender.endpoint, connections=1) as client:
        await client.open()


class _Turn:
    """One contender's turn: its server if it has none yet, its replies, and how far it is."""

    def __init__(
        self,
        contender: Contender,
        album: Album,
        settings: Settings,
        before: Sequence[Reply],
        total: int,
        on_progress: OnProgress | None,
    ) -> None:
        self.facts = _facts(contender, model="")
        self.replies: list[Reply] = []
        self._contender = contender
        self._album = album
        self._settings = settings
        self._done = len(before)
        self._unanswered = sum(not reply.answered for reply in before)
        self._total = total
        self._on_progress = on_progress or (lambda _: None)

    async def run(self, work: Sequence[Block], find_model: FindModel, images: int) -> None:
        self._say("loading" if self._contender.endpoint is None else "connecting")
        try:
            async with _client(self._contender, self._settings.concurrency, images) as client:
                model = await client.open()
                contender = with_model(self._contender, find_model(model))
                self.facts = _facts(contender, model=model, url=client.endpoint.url)
                asking = Asking(contender, client, self._album, self._settings, self._on_reply)
                self.replies = asking.replies
                await asking.ask(work)
                self.facts = replace(self.facts, problem=asking.problem)
        except (NotReachable, UsageError) as error:
            self.facts = replace(self.facts, problem=str(error))

    def _on_reply(self, reply: Reply) -> None:
        self._done += 1
        self._unanswered += not reply.answered
        self._say("asking")

    def _say(self, stage: str) -> None:
        self._on_progress(
            Progress(
                contender=self._contender.name,
                stage=stage,
                done=self._done,
                total=self._total,
                unanswered=self._unanswered,
            )
        )


@contextlib.asynccontextmanager
async def _client(contender: Contender, connections: int, images: int) -> AsyncIterator[Client]:
    async with contextlib.AsyncExitStack() as stack:
        endpoint = contender.endpoint
        if endpoint is None:
            assert contender.local is not None  # a contender is one or the other
            endpoint = await stack.enter_async_context(served(contender.local, images=images))
        yield await stack.enter_async_context(Client(endpoint, connections=connections))


async def _ask_one(contender: Contender, request: ChatRequest) -> Answer:
    async with _client(contender, 1, max(len(request.images), 1)) as client:
        await client.open()
        return await client.ask(request)


def _facts(contender: Contender, *, model: str, url: str = "") -> ContenderFacts:
    return ContenderFacts(
        name=contender.name,
        url=url or (contender.endpoint.url if contender.endpoint is not None else "local"),
        model=model or (contender.local.checkpoint if contender.local is not None else ""),
        catalog_id=contender.catalog_id,
        price=contender.price,
        boxes=contender.frame.convention.value if contender.frame is not None else None,
    )
