"""
Workers: the fleet of worker processes below a supervisor, and what one of them is made of.

`WorkerFleet` is the supervisor's side, shared by `taskflow up` and `taskflow worker`: one `WorkerSupervision` proves to
the database that they live, its heartbeats go on to each process over the control channel, and a process that dies has
its jobs returned at once. `run_worker` is the process itself.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from uuid import UUID

import msgspec

import taskflow.kinds
from taskflow.apps.control import ControlChannel
from taskflow.apps.data_dir import DataDirectory
from taskflow.apps.fitness import check_schema
from taskflow.apps.settings import Settings, address_of
from taskflow.apps.supervisor import Child, ChildSpec, Supervisor, spawn_python, stop_signals, unbreakable, until_ready
from taskflow.apps.tracing import traced
from taskflow.db.pool import DATABASE_ERRORS, Database
from taskflow.engine.board import Board
from taskflow.engine.client import Engine
from taskflow.engine.job import DELIVERY_QUEUE, WorkerId
from taskflow.engine.supervision import SupervisorInfo, WorkerSupervision
from taskflow.kernel.errors import SetupError, Unavailable
from taskflow.telemetry import log, metrics, tracing

if TYPE_CHECKING:
    from taskflow.engine.registry import Registry

T = TypeVar("T")
Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[Mapping[str, Any]]]

COMMAND = "taskflow"  # the module that worker processes and their children run
GRACE_S = 10.0
ORPHAN_GRACE_S = 2.0  # attempts may run on so long once the supervisor is gone
ORPHAN_END_S = 15.0
LOOK_S = 5.0  # at the queues that there are
TOLD_S = 0.5  # for the word of a supervisor to arrive that comes with its signal
DESCRIBE_S = 60.0  # for an app to be imported and to say what it is
BURIAL_S = 1.0  # for a killed process to be gone
NOT_FOR_APPS = ("secret_key", "smtp_url")  # settings of ours that code which is not ours has no use for
NOT_FOR_ATTEMPTS = NOT_FOR_APPS  # deliveries and mails are made by the worker process itself
PLAIN_OUTPUT = {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}

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
            queues=queues_of(settings),
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
        self._resources.enter_context(showing_metrics(self._settings.metrics_port))
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
            return spawn_python(words, environ=self._environ, pass_fds=[control, board.fd], module=COMMAND)

        return spawn


def queues_of(settings: Settings) -> tuple[str, ...]:
    """Return the queues that this deployment's workers serve: those named, else those of the built-in kinds."""
    return settings.queues or (taskflow.kinds.QUEUE, DELIVERY_QUEUE)


def find_secret(settings: Settings) -> str | None:
    """Return the root secret that the API of this deployment has; None where nobody has told us."""
    if settings.secret_key is not None:
        return settings.secret_key
    if settings.database_url is not None and not settings.is_development:
        return None  # what is kept here may be another deployment's
    return DataDirectory(settings.data_dir).get_secret(settings)


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
    without = () if settings.app is None else NOT_FOR_APPS
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
                say(f"ready: working on queues {', '.join(queues_of(settings))}: {processes}, {jobs}; Ctrl-C drains")
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


async def described(settings: Settings) -> Settings:
    """
    Complete *settings* by what the app says of itself: its queues, and its database if it names one.

    It is asked in a process of its own, which is killed, with all that it started, when this ends in any way.

    Raises:
        SetupError: the app cannot be loaded; in its own words.
    """
    if settings.app is None:
        return settings
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "taskflow", "worker", "--describe"),
        env={**settings.child_environ(without=NOT_FOR_APPS), **PLAIN_OUTPUT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(DESCRIBE_S):
            output, complaint = await process.communicate()
    except TimeoutError:
        raise SetupError(f"--app {settings.app}: loading it took more than {DESCRIBE_S:g} s") from None
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(BURIAL_S):
                await process.wait()
    if process.returncode:
        words = [f"--app {settings.app}: loading it ended with exit code {process.returncode}"]
        words += [line for line in complaint.decode(errors="replace").splitlines() if line.startswith("taskflow: ")]
        raise SetupError(words[-1].removeprefix("taskflow: "))
    told = _description_in(output)
    if told is None:
        raise SetupError(f"--app {settings.app}: loading it ended before it could be asked for its queues")
    return replace(
        settings,
        queues=settings.queues or told.queues,
        database_url=told.url or settings.database_url,
        data_dir=settings.data_dir if told.data_dir is None else Path(told.data_dir),
    )


def describe(settings: Settings, say: Callable[[str], None]) -> None:
    """Load the app and say, in a line of JSON, what `described` wants to know."""
    from taskflow.apps.sdk.loading import load_app

    app = load_app(settings.app or "")
    data_dir = app.database.data_dir
    told = _Description(tuple(app.registry.queues), app.database.given, None if data_dir is None else str(data_dir))
    say(f"\n{msgspec.json.encode(told).decode()}")  # on a line of its own, whatever the app has printed


def _description_in(output: bytes) -> "_Description | None":
    """Return the last description in *output*: an app may print before it and, at its exit, after it."""
    for line in reversed(output.splitlines()):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(line, type=_Description)
    return None


class _Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a supervisor must know of an app."""

    queues: tuple[str, ...]
    url: str | None
    data_dir: str | None


def run_worker(settings: Settings, *, supervised_by: UUID, incarnation: int, control_fd: int, board_fd: int) -> None:
    """
    Run one worker process of a supervisor until that tells it to stop, or ends. SIGTERM from others is ignored.

    Raises:
        SetupError: a setting of a handler is wrong.
    """
    # Imported here: the supervisor, which shares this module, runs no handlers.
    import uvloop

    from taskflow.engine.isolation.process import ChildCommand
    from taskflow.engine.worker import EXIT_STUCK, Worker

    log.configure(settings.log_format, level=settings.log_level)
    assert settings.database_url is not None, "given by the supervisor"
    registry, lifespan = load_jobs(settings)
    worker = Worker(
        settings.database_url,
        registry,
        worker_id=WorkerId(supervised_by),
        incarnation=incarnation,
        queues=queues_of(settings),
        concurrency=settings.worker_concurrency,
        lifespan=lifespan,
        grace_s=GRACE_S,
        command=ChildCommand(
            [sys.executable, "-m", COMMAND, "attempt", "--fd"], settings.child_environ(without=NOT_FOR_ATTEMPTS)
        ),
        board=Board.open(board_fd),
    )

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def orphaned() -> None:
            worker.request_stop()
            loop.call_later(ORPHAN_GRACE_S, worker.request_stop)

        def signalled() -> None:
            """Somebody signals us. The supervisor says so on its channel; a job may mean to end its worker."""
            loop.call_later(
                TOLD_S, lambda: worker.is_stopping or _log.warning("taskflow.signal.ignored", signal="SIGTERM")
            )

        control = ControlChannel(
            control_fd,
            on_heartbeat=worker.beat,
            on_stop=worker.request_stop,
            on_orphaned=orphaned,
            grace_s=ORPHAN_END_S,
        )
        worker.on_ready = control.mark_ready
        loop.add_signal_handler(signal.SIGTERM, signalled)
        proving = asyncio.create_task(control.run(), name="control channel")
        try:
            await worker.run()
        finally:
            proving.cancel()
        if worker.is_stuck:
            tracing.switch_off()
            os._exit(EXIT_STUCK)  # a handler will not end: nothing that waits for it would

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor's business
    with traced(settings, by_app=settings.app is not None), showing_metrics(settings.metrics_port):
        uvloop.run(run())


def run_attempts(settings: Settings, *, fd: int) -> None:
    """
    Run attempts in a child process of a worker process, one at a time, until the channel *fd* ends.

    What can be run, and what handlers find, is loaded as `run_worker` loads it.
    """
    from taskflow.engine.isolation.child import ChildProcess

    log.configure(settings.log_format, level=settings.log_level)
    registry, lifespan = load_jobs(settings)
    with traced(settings, by_app=settings.app is not None):
        ChildProcess(fd, registry, lifespan).run()


@contextmanager
def showing_metrics(port: int) -> Iterator[None]:
    """Show this process' metrics on a loopback port meanwhile; 0 shows none. SetupError if the port is taken."""
    if not port:
        yield
        return
    try:
        server = metrics.serve(port)
    except OSError as error:
        raise SetupError(f"cannot show metrics on port {port}: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()


def load_jobs(settings: Settings) -> "tuple[Registry, Lifespan]":
    """Return what worker processes and their children run, and what its handlers stand on while they do."""
    if settings.app is None:
        from taskflow.apps.builtin import Builtin

        builtin = Builtin(settings)
        return builtin.registry, builtin.lifespan
    from taskflow.apps.sdk.loading import load_app

    app = load_app(settings.app)
    if settings.database_url is not None:
        app.database.use(settings.database_url)  # what its jobs submit goes where the worker works
    return app.registry, app.open_state
