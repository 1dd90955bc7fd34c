"""What the system enforces on a child process: memory, CPU time, and that it does not outlive its worker."""

import ctypes
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MIB = 1024 * 1024
_PR_SET_PDEATHSIG = 1
_STATM = Path("/proc/self/statm")
_OOM_SCORE = Path("/proc/self/oom_score_adj")
OOM_SCORE = "500"  # when memory runs out, a child goes before its worker and before PostgreSQL


def die_with_parent() -> None:
    """
    Let the kernel kill this process when the thread that started it ends. Linux only; elsewhere the channel tells.

    If the parent has gone already the signal never comes: whoever calls this looks at its channel afterwards.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        with suppress(OSError):
            _OOM_SCORE.write_text(OOM_SCORE)


@contextmanager
def limited(memory_limit_mb: int | None, cpu_limit_s: int | None) -> Iterator[None]:
    """
    Bound what this process may use meanwhile, besides what it has used before.

    Over memory, allocations fail (MemoryError). Over CPU time the kernel ends the process by SIGXCPU, which code that
    never comes back to Python cannot escape. Soft limits, taken off at the end, so that a child can be used again.
    """
    before = []
    if memory_limit_mb is not None and (mapped := _mapped_bytes()) is not None:
        before.append((resource.RLIMIT_AS, mapped + memory_limit_mb * _MIB))
    if cpu_limit_s is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        before.append((resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime + cpu_limit_s)))
        before.append((resource.RLIMIT_CORE, 0))
    restore = [(what, resource.getrlimit(what)) for what, _ in before]
    try:
        for what, soft in before:
            _, hard = resource.getrlimit(what)
            resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
        yield
    finally:
        for what, limits in restore:
            resource.setrlimit(what, limits)


def _mapped_bytes() -> int | None:
    """The size of this process' address space; None where the system does not say, and does not enforce it either."""
    try:
        return int(_STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
