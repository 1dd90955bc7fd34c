"""
A line that is fair, and that people may leave.

Use `heapq` this time. Three things are missing:

- fair: among equal priorities, who came first is served first. Now it is alphabetical, by accident: tuples compare
  from left to right;
- leave: heapq cannot remove from the middle. The usual trick is to remember who left, and to skip them when they come
  to the top. It costs nothing until then;
- raise the priority of somebody who waits: they keep their arrival, so they are not behind others who came later.
"""

import heapq


class WaitingLine:
    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []

    def join(self, name: str, priority: int) -> None:
        """Names are unique: joining twice is a ValueError."""
        heapq.heappush(self._heap, (-priority, name))

    def leave(self, name: str) -> None:
        """Raise KeyError if *name* does not wait."""
        raise NotImplementedError("remember who left")

    def change(self, name: str, priority: int) -> None:
        """Give *name* another priority. Raise KeyError if *name* does not wait."""
        raise NotImplementedError("a new entry with the old arrival")

    def serve(self) -> str | None:
        """Take out the most urgent, or return None if nobody waits."""
        return heapq.heappop(self._heap)[1]

    def __len__(self) -> int:
        return len(self._heap)
