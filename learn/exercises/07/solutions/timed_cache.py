"""A cache with two bounds: how many, and how old."""

from collections import OrderedDict
from collections.abc import Callable


class TimedCache:
    def __init__(self, limit: int, max_age_s: float, now: Callable[[], float]) -> None:
        self._limit = limit
        self._max_age_s = max_age_s
        self._now = now
        self._entries: OrderedDict[str, tuple[float, object]] = OrderedDict()  # put at, value; used last stands last

    def put(self, key: str, value: object) -> None:
        self._entries[key] = self._now(), value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def get(self, key: str) -> object | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._is_old(entry):
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def sweep(self) -> None:
        for key in [key for key, entry in self._entries.items() if self._is_old(entry)]:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)

    def _is_old(self, entry: tuple[float, object]) -> bool:
        return self._now() - entry[0] >= self._max_age_s
