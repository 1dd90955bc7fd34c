"""What `taskflow jobs list`, `show` and `logs` read, and how it is laid out."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import typer
from pydantic import ValidationError

from taskflow.apps.cli.output import STATE_STYLES, Column, Output, clean, iso, plural, span
from taskflow.apps.cli.session import Session, complain, describe
from taskflow.apps.names import remarks_on_filter
from taskflow.db.pool import DATABASE_ERRORS
from taskflow.engine.job import JobId, LogLine, OutcomeKind
from taskflow.http.validation import field_errors
from taskflow.jobs.schemas import (
    AttemptView,
    JobPageView,
    JobProgressView,
    JobView,
    ListJobs,
    chosen_by,
    view_of_job,
    view_of_line,
)
from taskflow.jobs.service import job_id_of
from taskflow.kernel.errors import FieldError, Invalid, NotFound
from taskflow.kernel.json import JSONValue

LOG_PAGE = 1000  # lines that are read at a time
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0  # between two looks of one who follows
MAX_JSON_LINES = 60  # of a payload or result in a terminal
TRACEBACK_LINES = 15
LEVEL_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "red"}


def _state_style(cell: str) -> str:
    return STATE_STYLES.get(cell, "")


# Why an attempt ended that left no error.
WHY: Mapping[str, str] = {
    OutcomeKind.LOST: "its worker process, or machine, was gone",
    OutcomeKind.HANDED_BACK: "its worker ended before it",
}

COLUMNS = (
    Column("ID"),
    Column("STATUS", style=_state_style),
    Column("TYPE", least=10),
    Column("CREATED"),
    Column("ATTEMPT", rank=1, right=True),
    Column("DUE", rank=3),
    Column("ENDED", rank=4),
    Column("QUEUE", rank=5, least=8),
    Column("PRIORITY", rank=7, right=True),
    Column("TAGS", rank=6, least=12),
    Column("ERROR", rank=2, least=16),
)
ATTEMPT_COLUMNS = (
    Column("ATTEMPT", right=True),
    Column("OUTCOME"),
    Column("STARTED", rank=3),
    Column("TOOK", rank=1),
    Column("RETRY", rank=2),
    Column("ERROR", least=16),
)


async def show_page(session: Session, asked: Mapping[str, str], *, as_json: bool) -> None:
    """List a page of jobs; on stderr, how to go on."""
    try:
        query = ListJobs.model_validate(asked)
    except ValidationError as error:
        raise Invalid("the list cannot be had", errors=field_errors(error, parameters=tuple(asked))) from None
    chosen = chosen_by(query)
    page = await session.jobs.list_jobs(
        session.principal, chosen, limit=query.limit, before=None if query.cursor is None else _position(query.cursor)
    )
    views = [view_of_job(job) for job in page.items]
    out = Output(session.now)
    if not views and page.next_before is None and query.cursor is None:
        for remark in await remarks_on_filter(session.engine, session.principal.namespace, chosen):
            complain(remark)
    if as_json:
        out.json(JobPageView(views, None if page.next_before is None else str(page.next_before)))
        return
    if views:
        show_jobs(out, views)
    if page.next_before is not None:
        typer.echo(f"{'more' if views else 'none so far, there may be more'}: --cursor {page.next_before}", err=True)
    elif not views:
        typer.echo("no jobs", err=True)


def show_jobs(out: Output, views: Sequence[JobView]) -> None:
    """Print jobs as a table."""
    out.table(COLUMNS, [_row(out, view) for view in views])


async def show_job(session: Session, text: str, *, as_json: bool) -> None:
    """Show one job and its history."""
    job, attempts = await session.jobs.get_job_with_attempts(session.principal, job_id_of(text))
    view = view_of_job(job, attempts)
    out = Output(session.now)
    if as_json:
        out.json(view)
        return
    out.facts(_facts(out, view))
    _value(out, "payload", view.payload)
    if view.status == "completed":
        _value(out, "result", view.result)
    history = view.attempts or []
    if history:
        out.line()
        out.line("attempts", "bold")
        out.table(ATTEMPT_COLUMNS, [_attempt_row(out, attempt) for attempt in history], indent=2)
    failed = [attempt for attempt in history if attempt.traceback]
    if failed and view.status != "completed":
        _traceback(out, failed[-1])


async def show_logs(session: Session, text: str, *, as_json: bool) -> None:
    """Print all lines of a job, read a page at a time."""
    job_id = job_id_of(text)
    out = Output(session.now)
    items = []
    after_seq = 0
    while True:
        lines = await session.jobs.list_logs(session.principal, job_id, after_seq=after_seq, limit=LOG_PAGE)
        if as_json:
            items += [view_of_line(line) for line in lines]
        else:
            _print_lines(out, lines)
        if len(lines) < LOG_PAGE:
            break
        after_seq = lines[-1].seq
    if as_json:
        out.json({"items": items, "nextCursor": None})
    elif not after_seq and not lines:
        typer.echo("no lines", err=True)


async def follow_logs(session: Session, text: str, *, as_json: bool) -> None:
    """Print the lines of a job as they are written, until it has ended; an outage is waited out."""
    engine = session.engine
    position = await engine.find_log_position(job_id_of(text), namespace=session.principal.namespace)
    out = Output(session.now)
    pause_s = FIRST_PAUSE_S
    away = False
    while True:
        try:
            [news] = await engine.follow_logs([position], limit=LOG_PAGE)
        except DATABASE_ERRORS as error:
            if not away:
                complain(f"the database is away, looking again: {describe(error)}")
            away = True
            await asyncio.sleep(LONGEST_PAUSE_S)
            continue
        away = False
        if as_json:
            for line in news.lines:
                typer.echo(msgspec.json.encode(view_of_line(line)))
        else:
            _print_lines(out, news.lines)
        sys.stdout.flush()
        if news.end is not None:
            typer.echo(f"the job is {news.end}", err=True)
            return
        if news.lines:
            position = replace(position, after_seq=news.lines[-1].seq)
            pause_s = FIRST_PAUSE_S
        if len(news.lines) < LOG_PAGE:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def _print_lines(out: Output, lines: Sequence[LogLine]) -> None:
    for line in lines:
        message = f"{iso(line.at)}  attempt {line.attempt}  {line.level:<7}  {clean(line.message)}"
        out.line(message, LEVEL_STYLES.get(line.level, ""))


def _position(cursor: str) -> JobId:
    try:
        return job_id_of(cursor)
    except NotFound:
        detail = "is not a cursor; take nextCursor as it came"
        raise Invalid("the cursor is not valid", errors=[FieldError("cursor", "bad_cursor", detail)]) from None


def _row(out: Output, view: JobView) -> Sequence[str]:
    waits = view.status in ("scheduled", "retrying")
    return (
        str(view.job_id),
        view.status,
        clean(view.task_type),
        out.time(view.created_at),
        str(view.attempt),
        out.time(view.run_at) if waits else "",
        out.time(view.finished_at) if view.finished_at else "",
        clean(view.queue),
        str(view.priority),
        clean(",".join(view.tags)),
        _error(view.error_type, view.error),
    )


def _facts(out: Output, view: JobView) -> list[tuple[str, str, str]]:
    attempts = f"{view.attempt}, {view.failures} failed, {plural(view.retries, 'retry', 'retries')} allowed"
    facts = [
        ("id", str(view.job_id), ""),
        ("status", _status(out, view), _state_style(view.status)),
        ("type", clean(view.task_type), ""),
        ("queue", clean(view.queue), ""),
        ("priority", str(view.priority), ""),
        ("attempts", attempts, ""),
        ("timeout", f"{view.timeout} ms", ""),
        ("tags", clean(", ".join(view.tags)), ""),
        ("callback", clean(view.callback_url or ""), ""),
        ("unique key", f"{clean(view.unique_key)} ({view.unique_scope})" if view.unique_key else "", ""),
        ("expires", out.full_time(view.expires_at) if view.expires_at else "", ""),
        ("created", out.full_time(view.created_at), ""),
        ("due", out.full_time(view.run_at) if view.run_at else "", ""),
        ("started", out.full_time(view.started_at) if view.started_at else "", ""),
        ("ended", out.full_time(view.finished_at) if view.finished_at else "", ""),
        ("progress", _progress(out, view.progress), ""),
        ("error", _error(view.error_type, view.error), "red"),
    ]
    return [fact for fact in facts if fact[1]]


def _status(out: Output, view: JobView) -> str:
    status = str(view.status)
    if view.failure_reason is not None:
        return f"{status} ({view.failure_reason})"
    if view.next_retry_at is not None:
        return f"{status}, next attempt {out.time(view.next_retry_at)}"
    if view.status == "active" and view.cancel_requested_at is not None:
        return f"{status}, cancel requested {out.time(view.cancel_requested_at)}"
    return status


def _progress(out: Output, progress: JobProgressView | None) -> str:
    """How far the handler said that it was, and when; with the attempt, if there was more than one."""
    if progress is None:
        return ""
    attempt = f" in attempt {progress.attempt}" if progress.attempt > 1 else ""
    message = f"  {clean(progress.message)}" if progress.message else ""
    return f"{progress.fraction:.0%}{message}  ({out.time(progress.at)}{attempt})"


def _attempt_row(out: Output, attempt: AttemptView) -> Sequence[str]:
    took = (attempt.finished_at - attempt.started_at).total_seconds() if attempt.started_at is not None else None
    return (
        str(attempt.attempt),
        attempt.outcome,
        out.time(attempt.started_at),
        "" if took is None else span(max(took, 0.0)),
        out.time(attempt.next_retry_at) if attempt.next_retry_at is not None else "",
        _error(attempt.error_type, attempt.error) or WHY.get(attempt.outcome, ""),
    )


def _error(error_type: str | None, message: str | None) -> str:
    return clean(": ".join(part for part in (error_type, message) if part))


def _value(out: Output, name: str, value: JSONValue) -> None:
    lines = msgspec.json.format(msgspec.json.encode(value), indent=2).decode().split("\n")
    out.line()
    out.line(name, "bold")
    shown = lines[:MAX_JSON_LINES] if out.is_terminal else lines
    for line in shown:
        out.line(f"  {clean(line)}")
    if (more := len(lines) - len(shown)) > 0:
        out.line(f"  … {plural(more, 'line')} more; --json shows all", "dim")


def _traceback(out: Output, attempt: AttemptView) -> None:
    lines = (attempt.traceback or "").rstrip().splitlines()
    out.line()
    out.line(f"traceback of attempt {attempt.attempt}", "bold")
    if (more := len(lines) - TRACEBACK_LINES) > 0:
        out.line(f"  … {plural(more, 'line')} before; --json shows all", "dim")
    for line in lines[-TRACEBACK_LINES:]:
        out.line(f"  {clean(line)}")
