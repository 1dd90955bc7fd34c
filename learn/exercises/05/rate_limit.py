"""
A link of your own: at most so many requests per caller and time.

Each caller, known by their token, may send `limit` requests in `window_s` seconds. One more is answered with status 429
and `retry_after_s`: how long until they may come again. Windows slide: what counts are the requests of the last
`window_s` seconds, whenever they came.

The clock is a parameter, so that tests need not wait: `now()` returns seconds. A refused request does not count. And
whoever has not come for a window is forgotten: a table of everybody who ever came is a leak.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Response:
    status: int
    retry_after_s: float | None = None


Handler = Callable[[str], Response]


class RateLimit:
    def __init__(self, limit: int, window_s: float, now: Callable[[], float]) -> None:
        self.limit = limit
        self.window_s = window_s
        self.now = now
        self.callers: dict[str, list[float]] = {}  # token → when they came, oldest first

    def __call__(self, token: str, proceed: Handler) -> Response:
        return proceed(token)
