"""
The supervisor: starts child processes, watches them, starts them again, and leaves none behind.

    spawn ──> running ──exit──> reported ── backoff: 0.1 s doubling to 5 s, afresh after 5 s of life ──> spawn
                 │ stop
                 └──> first signal, patience, next signal … SIGKILL ──> gone

Children are in sessions of their own, so that a terminal's Ctrl-C reaches the supervisor alone, which then stops them
in order. Python children hold one end of a socket pair, the *control channel* (`apps.control`): they write `a` every
second (alive) or `r` (alive, and ready: a start waits for that), the supervisor writes `h` after each heartbeat it made
for them and `s` before it tells them to end, and end-of-file tells them that it is gone, even by SIGKILL. A child that
stays silent for `SILENCE_S` is killed and started again.

One event loop, no threads: SIGCHLD says that somebody ended, `Popen.poll` says who.
"""

import asyncio
import itertools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from taskflow.apps.control import HEARTBEAT, READY, STOP
from taskflow.kernel.errors import SetupError
from taskflow.kernel.processes import end_in_words, kill_group

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
STEADY_S = 5.0  # a child that lived this long has earned a quick restart again
SILENCE_S = 30.0
CHECK_S = 5.0
MAX_FAILED_STARTS = 4  # ends before it is ready, while a start waits for it
POLL_S = 0.02
HURRY_S = 5.0  # patience for each further signal once told to hurry

# What ends our own processes: time to drain, then an end.
DRAIN = ((signal.SIGTERM, 25.0), (signal.SIGKILL, 60.0))


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """
    How to run one child.

    Args:
        name: as it is called in reports ("worker 1").
        spawn: starts it; gets the number of the incarnation, which no other child of this supervisor has had, and
            the child's end of the control channel, to pass on (`pass_fds`). May raise SetupError or OSError.
        controlled: whether it speaks on the control channel (then silence kills it).
        signals: how to stop it: each signal, and how long to wait in seconds before the next one.
        after_exit: run, beside the restart, with the incarnation that ended unasked; cancelled by a stop.
    """

    name: str
    spawn: Callable[[int, int], "subprocess.Popen[bytes]"]
    controlled: bool = True
    signals: Sequence[tuple[signal.Signals, float]] = DRAIN
    after_exit: Callable[[int], Awaitable[None]] | None = None


class Supervisor:
    """
    Keeps children running until they are stopped. Use as `async with Supervisor(report) as supervisor`.

    Leaving the block, also by an error, ends whatever still runs.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report
        self.hurry = asyncio.Event()  # set: stop now
        self.incarnations = itertools.count(1)
        self._children: list[Child] = []
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> "Supervisor":
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                await self.stop(self._children)
            await self._group.__aexit__(*error)  # type: ignore[arg-type]
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from group.exceptions[0].__cause__  # one error is that error
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
            for child in self._children:
                child.end_now()

    def start(self, spec: ChildSpec) -> "Child":
        """Start a child and keep it running. What its first spawn raises is passed on."""
        child = Child(spec, self)
        child.spawn()
        self._children.append(child)
        child.task = self._group.create_task(child.keep(), name=f"keep {spec.name}")
        return child

    def create_task(self, work: Awaitable[None], *, name: str) -> "asyncio.Task[None]":
        """Run *work* beside the children; its failure ends the supervisor."""

        async def run() -> None:
            await work

        return self._group.create_task(run(), name=name)

    async def stop(self, children: Iterable["Child"]) -> None:
        """Stop children side by side and wait until they are gone."""
        await asyncio.gather(*(child.stop() for child in list(children)))

    async def run_once(self, spawn: Callable[[], "subprocess.Popen[bytes]"], name: str) -> int:
        """Run a process to its end and return its exit code (negative: the signal); cancelled, it is killed."""
        child = Child(ChildSpec(name, lambda _number, _control: spawn(), controlled=False), self)
        child.spawn()
        self._children.append(child)
        try:
            return await child.exited
        finally:
            child.end_now()
            self._children.remove(child)

    def _reap(self) -> None:
        for child in self._children:
            child.look()


class Child:
    """One child over all its incarnations."""

    def __init__(self, spec: ChildSpec, supervisor: Supervisor) -> None:
        self.spec = spec
        self.incarnation = 0
        self.crashes = 0  # ends that nobody asked for
        self.alive = asyncio.Event()  # set by the first sign of life of the present incarnation
        self.ready = asyncio.Event()  # set when it says that it does what it is for
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.fell_silent = 0  # the last incarnation that was killed for its silence
        self.last_end = ""  # how the last incarnation ended, in words
        self.task: asyncio.Task[None] | None = None
        self._supervisor = supervisor
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._heard_at = 0.0
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def send_heartbeat(self) -> None:
        """Tell the child that its leases were renewed; a child that does not read misses it."""
        self._tell(HEARTBEAT)

    def spawn(self) -> None:
        """Start the next incarnation."""
        self.incarnation = next(self._supervisor.incarnations)
        self.alive.clear()
        self.ready.clear()
        self.exited = asyncio.get_running_loop().create_future()
        if not self.spec.controlled:
            self._process = self.spec.spawn(self.incarnation, -1)
            return
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            try:
                self._process = self.spec.spawn(self.incarnation, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._control = ours
        self._heard_at = time.monotonic()
        asyncio.get_running_loop().add_reader(ours, self._listen, ours)

    async def keep(self) -> None:
        """Wait for the end of each incarnation, report it, and start the next, until stopped."""
        backoff_s = FIRST_BACKOFF_S
        followers: list[asyncio.Task[None]] = []
        try:
            while True:
                began = time.monotonic()
                await self._wait_for_end()
                if self._stopping.is_set():
                    return
                self.crashes += 1
                if self.spec.after_exit is not None:
                    followers = [task for task in followers if not task.done()]
                    work = self.spec.after_exit(self.incarnation)
                    followers.append(self._supervisor.create_task(work, name=f"after {self.spec.name}"))
                if time.monotonic() - began >= STEADY_S:
                    backoff_s = FIRST_BACKOFF_S
                while not await self._start_again(backoff_s):
                    backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
                    if self._stopping.is_set():
                        return
                backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
        finally:
            for task in followers:
                task.cancel()
            self.end_now()

    async def stop(self) -> None:
        """Stop the child for good: signal by signal, faster when the supervisor is told to hurry."""
        self._stopping.set()
        signals = list(self.spec.signals)
        if self._supervisor.hurry.is_set():
            signals = signals[1:]
        for signum, patience_s in signals:
            if self.pid is None:
                break
            self._send(signum)
            await self._wait_or_hurry(patience_s)
        if self.task is not None:
            await asyncio.wait([self.task])

    def look(self) -> None:
        """Notice the process' end, if it has ended."""
        code = self._process.poll() if self._process else None
        if code is not None and not self.exited.done():
            self.exited.set_result(code)

    def end_now(self) -> None:
        """End the process without patience: the last but one signal, a moment, then SIGKILL. Blocks for that moment."""
        self._close_control()
        if self.pid is None or self._process is None:
            return
        for signum, patience_s in ((self.spec.signals[-2][0], 2.0), (signal.SIGKILL, 10.0)):
            self._send(signum)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
                return

    async def _wait_for_end(self) -> None:
        while not self.exited.done():
            await asyncio.wait([self.exited], timeout=CHECK_S)
            self.look()
            silence_s = time.monotonic() - self._heard_at
            if self._control is not None and silence_s > SILENCE_S and not self._stopping.is_set():
                self.fell_silent = self.incarnation
                self._supervisor.report(f"{self.spec.name} has not answered for {silence_s:.0f} s: killing it")
                self._send(signal.SIGKILL)
        self._close_control()
        if self._process is not None:
            kill_group(self._process.pid)  # what it may have started itself
        self.last_end = end_in_words(self.exited.result())

    async def _start_again(self, backoff_s: float) -> bool:
        """Report the end, wait, spawn; False if the spawn failed or we are stopping."""
        self._supervisor.report(f"{self.spec.name} {self.last_end}; starting it again in {backoff_s:g} s")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), backoff_s)
        if self._stopping.is_set():
            return False
        try:
            self.spawn()
        except (SetupError, OSError) as error:
            self.last_end = f"could not be started: {error}"
            return False
        return True

    async def _wait_or_hurry(self, patience_s: float) -> None:
        hurry = self._supervisor.hurry
        if hurry.is_set():
            await asyncio.wait([self.exited], timeout=min(patience_s, HURRY_S))
            return
        rushed = asyncio.ensure_future(hurry.wait())
        either: list[asyncio.Future[Any]] = [self.exited, rushed]
        try:
            await asyncio.wait(either, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            rushed.cancel()

    def _send(self, signum: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        if signum is signal.SIGKILL:
            kill_group(self._process.pid)
        elif signum is signal.SIGTERM:
            self._tell(STOP)
        self._process.send_signal(signum)

    def _tell(self, word: bytes) -> None:
        if self._control is not None:
            with suppress(OSError):
                self._control.send(word)

    def _listen(self, control: socket.socket) -> None:
        try:
            heard = control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if heard:
            self._heard_at = time.monotonic()
            self.alive.set()
            if READY in heard:
                self.ready.set()
        else:
            asyncio.get_running_loop().remove_reader(control)

    def _close_control(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control)
            control.close()


def spawn_python(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    module: str = "taskflow",
) -> "subprocess.Popen[bytes]":
    """Start `taskflow <arguments>` (or the same of another *module*) in a session of its own: our output, no input."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        env=dict(environ),
        pass_fds=pass_fds,
        start_new_session=True,
    )


async def until_ready(child: Child) -> None:
    """Wait until a child does what it is for; SetupError if it keeps ending before."""
    while not child.ready.is_set():
        if child.crashes >= MAX_FAILED_STARTS:
            raise SetupError(f"the {child.spec.name} does not start: it {child.last_end}; its own words are above")
        await asyncio.sleep(POLL_S)


def unbreakable(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return *say* for a supervisor: a terminal or pipe that has gone away costs the line, nothing else."""

    def quietly(line: str) -> None:
        with suppress(OSError, ValueError):
            say(line)

    return quietly


@contextmanager
def stop_signals(stop: asyncio.Event, hurry: asyncio.Event, say: Callable[[str], None]) -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP set *stop*, and a second one *hurry*. `nohup` stays in force."""

    def heard() -> None:
        if not stop.is_set():
            say("stopping: what runs gets time to finish; once more stops now")
            stop.set()
        elif not hurry.is_set():
            say("stopping now")
            hurry.set()

    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    for signum in signals:
        loop.add_signal_handler(signum, heard)
    try:
        yield
    finally:
        for signum in signals:
            loop.remove_signal_handler(signum)
