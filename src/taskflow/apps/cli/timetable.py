"""What `taskflow schedules` reads and writes, and how it is laid out."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import typer

from taskflow.apps.cli.output import Column, Output, clean, span
from taskflow.apps.cli.session import Session
from taskflow.engine.job import Enqueued, NewJob
from taskflow.engine.schedule import Schedule
from taskflow.engine.schedules import Schedules as EngineSchedules
from taskflow.jobs.schemas import JobView, view_of_job, view_of_new
from taskflow.kernel.cron import find_zone
from taskflow.kernel.errors import NotFound
from taskflow.schedules.schemas import (
    SchedulePageView,
    ScheduleView,
    TickView,
    view_of_preview,
    view_of_schedule,
    view_of_tick,
)
from taskflow.schedules.service import Schedules, coming, schedule_id_of

LATEST_TICKS = 10
OUTCOME_STYLES = {"fired": "green", "failed": "red", "skipped": "yellow", "missed": "yellow"}


def _outcome_style(cell: str) -> str:
    return OUTCOME_STYLES.get(cell, "")


COLUMNS = (
    Column("NAME", least=14),
    Column("WHEN", least=12),
    Column("ZONE", rank=4),
    Column("TYPE", rank=2, least=10),
    Column("NEXT"),
    Column("LAST", rank=1),
    Column("OUTCOME", rank=3, style=_outcome_style),
    Column("ID", rank=5),
)
TICK_COLUMNS = (
    Column("TIME"),
    Column("OUTCOME", style=_outcome_style),
    Column("JOB", rank=1),
    Column("DETAIL", least=16),
)


async def show_schedules(session: Session, *, limit: int, as_json: bool) -> None:
    schedules = await _service(session).list_schedules(session.principal, before=None, limit=limit)
    out = Output(session.now)
    views = [view_of_schedule(schedule) for schedule in schedules]
    if as_json:
        out.json(SchedulePageView(views, None))
    elif views:
        out.table(COLUMNS, [_row(out, view) for view in views])
    else:
        typer.echo("no schedules", err=True)


async def show_schedule(session: Session, which: str, *, as_json: bool) -> None:
    service = _service(session)
    schedule = await _find(session, service, which)
    ticks = await service.list_ticks(session.principal, schedule.id, before=None, limit=LATEST_TICKS)
    out = Output(session.now)
    _print(out, schedule, [view_of_tick(tick) for tick in ticks], as_json=as_json)


async def make_schedule(session: Session, data: dict[str, Any], *, as_json: bool) -> None:
    service = _service(session)
    plan, paused = await service.prepare(session.principal, data)
    async with session.database.transaction() as connection:
        schedule = await service.create(plan, paused=paused, connection=connection)
    out = Output(session.now)
    if as_json:
        out.json(view_of_schedule(schedule, coming(schedule)))
        return
    out.line(str(schedule.id))
    if out.is_terminal:
        due = out.time(schedule.next_at) if schedule.next_at else "paused"
        typer.echo(f"next: {due}", err=True)


async def change_schedule(session: Session, which: str, data: dict[str, Any], *, as_json: bool) -> None:
    service = _service(session)
    found = await _find(session, service, which)
    seen, plan = await service.prepare_update(session.principal, found.id, data)
    async with session.database.transaction() as connection:
        schedule = await service.update(seen, plan, connection=connection)
    _print(Output(session.now), schedule, [], as_json=as_json)


async def act(session: Session, which: str, verb: str, *, as_json: bool) -> None:
    """Pause, resume, delete or run it, and say what came of it."""
    service = _service(session)
    found = await _find(session, service, which)
    out = Output(session.now)
    async with session.engine:
        async with session.database.transaction() as connection:
            if verb == "run-now":
                job, enqueued = await service.run_now(session.principal, found.id, connection=connection)
            elif verb == "delete":
                await service.delete(session.principal, found.id, connection=connection)
            else:
                change = service.pause if verb == "pause" else service.resume
                schedule = await change(session.principal, found.id, connection=connection)
        if verb == "run-now":
            service.wake([job.queue])
    if verb == "run-now":
        if as_json:
            out.json(await _view_of_run(session, job, enqueued))
        else:
            out.line(str(enqueued.id))
        if enqueued.duplicate:
            typer.echo("nothing was submitted: this job holds the unique key", err=True)
    elif verb == "delete":
        out.line(f"{found.id}  deleted")
    elif as_json:
        out.json(view_of_schedule(schedule, coming(schedule)))
    else:
        state = "paused" if schedule.paused_at is not None else f"next {out.time(schedule.next_at)}"
        out.line(f"{schedule.id}  {state}")


async def show_preview(session: Session, data: dict[str, Any], *, as_json: bool) -> None:
    timing, times = await _service(session).preview(session.principal, data)
    out = Output(session.now)
    if as_json:
        out.json(view_of_preview(timing, times))
        return
    for run in view_of_preview(timing, times).items:
        ahead = span(max((run.at - session.now).total_seconds(), 0.0))
        out.line(f"{run.local}  in {ahead}" if out.is_terminal else run.local)


async def _view_of_run(session: Session, job: NewJob, enqueued: Enqueued) -> JobView:
    if enqueued.duplicate:
        return view_of_job(await session.jobs.get_job(session.principal, enqueued.id), duplicate=True)
    return view_of_new(job, enqueued)


def _service(session: Session) -> Schedules:
    return Schedules(EngineSchedules(session.database), session.jobs)


async def _find(session: Session, service: Schedules, which: str) -> Schedule:
    """Return the schedule of that id, or else of that name."""
    try:
        return await service.get(session.principal, schedule_id_of(which))
    except NotFound:
        if (found := await service.find(session.principal, which)) is not None:
            return found
        raise


def _when(view: ScheduleView) -> str:
    return clean(view.cron) if view.cron is not None else f"every {exactly(view.every or 0)}"


def exactly(milliseconds: int) -> str:
    """Return an interval as `--every` takes it, with nothing rounded: `90s` is `1m30s`."""
    words = []
    for unit_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")):
        count, milliseconds = divmod(milliseconds, unit_ms)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words)


def _next(out: Output, view: ScheduleView) -> str:
    if view.paused_at is not None:
        return "paused"
    return out.time(view.next_run_at) if view.next_run_at is not None else "never"


def _row(out: Output, view: ScheduleView) -> Sequence[str]:
    return (
        clean(view.name),
        _when(view),
        clean(view.timezone) if view.cron is not None else "",
        clean(view.task_type),
        _next(out, view),
        out.time(view.last_run_at) if view.last_run_at is not None else "",
        str(view.last_outcome or ""),
        str(view.schedule_id),
    )


def _print(out: Output, schedule: Schedule, ticks: Sequence[TickView], *, as_json: bool) -> None:
    view = view_of_schedule(schedule, coming(schedule))
    if as_json:
        out.json(view)
        return
    out.facts(_facts(out, schedule, view))
    if ticks:
        out.line()
        out.line("latest times", "bold")
        when = _clock(out, view)
        out.table(TICK_COLUMNS, [_tick_row(when, tick) for tick in ticks], indent=2)


def _facts(out: Output, schedule: Schedule, view: ScheduleView) -> list[tuple[str, str, str]]:
    when = _clock(out, view)
    facts = [
        ("id", str(view.schedule_id), ""),
        ("name", clean(view.name), "bold"),
        ("when", f"{_when(view)}{f' in {clean(view.timezone)}' if view.cron is not None else ''}", ""),
        (
            "next",
            _next(out, view) if view.next_run_at is None or view.paused_at else when(view.next_run_at),
            "yellow" if view.paused_at is not None else "",
        ),
        ("then", ", ".join(_local(at, view) for at in coming(schedule)[1:]), ""),
        ("type", clean(view.task_type), ""),
        ("queue", clean(view.queue or ""), ""),
        ("priority", "" if view.priority is None else str(view.priority), ""),
        ("retries", "" if view.retries is None else str(view.retries), ""),
        ("timeout", "" if view.timeout is None else f"{view.timeout} ms", ""),
        ("tags", clean(", ".join(view.tags)), ""),
        ("catch-up", str(view.catchup), ""),
        ("overlap", str(view.overlap), ""),
        ("callback", clean(view.callback_url or ""), ""),
        ("expires", "" if view.ttl is None else f"{view.ttl} ms after the submit", ""),
        ("unique key", clean(view.unique_key or ""), ""),
        ("held", _held(view), ""),
        ("last time", when(view.last_run_at) if view.last_run_at else "", ""),
        ("outcome", str(view.last_outcome or ""), _outcome_style(str(view.last_outcome or ""))),
        ("last job", str(view.last_job_id or ""), ""),
    ]
    return [fact for fact in facts if fact[1]]


def _held(view: ScheduleView) -> str:
    if view.unique_key is None:
        return ""
    return f"for {view.unique_window} ms" if view.unique_window else str(view.unique_scope or "until_finished")


def _clock(out: Output, view: ScheduleView) -> Callable[[datetime], str]:
    """Return how this schedule's times are written: by the clock of its zone, in a terminal with how far they are."""

    def when(at: datetime) -> str:
        return f"{_local(at, view)} ({out.time(at)})" if out.is_terminal else _local(at, view)

    return when


def _local(at: datetime, view: ScheduleView) -> str:
    return at.astimezone(find_zone(view.timezone)).isoformat(timespec="seconds")


def _tick_row(when: Callable[[datetime], str], tick: TickView) -> Sequence[str]:
    detail = tick.detail or ""
    if tick.manual:
        detail = "by hand"
    if tick.missed_until is not None:
        detail = f"up to {when(tick.missed_until)}"
    return when(tick.fire_at), str(tick.outcome), str(tick.job_id or ""), clean(detail)
