"""Find the line that leaks."""

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

LEAST_BYTES = 100  # per round


def growing_lines(action: Callable[[], object], rounds: int = 100) -> list[tuple[str, int]]:
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        action()
        gc.collect()
        before = tracemalloc.take_snapshot()
        for _ in range(rounds):
            action()
        gc.collect()  # circles are late, and not lost
        after = tracemalloc.take_snapshot()
    finally:
        if not was_tracing:
            tracemalloc.stop()
    grown = [entry for entry in after.compare_to(before, "lineno") if entry.size_diff >= LEAST_BYTES * rounds]
    grown.sort(key=lambda entry: -entry.size_diff)
    return [(_place(entry.traceback[0]), entry.size_diff) for entry in grown]


def _place(frame: tracemalloc.Frame) -> str:
    return f"{Path(frame.filename).name}:{frame.lineno}"
