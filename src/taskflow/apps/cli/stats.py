"""`taskflow stats`."""

from typing import Annotated

import typer

from taskflow.apps.cli.arguments import given
from taskflow.apps.cli.session import AsJson, DatabaseUrl, DataDir, Session, run

NAMES = {"days": "--days", "from": "--from", "to": "--to", "period": "--period"}


def register(app: typer.Typer) -> None:
    app.command()(stats)


def stats(
    days: Annotated[str | None, typer.Option(metavar="N", help="So many days back, 1 to 92. [default: 7]")] = None,
    ended_from: Annotated[
        str | None, typer.Option("--from", metavar="INSTANT", help="From that hour on; ISO 8601 with a time zone.")
    ] = None,
    ended_to: Annotated[str | None, typer.Option("--to", metavar="INSTANT", help="Up to that hour.")] = None,
    period: Annotated[
        str | None, typer.Option(metavar="PERIOD", help="hour or day. [default: hours up to two days]")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Show how many jobs are where, how they ended, and how long they took.

    Ends are counted exactly, each of them: a failed job that was run again ends again. Jobs that have not ended are
    counted up to a limit, shown as `10,000+`. A window is made of whole hours of UTC, a percentile of how long jobs ran
    or waited is right to within a fifth.

    Exit codes: 0 done, 1 could not be done, 2 asked wrongly; errors are one line on stderr.

    Examples:

        taskflow stats
        taskflow stats --days 1
        taskflow stats --from 2026-11-01T00:00:00Z --json | jq .successRate
    """
    asked = {"days": days, "from": ended_from, "to": ended_to, "period": period}

    async def work(session: Session) -> None:
        from taskflow.apps.cli.numbers import show_stats

        await show_stats(session, given(asked), as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=NAMES)
