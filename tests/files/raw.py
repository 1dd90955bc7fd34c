"""Requests as ASGI messages, for clients that no library is: those that leave, and those that keep nothing."""

import asyncio
from collections.abc import AsyncIterator, Mapping, MutableMapping
from typing import Any

from tests.support.api import Api


def scope_of(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }


async def upload_raw(
    api: Api, key: str, messages: list[dict[str, Any]], headers: Mapping[str, str]
) -> list[MutableMapping[str, Any]]:
    """Upload what *messages* say; return what is answered."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    said = {**headers, "Authorization": f"Bearer {key}", "Transfer-Encoding": "chunked"}
    await api.app(scope_of("POST", "/api/v1/files", said), receive, send)
    return sent


async def download_raw(api: Api, key: str, file_id: str) -> AsyncIterator[MutableMapping[str, Any]]:
    """Yield the messages of the answer one by one, to their end or to where they break off."""
    messages: asyncio.Queue[MutableMapping[str, Any] | None] = asyncio.Queue(maxsize=1)

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def answer() -> None:
        scope = scope_of("GET", f"/api/v1/files/{file_id}/content", {"Authorization": f"Bearer {key}"})
        await api.app(scope, receive, messages.put)
        await messages.put(None)

    task = asyncio.ensure_future(answer())
    while (message := await messages.get()) is not None:
        yield message
    await task
