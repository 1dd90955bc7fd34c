"""
A cache with two bounds: how many, and how old.

    cache = TimedCache(limit=100, max_age_s=60.0, now=time.monotonic)
    cache.put(key, value)       put it in, or replace it; it is new again
    cache.get(key)              the value, or None if it is not there or too old
    len(cache)                  how many are kept

- An entry that is *max_age_s* old, or older, is not given out any more, and is let go of when it is asked for.
- When there are more than *limit*, the one that was used longest ago goes. `put` and `get` are both a use.
- `get` does not make an entry younger, or an old truth would live for ever, as long as somebody asks for it.
- `sweep()` lets go of all that are too old, for a loop that calls it every minute.

`now` is a function that returns seconds. Tests pass a clock that they move by hand.
"""

from collections.abc import Callable


class TimedCache:
    def __init__(self, limit: int, max_age_s: float, now: Callable[[], float]) -> None:
        self._entries: dict[str, object] = {}

    def put(self, key: str, value: object) -> None:
        self._entries[key] = value

    def get(self, key: str) -> object | None:
        return self._entries.get(key)

    def sweep(self) -> None:
        pass

    def __len__(self) -> int:
        return len(self._entries)
