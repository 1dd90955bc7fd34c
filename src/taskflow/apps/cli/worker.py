"""`taskflow worker`."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from taskflow.kernel.errors import SetupError
from taskflow.kernel.interrupts import loading


def register(app: typer.Typer) -> None:
    app.command()(worker)


def worker(
    *,
    app: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="Application whose jobs to run, such as shop.jobs:app. [default: what is built in]",
        ),
    ] = None,
    queues: Annotated[
        str | None, typer.Option(help="Queues to serve, separated by commas. [default: those of the kinds it runs]")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Jobs at the same time, per process. [default: 5]")] = None,
    processes: Annotated[int | None, typer.Option(help="Worker processes; about one per core. [default: 1]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Data directory of a running `taskflow up`; goes before TASKFLOW_DATABASE_URL.")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Loopback port for metrics; the processes take the ones after it. [default: none]"),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a Python file below this directory changes.")
    ] = False,
    describe: Annotated[bool, typer.Option("--describe", hidden=True)] = False,
    supervised_by: Annotated[UUID | None, typer.Option(hidden=True)] = None,
    incarnation: Annotated[int, typer.Option(hidden=True)] = 0,
    control_fd: Annotated[int, typer.Option(hidden=True)] = -1,
    board_fd: Annotated[int, typer.Option(hidden=True)] = -1,
) -> None:
    """
    Run worker processes on a database that exists.

    Jobs of a process that dies go to others at once; those of a machine that vanishes within half a minute. Ctrl-C
    lets running jobs end; a second one hands them back at once.

    Examples:

        taskflow worker --app shop.jobs:app --reload

        taskflow worker --concurrency 20

        TASKFLOW_DATABASE_URL=postgresql://me@db.example.org/taskflow taskflow worker --processes 4 --queues builtin
    """
    if describe:
        from taskflow.engine.isolation.limits import die_with_parent

        die_with_parent()
    with loading():
        from taskflow.apps.data_dir import read_settings
        from taskflow.apps.description import describe as describe_app
        from taskflow.apps.fleet import run_fleet
        from taskflow.apps.worker import run_worker

        if queues is not None and not queues.strip(", "):
            raise SetupError("--queues must name a queue; left out, it is those of the kinds that the worker runs")
        settings = read_settings(
            names={"worker_concurrency": "--concurrency", "workers": "--processes"},
            app=app,
            queues=queues,
            worker_concurrency=concurrency,
            workers=processes,
            data_dir=data_dir,
            metrics_port=metrics_port,
        )
    if describe:
        describe_app(settings, typer.echo)
    elif supervised_by is None:
        run_fleet(settings, typer.echo, reload=reload)
    else:
        run_worker(
            settings, supervised_by=supervised_by, incarnation=incarnation, control_fd=control_fd, board_fd=board_fd
        )
