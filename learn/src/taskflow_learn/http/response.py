"""An answer, and how it becomes bytes."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from taskflow_learn.errors import JSONValue

JSON_TYPE = "application/json; charset=utf-8"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Response:
    """
    What goes back. At most one of *body*, *stream* and *takeover* is used.

    Args:
        stream: pieces of a body that is too large, or not yet known, to hold at once.
        takeover: what happens on the connection after the head has left (a WebSocket).
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    stream: Iterator[bytes] | None = None
    takeover: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None


def json_response(data: JSONValue, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, (("Content-Type", JSON_TYPE), *headers), _to_bytes(data))


def _to_bytes(data: JSONValue) -> bytes:
    """Encode *data*. Half of a surrogate pair, unknown to UTF-8, becomes its escape: an answer always leaves."""
    return _encode(data).encode("utf-8", "backslashreplace")


def encode_head(response: Response, request_id: str, framing: str, *, keep_alive: bool) -> bytes:
    """Return the status line and headers of *response*; *framing* is the header that says where the body ends."""
    lines = [
        f"HTTP/1.1 {response.status} {_PHRASES[response.status]}",
        f"Date: {_http_date(int(time.time()))}",
        *[f"{name}: {value}" for name, value in response.headers],
        f"X-Request-Id: {request_id}",
    ]
    if framing:
        lines.append(framing)
    if response.takeover is None:
        lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


@lru_cache(maxsize=2)
def _http_date(second: int) -> str:
    """Return the date as HTTP writes it. It changes once a second, so it is made once a second."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second))
