"""A line that is fair, and that people may leave."""

import heapq
from itertools import count


class WaitingLine:
    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []  # (-priority, arrival, name); may hold entries that are out of date
        self._current: dict[str, tuple[int, int, str]] = {}  # name → the one entry that counts
        self._arrivals = count()

    def join(self, name: str, priority: int) -> None:
        """Names are unique: joining twice is a ValueError."""
        if name in self._current:
            raise ValueError(f"{name} waits already")
        self._enter(name, priority, next(self._arrivals))

    def leave(self, name: str) -> None:
        """Raise KeyError if *name* does not wait."""
        del self._current[name]

    def change(self, name: str, priority: int) -> None:
        """Give *name* another priority. Raise KeyError if *name* does not wait."""
        self._enter(name, priority, self._current[name][1])

    def serve(self) -> str | None:
        """Take out the most urgent, or return None if nobody waits."""
        while self._heap:
            entry = heapq.heappop(self._heap)
            if self._current.get(entry[2]) == entry:
                del self._current[entry[2]]
                return entry[2]
        return None

    def __len__(self) -> int:
        return len(self._current)

    def _enter(self, name: str, priority: int, arrival: int) -> None:
        self._current[name] = (-priority, arrival, name)
        heapq.heappush(self._heap, self._current[name])
