"""`taskflow webhooks`: list, show, replay, secret."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from taskflow.apps.cli.arguments import given
from taskflow.apps.cli.grammar import Commands
from taskflow.apps.cli.session import (
    EXITS,
    WHERE,
    AsJson,
    DatabaseUrl,
    DataDir,
    Failure,
    Session,
    run,
)

if TYPE_CHECKING:
    from taskflow.apps.cli.output import Output
    from taskflow.webhooks.schemas import DeliveryView
    from taskflow.webhooks.service import Deliveries

LIST_NAMES = {"jobId": "--job", "status": "--status", "limit": "--limit", "cursor": "--cursor"}

group = Commands(
    help=f"Look at callbacks and what became of them, and make them again.\n\n{WHERE}\n\n{EXITS}",
    short_help="Look at callbacks, make them again.",
)

DeliveryId = Annotated[str, typer.Argument(metavar="ID", help="The whole id of a delivery.", show_default=False)]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="webhooks")


@group.command("list")
def list_(
    job: Annotated[str | None, typer.Option(metavar="ID", help="Of this job only.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="pending, delivered, or failed: the dead letters.")
    ] = None,
    limit: Annotated[str | None, typer.Option(metavar="N", help="At most so many, 1 to 200. [default: 50]")] = None,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Where the page before ended; it says so itself.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    List deliveries, newest first: one for each time that a job with a callback URL ended.

    Examples:

        taskflow webhooks list --status failed
        taskflow webhooks list --job 019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11
    """
    asked = given({"jobId": job, "status": status, "limit": limit, "cursor": cursor})

    async def work(session: Session) -> None:
        from pydantic import ValidationError

        from taskflow.apps.cli.output import Column, Output, clean
        from taskflow.http.validation import field_errors
        from taskflow.kernel.errors import FieldError, Invalid, NotFound
        from taskflow.webhooks.schemas import DeliveryPageView, ListDeliveries, view_of_delivery
        from taskflow.webhooks.service import delivery_id_of

        try:
            query = ListDeliveries.model_validate(asked)
            before = None if query.cursor is None else delivery_id_of(query.cursor)
        except ValidationError as error:
            raise Invalid("the list cannot be had", errors=field_errors(error, parameters=tuple(asked))) from None
        except NotFound:
            detail = "is not a cursor; take nextCursor as it came"
            raise Invalid("the cursor is not valid", errors=[FieldError("cursor", "bad_cursor", detail)]) from None
        found = await _deliveries(session).list_page(
            session.principal, job_id=query.jobId, status=query.status, before=before, limit=query.limit + 1
        )
        items = found[: query.limit]
        next_cursor = str(items[-1].id) if len(found) > len(items) else None
        out = Output(session.now)
        if as_json:
            out.json(DeliveryPageView([view_of_delivery(item) for item in items], next_cursor))
            return
        if items:
            columns = (
                Column("ID"),
                Column("STATUS", style=_style),
                Column("EVENT", rank=1),
                Column("TYPE", rank=3, least=10),
                Column("JOB", rank=2),
                Column("CREATED", rank=4),
                Column("SETTLED", rank=5),
            )
            rows = [
                (
                    str(item.id),
                    str(item.status),
                    item.event,
                    clean(item.kind),
                    str(item.job_id),
                    out.time(item.created_at),
                    out.time(item.settled_at) if item.settled_at else "",
                )
                for item in items
            ]
            out.table(columns, rows)
        else:
            typer.echo("no deliveries", err=True)
        if next_cursor is not None:
            typer.echo(f"more: --cursor {next_cursor}", err=True)

    run(work, data_dir=data_dir, database_url=database_url, names=LIST_NAMES)


@group.command()
def show(
    delivery_id: DeliveryId, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """
    Show a delivery: where it goes, its attempts, and what the receiver said to each.

    Example:

        taskflow webhooks show 019ab0f2-7c11-7d02-8a44-52f0e8a9b310
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.output import Output
        from taskflow.webhooks.schemas import view_of_followed
        from taskflow.webhooks.service import delivery_id_of

        followed = await _deliveries(session).get(session.principal, delivery_id_of(delivery_id))
        out = Output(session.now)
        view = view_of_followed(followed)
        if as_json:
            out.json(view)
        else:
            _print(out, view)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def replay(
    delivery_id: DeliveryId, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """
    Make a delivery again that has failed, or was delivered, with the same webhook-id; its attempts begin anew.

    One that is pending is still tried, and is refused. A receiver that remembers ids takes a delivered one for a
    repetition, and may do nothing with it.

    Example:

        taskflow webhooks replay 019ab0f2-7c11-7d02-8a44-52f0e8a9b310
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.output import Output
        from taskflow.webhooks.schemas import view_of_followed
        from taskflow.webhooks.service import delivery_id_of

        async with session.engine:
            followed = await _deliveries(session).replay(session.principal, delivery_id_of(delivery_id))
        out = Output(session.now)
        view = view_of_followed(followed)
        if as_json:
            out.json(view)
        else:
            out.line(f"{view.delivery_id}  {view.status}")

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def secret(as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Print the secret that callbacks are signed with, for receivers that verify them.

    Derived from the root secret, so this command needs that: TASKFLOW_SECRET_KEY, or a data directory of `up`.

    Example:

        taskflow webhooks secret
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.output import Output
        from taskflow.apps.data_dir import find_secret
        from taskflow.apps.settings import Settings
        from taskflow.http.secret import RootSecret
        from taskflow.webhooks.schemas import SigningSecretView
        from taskflow.webhooks.signature import signing_secret

        root = find_secret(Settings.from_env(data_dir=data_dir, database_url=database_url))
        if root is None:
            raise Failure("no root secret: set TASKFLOW_SECRET_KEY as the API has it")
        value = signing_secret(RootSecret(root.encode()), session.principal.namespace)
        out = Output(session.now)
        if as_json:
            out.json(SigningSecretView(value))
        else:
            out.line(value)

    run(work, data_dir=data_dir, database_url=database_url)


def _deliveries(session: Session) -> "Deliveries":
    from taskflow.http.secret import RootSecret
    from taskflow.webhooks.service import Deliveries

    # Nothing is signed here: what this command does needs no secret.
    return Deliveries(session.database, session.engine, RootSecret(bytes(32)))


def _print(out: "Output", view: "DeliveryView") -> None:
    from msgspec import UNSET

    from taskflow.apps.cli.output import Column, clean

    due = view.next_attempt_at if view.next_attempt_at is not UNSET else None
    facts = [
        ("id", str(view.delivery_id), ""),
        ("status", str(view.status), _style(str(view.status))),
        ("event", view.event, ""),
        ("job", str(view.job_id), ""),
        ("type", clean(view.task_type), ""),
        ("url", clean(view.url or "") if view.url is not UNSET else "", ""),
        ("created", out.full_time(view.created_at), ""),
        ("next attempt", out.full_time(due) if due else "", ""),
        ("settled", out.full_time(view.settled_at) if view.settled_at else "", ""),
    ]
    out.facts([fact for fact in facts if fact[1]])
    if not view.attempts:
        return
    columns = (
        Column("ATTEMPT", right=True),
        Column("OUTCOME"),
        Column("STATUS", right=True),
        Column("TOOK", rank=2),
        Column("ENDED", rank=3),
        Column("ERROR", least=16),
        Column("BODY", rank=1, least=12),
    )
    rows: list[Sequence[str]] = []
    for attempt in view.attempts:
        response = attempt.response
        rows.append(
            (
                str(attempt.attempt),
                str(attempt.outcome or ""),
                str(response.status or "") if response else "",
                f"{response.duration} ms" if response else "",
                out.time(attempt.finished_at) if attempt.finished_at else "",
                clean(attempt.error or (response.fault if response else "") or ""),
                clean((response.body or "").replace("\n", " ")) if response else "",
            )
        )
    out.line()
    out.line("attempts", "bold")
    out.table(columns, rows, indent=2)


def _style(status: str) -> str:
    return {"delivered": "green", "failed": "red"}.get(status, "")
