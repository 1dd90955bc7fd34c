"""
Fires schedules: the leader's duty that submits their jobs when they are due.

One transaction locks schedules that are due, submits their jobs, writes each instant into the ledger and moves the
schedules on. So an instant has its job exactly when it has its row: killed on any line, nothing of it has happened, and
the next leader finds the schedule still due; two leaders at once are kept apart by the duty's lock, and if that were
not there, by the locks of the rows. The time is the database's alone, read with the rows.

A schedule that cannot fire (its kind is gone, its payload no longer fits) says so in its ledger and holds up no other.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.agenda import MAX_AGE_S, PAUSE_FLOOR_S, Agenda
from taskflow.engine.job import NewJob
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.schedule import (
    KEPT_TICKS_DAYS,
    MAX_DETAIL_CHARS,
    Overlap,
    Schedule,
    Tick,
    TickOutcome,
    decide,
    tick_of,
)
from taskflow.engine.store import Store
from taskflow.engine.submission import Submission, describe
from taskflow.engine.trace import Send
from taskflow.kernel.errors import Conflict, Invalid, PayloadTooLarge, Unavailable
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import SCHEDULE_TICKS
from taskflow.telemetry.tracing import active

DUTY = Duty.SCHEDULE
HELD_PAUSE_S = 0.1  # when what is due is locked by somebody who changes it
MAX_SCHEDULES = 50  # per transaction; with `catchup: all` each may submit ten jobs
BROKEN_RETRY = timedelta(hours=1)  # a schedule whose times cannot be told here is looked at again after so long
KEY_WAIT_S = 0.1  # for a unique key that another transaction claims just then
PRUNE_PAUSE = timedelta(hours=1)
PRUNE_ROWS = 5000

_log = get_logger(__name__)


@dataclass(slots=True)
class _Fate:
    """What is being decided about one due schedule."""

    schedule: Schedule
    next_at: datetime | None
    fire_ats: Sequence[datetime] = ()
    ticks: list[Tick] = field(default_factory=list)
    is_postponed: bool = False  # somebody's open transaction has the unique key: next_at is the instant that waits


# which schedule, which of its instants, and the job to submit
_Wanted: TypeAlias = tuple[_Fate, datetime, NewJob]


class Scheduler:
    """`tick` fires once; see `leader.run_duty`."""

    def __init__(
        self, database: Database, store: Store, leader: Leader, agenda: Agenda, *, wake: Callable[[Iterable[str]], None]
    ) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._agenda = agenda
        self._wake = wake
        self._submission = Submission(store)
        self._prune_due_at: datetime | None = None

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return MAX_AGE_S
        schedule_s = (await self._agenda.look()).schedule_s
        if schedule_s is None or schedule_s > 0:
            return self._agenda.pause_s(schedule_s)
        fired = await self.fire()
        self._agenda.forget()
        if fired == MAX_SCHEDULES:
            return 0.0
        return PAUSE_FLOOR_S if fired else HELD_PAUSE_S

    async def fire(self) -> int:
        """Do what is due, in one transaction; return how many schedules that were."""
        async with self._database.transaction() as connection:
            if not await self._store.try_duty_lock(connection, DUTY):
                return 0
            schedules, now = await self._store.take_due_schedules(connection, limit=MAX_SCHEDULES)
            if now is None:
                return 0
            fates = [await self._decide(schedule, now) for schedule in schedules]
            jobs = await self._submit(connection, fates)
            fates = [fate for fate in fates if fate.ticks or not fate.is_postponed]
            ticks = [(fate.schedule.plan.namespace, tick) for fate in fates for tick in fate.ticks]
            await self._store.insert_ticks(connection, ticks)
            await self._store.advance_schedules(
                connection, [(fate.schedule.id, fate.next_at, _latest(fate)) for fate in fates]
            )
            if self._prune_due_at is None or now >= self._prune_due_at:
                await self._store.prune_ticks(connection, kept_days=KEPT_TICKS_DAYS, limit=PRUNE_ROWS)
                self._prune_due_at = now + PRUNE_PAUSE
        self._wake({job.queue for job in jobs})
        for fate in fates:
            _report(fate)
        return sum(not fate.is_postponed for fate in fates)

    async def _decide(self, schedule: Schedule, now: datetime) -> _Fate:
        await asyncio.sleep(0)  # arithmetic of rare dates takes milliseconds; the heartbeat shall not wait for fifty
        try:
            due = decide(schedule, now)
        except ValueError as error:
            broken = Tick(schedule.id, schedule.next_at or now, TickOutcome.FAILED, detail=_cut(str(error)))
            return _Fate(schedule, now + BROKEN_RETRY, ticks=[broken])
        fate = _Fate(schedule, due.next_at, due.fire_ats)
        if due.missed is not None:
            first, last = due.missed
            fate.ticks.append(Tick(schedule.id, first, TickOutcome.MISSED, missed_until=last))
        return fate

    async def _submit(self, connection: Connection, fates: Sequence[_Fate]) -> list[NewJob]:
        """Submit the jobs of all instants that want one, and add the instants' ticks."""
        known = await self._store.find_ticks(
            connection,
            [(fate.schedule.id, at) for fate in fates for at in (*fate.fire_ats, *(t.fire_at for t in fate.ticks))],
        )
        for fate in fates:  # only a clock that was set back brings an instant again
            fate.ticks = [tick for tick in fate.ticks if (fate.schedule.id, tick.fire_at) not in known]
        before = {
            fate.schedule.id: fate.schedule.last_job_id
            for fate in fates
            if fate.schedule.plan.overlap is Overlap.SKIP and fate.schedule.last_job_id is not None
        }
        live = await self._store.find_live_jobs(connection, [job_id for job_id in before.values() if job_id])
        await self._submission.learn(connection, {fate.schedule.plan.kind for fate in fates})
        wanted: list[_Wanted] = []
        for fate in fates:
            plan, schedule_id = fate.schedule.plan, fate.schedule.id
            busy = before.get(schedule_id) in live
            for at in fate.fire_ats:
                if (schedule_id, at) in known:
                    continue
                if busy:
                    detail = "the job before has not ended"
                    blocker = before.get(schedule_id)
                    fate.ticks.append(Tick(schedule_id, at, TickOutcome.SKIPPED, job_id=blocker, detail=detail))
                    continue
                try:
                    job = self._submission.job_of(plan, schedule_id, at)
                except (Invalid, PayloadTooLarge) as error:
                    fate.ticks.append(Tick(schedule_id, at, TickOutcome.FAILED, detail=_cut(describe(error))))
                    continue
                wanted.append((fate, at, job))
                busy = plan.overlap is Overlap.SKIP
        # Not all or none: a queue that drains refuses its own jobs, and holds up no other schedule.
        plain = [item for item in wanted if item[2].unique_key is None]
        spans = active()
        with ExitStack() as stack:  # a trace for each: they have nothing to do with each other
            sends = [stack.enter_context(Send([job], spans)) for _, _, job in plain]
            jobs = [job for send in sends for job in send.jobs]
            stored = await self._store.store(connection, jobs, atomic=False) if plain else []
            for send, enqueued in zip(sends, stored, strict=True):
                send.stored([enqueued])
        for (fate, at, job), enqueued in zip(plain, stored, strict=True):
            fate.ticks.append(_drains(fate, at, job) if enqueued is None else tick_of(fate.schedule.id, at, enqueued))
        await self._submit_unique(connection, [item for item in wanted if item[2].unique_key is not None])
        for fate in fates:
            fate.ticks.sort(key=lambda tick: tick.fire_at)
        return [job for _, _, job in wanted]

    async def _submit_unique(self, connection: Connection, wanted: Sequence[_Wanted]) -> None:
        """
        Submit jobs that have unique keys, each in a savepoint, in the order of keys.

        A key that somebody else's open transaction has cannot be waited for long: all schedules wait with it. The
        instant is left undecided then, and is the one at which its schedule is due.
        """
        if not wanted:
            return
        waited = await self._store.limit_lock_wait(connection, KEY_WAIT_S)
        for fate, at, job in sorted(wanted, key=lambda item: (item[2].namespace, item[2].kind, item[2].unique_key)):
            if fate.is_postponed:
                continue
            try:
                with Send([job], active()) as send:
                    [enqueued] = await self._store.enqueue(connection, send.jobs)
                    send.stored([enqueued])
            except (Conflict, Unavailable) as error:
                if error.code == "queue_draining":
                    fate.ticks.append(_drains(fate, at, job))
                else:
                    fate.is_postponed, fate.next_at = True, at
            else:
                fate.ticks.append(tick_of(fate.schedule.id, at, enqueued))
        await self._store.reset_lock_wait(connection, waited)


def _drains(fate: _Fate, at: datetime, job: NewJob) -> Tick:
    return Tick(fate.schedule.id, at, TickOutcome.SKIPPED, detail=f"queue {job.queue!r} drains")


def _latest(fate: _Fate) -> Tick:
    """Return the last instant and what became of it, with the last job of all of them."""
    if not fate.ticks:  # every instant was in the ledger: say what is known
        schedule = fate.schedule
        at = schedule.last_fire_at or schedule.created_at
        return Tick(schedule.id, at, schedule.last_outcome or TickOutcome.MISSED)
    last = fate.ticks[-1]
    jobs = [tick.job_id for tick in fate.ticks if tick.outcome is TickOutcome.FIRED]
    return Tick(last.schedule_id, last.fire_at, last.outcome, job_id=jobs[-1] if jobs else None)


def _report(fate: _Fate) -> None:
    for tick in fate.ticks:
        SCHEDULE_TICKS.labels(str(tick.outcome)).inc()
        if tick.outcome is TickOutcome.FAILED:
            _log.error(
                "taskflow.schedule.failed",
                schedule_id=str(tick.schedule_id),
                kind=fate.schedule.plan.kind,
                fire_at=tick.fire_at.isoformat(),
            )


def _cut(text: str) -> str:
    return text[:MAX_DETAIL_CHARS]
