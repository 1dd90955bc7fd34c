"""`taskflow migrate`."""

from pathlib import Path
from typing import Annotated

import typer

from taskflow.apps.settings import Settings


def register(app: typer.Typer) -> None:
    app.command()(migrate)


def migrate(
    data_dir: Annotated[
        Path | None, typer.Option(help="Data directory of a running `taskflow up`; goes before TASKFLOW_DATABASE_URL.")
    ] = None,
) -> None:
    """
    Bring the database's schema up to date.

    `taskflow up` does it by itself. Run it before new code starts on a database of your own; running it twice, or twice
    at once, is fine.

    Example:

        TASKFLOW_DATABASE_URL=postgresql://me@db.example.org/taskflow taskflow migrate
    """
    settings = Settings.from_env(data_dir=data_dir)
    from taskflow.apps.data_dir import DataDirectory
    from taskflow.db.migrate import migrate as run

    applied = run(settings.database_url or DataDirectory(settings.data_dir).get_database_url())
    typer.echo(f"applied {', '.join(applied)}" if applied else "the schema is up to date")
