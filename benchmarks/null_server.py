"""An OpenAI-compatible server that answers at once and does nothing else, so that only a client's own cost is seen.

    python benchmarks/null_server.py --port 8000 --tokens 16

It reads each request's body and throws it away, and sends the same stream to all: one write per event, as engines do.
With --delays it waits so many seconds before the first, the second and so on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

MODEL = "nothing"
PROMPT_TOKENS = 1_262  # told in `usage`: 1,196 of a 1280x720 image for a Qwen2.5-VL, and text
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def stream(tokens: int) -> list[bytes]:
    """The events of an answer, each as a chunk of HTTP/1.1."""
    base: dict[str, Any] = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    deltas = [{"role": "assistant", "content": ""}, *({"content": " word"} for _ in range(tokens))]
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    events[-1]["choices"][0]["finish_reason"] = "length"
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": PROMPT_TOKENS + tokens}
    lines = [json.dumps({**base, **event}) for event in (*events, {"choices": [], "usage": usage})]
    return [chunk(f"data: {line}\n\n".encode()) for line in (*lines, "[DONE]")]


def chunk(content: bytes) -> bytes:
    """A piece of a body in the chunked coding."""
    return b"%x\r\n%s\r\n" % (len(content), content)


class Connection(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, events: list[bytes], received: dict[str, int], delays: list[float]) -> None:
        self.events = events
        self.delays = delays
        self.received = received
        self.head = b""
        self.left = 0
        self.path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Count the body down; answer when it is there."""
        if not self.left:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            lines, data = self.head[:end].lower().split(b"\r\n"), self.head[end + 4 :]
            self.head, self.path = b"", lines[0].split(b" ")[1]
            self.left = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            if self.path.endswith(b"/chat/completions"):
                self.received["requests"] += 1
                self.received["bytes"] += self.left
        self.left -= len(data)
        if self.left <= 0:
            self.left = 0
            if self.delays and self.path.endswith(b"/chat/completions"):
                asyncio.get_running_loop().call_later(self.delays[self.received["requests"] - 1], self.answer)
            else:
                self.answer()

    def answer(self) -> None:
        """The stream for a chat; what is served; what was received."""
        if self.path.endswith(b"/chat/completions"):
            self.transport.write(HEAD + self.events[0])
            for event in self.events[1:-1]:
                self.transport.write(event)
            self.transport.write(self.events[-1] + END)
            return
        listed = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
        found = listed if self.path.endswith(b"/models") else self.received if self.path == b"/received" else {}
        body = json.dumps(found).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)


async def serve(port: int, tokens: int, delays: list[float]) -> None:
    """Listen until the process ends."""
    events, received = stream(tokens), {"requests": 0, "bytes": 0}
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(events, received, delays), "127.0.0.1", port
    )
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--delays", type=lambda text: [float(each) for each in text.split(",")], default=[])
    options = parser.parse_args()
    serving = serve(options.port, options.tokens, options.delays)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


if __name__ == "__main__":
    main()
