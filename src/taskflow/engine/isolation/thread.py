"""
Sync handlers in threads of the worker: for those that wait for something in C and let go of the interpreter meanwhile.

Nothing can stop a thread. A handler that is told to end sees `ctx.cancelled`; if it does not look, its attempt outlives
its grace, and that costs the worker process as a stuck coroutine does.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import msgspec

from taskflow.engine.context import JobContext, Sink
from taskflow.engine.isolation.base import Call
from taskflow.engine.isolation.ending import Ending, bad_payload, raised, returned
from taskflow.engine.job import NewLogLine, NewProgress


class _Hop:
    """Takes words from a thread to the event loop, in order, and before the handler's end."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()

    def write_line(self, line: NewLogLine) -> None:
        with suppress(RuntimeError):  # the loop is closed: a thread that was given up says something
            self._loop.call_soon_threadsafe(self._sink.write_line, line)

    def write_progress(self, report: NewProgress) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._sink.write_progress, report)


class ThreadIsolator:
    """See the module and `base.Isolator`. *threads* is how many calls there may be at once."""

    def __init__(self, sink: Sink, *, threads: int) -> None:
        self.sink: Sink = _Hop(sink)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="taskflow-handler")

    async def call(self, call: Call) -> Ending:
        try:
            payload = call.kind.decode(call.claim.payload)
        except msgspec.ValidationError as error:
            return bad_payload(error)
        call.begin()
        run = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, run, _work, call.kind.handler, call.context, payload
        )

    def stop(self, call: Call) -> None:
        """Its context says so; there is nothing else that a thread would hear."""

    def end(self, call: Call) -> bool:
        return False

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _work(handler: Callable[[JobContext, Any], Any], context: JobContext, payload: Any) -> Ending:
    try:
        return returned(handler(context, payload))
    except BaseException as error:  # noqa: BLE001 -- the edge of an attempt: what it raises is what it came to
        return raised(error)
