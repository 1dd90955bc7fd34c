"""
Schedules as their users see them: make, look, change, pause, fire by hand. The leader's `scheduler` fires them in time.

Everything counts from the database's clock, read on the connection that writes. What is changed is computed from what
was read, and written only if nobody else has changed it meanwhile.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.job import Enqueued, NewJob
from taskflow.engine.schedule import (
    MAX_SCHEDULES,
    Schedule,
    ScheduleId,
    SchedulePlan,
    Tick,
    tick_of,
    timing_errors,
)
from taskflow.engine.store import Store
from taskflow.engine.submission import Submission
from taskflow.engine.trace import Send
from taskflow.kernel.cron import upcoming
from taskflow.kernel.errors import Conflict, FieldError, Invalid, NotFound
from taskflow.kernel.ids import MAX_ID
from taskflow.telemetry.tracing import active

PREVIEW = 5
_LATER_S = 1.0


class Schedules:
    """
    See the module. Methods with *connection* use it alone, and commit nothing.

    Args:
        now: the clock of the statements; tests move it. None from it means the database's own, as in production.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._database = database
        self._store = Store(now)

    # Looking ---------------------------------------------------------------------------------------------------------

    async def get(self, schedule_id: ScheduleId, namespace: UUID, *, connection: Connection | None = None) -> Schedule:
        """Return a schedule. Raises NotFound."""
        async with self._database.lend(connection) as lent:
            found = await self._store.find_schedule(lent, schedule_id, namespace)
        if found is None:
            raise _missing(schedule_id)
        return found

    async def find_by_name(self, name: str, namespace: UUID) -> Schedule | None:
        async with self._database.acquire() as connection:
            return await self._store.find_schedule_by_name(connection, name, namespace)

    async def list_schedules(self, namespace: UUID, *, before: UUID | None = None, limit: int) -> list[Schedule]:
        """Return schedules, newest first, below *before*."""
        async with self._database.acquire() as connection:
            return await self._store.list_schedules(connection, namespace, before=before or MAX_ID, limit=limit)

    async def list_ticks(
        self, schedule_id: ScheduleId, namespace: UUID, *, before: datetime | None = None, limit: int
    ) -> list[Tick]:
        """Return the ledger of a schedule, newest first, before *before*. Raises NotFound."""
        async with self._database.acquire() as connection:
            if await self._store.find_schedule(connection, schedule_id, namespace) is None:
                raise _missing(schedule_id)
            return await self._store.list_ticks(connection, schedule_id, before=before or _END_OF_TIME, limit=limit)

    async def preview(self, plan: SchedulePlan, *, count: int = PREVIEW) -> list[datetime]:
        """Return when *plan* would fire if it were made now. Raises Invalid."""
        async with self._database.acquire() as connection:
            now = await self._store.read_now(connection)
        _check_timing(plan, now)
        return upcoming(plan.timetable(now), now, count)

    # Changing --------------------------------------------------------------------------------------------------------

    async def create(self, plan: SchedulePlan, *, paused: bool, connection: Connection) -> Schedule:
        """
        Store a schedule whose job was checked before.

        Raises:
            Invalid: the times that it names cannot be understood or never come, or there are `MAX_SCHEDULES` already.
            Conflict: the namespace has one of that name.
        """
        now = await self._store.read_now(connection)
        _check_timing(plan, now)
        if await self._store.count_schedules(connection, plan.namespace, limit=MAX_SCHEDULES) >= MAX_SCHEDULES:
            detail = f"a namespace has at most {MAX_SCHEDULES} schedules"
            raise Invalid(detail, code="too_many", errors=[FieldError("", "too_many", detail)])
        next_at = None if paused else plan.timetable(now).next_after(now)
        stored = await self._store.insert_schedule(connection, plan, now=now, next_at=next_at)
        if stored is None:
            raise _taken(plan.name)
        return stored

    async def update(self, seen: Schedule, plan: SchedulePlan, *, connection: Connection) -> Schedule:
        """
        Let the schedule that was *seen* say what *plan* says.

        If it fires at other times now, they count from now on: nothing is caught up on for the new times.

        Raises:
            Invalid: as for `create`.
            Conflict: it has been changed since, or the new name is taken.
        """
        now = await self._store.read_now(connection)
        before = seen.plan
        changed = replace(seen, plan=plan)
        if (plan.cron, plan.zone, plan.every) != (before.cron, before.zone, before.every):
            _check_timing(plan, now)
            changed = replace(changed, anchor_at=now)
            if seen.paused_at is None:
                changed = replace(changed, next_at=plan.timetable(now).next_after(now))
            return await self._write(changed, now, connection)
        current = await self._store.find_schedule(connection, seen.id, before.namespace, lock=True)
        # The scheduler may have fired since: where it is due next is the row's to say.
        if current is not None:
            changed = replace(changed, next_at=current.next_at)
        return await self._write(changed, now, connection)

    async def pause(self, schedule_id: ScheduleId, namespace: UUID, *, connection: Connection) -> Schedule:
        """Fire it no more until it is resumed; paused already is fine. Raises NotFound."""
        schedule = await self._locked(schedule_id, namespace, connection)
        if schedule.paused_at is not None:
            return schedule
        now = await self._store.read_now(connection)
        return await self._write(replace(schedule, paused_at=now, next_at=None), now, connection)

    async def resume(self, schedule_id: ScheduleId, namespace: UUID, *, connection: Connection) -> Schedule:
        """Fire it again, from its next time on: what came while it was paused is not made up for. Raises NotFound."""
        schedule = await self._locked(schedule_id, namespace, connection)
        if schedule.paused_at is None:
            return schedule
        now = await self._store.read_now(connection)
        next_at = schedule.plan.timetable(schedule.anchor_at).next_after(now)
        return await self._write(replace(schedule, paused_at=None, next_at=next_at), now, connection)

    async def delete(self, schedule_id: ScheduleId, namespace: UUID, *, connection: Connection) -> None:
        """Forget it; jobs that it submitted go on. Raises NotFound."""
        if not await self._store.delete_schedule(connection, schedule_id, namespace):
            raise _missing(schedule_id)

    async def run_now(
        self, schedule_id: ScheduleId, namespace: UUID, *, connection: Connection
    ) -> tuple[NewJob, Enqueued]:
        """
        Submit its job now, paused or not, whatever runs; its times stay as they are. Call `Engine.wake` after commit.

        If another job holds its unique key, that one is the answer (a *duplicate*), and the instant is skipped.

        Raises:
            NotFound: no such schedule in *namespace*.
            Invalid, PayloadTooLarge: its kind takes its payload no longer; nothing was submitted.
            Conflict: its queue drains, or a submit with its unique key has not committed yet.
        """
        schedule = await self._locked(schedule_id, namespace, connection)
        at = await self._store.read_now(connection)
        while await self._store.find_ticks(connection, [(schedule.id, at)]):
            at += timedelta(microseconds=1)
        submission = Submission(self._store)
        await submission.learn(connection, [schedule.plan.kind])
        job = submission.job_of(schedule.plan, schedule.id, at)
        with Send([job], active()) as send:
            [enqueued] = await self._store.enqueue(connection, send.jobs)
            send.stored([enqueued])
        tick = replace(tick_of(schedule.id, at, enqueued), manual=True)
        await self._store.insert_ticks(connection, [(namespace, tick)])
        own = replace(tick, job_id=None) if enqueued.duplicate else tick
        await self._store.advance_schedules(connection, [(schedule.id, schedule.next_at, own)])
        return job, enqueued

    # How -------------------------------------------------------------------------------------------------------------

    async def _locked(self, schedule_id: ScheduleId, namespace: UUID, connection: Connection) -> Schedule:
        found = await self._store.find_schedule(connection, schedule_id, namespace, lock=True)
        if found is None:
            raise _missing(schedule_id)
        return found

    async def _write(self, schedule: Schedule, now: datetime, connection: Connection) -> Schedule:
        try:
            written = await self._store.update_schedule(connection, schedule, now=now)
        except asyncpg.UniqueViolationError:
            raise _taken(schedule.plan.name) from None
        if written is None:
            detail = "the schedule was changed or deleted by somebody else at the same time; read it and try again"
            raise Conflict(detail, code="changed_meanwhile", retry_after_s=_LATER_S)
        return written


_END_OF_TIME = datetime.fromisoformat("9000-01-01T00:00:00+00:00")


def _check_timing(plan: SchedulePlan, now: datetime) -> None:
    if errors := timing_errors(plan, now):
        raise Invalid("the schedule's times are not valid", errors=errors)


def _missing(schedule_id: ScheduleId) -> NotFound:
    return NotFound(f"there is no schedule {str(schedule_id)!r}")


def _taken(name: str) -> Conflict:
    detail = f"there is a schedule named {name!r} already; choose another name, or change that one"
    return Conflict(detail, code="name_taken")
