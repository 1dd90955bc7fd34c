"""
One worker process, seen from the server: start it, give it a job, kill it.

Why a process and not a thread? A thread of Python computes only while it holds the interpreter's lock (the GIL), so it
would take turns with the event loop instead of working beside it; and no thread can be stopped from outside. A process
has its own interpreter and its own core, and `SIGKILL` always works. The price: data must be copied through a socket,
and a start takes some 50 ms, which is why workers are started before they are needed.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from typing import Any

from taskflow_learn.config import HOME
from taskflow_learn.workers.channel import LENGTH, encode_message
from taskflow_learn.workers.job import Job


class WorkerDied(Exception):
    """The process ended before it had answered."""


class WorkerProcess:
    """A process and the socket to it. Make one with `await WorkerProcess.spawn()`."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None and not self._reader.at_eof()

    @classmethod
    async def spawn(cls) -> "WorkerProcess":
        ours, theirs = socket.socketpair()
        try:
            with theirs:  # the child has its own copy; while we hold ours, its death would not end the stream
                process = subprocess.Popen(  # noqa: ASYNC220 - returns in a millisecond; what is awaited is the socket
                    [sys.executable, "-m", "taskflow_learn.workers.child"],
                    stdin=theirs.fileno(),
                    env={**os.environ, "PYTHONPATH": str(HOME / "src")},
                )
        except OSError:
            ours.close()
            raise
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:  # cancelled in mid-start: leave no process behind
            ours.close()
            process.kill()
            process.wait()
            raise
        return cls(process, reader, writer)

    async def run(self, job: Job) -> dict[str, Any]:
        """Return `{"output": ...}` or `{"error": ...}`. Raise `WorkerDied` if the process did not live to say."""
        try:
            self._writer.write(encode_message({"kind": job.kind, "input": job.payload()}))
            await self._writer.drain()
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            outcome: dict[str, Any] = json.loads(await self._reader.readexactly(length))
        except (ConnectionError, asyncio.IncompleteReadError):
            raise WorkerDied from None
        return outcome

    async def kill(self) -> None:
        """End the process, whatever it is doing, and wait until the kernel has buried it."""
        self._process.kill()
        self._writer.close()
        await asyncio.to_thread(self._process.wait)
