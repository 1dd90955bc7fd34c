"""What `taskflow webhooks` reads and changes, and how it is laid out."""

from collections.abc import Mapping, Sequence

import typer
from msgspec import UNSET
from pydantic import ValidationError

from taskflow.apps.cli.output import Column, Output, clean
from taskflow.apps.cli.session import Session
from taskflow.http.secret import RootSecret
from taskflow.http.validation import field_errors
from taskflow.kernel.errors import FieldError, Invalid, NotFound
from taskflow.webhooks.schemas import (
    DeliveryPageView,
    DeliveryView,
    ListDeliveries,
    view_of_delivery,
    view_of_followed,
)
from taskflow.webhooks.service import Deliveries, delivery_id_of


async def show_page(session: Session, asked: Mapping[str, str], *, as_json: bool) -> None:
    """Print a page of deliveries. Raises Invalid."""
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


async def show_delivery(session: Session, text: str, *, as_json: bool) -> None:
    """Print a delivery with its history. Raises NotFound."""
    view = view_of_followed(await _deliveries(session).get(session.principal, delivery_id_of(text)))
    out = Output(session.now)
    if as_json:
        out.json(view)
    else:
        _print(out, view)


async def replay_delivery(session: Session, text: str, *, as_json: bool) -> None:
    """Make a delivery again. Raises NotFound, Conflict."""
    async with session.engine:
        followed = await _deliveries(session).replay(session.principal, delivery_id_of(text))
    view = view_of_followed(followed)
    out = Output(session.now)
    if as_json:
        out.json(view)
    else:
        out.line(f"{view.delivery_id}  {view.status}")


def _deliveries(session: Session) -> Deliveries:
    # Nothing is signed here: what these commands do needs no secret.
    return Deliveries(session.database, session.engine, RootSecret(bytes(32)))


def _print(out: Output, view: DeliveryView) -> None:
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
