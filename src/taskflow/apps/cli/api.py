"""`taskflow api`."""

from pathlib import Path
from typing import Annotated

import typer

from taskflow.kernel.interrupts import loading


def register(app: typer.Typer) -> None:
    app.command()(api)


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Its port. [default: 3000]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Data directory of a running `taskflow up`; goes before TASKFLOW_DATABASE_URL.")
    ] = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    control_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """
    Run one API process on a database that exists.

    Replicas are stateless: run as many as you like with the same TASKFLOW_DATABASE_URL and TASKFLOW_SECRET_KEY.

    Examples:

        TASKFLOW_DATABASE_URL=postgresql://me@db.example.org/taskflow TASKFLOW_SECRET_KEY=… taskflow api --host 0.0.0.0

        taskflow api --port 3001
    """
    with loading():
        from taskflow.apps.api import run_api
        from taskflow.apps.data_dir import complete, read_settings

        settings = complete(read_settings(host=host, port=port, data_dir=data_dir))
    run_api(settings, fd=fd, control_fd=control_fd)
