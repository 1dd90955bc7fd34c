"""
The `taskflow` command with kinds of its own, one of which kills the process that it runs in.

    python -m tests.support.poisoned worker …
"""

import asyncio
import os
import signal
import time
from contextlib import nullcontext, suppress

import msgspec

from taskflow.apps import worker
from taskflow.apps.cli import main
from taskflow.engine.registry import JobContext, Registry

QUEUE = "poisoned"
NEIGHBOURS = 49

_begun = 0
_all_begun = asyncio.Event()


class Nothing(msgspec.Struct):
    """The payload."""


async def neighbour(ctx: JobContext, payload: Nothing) -> int:
    """Run until the process dies; in the next attempt, return."""
    global _begun
    _begun += 1
    if _begun == NEIGHBOURS:
        _all_begun.set()
    if ctx.attempt == 1:
        await asyncio.sleep(3600)
    return os.getpid()


async def poison(ctx: JobContext, payload: Nothing) -> None:
    """Wait until all neighbours are running beside it, if they ever do, and kill the process."""
    if ctx.attempt == 1:
        await _all_begun.wait()
    os.kill(os.getpid(), signal.SIGKILL)


def neighbour_alone(ctx: JobContext, payload: Nothing) -> int:
    return os.getpid()


def poison_alone(ctx: JobContext, payload: Nothing) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_itself(ctx: JobContext, payload: Nothing) -> None:
    """Ask its process to end, politely."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def kill_worker(ctx: JobContext, payload: Nothing) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def stop_worker(ctx: JobContext, payload: Nothing) -> int:
    """Tell the worker to end, and say which one it is."""
    os.kill(os.getppid(), signal.SIGTERM)
    return os.getppid()


def stay_alone(ctx: JobContext, payload: Nothing) -> None:
    """Say which process this is, and stay whatever happens."""
    ctx.log(str(os.getpid()))
    while ctx.attempt == 1:
        with suppress(BaseException):
            time.sleep(60)


async def block(ctx: JobContext, payload: Nothing) -> int:
    """Hold on to the event loop, in the first attempt for ever."""
    while ctx.attempt == 1:
        pass
    return os.getpid()


def load_jobs(_settings: object) -> tuple[Registry, worker.Lifespan]:
    registry = Registry()
    handlers = (
        neighbour,  poison, neighbour_alone, poison_alone, end_itself, kill_worker, stop_worker, stay_alone, block,
    )  # fmt: skip
    for handler in handlers:
        register = registry.job(handler.__name__, payload=Nothing, queue=QUEUE, backoff=lambda failures: 0.0)
        register(handler)
    return registry, lambda: nullcontext({})


if __name__ == "__main__":
    worker.COMMAND = "tests.support.poisoned"
    worker.load_jobs = load_jobs  # type: ignore[assignment]  # it needs no settings
    main()
