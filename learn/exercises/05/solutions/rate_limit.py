"""At most so many requests per caller and time."""

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
        now = self.now()
        self._forget(now)
        times = self.callers.get(token, [])
        if len(times) >= self.limit:
            return Response(429, retry_after_s=times[0] + self.window_s - now)
        self.callers[token] = [*times, now]
        return proceed(token)

    def _forget(self, now: float) -> None:
        """Drop what is older than a window. Looks at everybody: fine for hundreds of callers, not for millions."""
        for token, times in [*self.callers.items()]:
            recent = [time for time in times if time > now - self.window_s]
            if recent:
                self.callers[token] = recent
            else:
                del self.callers[token]
