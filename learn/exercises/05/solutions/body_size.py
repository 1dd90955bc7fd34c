"""A link that limits the body."""

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
    if int(request.headers.get("content-length", "0")) > LIMIT:
        return _too_large()
    body = bytearray()
    for piece in request.pieces:
        body += piece
        if len(body) > LIMIT:
            return _too_large()
    request.body = bytes(body)
    return proceed(request)


def _too_large() -> Response:
    return Response(413, f"the body may have {LIMIT} bytes")
