"""What a task costs in memory, by how it is written."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Slotted:
    title: str
    status: str = "pending"
    priority: int = 1


COUNT = 20_000
makers: dict[str, Callable[[str], object]] = {
    "a dict": lambda title: {"title": title, "status": "pending", "priority": 1},
    "slots": Slotted,
    "a tuple": lambda title: (title, "pending", 1),
}
for name, make in makers.items():
    tracemalloc.start()
    tasks = {number: make("write") for number in range(COUNT)}
    print(f"{name:8} {tracemalloc.get_traced_memory()[0] / COUNT:4.0f} bytes per task, its place in the store included")
    tracemalloc.stop()
