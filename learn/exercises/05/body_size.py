"""
A link that limits the body: over one megabyte is 413.

A request here has `headers` (names in lower case) and `pieces`, which is the body as it comes from the network: it may
be walked over once, and every piece that is taken has cost bandwidth and memory. The link puts the whole body into
`request.body` and proceeds, or returns an answer with status 413 that names the limit.

There are two ways to learn that a body is too large. One is that the client says so, in Content-Length: then do not
take a single piece. The other is to count, because a client may send chunks without a length, or say too little.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

LIMIT = 1_048_576  # bytes


@dataclass
class Request:
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterable[bytes] = ()
    body: bytes = b""


@dataclass
class Response:
    status: int
    text: str = ""


Handler = Callable[[Request], Response]


def body_size(request: Request, proceed: Handler) -> Response:
    request.body = b"".join(request.pieces)
    return proceed(request)
