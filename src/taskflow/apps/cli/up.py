"""`taskflow up`."""

from pathlib import Path
from typing import Annotated

import typer

from taskflow.apps.settings import Settings
from taskflow.kernel.interrupts import loading


def register(app: typer.Typer) -> None:
    app.command()(up)


def up(
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where everything is kept. [default: your data directory; /var/lib/taskflow for root]"),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address that the API listens on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Its port; 0 takes a free one. [default: 3000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes. [default: 1]")] = None,
) -> None:
    """
    Run everything on this machine: database, API, workers.

    The first start takes a few seconds: it makes a PostgreSQL of its own in the data directory, an API key, and prints
    a `curl` to try. The URL and the key are kept in `credentials.json` there. Ctrl-C lets running jobs end and stops
    everything; a second Ctrl-C stops at once. Crashed parts are started again.

    Examples:

        taskflow up

        taskflow up --port 3100 --workers 2

        taskflow up --data-dir /tmp/try --port 0

        TASKFLOW_DATABASE_URL=postgresql://me@db.example.org/taskflow taskflow up
    """
    with loading():
        from taskflow.apps.up import run_up

        settings = Settings.from_env(command="up", app="", data_dir=data_dir, host=host, port=port, workers=workers)
    run_up(settings, typer.echo)
