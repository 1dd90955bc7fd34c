"""One child process, from the worker's end of the channel; `child` is the other end, `process` the pool of them."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from taskflow.engine.context import Sink
from taskflow.engine.isolation.base import Call
from taskflow.engine.isolation.channel import (
    LENGTH,
    Begun,
    Ended,
    Line,
    Progress,
    Ready,
    Run,
    Said,
    decode_said,
    frame,
    length_of,
)
from taskflow.engine.isolation.ending import Crashed, Ending, Interrupted, Returned
from taskflow.engine.job import JobError, NewLogLine, NewProgress
from taskflow.engine.trace import context_of_job
from taskflow.kernel.processes import end_in_words, kill_group
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.tracing import current_context

LEAVE_S = 5.0  # how long a child may take to leave; a little more than it gives itself
HANGOVER_S = 1.0  # how long the channel of a dead process may stay open

_log = get_logger(__name__)


class NoChild(Exception):
    """No child process could be had. *interrupted*: somebody ended the one that was on its way."""

    def __init__(self, says: str, *, interrupted: bool = False) -> None:
        super().__init__(says)
        self.interrupted = interrupted


class Child:
    """See the module."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sink: Sink,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.jobs = 0
        self.worn = False  # not to be used again
        self.told = False  # to end
        self.is_retired = False
        self.code: int | None = None  # how the process ended, as `subprocess` says it
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ending: asyncio.Future[Ending] = loop.create_future()
        self._begun: asyncio.Future[bool] = loop.create_future()
        self._call: Call | None = None
        self._process = process
        self._reader = reader
        self._writer = writer
        self._sink = sink
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_gone(self) -> bool:
        return self.code is not None

    @property
    def is_leaving(self) -> bool:
        """Whether it will take no other call."""
        return self.worn or self.is_retired or self.is_gone

    async def send(self, call: Call) -> bool:
        """Hand over an attempt; False if the process ended before it began."""
        loop = asyncio.get_running_loop()
        self._call = call
        self.jobs += 1
        self.ending, self._begun = loop.create_future(), loop.create_future()
        if self.is_gone:
            return False
        self._writer.write(frame(Run(call.claim, current_context() or context_of_job(call.claim.headers))))
        return await self._begun

    async def live(self) -> None:
        """Listen to the process until it has ended, then say so to whoever waits."""
        listening = asyncio.ensure_future(self._listen())
        try:
            self.code = await self._process.wait()
            kill_group(self.pid)  # what it may have started itself
            await asyncio.wait([listening], timeout=HANGOVER_S)
        finally:
            listening.cancel()
            self._writer.close()
            if self._timer is not None:
                self._timer.cancel()
            self._tell_end()

    def wake(self) -> Self:
        if self._timer is not None:
            self._timer.cancel()
        return self

    def sleep(self, idle_s: float, on_end: Callable[[Self], None]) -> None:
        """Be idle for so long, then call *on_end*."""
        self._timer = asyncio.get_running_loop().call_later(idle_s, on_end, self)

    def retire(self) -> None:
        """Let the process leave by itself, for a while."""
        self.is_retired = True
        self._writer.close()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(LEAVE_S, self.kill)

    def signal(self, signum: signal.Signals) -> None:
        if not self.is_gone:
            with suppress(ProcessLookupError):
                self._process.send_signal(signum)

    def kill(self) -> None:
        """End the process and what it started, now."""
        self.worn = True
        if not self.is_gone:
            kill_group(self.pid)
            self.signal(signal.SIGKILL)  # if it has not made its session yet

    async def _listen(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(LENGTH.size)
                self._hear(decode_said(await self._reader.readexactly(length_of(head))))
        except (asyncio.IncompleteReadError, ConnectionError):
            asyncio.get_running_loop().call_later(LEAVE_S, self.kill)  # it closed the channel: it is leaving
        except ValueError as error:  # msgspec's errors are of this class
            _log.error("taskflow.child.nonsense", error=str(error), pid=self.pid)
            self.kill()

    def _hear(self, message: Said) -> None:
        match message:
            case Line(level, text, written_s):
                if self._call is not None:
                    self._sink.write_line(NewLogLine(self._call.claim, level, text, written_s))
            case Progress(fraction, text, written_s):
                if self._call is not None:
                    self._sink.write_progress(NewProgress(self._call.claim, fraction, text, written_s))
            case Begun():
                _settle(self._begun, True)
            case Ended(ending, worn, told):
                self.worn |= worn or self.told is not told  # the signal is still on its way to it, or was not ours
                if told and not self.told and not isinstance(ending, Returned):
                    ending = Interrupted()
                self.told = False
                _settle(self.ending, ending)
            case Ready():
                _settle(self.ready, None)

    def _tell_end(self) -> None:
        said = "was given up" if self.code is None else end_in_words(self.code)
        if not self.ready.done():
            self.ready.set_exception(
                NoChild(f"it {said} before it was ready", interrupted=self.code == -signal.SIGTERM)
            )
            self.ready.exception()  # nobody may be waiting
        _settle(self._begun, False)
        _settle(self.ending, Crashed(JobError("Crashed", f"the job's process {said}")))


def _settle(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)
