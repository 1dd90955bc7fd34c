"""Python's own count goes down at once. What the process has from the system may stay."""

import tracemalloc
from pathlib import Path


def rss_mb() -> float:
    """The memory that the system counts for us. Only on Linux; elsewhere 0."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


tracemalloc.start()
start = rss_mb()
tasks = [str(number) * 20 for number in range(60_000)]
for what in ("full", "every 2nd freed", "all freed"):
    traced = tracemalloc.get_traced_memory()[0] / 1e6
    print(f"{what:16} Python counts {traced:5.1f} MB, the system {rss_mb() - start:+6.1f} MB")
    tasks = tasks[::2] if what == "full" else []
