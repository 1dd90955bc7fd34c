"""One worker process of a supervisor (`apps.fleet`), its child processes, and what they load."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import taskflow.kinds
from taskflow.apps.control import ControlChannel
from taskflow.apps.settings import Settings
from taskflow.apps.tracing import traced
from taskflow.engine.board import Board
from taskflow.engine.job import DELIVERY_QUEUE, WorkerId
from taskflow.kernel.errors import SetupError
from taskflow.telemetry import log, metrics, tracing

if TYPE_CHECKING:
    from taskflow.engine.registry import Registry

Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[Mapping[str, Any]]]

COMMAND = "taskflow"  # the module that worker processes and their children run
GRACE_S = 10.0
ORPHAN_GRACE_S = 2.0  # attempts may run on so long once the supervisor is gone
ORPHAN_END_S = 15.0
TOLD_S = 0.5  # for the word of a supervisor to arrive that comes with its signal
NOT_FOR_APPS = ("secret_key", "smtp_url")  # settings of ours that code which is not ours has no use for
NOT_FOR_ATTEMPTS = NOT_FOR_APPS  # deliveries and mails are made by the worker process itself

_log = log.get_logger(__name__)


def queues_of(settings: Settings) -> tuple[str, ...]:
    """Return the queues that this deployment's workers serve: those named, else those of the built-in kinds."""
    return settings.queues or (taskflow.kinds.QUEUE, DELIVERY_QUEUE)


def run_worker(settings: Settings, *, supervised_by: UUID, incarnation: int, control_fd: int, board_fd: int) -> None:
    """
    Run one worker process of a supervisor until that tells it to stop, or ends. SIGTERM from others is ignored.

    Raises:
        SetupError: a setting of a handler is wrong.
    """
    # Imported here: the supervisor, which takes a few names from this module, runs no handlers.
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
