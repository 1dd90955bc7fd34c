"""
What workers compute. Plain functions of plain data: they can run in a worker or, to show what that does to everybody
else, on the event loop itself.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from taskflow_learn.clock import timestamp
from taskflow_learn.errors import JSONValue

HIGH_PRIORITY, MEDIUM_PRIORITY = 8, 4


def burn(iterations: int) -> int:
    """Keep one core busy for some 50 ns per iteration, and return a number that depends on all of them."""
    score = 0
    for i in range(iterations):
        score = (score + i) & 0xFFFF
    return score


def run_cpu(data: Mapping[str, Any]) -> JSONValue:
    """Burn, and say how long it took and where."""
    started = perf_counter()
    result = burn(data["iterations"])
    return {
        "threadId": os.getpid(),
        "iterations": data["iterations"],
        "result": result,
        "durationMs": _since(started),
    }


def run_report(data: Mapping[str, Any]) -> JSONValue:
    """Count tasks. *data* holds `tasks`, rows of (id, status, priority, dependencies), and `heavyIterations`."""
    started = perf_counter()
    tasks: Sequence[tuple[str, str, int, list[str]]] = data["tasks"]
    finished = {task_id for task_id, status, _, _ in tasks if status == "completed"}
    by_status = {"pending": 0, "in-progress": 0, "completed": 0, "other": 0}
    by_priority = {"high": 0, "medium": 0, "low": 0}
    blocked = total_dependencies = 0
    for _, status, priority, dependencies in tasks:
        by_status[status if status in by_status else "other"] += 1
        by_priority[_band(priority)] += 1
        total_dependencies += len(dependencies)
        blocked += status != "completed" and not finished.issuperset(dependencies)
    return {
        "threadId": os.getpid(),
        "summary": {
            "totalTasks": len(tasks),
            "blockedTasks": blocked,
            "unblockedTasks": len(tasks) - blocked,
            "totalDependencies": total_dependencies,
        },
        "byStatus": {**by_status},
        "byPriority": {**by_priority},
        "syntheticCpuScore": burn(data["heavyIterations"]),
        "generatedAt": timestamp(),
        "durationMs": _since(started),
    }


def _band(priority: int) -> str:
    if priority >= HIGH_PRIORITY:
        return "high"
    return "medium" if priority >= MEDIUM_PRIORITY else "low"


def _since(started: float) -> float:
    return round((perf_counter() - started) * 1000, 3)


COMPUTATIONS: Mapping[str, Callable[[Mapping[str, Any]], JSONValue]] = {"cpu": run_cpu, "report": run_report}
