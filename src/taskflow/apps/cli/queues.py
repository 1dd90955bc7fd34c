"""`taskflow queues`: list, show, pause, resume, drain, limit."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskflow.apps.cli.grammar import Commands
from taskflow.apps.cli.session import (
    EXITS,
    MISUSED,
    WHERE,
    AsJson,
    DatabaseUrl,
    DataDir,
    Failure,
    Session,
    complain,
    ending,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

    from taskflow.jobs.queues import QueueView

NO_LIMIT = "none"
NAMES = {"name": "QUEUE", "concurrency": "LIMIT"}

group = Commands(
    help=f"Look at queues; pause, resume, drain and limit them.\n\n{WHERE}\n\n{EXITS}",
    short_help="Look at queues; pause, resume, drain and limit them.",
)

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name; one that is new is remarked on.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="queues")


@group.command("list")
def list_(as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    List queues by name: those that jobs, workers, kinds or settings name.

    A queue is `unused` if only its settings name it: no job that is due or active, no live worker, no kind. Resumed,
    and without a limit, it leaves the list. PENDING is counted up to 10,000. SUPERVISORS are the live `taskflow up` and
    `taskflow worker` that serve it. --json gives `{"items": […], "nextCursor": null}`.

    Examples:

        taskflow queues list
        taskflow queues list --json | jq -r '.items[] | select(.paused) | .name'
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.output import Column, Output, clean, span
        from taskflow.jobs.queues import QueuePageView, view_of_queue

        views = [view_of_queue(queue) for queue in await session.engine.list_queues()]
        out = Output(session.now)
        if as_json:
            out.json(QueuePageView(views, None))
            return
        if not views:
            typer.echo("no queues", err=True)
            return
        columns = (
            Column("QUEUE", least=8),
            Column("STATE", style=_style),
            Column("PENDING", right=True),
            Column("ACTIVE", right=True),
            Column("LIMIT", rank=1, right=True),
            Column("OLDEST", rank=2, right=True),
            Column("SUPERVISORS", rank=3, right=True),
        )
        rows = [
            (
                clean(view.name),
                _state(view) + ("" if view.known else ", unused"),
                str(view.pending),
                str(view.active),
                "" if view.concurrency is None else str(view.concurrency),
                "" if view.oldest_due_age is None else span(view.oldest_due_age / 1000),
                str(view.workers),
            )
            for view in views
        ]
        out.table(columns, rows)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def show(name: Name, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Show one queue.

    Examples:

        taskflow queues show builtin
    """

    async def work(session: Session) -> None:
        from taskflow.jobs.queues import view_of_queue

        _show(session, view_of_queue(await session.engine.get_queue(name)), as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=NAMES)


@group.command()
def pause(name: Name, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Hand out no more jobs of a queue; what runs goes on, and new jobs are still taken.

    Examples:

        taskflow queues pause builtin
    """
    _set(name, {"paused": True}, as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command()
def resume(name: Name, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    End a pause, and a drain.

    Examples:

        taskflow queues resume builtin
    """
    settings = {"paused": False, "draining": False}
    _set(name, settings, as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command()
def drain(name: Name, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Take no new jobs for a queue, while those that are there run, retries too.

    Examples:

        taskflow queues drain builtin
    """
    _set(name, {"draining": True}, as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command()
def limit(
    name: Name,
    concurrency: Annotated[
        str, typer.Argument(metavar="LIMIT", help="How many of its jobs may be active at once, or `none`.")
    ],
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Limit how many jobs of a queue may be active at once, over all workers.

    What runs above a lowered limit runs to its end.

    Examples:

        taskflow queues limit images 4
        taskflow queues limit images none
    """
    with ending():
        if concurrency != NO_LIMIT and not (
            concurrency.isascii() and concurrency.isdecimal() and len(concurrency) < 10
        ):
            from taskflow.engine.job import MAX_QUEUE_CONCURRENCY

            limits = f"a whole number from 1 to {MAX_QUEUE_CONCURRENCY}, or {NO_LIMIT!r}"
            raise Failure(f"LIMIT: must be {limits}, got {concurrency!r}", MISUSED)
    settings = {"limits": True, "concurrency": None if concurrency == NO_LIMIT else int(concurrency)}
    _set(name, settings, as_json=as_json, data_dir=data_dir, database_url=database_url)


def _set(
    name: str, settings: dict[str, Any], *, as_json: bool, data_dir: "Path | None", database_url: str | None
) -> None:
    async def work(session: Session) -> None:
        from taskflow.apps.names import remarks_on_queues
        from taskflow.jobs.queues import view_of_queue

        remarks = await remarks_on_queues(session.engine, [name])
        async with session.engine:  # sends the wake-up
            queue = await session.engine.set_queue(name, **settings)
        for remark in remarks:
            complain(remark)
        _show(session, view_of_queue(queue), as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=NAMES)


def _show(session: Session, view: "QueueView", *, as_json: bool) -> None:
    from taskflow.apps.cli.output import Output, clean, span

    out = Output(session.now)
    if as_json:
        out.json(view)
        return
    since = view.draining_at if view.draining else view.paused_at
    state = _state(view)
    facts = [
        ("queue", clean(view.name), ""),
        ("state", f"{state} since {out.full_time(since)}" if since else state, _style(state)),
        ("unused", "" if view.known else "no due or active job, live worker or kind names it", "yellow"),
        ("limit", "none" if view.concurrency is None else f"{view.concurrency} at once", ""),
        ("pending", str(view.pending), ""),
        ("oldest", "" if view.oldest_due_age is None else f"due for {span(view.oldest_due_age / 1000)}", ""),
        ("active", str(view.active), ""),
        ("supervisors", str(view.workers), "" if view.workers else "yellow"),
    ]
    out.facts([fact for fact in facts if fact[1]])


def _state(view: "QueueView") -> str:
    said = [word for word, is_so in (("paused", view.paused), ("draining", view.draining)) if is_so]
    return ", ".join(said) or "open"


def _style(state: str) -> str:
    return "" if state == "open" else "yellow"
