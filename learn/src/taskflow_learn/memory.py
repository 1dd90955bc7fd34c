"""
Memory: what the process uses, what it remembers, and two caches, of which one is wrong.

The wrong one only grows. A program that forgets to forget works for a day and is killed in the night. The right one has
a limit and throws out its oldest entry, used or not. Both are here to be filled and watched.

`tracemalloc` can say which line allocated what, and slows every allocation down for it; so it is switched on by the
first leak and off when the caches are cleared. The collector (`gc`) only finds objects that refer to each other in a
circle: a list that is still reachable, like our leak, is no garbage to any collector.
"""

import asyncio
import gc
import os
import resource
import sys
import tracemalloc
from collections import OrderedDict, deque
from itertools import count
from pathlib import Path
from time import monotonic

from taskflow_learn.clock import timestamp
from taskflow_learn.config import HOME, Settings
from taskflow_learn.errors import JSONValue

LEAK_LIMIT = 1_000  # even a lesson in leaking must end: 1,000 entries of 128 KiB are 128 MB
ENTRY_KB_LIMIT = 128
SNAPSHOT_LIMIT = 60  # an hour, at one a minute
HISTORY_AGE_S = 900.0  # the clean-up forgets what is older


class Memory:
    """Histories, caches and measurements of this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = monotonic()
        self._requests: deque[tuple[float, str, str, int]] = deque(maxlen=settings.memory_request_history_limit)
        self._events: deque[tuple[float, str, str]] = deque(maxlen=settings.memory_event_history_limit)
        self._snapshots: deque[JSONValue] = deque(maxlen=SNAPSHOT_LIMIT)
        self._leak: list[bytes] = []
        self._safe: OrderedDict[int, bytes] = OrderedDict()
        self._keys = count()

    @property
    def uptime_s(self) -> float:
        return round(monotonic() - self._started, 3)

    def remember_request(self, method: str, path: str, status: int) -> None:
        self._requests.append((monotonic(), method, path, status))  # a full deque drops its oldest entry by itself

    def remember_event(self, event: str, task_id: str) -> None:
        self._events.append((monotonic(), event, task_id))

    def leak(self, entries: int, size_kb: int) -> None:
        """Keep *entries* for ever. Bounded per call and in all, because it is a lesson."""
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        room = LEAK_LIMIT - len(self._leak)
        for _ in range(min(entries, self._settings.memory_leak_batch_limit, room)):
            self._leak.append(_entry(size_kb))

    def fill_safely(self, entries: int, size_kb: int) -> None:
        """Keep *entries* as long as there is room for them, and let go of the oldest."""
        for _ in range(entries):
            self._safe[next(self._keys)] = _entry(size_kb)
            if len(self._safe) > self._settings.memory_safe_cache_limit:
                self._safe.popitem(last=False)

    def clear(self) -> None:
        """Let go of both caches and collect."""
        self._leak.clear()
        self._safe.clear()
        tracemalloc.stop()
        gc.collect()

    def usage(self) -> dict[str, JSONValue]:
        """Return what the process occupies, in bytes."""
        sizes = _sizes()
        return {
            "rss": sizes["rss"],
            "heapTotal": sizes["data"],
            "heapUsed": sizes["anonymous"],
            "external": sizes["files"],
            "arrayBuffers": sum(map(len, self._leak)) + sum(map(len, self._safe.values())),
        }

    def stats(self) -> dict[str, JSONValue]:
        """Return the usage, and how full everything is that could grow."""
        settings = self._settings
        return {
            "memory": self.usage(),
            "requestHistorySize": len(self._requests),
            "eventHistorySize": len(self._events),
            "safeCacheSize": len(self._safe),
            "intentionalLeakCacheSize": len(self._leak),
            "requestHistoryLimit": settings.memory_request_history_limit,
            "eventHistoryLimit": settings.memory_event_history_limit,
            "safeCacheLimit": settings.memory_safe_cache_limit,
            "intentionalLeakCacheLimit": LEAK_LIMIT,
            "leakBatchLimit": settings.memory_leak_batch_limit,
            "uptimeSeconds": self.uptime_s,
        }

    def details(self) -> dict[str, JSONValue]:
        """Return what Python knows about its own objects."""
        current, peak = tracemalloc.get_traced_memory()
        return {
            "allocatedBlocks": sys.getallocatedblocks(),
            "gcCounts": [*gc.get_count()],
            "gcCollections": [generation["collections"] for generation in gc.get_stats()],
            "isTracing": tracemalloc.is_tracing(),
            "tracedBytes": current,
            "tracedPeakBytes": peak,
            "topLines": _top_lines() if tracemalloc.is_tracing() else [],
        }

    def snapshots(self) -> list[JSONValue]:
        """Return the usage at the last clean-ups, oldest first."""
        return [*self._snapshots]

    async def run(self) -> None:
        """Forget what is old and take a snapshot, at every interval, for ever."""
        while True:
            await asyncio.sleep(self._settings.memory_cleanup_interval_ms / 1000)
            self.clean_up()

    def clean_up(self, max_age_s: float = HISTORY_AGE_S) -> None:
        oldest = monotonic() - max_age_s
        while self._requests and self._requests[0][0] < oldest:
            self._requests.popleft()
        while self._events and self._events[0][0] < oldest:
            self._events.popleft()
        self._snapshots.append({"timestamp": timestamp(), **self.usage()})


def _entry(size_kb: int) -> bytes:
    return os.urandom(16) * (size_kb * 64)  # written to, so that the kernel has to give real memory


def _sizes() -> dict[str, int]:
    """
    Return the sizes that Linux keeps of a process.

    rss: memory in use; data: heap and stacks that were asked for; anonymous: the part of rss that is ours alone;
    files: the part of rss that is mapped from files, such as the interpreter.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # no /proc, as on macOS: the highest rss so far is all we get, in bytes there
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"rss": peak, "data": peak, "anonymous": peak, "files": 0}
    values = {name: text.split() for name, _, text in (line.partition(":") for line in lines)}
    fields = {"rss": "VmRSS", "data": "VmData", "anonymous": "RssAnon", "files": "RssFile"}
    return {key: int(values[name][0]) * 1024 for key, name in fields.items()}


def _top_lines() -> list[JSONValue]:
    """Return the five lines of code that hold the most memory."""
    top = tracemalloc.take_snapshot().statistics("lineno")[:5]
    return [{"line": _short(entry.traceback[0]), "bytes": entry.size, "blocks": entry.count} for entry in top]


def _short(frame: tracemalloc.Frame) -> str:
    path = Path(frame.filename)
    return f"{path.relative_to(HOME) if path.is_relative_to(HOME) else path.name}:{frame.lineno}"
