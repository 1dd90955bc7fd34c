"""Firing schedules: once each, in time, after an outage, with two leaders, and with a kind that has changed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.support.clock import FakeClock
from tests.support.tracing import Spans, attributes_of, parent_id_of, span_id_of, spans, trace_id_of
from tests.support.waiting import eventually
from tests.support.workers import claim, register, supervising

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine import scheduler as module
from taskflow.engine.agenda import MAX_AGE_S, Agenda
from taskflow.engine.job import DEFAULT_NAMESPACE, Job, JobId, NewJob, UniqueScope, WorkerId
from taskflow.engine.leader import Leader
from taskflow.engine.registry import JobContext, Registry
from taskflow.engine.schedule import (
    KEPT_TICKS_DAYS,
    MAX_CATCHUP,
    Catchup,
    Overlap,
    Schedule,
    ScheduleId,
    SchedulePlan,
    Tick,
    TickOutcome,
    decide,
)
from taskflow.engine.scheduler import Scheduler
from taskflow.engine.schedules import Schedules
from taskflow.engine.store import Store
from taskflow.kernel.errors import Invalid

__all__ = ["spans"]

PARENTS = "SELECT headers ->> 'taskflow.traceparent' AS parent FROM taskflow.job"
MISSED, FIRED, SKIPPED, FAILED = TickOutcome.MISSED, TickOutcome.FIRED, TickOutcome.SKIPPED, TickOutcome.FAILED
START = datetime.fromisoformat("2026-06-01T12:00:00+00:00")


class Order(msgspec.Struct, forbid_unknown_fields=True):
    number: int


class Clockwork:
    """A scheduler whose leader leads, by a clock that the test moves from one whole minute on."""

    def __init__(self, database: Database, connection: Connection, clock: FakeClock) -> None:
        clock.now = clock.now.replace(second=0)
        self.clock, self.database, self.connection, self.store = clock, database, connection, Store(clock)
        self.woken: list[str] = []
        self.leader = Leader(database, self.store, WorkerId(uuid4()))
        self.agenda = Agenda(database, self.store)
        self.scheduler = Scheduler(database, self.store, self.leader, self.agenda, wake=self.woken.extend)
        self.schedules = Schedules(database, now=clock)

    async def publish(self, payload: type[Any] = Order, kind: str = "order") -> None:
        registry = Registry()

        @registry.job(kind, payload=payload, queue="orders", retries=1, timeout_s=5.0)
        async def order(_ctx: JobContext, _payload: object) -> None:
            raise AssertionError("no handler runs here")

        await self.store.publish_kinds(self.connection, registry.published)

    async def make(self, name: str = "nightly", *, paused: bool = False, **said: Any) -> ScheduleId:
        if "cron" not in said and "every" not in said:
            said["every"] = timedelta(minutes=1)
        plan = SchedulePlan(**{"name": name, "kind": "order", "payload": {"number": 1}, **said})
        return (await self.schedules.create(plan, paused=paused, connection=self.connection)).id

    async def tick(self) -> float:
        """Tick with a new look: the clock has been moved, which the agenda does not know."""
        self.agenda.forget()
        return await self.scheduler.tick()

    async def is_due(self) -> bool:
        schedule_s = (await self.store.look_ahead(self.connection, grace_s=1.0)).schedule_s
        return schedule_s is not None and schedule_s <= 0

    async def ledger(self, schedule_id: ScheduleId) -> list[Tick]:
        """Oldest first."""
        return (await self.schedules.list_ticks(schedule_id, DEFAULT_NAMESPACE, limit=100))[::-1]

    async def outcomes(self, schedule_id: ScheduleId) -> list[TickOutcome]:
        return [tick.outcome for tick in await self.ledger(schedule_id)]

    async def get(self, schedule_id: ScheduleId) -> Schedule:
        return await self.schedules.get(schedule_id, DEFAULT_NAMESPACE)

    async def jobs(self) -> list[Job]:
        ids = [row["id"] for row in await self.connection.fetch("SELECT id FROM taskflow.job ORDER BY id")]
        return (await self.store.read_jobs(self.connection, ids))[::-1]

    async def finish(self, job_id: JobId) -> None:
        worker_id = await register(self.connection)
        for held in await claim(self.connection, worker_id, kinds=["order"], store=self.store):
            if held.job_id == job_id:
                assert await self.store.complete(self.connection, [policy.succeeded(held, None, 0.1)]) == []


@pytest.fixture
async def work(database: Database, connection: Connection, clock: FakeClock) -> AsyncIterator[Clockwork]:
    work = Clockwork(database, connection, clock)
    await work.publish()
    leading = asyncio.create_task(work.leader.run())
    await asyncio.wait_for(work.leader.elected.wait(), 8)
    yield work
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)


# Firing --------------------------------------------------------------------------------------------------------------


async def test_a_due_schedule_submits_its_job_and_moves_on(work: Clockwork) -> None:
    schedule_id = await work.make(tags=("night",), retries=7)
    due = work.clock.now + timedelta(minutes=1)
    work.clock.advance(seconds=59.9)
    assert 0 < await work.tick() <= 0.1001
    assert await work.jobs() == []
    work.clock.advance(seconds=0.2)
    await work.tick()
    [job] = await work.jobs()
    assert (job.kind, job.payload, job.queue, job.tags, job.retries, job.timeout_s) == (
        *("order", {"number": 1}, "orders", ["night"], 7, 5.0),
    )
    assert job.headers == {"schedule_id": str(schedule_id), "schedule_fire_at": due.isoformat()}
    [tick] = await work.ledger(schedule_id)
    assert (tick.outcome, tick.fire_at, tick.job_id, tick.manual) == (FIRED, due, job.id, False)
    schedule = await work.get(schedule_id)
    assert (schedule.next_at, schedule.last_fire_at) == (due + timedelta(minutes=1), due)
    assert (schedule.last_outcome, schedule.last_job_id, schedule.last_job_at) == (FIRED, job.id, due)
    assert work.woken == ["orders"]


async def test_each_job_of_a_schedule_begins_a_trace_of_its_own(work: Clockwork, spans: Spans) -> None:
    await work.make("one")
    await work.make("two")
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    sends = spans.named("send orders")
    assert [parent_id_of(span) for span in sends] == [None, None]
    assert {attributes_of(span)["messaging.message.id"] for span in sends} == {str(job.id) for job in await work.jobs()}
    carried = [row["parent"] for row in await work.connection.fetch(PARENTS)]
    assert sorted(carried) == sorted(f"00-{trace_id_of(span)}-{span_id_of(span)}-03" for span in sends)


@pytest.mark.covers("X-16")
async def test_cron_fires_by_the_clocks_of_its_zone(work: Clockwork) -> None:
    schedule_id = await work.make(cron="30 2 * * *", zone="America/New_York")
    schedule = await work.get(schedule_id)
    assert schedule.next_at is not None
    local = schedule.next_at.astimezone(schedule.plan.timetable(START).zone)  # type: ignore[attr-defined]
    assert (local.hour, local.minute) in {(2, 30), (3, 0)}  # three on the day on which the clock jumps
    work.clock.now = schedule.next_at
    await work.tick()
    assert [tick.fire_at for tick in await work.ledger(schedule_id)] == [schedule.next_at]


async def test_an_instant_is_fired_once_however_often_one_looks(work: Clockwork) -> None:
    schedule_id = await work.make()
    work.clock.advance(seconds=60)
    for _ in range(3):
        await work.scheduler.fire()
    assert await work.outcomes(schedule_id) == [FIRED]
    assert len(await work.jobs()) == 1


@pytest.mark.covers("X-16")
async def test_two_leaders_at_once_fire_each_instant_once(work: Clockwork, database_url: str, clock: FakeClock) -> None:
    """Also without the duty's lock: the rows of the schedules keep them apart."""
    ids = [await work.make(f"number {number}", overlap=Overlap.ALLOW) for number in range(20)]
    rivals = [Database(database_url, max_size=1, application_name=f"leader {number}") for number in range(4)]
    store = Store(clock)

    async def always(*_: object, **__: object) -> bool:
        return True

    store.try_duty_lock = always  # type: ignore[method-assign]
    try:
        for _ in range(5):
            work.clock.advance(seconds=60)
            schedulers = [Scheduler(rival, store, work.leader, work.agenda, wake=lambda _: None) for rival in rivals]
            while await work.is_due():
                await asyncio.gather(*(scheduler.fire() for scheduler in schedulers))
    finally:
        for rival in rivals:
            await rival.stop()
    for schedule_id in ids:
        assert await work.outcomes(schedule_id) == [FIRED] * 5
    assert len(await work.jobs()) == 100


async def test_who_does_not_lead_or_finds_another_at_it_fires_nothing(work: Clockwork, second: Connection) -> None:
    await work.make()
    work.clock.advance(seconds=60)
    follower = Leader(work.database, work.store, WorkerId(uuid4()))
    await Scheduler(work.database, work.store, follower, work.agenda, wake=work.woken.extend).tick()
    async with second.transaction():
        assert await work.store.try_duty_lock(second, module.DUTY)
        assert await work.scheduler.fire() == 0
    assert await work.jobs() == []
    assert await work.scheduler.fire() == 1


LINES = (
    "take_due_schedules",
    "find_ticks",
    "find_live_jobs",
    "find_kinds",
    "store",
    "insert_ticks",
    "advance_schedules",
)


@pytest.mark.parametrize("line", LINES)
async def test_a_leader_that_dies_at_any_line_has_fired_nothing_and_the_next_fires_once(
    work: Clockwork, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    schedule_id = await work.make()
    work.clock.advance(seconds=60)

    async def killed(*_: object, **__: object) -> None:
        raise asyncpg.AdminShutdownError("terminating connection")

    real = getattr(work.store, line)

    async def done_then_killed(*given: Any, **named: Any) -> None:
        await real(*given, **named)
        await killed()

    with monkeypatch.context() as patched:
        patched.setattr(work.store, line, done_then_killed)
        with pytest.raises(asyncpg.AdminShutdownError):
            await work.scheduler.fire()
    assert await work.jobs() == []
    assert await work.ledger(schedule_id) == []
    assert await work.scheduler.fire() == 1
    assert await work.outcomes(schedule_id) == [FIRED]
    assert len(await work.jobs()) == 1


async def test_a_clock_that_is_set_back_fires_nothing_again(work: Clockwork) -> None:
    """A change makes the schedule count anew, from a clock that shows times that were fired already."""
    schedule_id = await work.make(cron="* * * * *", overlap=Overlap.ALLOW)
    for _ in range(3):
        work.clock.advance(seconds=60)
        await work.scheduler.fire()
    fired = [tick.fire_at for tick in await work.ledger(schedule_id)]
    work.clock.advance(seconds=-150)
    schedule = await work.get(schedule_id)
    await work.schedules.update(schedule, replace(schedule.plan, zone="Europe/Berlin"), connection=work.connection)
    for _ in range(4):
        work.clock.advance(seconds=60)
        await work.scheduler.fire()
    ledger = await work.ledger(schedule_id)
    assert [tick.fire_at for tick in ledger[:3]] == fired
    assert [tick.outcome for tick in ledger] == [FIRED] * 4
    assert len(await work.jobs()) == 4


# Overlap -------------------------------------------------------------------------------------------------------------


async def test_a_time_is_skipped_while_the_job_before_has_not_ended(work: Clockwork) -> None:
    schedule_id = await work.make(queue="default")
    for _ in range(2):
        work.clock.advance(seconds=60)
        await work.scheduler.fire()
    [fired, skipped] = await work.ledger(schedule_id)
    detail = "the job before has not ended"
    assert (skipped.outcome, skipped.detail, skipped.job_id) == (SKIPPED, detail, fired.job_id)
    assert fired.job_id is not None
    await work.finish(fired.job_id)
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    assert await work.outcomes(schedule_id) == [FIRED, SKIPPED, FIRED]
    assert (await work.get(schedule_id)).last_job_id == (await work.ledger(schedule_id))[-1].job_id


async def test_a_queue_that_drains_holds_up_only_its_own_schedules(work: Clockwork, connection: Connection) -> None:
    closed = await work.make(queue="images", name="closed")
    other = await work.make(queue="default", name="other")
    await work.store.set_queue(connection, "images", draining=True)
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    [skipped] = await work.ledger(closed)
    assert (skipped.outcome, skipped.detail) == (SKIPPED, "queue 'images' drains")
    assert await work.outcomes(other) == [FIRED]


async def test_overlap_can_be_allowed(work: Clockwork) -> None:
    schedule_id = await work.make(overlap=Overlap.ALLOW)
    for _ in range(3):
        work.clock.advance(seconds=60)
        await work.scheduler.fire()
    assert await work.outcomes(schedule_id) == [FIRED] * 3


# After an outage -----------------------------------------------------------------------------------------------------


async def test_after_an_outage_the_latest_time_is_made_up_for_and_the_rest_is_one_row(work: Clockwork) -> None:
    schedule_id = await work.make()
    begun = work.clock.now
    work.clock.advance(seconds=3600 * 5 + 30)
    await work.scheduler.fire()
    [missed, fired] = await work.ledger(schedule_id)
    assert (missed.outcome, missed.fire_at) == (MISSED, begun + timedelta(minutes=1))
    assert missed.missed_until == begun + timedelta(hours=5, minutes=-1)
    assert (fired.outcome, fired.fire_at) == (FIRED, begun + timedelta(hours=5))
    assert (await work.get(schedule_id)).next_at == begun + timedelta(hours=5, minutes=1)


async def test_all_are_made_up_for_up_to_ten(work: Clockwork) -> None:
    few = await work.make("few", catchup=Catchup.ALL, overlap=Overlap.ALLOW)
    work.clock.advance(seconds=60 * MAX_CATCHUP)
    await work.scheduler.fire()
    assert await work.outcomes(few) == [FIRED] * MAX_CATCHUP
    work.clock.advance(seconds=60 * (MAX_CATCHUP + 2))
    await work.scheduler.fire()
    assert await work.outcomes(few) == [*[FIRED] * MAX_CATCHUP, MISSED, *[FIRED] * MAX_CATCHUP]
    assert len(await work.jobs()) == 2 * MAX_CATCHUP


async def test_all_without_overlap_makes_up_for_one_at_a_time(work: Clockwork) -> None:
    schedule_id = await work.make(catchup=Catchup.ALL, overlap=Overlap.SKIP)
    work.clock.advance(seconds=180)
    await work.scheduler.fire()
    assert await work.outcomes(schedule_id) == [FIRED, SKIPPED, SKIPPED]


async def test_none_is_made_up_for_but_a_change_of_leaders_is_no_outage(work: Clockwork) -> None:
    schedule_id = await work.make(every=timedelta(hours=1), catchup=Catchup.NONE)
    work.clock.advance(seconds=3600 + 40)
    await work.scheduler.fire()
    work.clock.advance(seconds=3600 + 40)
    await work.scheduler.fire()
    assert await work.outcomes(schedule_id) == [FIRED, MISSED]
    assert len(await work.jobs()) == 1
    assert (await work.get(schedule_id)).last_outcome is MISSED


def test_what_is_due_is_decided_from_values_alone() -> None:
    plan = SchedulePlan("a", "order", {}, every=timedelta(minutes=10))
    schedule = Schedule(ScheduleId(uuid4()), plan, START, START, START, next_at=START + timedelta(minutes=10))
    due = decide(schedule, START + timedelta(minutes=35))
    assert due.fire_ats == [START + timedelta(minutes=30)]
    assert due.missed == (START + timedelta(minutes=10), START + timedelta(minutes=20))
    assert due.next_at == START + timedelta(minutes=40)


def test_a_time_to_look_again_is_not_an_instant_to_fire_at() -> None:
    """What was unreadable is due again at a time that is none of its own."""
    plan = SchedulePlan("a", "order", {}, cron="0 3 * * *", catchup=Catchup.ALL)
    asked = START.replace(hour=14, minute=23)
    schedule = Schedule(ScheduleId(uuid4()), plan, START, START, START, next_at=asked)
    three = asked.replace(hour=3, minute=0)
    due = decide(schedule, asked + timedelta(seconds=1))
    assert (due.fire_ats, due.missed, due.next_at) == ([], None, three + timedelta(days=1))
    latest = replace(schedule, plan=replace(plan, catchup=Catchup.LATEST))
    due = decide(latest, asked + timedelta(days=3))
    assert due.fire_ats == [three + timedelta(days=3)]
    assert due.missed == (three + timedelta(days=1), three + timedelta(days=2))


# What cannot fire ----------------------------------------------------------------------------------------------------


async def test_a_payload_that_fits_no_longer_is_a_failed_row_that_says_why_and_holds_up_nobody(work: Clockwork) -> None:
    schedule_id, other = await work.make("old"), await work.make("fine", kind="parcel", payload={"number": 2})
    await work.publish(Order, "parcel")

    class Renamed(msgspec.Struct, forbid_unknown_fields=True):
        amount: int

    work.clock.advance(seconds=1)  # the schema that was published last counts
    await work.publish(Renamed)
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    [tick] = await work.ledger(schedule_id)
    assert (tick.outcome, tick.job_id) == (FAILED, None)
    assert tick.detail is not None
    assert "/payload/amount is required" in tick.detail
    assert "/payload/number is not a field of this payload" in tick.detail
    assert await work.outcomes(other) == [FIRED]
    schedule = await work.get(schedule_id)
    assert schedule.last_outcome is FAILED
    assert schedule.next_at is not None
    assert schedule.next_at > work.clock.now


async def test_a_kind_that_nobody_offers_is_a_failed_row(work: Clockwork) -> None:
    schedule_id = await work.make(kind="bread", payload={})
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    [tick] = await work.ledger(schedule_id)
    assert (tick.outcome, tick.detail) == (FAILED, "no worker has ever offered 'bread'")


async def test_a_kind_of_another_namespace_is_a_failed_row(work: Clockwork) -> None:
    await work.connection.execute("UPDATE taskflow.kind SET namespace = $1", uuid4())
    schedule_id = await work.make()
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    [tick] = await work.ledger(schedule_id)
    assert (tick.outcome, tick.detail) == (FAILED, "no worker has ever offered 'order'")


async def test_a_zone_that_is_not_known_here_is_a_failed_row_and_looked_at_again(work: Clockwork) -> None:
    schedule_id = await work.make(cron="* * * * *")
    await work.connection.execute("UPDATE taskflow.schedule SET zone = 'Mars/Base'")
    work.clock.advance(seconds=60)
    assert await work.scheduler.fire() == 1
    [tick] = await work.ledger(schedule_id)
    assert tick.outcome is FAILED
    again_at = work.clock.now + module.BROKEN_RETRY
    assert (await work.get(schedule_id)).next_at == again_at
    hour = (again_at.hour + 2) % 24  # a rule that again_at is not a time of, and today's is still to come
    await work.connection.execute("UPDATE taskflow.schedule SET zone = 'UTC', cron = $1", f"17 {hour} * * *")
    work.clock.now = again_at
    assert await work.scheduler.fire() == 1
    assert (await work.ledger(schedule_id), await work.jobs()) == ([tick], [])
    next_at = (again_at + timedelta(hours=2)).replace(minute=17)
    assert (await work.get(schedule_id)).next_at == next_at


# What its jobs are given ---------------------------------------------------------------------------------------------


async def test_a_job_gets_its_callback_its_expiry_and_its_key(work: Clockwork) -> None:
    given: dict[str, Any] = {
        "callback_url": "http://receiver.test/",
        "unique_key": "k",
        "unique_scope": UniqueScope.WINDOW,
        "unique_window": timedelta(hours=1),
        "expires_after": timedelta(seconds=90),
    }
    schedule_id = await work.make(**given)
    assert replace((await work.get(schedule_id)).plan, **given) == (await work.get(schedule_id)).plan
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    [job] = await work.jobs()
    assert (job.callback_url, job.unique_key, job.unique_scope) == ("http://receiver.test/", "k", UniqueScope.WINDOW)
    assert job.expires_at == job.created_at + timedelta(seconds=90)


async def test_a_time_whose_unique_key_is_held_is_skipped_once_with_the_holder(work: Clockwork) -> None:
    held = NewJob("order", {"number": 7}, unique_key="k")
    [holder] = await work.store.enqueue(work.connection, [held])
    schedule_id = await work.make(unique_key="k", overlap=Overlap.ALLOW)
    other_id = await work.make("other", unique_key="j")
    work.clock.advance(seconds=60)
    for _ in range(2):
        await work.scheduler.fire()
    [tick] = await work.ledger(schedule_id)
    assert (tick.outcome, tick.job_id) == (SKIPPED, holder.id)
    assert tick.detail == f"job {holder.id} holds the unique key"
    assert (await work.get(schedule_id)).last_job_id is None  # it is not the schedule's
    assert await work.outcomes(other_id) == [FIRED]
    async with work.connection.transaction():
        _, answer = await work.schedules.run_now(schedule_id, DEFAULT_NAMESPACE, connection=work.connection)
    assert (answer.id, answer.duplicate) == (holder.id, True)
    by_hand = (await work.ledger(schedule_id))[-1]
    assert (by_hand.outcome, by_hand.manual, by_hand.job_id) == (SKIPPED, True, holder.id)
    assert (await work.get(schedule_id)).last_job_id is None
    assert len(await work.jobs()) == 2


async def test_of_times_that_are_made_up_for_the_first_holds_the_key(work: Clockwork) -> None:
    schedule_id = await work.make(unique_key="k", overlap=Overlap.ALLOW, catchup=Catchup.ALL)
    work.clock.advance(seconds=180)
    await work.scheduler.fire()
    fired, *skipped = await work.ledger(schedule_id)
    assert [(tick.outcome, tick.job_id) for tick in skipped] == [(SKIPPED, fired.job_id)] * 2
    assert (await work.get(schedule_id)).last_job_id == fired.job_id


async def test_a_queue_that_drains_skips_a_job_with_a_key(work: Clockwork) -> None:
    schedule_id = await work.make(unique_key="k", queue="closed")
    await work.store.set_queue(work.connection, "closed", paused=None, draining=True, limits=False, concurrency=None)
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    [tick] = await work.ledger(schedule_id)
    assert (tick.outcome, tick.detail) == (SKIPPED, "queue 'closed' drains")
    assert await work.connection.fetchval("SELECT count(*) FROM taskflow.unique_claim") == 0


async def test_a_key_in_an_open_transaction_is_waited_for_without_holding_up_others(work: Clockwork) -> None:
    schedule_id = await work.make(unique_key="k")
    other_id = await work.make("other")
    async with work.database.transaction() as stranger:
        [holder] = await work.store.enqueue(stranger, [NewJob("order", {"number": 7}, unique_key="k")])
        work.clock.advance(seconds=60)
        due = work.clock.now
        assert await work.scheduler.fire() == 1
        assert (await work.ledger(schedule_id), await work.outcomes(other_id)) == ([], [FIRED])
        assert (await work.get(schedule_id)).next_at == due
    await work.scheduler.fire()
    [tick] = await work.ledger(schedule_id)
    assert (tick.fire_at, tick.outcome, tick.job_id) == (due, SKIPPED, holder.id)
    assert (await work.get(schedule_id)).next_at == due + timedelta(minutes=1)


# Pausing, changing, by hand ------------------------------------------------------------------------------------------


async def test_a_paused_schedule_is_silent_and_resumes_without_catching_up(work: Clockwork) -> None:
    schedule_id = await work.make(catchup=Catchup.ALL)
    paused = await work.schedules.pause(schedule_id, DEFAULT_NAMESPACE, connection=work.connection)
    assert (paused.next_at, paused.paused_at) == (None, work.clock.now)
    work.clock.advance(seconds=600)
    assert 0.5 < await work.tick() <= MAX_AGE_S
    resumed = await work.schedules.resume(schedule_id, DEFAULT_NAMESPACE, connection=work.connection)
    assert resumed.next_at == work.clock.now + timedelta(minutes=1)
    assert await work.ledger(schedule_id) == []


async def test_new_times_count_from_the_change(work: Clockwork) -> None:
    schedule_id = await work.make()
    work.clock.advance(seconds=3600)
    schedule = await work.get(schedule_id)
    changed = replace(schedule.plan, every=timedelta(minutes=7))
    updated = await work.schedules.update(schedule, changed, connection=work.connection)
    assert updated.next_at == work.clock.now + timedelta(minutes=7)


async def test_a_change_of_the_job_leaves_the_times_alone_though_it_was_fired_meanwhile(work: Clockwork) -> None:
    schedule_id = await work.make()
    seen = await work.get(schedule_id)
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    updated = await work.schedules.update(seen, replace(seen.plan, priority=9), connection=work.connection)
    assert updated.plan.priority == 9
    assert updated.next_at == work.clock.now + timedelta(minutes=1)


async def test_by_hand_it_runs_at_once_paused_or_not_and_is_in_the_ledger(work: Clockwork) -> None:
    schedule_id = await work.make(paused=True)
    for _ in range(2):
        async with work.connection.transaction():
            await work.schedules.run_now(schedule_id, DEFAULT_NAMESPACE, connection=work.connection)
    ledger = await work.ledger(schedule_id)
    assert [(tick.outcome, tick.manual) for tick in ledger] == [(FIRED, True)] * 2
    assert len(await work.jobs()) == 2
    assert (await work.get(schedule_id)).next_at is None


async def test_by_hand_a_payload_that_does_not_fit_is_refused_and_leaves_nothing(work: Clockwork) -> None:
    schedule_id = await work.make(payload={"number": "one"})
    with pytest.raises(Invalid, match="does not fit"):
        await work.schedules.run_now(schedule_id, DEFAULT_NAMESPACE, connection=work.connection)
    assert await work.ledger(schedule_id) == []


async def test_old_rows_of_the_ledger_are_pruned(work: Clockwork) -> None:
    schedule_id = await work.make(overlap=Overlap.ALLOW)
    work.clock.advance(seconds=60)
    await work.scheduler.fire()
    old = timedelta(days=KEPT_TICKS_DAYS + 1)
    await work.connection.execute("UPDATE taskflow.schedule_tick SET decided_at = decided_at - $1::interval", old)
    assert await work.store.prune_ticks(work.connection, kept_days=KEPT_TICKS_DAYS, limit=10) == 1
    assert await work.ledger(schedule_id) == []


@pytest.mark.slow
async def test_under_supervision_a_schedule_fires_in_time(database_url: str, database: Database) -> None:
    """The real loop, on the database's clock."""
    schedules, store = Schedules(database), Store()
    registry = Registry()

    @registry.job("order", payload=Order)
    async def order(_ctx: JobContext, _payload: Order) -> None:
        raise AssertionError("no handler runs here")

    async with database.acquire() as connection:
        await store.publish_kinds(connection, registry.published)
        plan = SchedulePlan("tick", "order", {"number": 1}, every=timedelta(seconds=1), overlap=Overlap.ALLOW)
        made = await schedules.create(plan, paused=False, connection=connection)
    async with supervising(database_url):

        async def ticks() -> list[Tick]:
            found = await schedules.list_ticks(made.id, DEFAULT_NAMESPACE, limit=10)
            return found if sum(tick.outcome is FIRED for tick in found) >= 3 else []

        found = [tick for tick in await eventually("three instants", ticks) if tick.outcome is FIRED]
    late = [tick.decided_at - tick.fire_at for tick in found[:2] if tick.decided_at is not None]
    assert all(timedelta(0) <= by < timedelta(seconds=2) for by in late), late
