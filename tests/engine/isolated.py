"""
Handlers that must behave alike wherever they run, for the conformance suite; also the program of its child processes.

    python -m tests.engine.isolated sync|async FD
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from taskflow.engine.isolation.child import ChildProcess
from taskflow.engine.isolation.limits import die_with_parent
from taskflow.engine.isolation.process import ChildCommand
from taskflow.engine.job import MAX_RESULT_BYTES
from taskflow.engine.registry import Cancel, Isolation, JobContext, Registry, Retry, Snooze
from taskflow.kernel.errors import ExternalError, Permanent

ROOT = Path(__file__).parents[2]
MEMORY_MB = 64
CPU_S = 1

VERDICTS: Mapping[str, Callable[[], BaseException]] = {
    "retry": lambda: Retry(7.5),
    "snooze": lambda: Snooze(60),
    "cancel": Cancel,
    "permanent": lambda: Permanent("no such address"),
    "rejected": lambda: ExternalError("rejected", transient=False),
    "busy": lambda: ExternalError("busy", transient=True, retry_after_s=90),
    "error": lambda: KeyError("missing"),
    "exit": lambda: SystemExit(3),
}


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    """What a handler shall do. *path* is a file that it makes once it has begun, or waits for."""

    what: str = ""
    path: str = ""
    size: int = 0


def command(mode: str, **more: str) -> ChildCommand:
    """How to start a child. With *TOLD_TO_END*, the first one is told to end as it opens, and writes its pid there."""
    environ = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": os.environ["PATH"], **more}
    return ChildCommand([sys.executable, "-m", "tests.engine.isolated", mode], environ)


def make_registry(isolation: Isolation, mode: str) -> Registry:
    """Every handler, as sync or async functions."""
    registry = Registry()
    wrap = _async if mode == "async" else _sync

    def add(kind: str, handler: Callable[[JobContext, Ask], Any], **options: Any) -> None:
        registry.job(kind, payload=Ask, isolation=isolation, **options)(wrap(handler))

    add("echo", _echo)
    add("large", lambda ctx, ask: "x" * (MAX_RESULT_BYTES - 2))
    add("too_large", lambda ctx, ask: "x" * MAX_RESULT_BYTES)
    add("opaque", lambda ctx, ask: object())
    add("log", _log)
    add("print", _print)
    add("raise", _raise)
    add("who", lambda ctx, ask: {"pid": os.getpid(), "main": threading.current_thread() is threading.main_thread()})
    registry.job("wait", payload=Ask, isolation=isolation)(_wait_async if mode == "async" else _wait)
    registry.job("swallow", payload=Ask, isolation=isolation)(_swallow_async if mode == "async" else _swallow)
    registry.job("stubborn", payload=Ask, isolation=isolation)(_stubborn_async if mode == "async" else _stubborn)
    if isolation == "process":
        add("kill", lambda ctx, ask: os.kill(os.getpid(), getattr(signal, ask.what)))
        add("leave", lambda ctx, ask: os._exit(ask.size))
        add("spin", _spin, cpu_limit_s=CPU_S)
        add("hog", _hog, memory_limit_mb=MEMORY_MB)
        add("breed", _breed)
        add("state", lambda ctx, ask: ctx.state["opened_by"])
    return registry


@asynccontextmanager
async def lifespan() -> AsyncIterator[Mapping[str, Any]]:
    if (told := os.environ.get("TOLD_TO_END")) and not Path(told).exists():
        Path(told).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(None):  # must be left by the task that entered it
        yield {"opened_by": os.getpid()}


def _sync(handler: Callable[[JobContext, Ask], Any]) -> Callable[[JobContext, Ask], Any]:
    def call(ctx: JobContext, ask: Ask) -> Any:
        return handler(ctx, ask)

    return call


def _async(handler: Callable[[JobContext, Ask], Any]) -> Callable[[JobContext, Ask], Any]:
    async def call(ctx: JobContext, ask: Ask) -> Any:
        await asyncio.sleep(0)
        return handler(ctx, ask)

    return call


def _echo(ctx: JobContext, ask: Ask) -> dict[str, Any]:
    return {
        "what": ask.what,
        "attempt": ctx.attempt,
        "failures": ctx.failures,
        "kind": ctx.kind,
        "queue": ctx.queue,
        "headers": dict(ctx.headers),
        "job_id": str(ctx.job_id),
        "has_time": 29 < ctx.remaining_s <= 30,
        "cancelled": ctx.cancelled,
    }


def _log(ctx: JobContext, ask: Ask) -> None:
    for number in range(ask.size):
        ctx.log(f"line {number}", "warning" if number == 1 else "info")


def _print(ctx: JobContext, ask: Ask) -> str:
    """Say something past the job's log, in every way there is."""
    print("printed by a handler")  # noqa: T201
    os.write(1, b"\x00\x00\x00\x01 written by a handler\n")
    os.write(2, b"\xff" * ask.size)
    ctx.log("logged by a handler")
    return "done"


def _raise(ctx: JobContext, ask: Ask) -> None:
    raise VERDICTS[ask.what]()


def _begun(ask: Ask) -> None:
    Path(ask.path).touch()


async def _wait_async(ctx: JobContext, ask: Ask) -> None:
    _begun(ask)
    try:
        await asyncio.sleep(3600)
    finally:
        ctx.log("cleaned up")


def _wait(ctx: JobContext, ask: Ask) -> None:
    """Wait like a good sync handler: it looks at its context, and in a process it is interrupted."""
    _begun(ask)
    try:
        while not ctx.cancelled:
            time.sleep(0.005)
        raise KeyError("it was told to end")
    finally:
        ctx.log("cleaned up")


async def _swallow_async(ctx: JobContext, ask: Ask) -> str:
    _begun(ask)
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)
    return f"cancelled={ctx.cancelled}"


def _swallow(ctx: JobContext, ask: Ask) -> str:
    _begun(ask)
    with suppress(BaseException):
        while not ctx.cancelled:
            time.sleep(0.005)
    return f"cancelled={ctx.cancelled}"


async def _stubborn_async(ctx: JobContext, ask: Ask) -> None:
    """End when the file is gone, and for no other reason."""
    _begun(ask)
    while Path(ask.path).exists():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.005)


def _stubborn(ctx: JobContext, ask: Ask) -> None:
    _begun(ask)
    while Path(ask.path).exists():
        with suppress(BaseException):
            time.sleep(0.005)


def _spin(ctx: JobContext, ask: Ask) -> None:
    """Use CPU time for *size* seconds."""
    until_s = time.process_time() + ask.size
    while time.process_time() < until_s:
        sum(range(10_000))


def _hog(ctx: JobContext, ask: Ask) -> int:
    """Take *size* MiB."""
    return len(bytearray(ask.size * 1024 * 1024))


def _breed(ctx: JobContext, ask: Ask) -> None:
    """Start a process, say its number in the file, and wait for it."""
    process = subprocess.Popen(["sleep", "3600"])
    Path(ask.path).write_text(str(process.pid))
    process.wait()


if __name__ == "__main__":
    die_with_parent()
    ChildProcess(int(sys.argv[2]), make_registry("process", sys.argv[1]), lifespan).run()
