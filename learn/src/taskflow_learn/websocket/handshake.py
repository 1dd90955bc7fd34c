"""
The handshake: an HTTP request that asks to stop being HTTP.

The client sends 16 random bytes, the server returns their hash with a fixed string that only a WebSocket server would
add. This is no security: it proves that the other side has understood, and is not a cache that repeats an old answer.

Source: RFC 6455, section 4.2.
"""

import base64
import hashlib
from urllib.parse import urlsplit

from taskflow_learn.errors import Code, Refusal
from taskflow_learn.http.request import Request

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_VERSION = (("Sec-WebSocket-Version", "13"),)


def accept_headers(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the headers of the 101 answer. Raise `Refusal` 400 if this is no WebSocket handshake."""
    headers = request.headers
    if request.method != "GET" or headers.get("upgrade", "").lower() != "websocket":
        raise Refusal(Code.BAD_REQUEST, "this path speaks WebSocket: GET with Upgrade: websocket", headers=_VERSION)
    if "upgrade" not in [option.strip().lower() for option in headers.get("connection", "").split(",")]:
        raise Refusal(Code.BAD_REQUEST, "the Connection header must name Upgrade", {"field": "connection"})
    if headers.get("sec-websocket-version") != "13":
        raise Refusal(
            Code.BAD_REQUEST, "Sec-WebSocket-Version must be 13", {"field": "sec-websocket-version"}, headers=_VERSION
        )
    key = headers.get("sec-websocket-key", "")
    if not _is_key(key):
        raise Refusal(Code.BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in Base64", {"field": "sec-websocket-key"})
    return (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key)))


def accept_key(key: str) -> str:
    """Return the answer to a client's *key*."""
    digest = hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def check_origin(request: Request) -> None:
    """
    Refuse pages of other sites. For a server without tokens: a browser lets any page open a socket to localhost.

    Programs that are not browsers send no `Origin`, and nothing is asked of them.
    """
    origin = request.headers.get("origin")
    if origin is not None and not _names(origin, request.headers.get("host")):
        raise Refusal(Code.FORBIDDEN, "this Origin may not open a socket here", {"field": "origin"})


def _names(origin: str, host: str | None) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # no address at all, such as `http://[`
        return False


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:  # not Base64, or not even ASCII
        return False
