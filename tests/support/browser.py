"""A real browser, Debian's Chromium without a window, driven by the DevTools protocol: what a page says and shows."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_ENABLE = "no Chromium: install it (apt-get install chromium) to look at pages in a browser"
START_SECONDS = 60.0
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--no-first-run", "--remote-debugging-port=0")  # fmt: skip


class Seen(NamedTuple):
    """One look at a page. `said`: the console's errors and warnings. `fetched`: addresses but the page's own."""

    said: list[str]
    fetched: list[str]
    values: list[Any]
    screenshot: bytes


def program() -> str | None:
    """The browser, where one is installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """A running browser."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._address = f"http://127.0.0.1:{port}"

    async def look(self, page: Path, *, width: int, dark: bool, ask: tuple[str, ...] = (), whole: bool = True) -> Seen:
        """Open a file at a width in a theme, evaluate the expressions `ask` in it, and take a picture."""
        async with self._session.put(f"{self._address}/json/new?about:blank") as response:
            target = await response.json(content_type=None)
        async with self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = _Tab(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await tab.call(f"{domain}.enable")
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            await tab.call("Emulation.setDeviceMetricsOverride", **size)
            theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            await tab.call("Emulation.setEmulatedMedia", features=theme)
            await tab.call("Page.navigate", url=page.as_uri())
            await tab.until("Page.loadEventFired")
            values = []
            for expression in ask:
                found = await tab.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
                assert "exceptionDetails" not in found, found
                values.append(found["result"].get("value"))
            shot = await tab.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        async with self._session.get(f"{self._address}/json/close/{target['id']}"):
            pass
        return Seen(
            tab.said, [url for url in tab.fetched if url != page.as_uri()], values, base64.b64decode(shot["data"])
        )


class _Tab:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.said: list[str] = []
        self.fetched: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._events: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._receive()
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    async def until(self, event: str) -> None:
        while event not in self._events:
            await self._receive()

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._socket.receive_json(timeout=START_SECONDS)
        method, parameters = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.said.append(str(parameters["args"]))
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.said.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            self.fetched.append(parameters["request"]["url"])
        return message


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser while the context lasts."""
    found = program()
    assert found is not None, HOW_TO_ENABLE
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            found, *FLAGS, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
                told = Path(profile) / "DevToolsActivePort"
                while not told.is_file() or not told.read_text().strip():
                    assert process.returncode is None, f"{found} ended with {process.returncode}"
                    await asyncio.sleep(0.1)
                yield Browser(session, int(told.read_text().split()[0]))
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
