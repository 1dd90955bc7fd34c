"""`taskflow jobs bulk`: cancel, retry or delete all jobs that a filter finds."""

from pathlib import Path
from typing import Annotated

import typer

from taskflow.apps.cli.session import MISUSED, AsJson, DatabaseUrl, DataDir, Failure, Session, ending, run

ACTIONS = ("cancel", "retry", "delete")
NAMES = {
    "status": "--status",
    "taskType": "--task-type",
    "queue": "--queue",
    "tag": "--tag",
    "from": "--from",
    "to": "--to",
}


def bulk(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="cancel, retry or delete.")],
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Jobs in this state, of those that the action applies to.")
    ] = None,
    task_type: Annotated[str | None, typer.Option(metavar="TASK_TYPE", help="Jobs of this kind.")] = None,
    queue: Annotated[str | None, typer.Option(metavar="QUEUE", help="Jobs of this queue.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Jobs with this tag.")] = None,
    created_from: Annotated[
        str | None, typer.Option("--from", metavar="INSTANT", help="Created then or later; ISO 8601 with a time zone.")
    ] = None,
    created_to: Annotated[str | None, typer.Option("--to", metavar="INSTANT", help="Created before then.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Without any other option: all jobs.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Cancel, retry or delete all jobs that the options choose, from the newest down.

    The command does the work itself, in steps of some hundred jobs; if it is interrupted, a worker goes on where it
    was. Jobs that are submitted meanwhile are left alone. What was deleted cannot be brought back.

    Examples:

        taskflow jobs bulk cancel --queue images
        taskflow jobs bulk retry --task-type send_email --from 2026-11-23T00:00:00Z
        taskflow jobs bulk delete --status completed --to 2026-11-01T00:00:00Z
    """
    asked = {
        "status": status,
        "taskType": task_type,
        "queue": queue,
        "tag": tag,
        "from": created_from,
        "to": created_to,
    }
    chosen = {name: value for name, value in asked.items() if value is not None}
    with ending():
        if action not in ACTIONS:
            raise Failure(f"ACTION: must be {', '.join(ACTIONS)}, got {action!r}", MISUSED)
        if bool(chosen) == all_:
            raise Failure("choose jobs by options, or give --all alone", MISUSED)
    _run(action, chosen, as_json=as_json, data_dir=data_dir, database_url=database_url)


def _run(
    action: str, chosen: dict[str, str], *, as_json: bool, data_dir: Path | None, database_url: str | None
) -> None:
    async def work(session: Session) -> None:
        from taskflow import kinds
        from taskflow.apps.cli.output import Output, plural
        from taskflow.engine.bulk import Bulk
        from taskflow.engine.record import BulkAction
        from taskflow.jobs.bulk import filter_of, view_of_operation

        operations = Bulk(session.database, session.engine)
        out = Output(session.now)
        async with session.engine:
            async with session.database.transaction() as connection:
                operation = await operations.start(
                    session.principal.namespace,
                    BulkAction(action),
                    filter_of(dict(chosen)),
                    queue=kinds.QUEUE,
                    connection=connection,
                )
            typer.echo(f"operation {operation.id}", err=True)
            while not await operations.step(operation.id):
                pass
            operation = await operations.find(operation.id)
        if as_json:
            out.json(view_of_operation(operation))
            return
        words = {"cancel": "cancelled, or asked to stop", "retry": "pending again", "delete": "deleted"}
        left = f"; {plural(operation.failed, 'job')} could not be" if operation.failed else ""
        out.line(f"{plural(operation.done, 'job')} {words[action]}{left}")

    run(work, data_dir=data_dir, database_url=database_url, names=NAMES)
