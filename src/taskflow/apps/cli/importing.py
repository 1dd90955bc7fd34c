"""`taskflow jobs import`."""

from typing import Annotated

import typer

from taskflow.apps.cli import jobs
from taskflow.apps.cli.session import AsJson, DatabaseUrl, DataDir, Session, run

NAMES = {"Idempotency-Key": "--key"}


def register(_app: typer.Typer) -> None:
    jobs.group.command("import")(import_)


def import_(
    path: Annotated[str, typer.Argument(metavar="FILE", help="Lines of JSON; `-` for standard input.")],
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Names the import. [default: made from the file's content]"),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Submit the jobs of a file, one JSON object a line, as `POST /jobs` takes them.

    A line that is wrong is told on stderr and left out; the exit code is then 1. An import that was stopped goes on
    where it was when it is run again, and one that is complete stores nothing a second time: an import is known by its
    key for 24 hours. To import the same lines again, give another key. Standard input has no key unless you give one.

    Examples:

        taskflow jobs import jobs.ndjson
        taskflow jobs import jobs.ndjson --key monday-again
        zcat jobs.ndjson.gz | taskflow jobs import - --key big-file --json
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.intake import import_lines

        await import_lines(session, path, key, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=NAMES)
