"""`taskflow top`."""

from typing import Annotated

import typer

from taskflow.apps.cli.session import MISUSED, DatabaseUrl, DataDir, Failure, ending, find_place

MIN_INTERVAL_S, MAX_INTERVAL_S = 0.5, 3600.0


def register(app: typer.Typer) -> None:
    app.command()(top)


def top(
    once: Annotated[
        bool, typer.Option("--once", help="Show one view and end. It looks twice, an interval apart, to have rates.")
    ] = False,
    interval_s: Annotated[float, typer.Option("--interval", metavar="S", help="Seconds between two looks.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON document a look, one a line in a pipe.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Watch queues, workers and rates.

    A terminal shows the present view until `q` or Ctrl-C; a pipe gets one view after the other as text. It looks at
    the database itself, whether the API runs or not, and goes on when the database was away. Counts stop at a limit,
    shown as `10,000+`. Rates are PostgreSQL's own counts of rows written, a second or so late.

    Examples:

        taskflow top
        taskflow top --once
        taskflow top --json --interval 5 | jq .rates
    """
    with ending():
        if not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
            limits = f"must be from {MIN_INTERVAL_S:g} to {MAX_INTERVAL_S:g} seconds"
            raise Failure(f"--interval: {limits}, got {interval_s:g}", MISUSED)
        place = find_place(data_dir, database_url)
        import asyncio

        from taskflow.apps.cli.watch import watch

        asyncio.run(watch(place, interval_s=interval_s, once=once, as_json=as_json))
