r"""
The head of a request: from bytes to a method, a target and headers.

    GET /tasks?limit=5 HTTP/1.1\r\n
    Host: localhost:3000\r\n
    Authorization: Bearer ...\r\n
    \r\n

The rules look fussy, and each is a closed door. When two programs in a row (a proxy and a server) read the same bytes
differently, a request can hide inside another one: request smuggling. So nothing here is guessed or repaired. A space
before a colon, a folded line, a bare line feed, two lengths: 400, and the connection ends.

Source: RFC 9112, sections 2 to 6 and 11.2.
"""

import re
from dataclasses import dataclass

from taskflow_learn.errors import Code, Refusal
from taskflow_learn.http.limits import Limits

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) (\S+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*(.*?)[ \t]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # the last 32 are the C1 controls, of which terminals know some
_TARGET = re.compile(r"[!-~]+")  # visible ASCII; anything else must be percent-encoded
_SINGLE = frozenset(
    {"host", "content-length", "authorization", "sec-websocket-key"}
)  # two of these is an attack or a bug


@dataclass(slots=True)
class Head:
    """A request without its body. Header names are in lower case; repeated headers are joined by a comma."""

    method: str
    target: str
    version: tuple[int, int]
    headers: dict[str, str]

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to send another request: the default since HTTP/1.1."""
        options = {option.strip() for option in self.headers.get("connection", "").lower().split(",")}
        return "close" not in options if self.version >= (1, 1) else "keep-alive" in options

    @property
    def is_chunked(self) -> bool:
        return "transfer-encoding" in self.headers

    @property
    def content_length(self) -> int:
        return int(self.headers.get("content-length", "0"))


def parse_head(data: bytes, limits: Limits) -> Head:
    """Return the head in *data*, which ends before the empty line. Raise `Refusal` for anything that is not plain."""
    request_line, *lines = data.decode("latin-1").split("\r\n")
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        raise Refusal(Code.BAD_REQUEST, "the request line must be: METHOD SP target SP HTTP/1.1")
    method, target, major, minor = match.groups()
    if major != "1":
        raise Refusal(Code.VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    if len(target) > limits.target_bytes:
        raise Refusal(
            Code.URI_TOO_LONG, f"the target may have {limits.target_bytes} bytes", {"max": limits.target_bytes}
        )
    if len(lines) > limits.header_count:
        raise Refusal(
            Code.HEADERS_TOO_LARGE, f"a request may have {limits.header_count} headers", {"max": limits.header_count}
        )
    head = Head(method, _origin_form(target), (1, int(minor)), _parse_headers(lines))
    _check_framing(head)
    return head


def _origin_form(target: str) -> str:
    """Return `/path?query`, also for a proxy's `http://host/path?query`."""
    if target.startswith("http://"):
        target = "/" + target.removeprefix("http://").partition("/")[2]
    if not target.startswith("/") or not _TARGET.fullmatch(target):
        raise Refusal(Code.BAD_REQUEST, "the target must be a path that starts with / and is percent-encoded")
    return target


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None or _CONTROL.search(line):
            raise Refusal(Code.BAD_REQUEST, "a header line must be: name, colon, value")
        name, value = match[1].lower(), match[2]
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise Refusal(Code.BAD_REQUEST, f"the header {name} may appear once", {"field": name})
        else:
            headers[name] += f", {value}"
    return headers


def _check_framing(head: Head) -> None:
    """Make sure that there is exactly one way to say where the body ends."""
    headers = head.headers
    if head.version >= (1, 1) and "host" not in headers:
        raise Refusal(Code.BAD_REQUEST, "HTTP/1.1 requires a Host header", {"field": "host"})
    length = headers.get("content-length")
    if length is not None and not (length.isascii() and length.isdigit() and len(length) <= 18):
        raise Refusal(Code.BAD_REQUEST, "Content-Length must be digits", {"field": "content-length"})
    encoding = headers.get("transfer-encoding")
    if encoding is None:
        return
    if length is not None or head.version < (1, 1):
        raise Refusal(Code.BAD_REQUEST, "Transfer-Encoding stands against Content-Length or HTTP/1.0")
    if encoding.lower() != "chunked":
        raise Refusal(Code.NOT_IMPLEMENTED, "the only transfer coding here is chunked", {"field": "transfer-encoding"})
