"""A client that sends and reads at the same time, which httpx does not: one request in flight, told in messages."""

import asyncio
import json
from typing import Any

from tests.support.api import Api


class Stream:
    """One request in flight."""

    def __init__(self, api: Api, key: str, path: str, headers: dict[str, str], method: str) -> None:
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[bytes] = asyncio.Queue()
        self.status = 0
        self.headers: dict[str, str] = {}
        path, _, query = path.partition("?")
        given = {"authorization": f"Bearer {key}", **headers}
        if method == "POST":
            given["transfer-encoding"] = "chunked"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
            "scheme": "http",
        }
        self.task = asyncio.ensure_future(api.app(scope, self._to_app.get, self._take))
        self._text = b""

    async def _take(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message.get("body"):
            self._from_app.put_nowait(message["body"])

    @property
    def is_read(self) -> bool:
        """Whether the application has taken all that was sent."""
        return self._to_app.empty()

    async def send(self, data: bytes, *, more: bool = True) -> None:
        await self._to_app.put({"type": "http.request", "body": data, "more_body": more})

    async def leave(self) -> None:
        await self._to_app.put({"type": "http.disconnect"})

    async def part(self, end: bytes, timeout_s: float = 5.0) -> bytes:
        """Return what comes next, up to *end*."""
        while end not in self._text:
            self._text += await asyncio.wait_for(self._from_app.get(), timeout_s)
        found, _, self._text = self._text.partition(end)
        return found

    async def line(self) -> Any:
        return json.loads(await self.part(b"\n"))

    async def ended(self, timeout_s: float = 5.0) -> None:
        await asyncio.wait_for(asyncio.shield(self.task), timeout_s)


class streaming:  # noqa: N801 -- reads as a function
    """Open a request and end it, whatever happens."""

    def __init__(self, api: Api, key: str, path: str, *, method: str = "POST", **headers: str) -> None:
        self._given = api, key, path, headers, method

    async def __aenter__(self) -> Stream:
        self._stream = Stream(*self._given)
        return self._stream

    async def __aexit__(self, *_: object) -> None:
        await self._stream.leave()
        await self._stream.ended()
