"""
The worker processes below a supervisor, shared by `taskflow up` and `taskflow worker`.

One `WorkerSupervision` proves to the database that they live, its heartbeats go on to each process over the control
channel, and a process that dies has its jobs returned at once. `apps.worker` is the process itself.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from taskflow.apps import worker
from taskflow.apps.data_dir import DataDirectory, find_secret
from taskflow.apps.description import described
from taskflow.apps.fitness import check_schema
from taskflow.apps.settings import Settings, address_of
from taskflow.apps.supervisor import Child, ChildSpec, Supervisor, spawn_python, stop_signals, unbreakable, until_ready
from taskflow.apps.tracing import traced
from taskflow.db.pool import DATABASE_ERRORS, Database
from taskflow.engine.board import Board
from taskflow.engine.client import Engine
from taskflow.engine.supervision import SupervisorInfo, WorkerSupervision
from taskflow.kernel.errors import SetupError, Unavailable
from taskflow.telemetry import log

T = TypeVar("T")

LOOK_S = 5.0  # at the queues that there are

_log = log.get_logger(__name__)


class WorkerFleet:
    """
    The worker processes of one supervisor.

    Args:
        environ: of the processes; names the database and everything else they are told.
    """

    def __init__(self, supervisor: Supervisor, settings: Settings, url: str, environ: Mapping[str, str]) -> None:
        self.children: list[Child] = []
        self._supervisor = supervisor
        self._settings = settings
        self._environ = environ
        info = SupervisorInfo(
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=worker.queues_of(settings),
            concurrency=settings.workers * settings.worker_concurrency,
        )
        self._supervision = WorkerSupervision(url, info, on_beat=self._pass_on, kept_days=settings.retention_days)
        self._running: asyncio.Task[None] | None = None
        self._resources = ExitStack()
        self._boards: dict[int, Board] = {}  # by incarnation

    def start(self) -> None:
        """Start supervision and processes, which claim as soon as the database knows them. Without workers, nothing."""
        if not self._settings.workers:
            return
        self._resources.enter_context(worker.showing_metrics(self._settings.metrics_port))
        self._running = self._supervisor.create_task(self._supervision.run(), name="worker supervision")
        for number in range(1, self._settings.workers + 1):
            name = "worker" if self._settings.workers == 1 else f"worker {number}"
            spec = ChildSpec(name, self._spawner(number), after_exit=self._ended)
            self.children.append(self._supervisor.start(spec))

    async def stop(self) -> None:
        """Drain the processes; heartbeats go on until the last is gone, then what is left is handed back."""
        await self._supervisor.stop(self.children)
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            await self._supervision.stop()
        for board in self._boards.values():
            board.close()
        self._boards.clear()
        self._resources.close()

    def _pass_on(self) -> None:
        for child in self.children:
            child.send_heartbeat()

    async def _ended(self, incarnation: int) -> None:
        """
        A process ended unasked: what it had begun is suspect, and what it had not is not.

        Suspects that ran alone in its children are charged: they were running when a process died before, and they can
        kill it. Children have nothing to do with an event loop that was blocked.
        """
        with self._boards.pop(incarnation) as board:
            begun = board.begun()
        if any(child.fell_silent == incarnation for child in self.children):
            begun = [attempt for attempt in begun if not attempt.alone]
        for attempt in begun:
            if (overdue_s := time.monotonic() - attempt.deadline_s) > 0:
                _log.warning(
                    "taskflow.attempt.overdue",
                    job_id=str(attempt.job_id),
                    kind=attempt.kind,
                    overdue_s=round(overdue_s, 1),
                )
        charged = [attempt.job_id for attempt in begun if attempt.alone and attempt.suspect]
        await self._supervision.child_died(incarnation, [attempt.job_id for attempt in begun], charged)

    def _spawner(self, number: int) -> Callable[[int, int], "subprocess.Popen[bytes]"]:
        metrics_port = self._settings.metrics_port + number if self._settings.metrics_port else 0

        def spawn(incarnation: int, control: int) -> "subprocess.Popen[bytes]":
            words = ["worker", "--supervised-by", str(self._supervision.worker_id), "--incarnation", str(incarnation)]
            board = self._boards[incarnation] = Board.create(self._settings.worker_concurrency)
            words += ["--control-fd", str(control), "--board-fd", str(board.fd)]
            if metrics_port:
                words += ["--metrics-port", str(metrics_port)]
            return spawn_python(words, environ=self._environ, pass_fds=[control, board.fd], module=worker.COMMAND)

        return spawn


def run_fleet(settings: Settings, say: Callable[[str], None], *, reload: bool = False) -> None:
    """
    Run `taskflow worker`: a supervisor and its worker processes, until SIGINT or SIGTERM; a second one stops now.

    With an app, its queues and the database that it names are asked of a process of its own, so that the supervisor
    runs none of its code, and *reload* starts the workers again when a Python file below the working directory changes.

    Raises:
        SetupError: no database is known or its schema does not fit, the app cannot be loaded, or the processes do not
            start.
    """
    say = unbreakable(say)
    if settings.workers < 1:
        raise SetupError("--processes must be 1 or more")
    if reload and settings.app is None:
        raise SetupError("--reload needs --app: the built-in kinds do not change")
    log.configure(settings.log_format, level=settings.log_level)

    async def run() -> None:
        stop = asyncio.Event()
        async with Supervisor(say) as supervisor:
            with stop_signals(stop, supervisor.hurry, say):
                if settings.app is not None:
                    say(f"starting: loading {settings.app}")
                told = await _unless_stopped(described(settings), stop)
                if told is not None and settings.queues:
                    await _unless_stopped(_remark_on_queues(told), stop)
                while told is not None and not stop.is_set():
                    told = await _run_fleet_once(told, supervisor, stop, say, reload=reload)

    with traced(settings):
        asyncio.run(run())


async def _remark_on_queues(settings: Settings) -> None:
    """Say on stderr which queues nothing has named before. A database that is away is for the workers to tell of."""
    from taskflow.apps.names import remarks_on_queues

    url = settings.database_url or DataDirectory(settings.data_dir).get_database_url()
    database = Database(url, max_size=1, application_name="taskflow worker", patience_s=LOOK_S)
    try:
        async with asyncio.timeout(LOOK_S):
            for remark in await remarks_on_queues(Engine(database), settings.queues):
                sys.stderr.write(f"taskflow: {remark}\n")
    except DATABASE_ERRORS + (Unavailable, ValueError):  # noqa: RUF005 -- as a display, mypy takes it for other types
        pass
    finally:
        await database.stop()


async def _run_fleet_once(
    settings: Settings, supervisor: Supervisor, stop: asyncio.Event, say: Callable[[str], None], *, reload: bool
) -> Settings:
    """Run workers until *stop*, or until their code has changed; return the settings for the next ones."""
    url = settings.database_url or DataDirectory(settings.data_dir).get_database_url()
    await _unless_stopped(check_schema(url), stop)
    if stop.is_set():
        return settings
    changes = {"database_url": url}
    say(f"starting: {settings.workers} {'process' if settings.workers == 1 else 'processes'} on {address_of(url)}")
    if settings.app is None:
        if (secret := find_secret(settings)) is not None:
            changes["secret_key"] = secret
        else:
            say("no root secret: set TASKFLOW_SECRET_KEY as the API has it; until then no callbacks are delivered")
    without = () if settings.app is None else worker.NOT_FOR_APPS
    fleet = WorkerFleet(supervisor, settings, url, settings.child_environ(without=without, **changes))
    try:
        fleet.start()
        starting = asyncio.gather(*(until_ready(child) for child in fleet.children))
        stopping = asyncio.ensure_future(stop.wait())
        changing = asyncio.ensure_future(_changed(settings, say)) if reload else None
        try:
            await _first(starting, stopping)
            if starting.done():
                await starting
                processes = f"{settings.workers} process{'' if settings.workers == 1 else 'es'}"
                jobs = f"{settings.worker_concurrency} jobs each"
                queues = ", ".join(worker.queues_of(settings))
                say(f"ready: working on queues {queues}: {processes}, {jobs}; Ctrl-C drains")
                await _first(stopping, *([changing] if changing else []))
            if changing is not None and changing.done():
                return changing.result()
        finally:
            for waiting in (starting, stopping, changing):
                if waiting is not None:
                    waiting.cancel()
    finally:
        await fleet.stop()
    return settings


async def _first(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _changed(settings: Settings, say: Callable[[str], None]) -> Settings:
    """Wait until the app has changed and can be loaded; what stands in its way is said, and the old one works on."""
    from watchfiles import PythonFilter, awatch

    async for changes in awatch(Path.cwd(), watch_filter=PythonFilter()):
        names = sorted({Path(path).name for _, path in changes})
        try:
            told = await described(settings)
        except SetupError as error:
            say(f"{', '.join(names)} changed, but {error}; the old code works on")
        else:
            say(f"{', '.join(names)} changed: starting again")
            return told
    raise AssertionError("watching does not end by itself")


async def _unless_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """Return what *work* comes to; None if *stop* was there first, and then it has been cancelled."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await _first(working, stopping)
        return await working if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait([working, stopping])
