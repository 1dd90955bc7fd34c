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
    grant_enqueue: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help="Let this role call `taskflow.enqueue`, and nothing else. Repeatable."),
    ] = None,
) -> None:
    """
    Bring the database's schema up to date.

    `taskflow up` does it by itself. Run it before new code starts on a database of your own; running it twice, or twice
    at once, is fine.

    Examples:

        TASKFLOW_DATABASE_URL=postgresql://me@db.example.org/taskflow taskflow migrate

        taskflow migrate --grant-enqueue shop
    """
    settings = Settings.from_env(data_dir=data_dir)
    from taskflow.apps.data_dir import DataDirectory
    from taskflow.db.migrate import grant_enqueue as grant
    from taskflow.db.migrate import migrate as run

    url = settings.database_url or DataDirectory(settings.data_dir).get_database_url()
    applied = run(url)
    typer.echo(f"applied {', '.join(applied)}" if applied else "the schema is up to date")
    for role in grant_enqueue or ():
        grant(url, role)
        typer.echo(f"{role} may call taskflow.enqueue")
