"""
Handlers alone in child processes: what is stopped is killed if need be, and what crashes takes nothing with it.

    spawn ──> booting ──Ready──> idle <──────────────────────┐
                                   │ Run … Begun … Ended     │ used fewer than MAX_JOBS times, not worn, not stopped
                                   v                         │
                                 busy ───────────────────────┤
                                   │ its process ended       └──> retired: the channel is closed, it leaves
                                   v
                              the attempt crashed, if it had begun

A call waits for a child while few are booting at a time, so that many calls at once do not mean many interpreters
starting at once; its time counts from Begun. A child that dies before Begun is nobody's crash: the call gets another.

With `keep_spare` there is always a child, so that the first call, and the one after a crash, need not wait for the
start of an interpreter. Spares that do not live to take a call are started ever more slowly.
"""

import asyncio
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

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
from taskflow.engine.isolation.ending import CpuSpent, Crashed, Ending, Interrupted, NotStarted, Returned
from taskflow.engine.job import JobError, NewLogLine, NewProgress
from taskflow.engine.trace import context_of_job
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.tracing import current_context

MAX_JOBS = 1000  # per child; then it makes room for a fresh one
MAX_IDLE = 2  # that are kept for
IDLE_S = 60.0
SURPLUS_S = 2.0  # others, between a job and the next one
MAX_BOOTING = max(2, os.cpu_count() or 1)
BOOT_S = 30.0
FIRST_SPARE_WAIT_S = 0.5
_TIMER_EARLY_S = 0.01  # a loop's clock stands still while it works, so that its timers may be a little early by ours
SPARE_WAIT_S, MAX_SPARE_WAIT_S = 1.0, 60.0  # before the next spare, if the last one took no call
TRIES = 3  # children that may die before they begin
LEAVE_S = 5.0  # how long a child may take to leave; a little more than it gives itself
HANGOVER_S = 1.0  # how long the channel of a dead process may stay open

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """
    How to start a child that runs `child.serve` with this worker's registry and lifespan.

    Args:
        argv: program and arguments; the number of the child's end of the channel is added at the end.
        environ: None is this process' own.
    """

    argv: Sequence[str]
    environ: Mapping[str, str] | None = None


class NoChild(Exception):
    """No child process could be had. *interrupted*: somebody ended the one that was on its way."""

    def __init__(self, says: str, *, interrupted: bool = False) -> None:
        super().__init__(says)
        self.interrupted = interrupted


class ProcessIsolator:
    """See the module and `base.Isolator`."""

    def __init__(
        self, sink: Sink, command: ChildCommand, *, max_jobs: int = MAX_JOBS, max_idle: int = MAX_IDLE
    ) -> None:
        self.sink = sink
        self._command = command
        self._max_jobs = max_jobs
        self._max_idle = max_idle
        self._children: set[_Child] = set()
        self._idle: list[_Child] = []
        self._waiting: deque[asyncio.Future[_Child]] = deque()
        self._booting = 0
        self._busy: dict[Call, _Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # boots and lives; a loop holds its tasks weakly
        self._closed = False
        self._leaving = False
        self._spares = 0
        self._spare_wait_s = 0.0
        self._spare_due_s = 0.0  # monotonic; none is started before

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """The processes there are: `busy` with an attempt, `idle`, or on their way in or out (`other`)."""
        busy, idle = set(self._busy.values()), set(self._idle)
        return {
            "busy": sorted(child.pid for child in busy),
            "idle": sorted(child.pid for child in idle),
            "other": sorted(child.pid for child in self._children - busy - idle),
        }

    def keep_spare(self) -> None:
        """From `FIRST_SPARE_WAIT_S` on, when what starts beside us has started, have a child whatever happens."""

        def begin() -> None:
            if not self._leaving:
                self._spares = 1
                self._boot_more()

        asyncio.get_running_loop().call_later(FIRST_SPARE_WAIT_S, begin)

    def let_go(self) -> None:
        """No call will come any more: let idle children leave, and end those that boot for nobody."""
        self._spares, self._leaving = 0, True
        for child in list(self._idle):
            self._drop(child)
        if not self._waiting:
            for child in self._children - set(self._busy.values()):
                if not child.is_leaving:
                    child.kill()

    async def call(self, call: Call) -> Ending:
        for _ in range(TRIES):
            try:
                child = await self._take()
            except NoChild as error:
                return Interrupted() if error.interrupted else NotStarted(JobError("ChildNotStarted", str(error)))
            self._busy[call] = child
            try:
                call.hand_over()
                if not await child.send(call):
                    _check_wanted(call)
                    continue
                self._spare_wait_s = self._spare_due_s = 0.0
                call.begin()
                ending = await child.ending
                if isinstance(ending, Crashed) and child.code == -signal.SIGXCPU and call.kind.cpu_limit_s is not None:
                    return CpuSpent(call.kind.cpu_limit_s)
                return ending
            except BaseException:
                child.kill()  # whoever waited has gone: so must what it waited for
                raise
            finally:
                del self._busy[call]
                self._put_back(child)
        return NotStarted(JobError("ChildNotStarted", f"{TRIES} child processes ended before they took the job"))

    def stop(self, call: Call) -> None:
        if (child := self._busy.get(call)) is not None:
            child.told = True
            child.signal(signal.SIGTERM)
        elif call.task is not None:
            call.task.cancel()  # it waits for a child

    def end(self, call: Call) -> bool:
        if (child := self._busy.get(call)) is not None:
            child.kill()
        return True

    async def close(self) -> None:
        self._closed = True
        for place in self._waiting:
            place.cancel()
        for child in list(self._children):
            if child in self._idle:
                child.retire()
            else:
                child.kill()
        self._idle.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE_S + HANGOVER_S)
        for task in list(self._tasks):
            task.cancel()

    # The pool --------------------------------------------------------------------------------------------------------

    async def _take(self) -> "_Child":
        """Return an idle child, or the first one to come free or to boot."""
        if self._idle:
            return self._idle.pop().wake()
        place: asyncio.Future[_Child] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._boot_more()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._put_back(place.result())  # it was given to us at that moment
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(place)

    def _put_back(self, child: "_Child") -> None:
        """Give a child to whoever waits, or keep it, or let it go."""
        if child.is_gone:
            self._boot_more()
        elif self._closed or child.worn or child.jobs >= self._max_jobs:
            child.retire()
            self._boot_more()
        elif (place := self._next_place()) is not None:
            place.set_result(child)
        else:
            child.sleep(IDLE_S if len(self._idle) < self._max_idle else SURPLUS_S, self._drop)
            self._idle.append(child)  # taken from this end: those at the other end outlast the surplus

    def _drop(self, child: "_Child") -> None:
        if child in self._idle and len(self._idle) > self._spares:
            self._idle.remove(child)
            child.retire()

    def _next_place(self) -> "asyncio.Future[_Child] | None":
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                return place
        return None

    def _boot_more(self) -> None:
        while not self._closed and self._booting < min(MAX_BOOTING, max(len(self._waiting), self._missing_spares())):
            self._booting += 1
            self._keep(self._boot(), "taskflow-child-boot")

    def _missing_spares(self) -> int:
        """Return how many children to start that nobody waits for; at most one per `_spare_wait_s`."""
        if self._waiting or any(not child.is_leaving for child in self._children):
            return 0
        now_s = time.monotonic()
        if self._spares and now_s < self._spare_due_s - _TIMER_EARLY_S:
            return 0  # a timer runs
        if self._spares and not self._booting:
            self._spare_wait_s = min(MAX_SPARE_WAIT_S, max(SPARE_WAIT_S, self._spare_wait_s * 2))
            self._spare_due_s = now_s + self._spare_wait_s
            asyncio.get_running_loop().call_later(self._spare_wait_s, self._boot_more)
        return self._spares

    async def _boot(self) -> None:
        child = None
        try:
            child = await self._spawn()
            async with asyncio.timeout(BOOT_S):
                await child.ready
        except (OSError, TimeoutError, NoChild) as error:
            if child is not None:
                child.kill()
            says = str(error) or f"it was not ready within {BOOT_S:g} s"
            if not self._closed and not self._leaving:
                _log.error("taskflow.child.refused", error=says)
            if (place := self._next_place()) is not None:
                place.set_exception(
                    NoChild(
                        f"a child process does not start: {says}",
                        interrupted=isinstance(error, NoChild) and error.interrupted,
                    )
                )
        else:
            self._put_back(child)
        finally:
            self._booting -= 1
            self._boot_more()

    async def _spawn(self) -> "_Child":
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command.argv,
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=None if self._command.environ is None else dict(self._command.environ),
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        child = _Child(process, reader, writer, self.sink)
        if self._closed or (self._leaving and not self._waiting):
            child.kill()
        self._children.add(child)
        self._keep(self._live(child), "taskflow-child")
        return child

    async def _live(self, child: "_Child") -> None:
        try:
            await child.live()
        finally:
            self._children.discard(child)
            with suppress(ValueError):
                self._idle.remove(child)
            self._boot_more()

    def _keep(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Child:
    """One child process, from this side of the channel."""

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
            self._kill_group()  # what it may have started itself
            await asyncio.wait([listening], timeout=HANGOVER_S)
        finally:
            listening.cancel()
            self._writer.close()
            if self._timer is not None:
                self._timer.cancel()
            self._tell_end()

    def wake(self) -> "_Child":
        if self._timer is not None:
            self._timer.cancel()
        return self

    def sleep(self, idle_s: float, on_end: Any) -> None:
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
            self._kill_group()
            self.signal(signal.SIGKILL)  # if it has not made its session yet

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

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
        if not self.ready.done():
            self.ready.set_exception(
                NoChild(f"it {_in_words(self.code)} before it was ready", interrupted=self.code == -signal.SIGTERM)
            )
            self.ready.exception()  # nobody may be waiting
        _settle(self._begun, False)
        _settle(self.ending, Crashed(JobError("Crashed", f"the job's process {_in_words(self.code)}")))


def _check_wanted(call: Call) -> None:
    """Raise CancelledError if the child left because it heard of the stop before it heard of the call."""
    if call.context.cancelled:
        raise asyncio.CancelledError


def _settle(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _in_words(code: int | None) -> str:
    if code is None:
        return "was given up"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
