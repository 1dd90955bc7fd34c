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
from taskflow.engine.isolation.ending import CpuSpent, Crashed, Ending, Interrupted, NotStarted
from taskflow.engine.isolation.parent import HANGOVER_S, LEAVE_S, Child, NoChild
from taskflow.engine.job import JobError
from taskflow.telemetry.log import get_logger

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


class ProcessIsolator:
    """See the module and `base.Isolator`."""

    def __init__(
        self, sink: Sink, command: ChildCommand, *, max_jobs: int = MAX_JOBS, max_idle: int = MAX_IDLE
    ) -> None:
        self.sink = sink
        self._command = command
        self._max_jobs = max_jobs
        self._max_idle = max_idle
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._waiting: deque[asyncio.Future[Child]] = deque()
        self._booting = 0
        self._busy: dict[Call, Child] = {}
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

    async def _take(self) -> Child:
        """Return an idle child, or the first one to come free or to boot."""
        if self._idle:
            return self._idle.pop().wake()
        place: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
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

    def _put_back(self, child: Child) -> None:
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

    def _drop(self, child: Child) -> None:
        if child in self._idle and len(self._idle) > self._spares:
            self._idle.remove(child)
            child.retire()

    def _next_place(self) -> "asyncio.Future[Child] | None":
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

    async def _spawn(self) -> Child:
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
        child = Child(process, reader, writer, self.sink)
        if self._closed or (self._leaving and not self._waiting):
            child.kill()
        self._children.add(child)
        self._keep(self._live(child), "taskflow-child")
        return child

    async def _live(self, child: Child) -> None:
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


def _check_wanted(call: Call) -> None:
    """Raise CancelledError if the child left because it heard of the stop before it heard of the call."""
    if call.context.cancelled:
        raise asyncio.CancelledError
