"""
The child process of a process-isolated attempt: one handler at a time, until the channel ends.

The worker's registry and lifespan are loaded here by the same code; this module is given them. The lifespan lives in a
task of its own from beginning to end. An async handler runs on the event loop; a sync one runs outside of it, in the
main thread, so that it may use asyncio itself, and so that SIGTERM can interrupt it: `Stopped` is raised in it.

Nothing here is trusted to end in time. Whoever waits at the other end kills what does not, and the channel's end, or
the parent's (`limits.die_with_parent`), is the end of this process.
"""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from contextvars import copy_context
from types import FrameType
from typing import Any

import msgspec

from taskflow.engine.context import JobContext
from taskflow.engine.isolation.channel import (
    LENGTH,
    Begun,
    Ended,
    Line,
    Progress,
    Ready,
    Run,
    Said,
    decode_run,
    frame,
    length_of,
)
from taskflow.engine.isolation.ending import Ending, bad_payload, raised, returned
from taskflow.engine.isolation.limits import limited
from taskflow.engine.job import Claim, NewLogLine, NewProgress
from taskflow.engine.registry import Kind, Registry
from taskflow.kernel.processes import EXIT_ORPHANED, wait_for_hang_up
from taskflow.telemetry.tracing import inside

LEAVE_S = 5.0  # how long the process may live on once the channel has ended


class Stopped(BaseException):
    """Raised in a sync handler that was told to end. Catch it to clean up, and let it go on."""


class _Caught:
    """What an async handler raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class ChildProcess:
    """
    See the module. `run` returns when the channel ends.

    Args:
        fd: this process' end of the channel, owned from now on.
        lifespan: opened before the first attempt; what it gives is at `ctx.state`.
    """

    def __init__(
        self,
        fd: int,
        registry: Registry,
        lifespan: Callable[[], AbstractAsyncContextManager[Mapping[str, Any]]] = lambda: nullcontext({}),
    ) -> None:
        self._socket = socket.socket(fileno=fd)
        self._registry = registry
        self._lifespan = lifespan
        self._state: Mapping[str, Any] = {}
        self._voice = threading.Lock()  # handlers may log from threads of their own
        self._context: JobContext | None = None
        self._interruptible = False  # a sync handler is running in the main thread
        self._speaking = False  # in the middle of a message: an interruption has to wait
        self._owed = False  # such an interruption
        self._task: asyncio.Task[Any] | None = None
        self._leaving = False  # told to end while there was no attempt: it takes no other
        self._leave: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Take attempts until there are no more. Call it in the main thread."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's business is with the supervisor
        signal.signal(signal.SIGTERM, self._on_term)
        threading.Thread(target=_end_after, args=(os.dup(self._socket.fileno()), LEAVE_S), daemon=True).start()
        with asyncio.Runner() as runner:
            closing = runner.run(self._open())
            self._say(Ready())
            while (run := runner.run(self._next())) is not None and not self._leaving:
                with inside(run.trace):
                    self._attempt(runner, run.claim)
            runner.run(closing())

    async def _open(self) -> Callable[[], Any]:
        """Open the lifespan in a task that will close it too; return how to have that done."""
        opened, close = asyncio.Event(), asyncio.Event()

        async def live() -> None:
            async with self._lifespan() as self._state:
                opened.set()
                await close.wait()

        living = asyncio.create_task(live(), name="taskflow-lifespan")
        opening = asyncio.create_task(opened.wait())
        await asyncio.wait({living, opening}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            opening.cancel()
            await living

        async def closing() -> None:
            close.set()
            await living

        return closing

    async def _next(self) -> Run | None:
        """Wait for an attempt, with the event loop running; None when there will be none."""
        loop = asyncio.get_running_loop()
        due: asyncio.Future[bool] = loop.create_future()

        def look(more: bool) -> None:
            if not due.done():
                due.set_result(more)

        self._leave = lambda: look(False)
        loop.add_reader(self._socket, look, True)
        try:
            if self._leaving or not await due:
                return None
        finally:
            loop.remove_reader(self._socket)
        try:
            return decode_run(self._receive(length_of(self._receive(LENGTH.size))))
        except (EOFError, OSError):
            return None

    def _attempt(self, runner: asyncio.Runner, claim: Claim) -> None:
        self._context = JobContext(claim, self._state, self)
        worn = False
        try:
            kind = self._registry[claim.kind]
            payload = kind.decode(claim.payload)
        except msgspec.ValidationError as error:
            ending: Ending = bad_payload(error)
            self._say(Begun())
        except Exception as error:  # noqa: BLE001 -- a payload's own checks failed: the attempt must not hang on it
            ending = raised(error)
            self._say(Begun())
        else:
            self._say(Begun())
            ending, worn = self._call(runner, kind, self._context, payload)
        told = self._context.cancelled
        self._context = None
        self._say(Ended(ending, worn, told))

    def _call(self, runner: asyncio.Runner, kind: Kind[Any], context: JobContext, payload: Any) -> tuple[Ending, bool]:
        """Call the handler under its limits; also say whether the process has suffered."""
        try:
            with limited(kind.memory_limit_mb, kind.cpu_limit_s):
                if kind.is_async:
                    result = runner.run(self._work(kind, context, payload), context=copy_context())
                else:
                    result = self._work_sync(kind, context, payload)
        except BaseException as caught:  # noqa: BLE001 -- the edge of an attempt
            result = _Caught(caught)
        try:
            if not isinstance(result, _Caught):
                return returned(result), False
            # An interrupted library may have been left in any state; a cancelled coroutine has cleaned up.
            return raised(result.error), isinstance(result.error, (MemoryError, Stopped))
        except Exception as unprintable:  # noqa: BLE001 -- an exception whose own text fails
            return raised(unprintable), True

    def _work_sync(self, kind: Kind[Any], context: JobContext, payload: Any) -> Any:
        try:
            self._interruptible = True
            if context.cancelled:  # told in the moment before
                raise Stopped("told to end")
            return kind.handler(context, payload)
        finally:
            self._interruptible = False

    async def _work(self, kind: Kind[Any], context: JobContext, payload: Any) -> Any:
        """Return what the handler returned, or what it raised: out of a task, some exceptions would stop the loop."""
        self._task = asyncio.current_task()
        try:
            if context.cancelled:  # told in the moment before
                return _Caught(Stopped("told to end"))
            return await kind.handler(context, payload)
        except BaseException as error:  # noqa: BLE001 -- the edge of an attempt
            return _Caught(error)
        finally:
            self._task = None

    def _on_term(self, _signum: int, _frame: FrameType | None) -> None:
        loop = self._task.get_loop() if self._task is not None else None
        if self._context is None:
            self._leaving = True
            self._leave()
            return
        self._context.cancelled = True
        if loop is not None and self._task is not None:
            loop.call_soon_threadsafe(self._task.cancel)
        elif self._interruptible and self._speaking:
            self._owed = True
        elif self._interruptible:
            raise Stopped("told to end")

    # The channel -----------------------------------------------------------------------------------------------------

    def write_line(self, line: NewLogLine) -> None:
        """Be the sink of the handler's context."""
        self._say(Line(line.level, line.message, line.written_s))

    def write_progress(self, report: NewProgress) -> None:
        """Be the sink of the handler's context."""
        self._say(Progress(report.fraction, report.message, report.written_s))

    def _say(self, message: Said) -> None:
        main = threading.current_thread() is threading.main_thread()
        data = frame(message)
        with self._voice:
            if main:
                self._speaking = True
            try:
                self._socket.sendall(data)
            except OSError:
                os._exit(EXIT_ORPHANED)  # nobody listens any more
            finally:
                if main:
                    self._speaking = False
        if main and self._owed:
            self._owed = False
            raise Stopped("told to end")

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


def _end_after(fd: int, leave_s: float) -> None:
    """Wait for the channel's end, and for what that leads to; then end this process and whatever it started."""
    wait_for_hang_up(fd)
    time.sleep(leave_s)
    with suppress(OSError):
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(EXIT_ORPHANED)
