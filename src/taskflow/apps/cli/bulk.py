"""`taskflow jobs bulk`: cancel, retry or delete all jobs that a filter finds."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskflow.apps.cli.arguments import given
from taskflow.apps.cli.session import MISUSED, AsJson, DatabaseUrl, DataDir, Failure, Session, complain, ending, run

if TYPE_CHECKING:
    from taskflow.engine.job import Job, JobFilter, JobId

MAX_COUNTED = 10_000  # by --dry-run
MAX_PAGES = 100  # that it reads of jobs in one state; with a filter, a page may hold few jobs or none
PAGE = 200
SHOWN = 10
ACTIONS = ("cancel", "retry", "delete")
FILTER_NAMES = {
    "status": "--status",
    "taskType": "--task-type",
    "queue": "--queue",
    "tag": "--tag",
    "from": "--from",
    "to": "--to",
}

OfKind = Annotated[str | None, typer.Option(metavar="TASK_TYPE", help="Jobs of this kind.")]
OfQueue = Annotated[str | None, typer.Option(metavar="QUEUE", help="Jobs of this queue.")]
WithTag = Annotated[str | None, typer.Option(metavar="TAG", help="Jobs with this tag.")]
CreatedFrom = Annotated[
    str | None, typer.Option("--from", metavar="INSTANT", help="Created then or later; ISO 8601 with a time zone.")
]
CreatedTo = Annotated[str | None, typer.Option("--to", metavar="INSTANT", help="Created before then.")]


def bulk(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="cancel, retry or delete.")],
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Jobs in this state, of those that the action applies to.")
    ] = None,
    task_type: OfKind = None,
    queue: OfQueue = None,
    tag: WithTag = None,
    created_from: CreatedFrom = None,
    created_to: CreatedTo = None,
    all_: Annotated[bool, typer.Option("--all", help="Instead of options that choose: all jobs.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many jobs it would be, and show the newest of them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --all: do not ask whether that is meant.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Cancel, retry or delete all jobs that the options choose, from the newest down.

    The command does the work itself, in steps of some hundred jobs; if it is interrupted, a worker goes on where it
    was. Jobs that are submitted meanwhile are left alone. What was deleted cannot be brought back. --dry-run counts
    up to 10,000 jobs.

    Examples:

        taskflow jobs bulk cancel --queue images --dry-run
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
    chosen = given(asked)
    with ending():
        if action not in ACTIONS:
            raise Failure(f"ACTION: must be {', '.join(ACTIONS)}, got {action!r}", MISUSED)
        if bool(chosen) == all_:
            raise Failure("choose jobs by options, or give --all alone", MISUSED)
        if dry_run:
            _preview(action, chosen, as_json=as_json, data_dir=data_dir, database_url=database_url)
            return
        if all_ and not yes:
            _ask(action)
    _run(action, chosen, as_json=as_json, data_dir=data_dir, database_url=database_url)


def _ask(action: str) -> None:
    """Have a person at a terminal say that all jobs are meant. Raises Failure: they are not, or there is nobody."""
    if not sys.stdin.isatty():
        raise Failure(f"--all: not a terminal, so nobody can be asked; give --yes to {action} all jobs", MISUSED)
    if not typer.confirm(f"{action} all jobs that can be?", err=True):
        raise Failure("nothing was done")


def _preview(
    action: str, chosen: dict[str, str], *, as_json: bool, data_dir: Path | None, database_url: str | None
) -> None:
    async def work(session: Session) -> None:
        from taskflow.apps.cli.output import Output, plural
        from taskflow.apps.cli.view import show_jobs
        from taskflow.engine.bulk import STATES
        from taskflow.engine.record import BulkAction
        from taskflow.jobs.bulk import filter_of
        from taskflow.jobs.schemas import view_of_job

        wanted = filter_of(dict(chosen))
        states = STATES[BulkAction(action)]
        if wanted.state is not None and wanted.state not in states:
            raise Failure(f"--status: must be {', '.join(states)} to {action}, or left out", MISUSED)
        found, more = 0, False
        newest: list[Job] = []
        for state in states if wanted.state is None else [wanted.state]:
            counted, left, jobs = await _count(session, replace(wanted, state=state), MAX_COUNTED - found)
            found, more = found + counted, more or left
            newest = sorted([*newest, *jobs], key=lambda job: job.id, reverse=True)[:SHOWN]
        if not found and not more:
            await _remark(session, wanted)
        views = [view_of_job(job) for job in newest]
        out = Output(session.now)
        if as_json:
            out.json({"action": action, "matching": found, "more": more, "newest": views})
            return
        out.line(f"would {action} {'more than ' if more else ''}{plural(found, 'job')}{':' if views else ''}")
        if views:
            show_jobs(out, views)

    run(work, data_dir=data_dir, database_url=database_url, names=FILTER_NAMES)


async def _count(session: Session, wanted: "JobFilter", most: int) -> "tuple[int, bool, Sequence[Job]]":
    """Return how many jobs there are, up to *most*, whether there are more, and the newest."""
    namespace = session.principal.namespace
    found = 0
    newest: list[Job] = []
    before: JobId | None = None
    for _ in range(MAX_PAGES):
        page = await session.engine.list_jobs(namespace, wanted, limit=PAGE, before=before)
        found += len(page.items)
        newest += page.items[: SHOWN - len(newest)]
        before = page.next_before
        if found > most or before is None:
            break
    return min(found, most), found > most or before is not None, newest


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
        wanted = filter_of(dict(chosen))
        out = Output(session.now)
        async with session.engine:
            async with session.database.transaction() as connection:
                operation = await operations.start(
                    session.principal.namespace,
                    BulkAction(action),
                    wanted,
                    queue=kinds.QUEUE,
                    connection=connection,
                )
            typer.echo(f"operation {operation.id}", err=True)
            while not await operations.step(operation.id):
                pass
            operation = await operations.find(operation.id)
        if not operation.done and not operation.failed:
            await _remark(session, wanted)
        if as_json:
            out.json(view_of_operation(operation))
            return
        words = {"cancel": "cancelled, or asked to stop", "retry": "pending again", "delete": "deleted"}
        left = f"; {plural(operation.failed, 'job')} could not be" if operation.failed else ""
        out.line(f"{plural(operation.done, 'job')} {words[action]}{left}")

    run(work, data_dir=data_dir, database_url=database_url, names=FILTER_NAMES)


async def _remark(session: Session, wanted: "JobFilter") -> None:
    from taskflow.apps.names import remarks_on_filter

    for remark in await remarks_on_filter(session.engine, session.principal.namespace, wanted):
        complain(remark)
