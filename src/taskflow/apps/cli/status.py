"""`taskflow status`."""

import typer

from taskflow.apps.cli.session import AsJson, DatabaseUrl, DataDir, ending, find_place


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Show whether everything is there: database, schema, leader, workers, queues.

    It looks at the database itself, whether the API runs or not. Counts stop at a limit, shown as `10,000+`.
    It says how long ended jobs are kept, as the last leader was told, and the oldest day there is. What needs a person
    is a warning, such as jobs of a kind that no live worker runs.

    Exit codes: 0 the database is there and its schema fits, 1 it is not or does not, 2 asked wrongly.

    Examples:

        taskflow status
        taskflow status --json | jq .warnings
        taskflow status --data-dir /tmp/try
    """
    with ending():
        place = find_place(data_dir, database_url)
        import asyncio

        from taskflow.apps.cli.overview import show_overview

        asyncio.run(show_overview(place, as_json=as_json))
