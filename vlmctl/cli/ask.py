"""`vlmctl ask`: one question about images to one server, the answer as it comes, with its tokens and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmctl.cli import options
from vlmctl.cli.extras import needing_bench
from vlmctl.cli.options import Format, OutputOption
from vlmctl.cli.output import Output, write
from vlmctl.errors import InvalidValue, NotReachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from vlmctl.bench.body import ChatRequest
    from vlmctl.bench.endpoint import Answer, Endpoint
    from vlmctl.compare.contenders import Price

app = options.command_app()

MAXIMUM_OUTPUT_TOKENS = 1_000_000
WORDS = "IMAGE... QUESTION"


@app.command()
def ask(
    url: Annotated[str, typer.Argument(metavar="URL", help="An OpenAI-compatible server.")],
    words: Annotated[list[str], typer.Argument(metavar=WORDS, help="Files or URLs of images, and the question last.")],
    model: options.ServedModelOption = None,
    price: Annotated[
        str | None, options.option("Dollars: 1.20/h, or 0.10:0.40 per million tokens in and out.", metavar="PRICE")
    ] = None,
    key: options.KeyOption = None,
    header: options.HeaderOption = None,
    max_tokens: Annotated[
        int, typer.Option(metavar="N", help="Tokens of the answer at most.", min=1, max=MAXIMUM_OUTPUT_TOKENS)
    ] = 1024,
    temperature: Annotated[float, typer.Option(metavar="N", help="0: the likeliest answer.", min=0.0, max=2.0)] = 0.0,
    output: OutputOption = Format.TABLE,
) -> None:
    """Ask one question about images.

    The answer is on stdout as it comes; tokens, time and cost are on stderr. At 1.20/h the cost is that of a server
    that does nothing else meanwhile. Needs the `bench` extra.

    JSON: an object with model, answer, finish_reason, prompt_tokens, image_tokens, output_tokens, ttft_seconds,
    e2e_seconds, usd. Exit code 4 where there was no answer.
    """
    import asyncio

    with needing_bench("asking"):
        import vlmctl.bench.client  # noqa: F401  # which needs it
        from vlmctl.bench.body import ChatRequest
        from vlmctl.bench.endpoint import Endpoint, key_from, parse_headers
        from vlmctl.compare.contenders import parse_price
        from vlmctl.compare.pictures import load_image

    *images, question = words
    if not question.strip():
        raise InvalidValue("the question is empty.", remedy=f"Write vlmctl ask URL {WORDS}.")
    endpoint = Endpoint(url=url, model=model, api_key=key_from(key), headers=parse_headers(header or ()))
    cost = parse_price(price) if price is not None else None
    request = ChatRequest(
        prompt=question,
        images=tuple(load_image(image) for image in images),
        max_tokens=max_tokens,
        temperature=temperature,
    )
    out = Output(output)
    served, answer = asyncio.run(_ask(endpoint, request, write if out.for_people else None))
    if out.for_people and answer.text:
        write("\n")
    if answer.failure is not None:
        raise NotReachable(answer.failure.message)
    data = _data(served, answer, cost)
    if out.for_people:
        out.note(_summary(data))
    else:
        out.show(data)


async def _ask(endpoint: Endpoint, request: ChatRequest, on_text: Callable[[str], None] | None) -> tuple[str, Answer]:
    """The model that answered, and its answer."""
    from vlmctl.bench.client import Client
    from vlmctl.bench.stream import StreamReader

    async with Client(endpoint, connections=1) as client:
        served = await client.open()
        return served, await client.ask(request, reader=StreamReader(on_text))


def _data(model: str, answer: Answer, price: Price | None) -> dict[str, Any]:
    usd = None
    if price is not None:
        usd = price.usd_of_tokens(answer.prompt_tokens, answer.output_tokens)
        usd = price.usd_of_seconds(answer.e2e_seconds) if usd is None else usd
    return {
        "model": model,
        "answer": answer.text,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "image_tokens": answer.image_tokens,
        "output_tokens": answer.output_tokens,
        "ttft_seconds": answer.ttft_seconds,
        "e2e_seconds": answer.e2e_seconds,
        "usd": usd,
    }


def _summary(data: dict[str, Any]) -> str:
    """Tokens, time and cost on one line, without what the server did not tell."""
    from vlmctl.units import show_seconds, show_usd

    parts = [data["model"]]
    if data["prompt_tokens"] is not None:
        images = f", {data['image_tokens']:,} of them images" if data["image_tokens"] is not None else ""
        parts.append(f"{data['prompt_tokens']:,} tokens in{images}")
    if data["output_tokens"] is not None:
        parts.append(f"{data['output_tokens']:,} out")
    if data["ttft_seconds"] is not None:
        parts.append(f"first token after {show_seconds(data['ttft_seconds'])}")
    parts.append(f"{show_seconds(data['e2e_seconds'])} in all")
    if data["usd"] is not None:
        parts.append(f"{show_usd(data['usd'] * 1000)} per 1,000 such requests")
    if data["finish_reason"] == "length":
        parts.append("cut off at --max-tokens")
    return "; ".join(parts)
