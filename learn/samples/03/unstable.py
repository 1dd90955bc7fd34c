"""Among equals, a plain heap has no idea who came first."""

import heapq


class Task:
    def __init__(self, title: str, priority: int) -> None:
        self.title, self.priority = title, priority

    def __lt__(self, other: "Task") -> bool:
        return self.priority > other.priority  # heapq gives the smallest first; we want the greatest


heap: list[Task] = []
for title in ("first", "second", "third", "fourth", "fifth"):
    heapq.heappush(heap, Task(title, priority=5))
print("arrived: first second third fourth fifth")
print("served: ", *(heapq.heappop(heap).title for _ in range(5)))
