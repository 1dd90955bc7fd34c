"""One look at what is before them, for all duties of the leader."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.engine.worksite import KIND, QUEUE, Worksite
from tests.support.clock import FakeClock
from tests.support.waiting import eventually

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import agenda as module
from taskflow.engine.agenda import GRACE_S, MAX_AGE_S, PAUSE_FLOOR_S, Agenda
from taskflow.engine.job import DEFAULT_NAMESPACE, WorkerId
from taskflow.engine.record import Ahead, RemoteWorker
from taskflow.engine.store import Store

LOCK_DEFERRED = "LOCK TABLE taskflow.deferred IN ACCESS EXCLUSIVE MODE"
WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'taskflow.deferred'::regclass)"


class CountingStore(Store):
    """A store that counts the looks."""

    looks = 0

    async def look_ahead(self, connection: Connection, *, grace_s: float) -> Ahead:
        self.looks += 1
        return await super().look_ahead(connection, grace_s=grace_s)


@pytest.fixture
def store(clock: FakeClock) -> CountingStore:
    return CountingStore(clock)


@pytest.fixture
def agenda(database: Database, store: CountingStore) -> Agenda:
    return Agenda(database, store)


async def test_it_sees_the_soonest_of_each_kind(site: Worksite, agenda: Agenda) -> None:
    assert await agenda.look() == Ahead(None, None, None, has_old_remote_lease=False)
    await site.submit(expires_after=timedelta(seconds=40))
    await site.submit(run_after=timedelta(seconds=20), expires_after=timedelta(seconds=30))
    agenda.forget()
    ahead = await agenda.look()
    assert ahead.due_s == pytest.approx(20, abs=0.5)
    assert ahead.expiry_s == pytest.approx(30, abs=0.5)
    site.clock.advance(seconds=35)
    agenda.forget()
    ahead = await agenda.look()
    assert ahead.due_s == pytest.approx(-15, abs=0.5)
    assert ahead.expiry_s == pytest.approx(-5, abs=0.5)


async def test_only_an_old_lease_of_a_worker_over_http_may_be_overdue(site: Worksite) -> None:
    await site.submit_many(2)
    await site.claim_one()
    worker_id = WorkerId(uuid4())
    worker = RemoteWorker(DEFAULT_NAMESPACE, [QUEUE], [KIND], 1)
    assert await site.store.register_remote_worker(site.connection, worker_id, worker, limit=10)
    site.clock.advance(seconds=GRACE_S + 1)
    assert not (await site.ahead()).has_old_remote_lease
    await site.claim_one(worker_id=worker_id)
    assert not (await site.ahead()).has_old_remote_lease
    site.clock.advance(seconds=GRACE_S + 1)
    assert (await site.ahead()).has_old_remote_lease


@pytest.mark.usefixtures("site")
async def test_duties_that_wake_together_share_one_look(agenda: Agenda, store: CountingStore) -> None:
    await asyncio.gather(*(agenda.look() for _ in range(5)))
    assert store.looks == 1


async def test_time_is_counted_between_two_looks(
    site: Worksite, agenda: Agenda, store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a duty acts at its time without asking whether it has come."""
    monkeypatch.setattr(module, "MAX_AGE_S", 3600.0)
    await site.submit(run_after=timedelta(seconds=0.3))

    async def is_due() -> bool:
        due_s = (await agenda.look()).due_s
        return due_s is not None and due_s <= 0

    assert not await is_due()
    await eventually("the job to be due", is_due)
    assert store.looks == 1


async def test_who_finds_the_look_old_or_forgotten_makes_a_new_one(
    site: Worksite, agenda: Agenda, store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await agenda.look()).due_s is None
    await site.submit(run_after=timedelta(seconds=5))
    assert (await agenda.look()).due_s is None
    agenda.forget()
    assert (await agenda.look()).due_s is not None
    monkeypatch.setattr(module, "MAX_AGE_S", PAUSE_FLOOR_S)
    await agenda.look()
    assert store.looks == 3


async def test_what_is_forgotten_while_somebody_looks_is_seen_all_the_same(
    agenda: Agenda, site: Worksite, store: CountingStore, second: Connection
) -> None:
    """A duty may end while another one's look is on its way, or its connection on its way back."""

    async def is_stuck() -> bool:
        return bool(await site.connection.fetchval(WAITS))

    async def forget() -> None:
        while not look.done():
            agenda.forget()
            await asyncio.sleep(0)

    await site.submit(run_after=timedelta(seconds=5))
    async with second.transaction():
        await second.execute(LOCK_DEFERRED)
        look = asyncio.create_task(agenda.look())
        await eventually("the look to wait for the table", is_stuck)
        forgetting = asyncio.create_task(forget())
    assert (await look).due_s == pytest.approx(5, abs=0.5)
    await forgetting
    assert store.looks == 1


@pytest.mark.usefixtures("site")
async def test_a_duty_sleeps_until_its_time_or_the_next_look(agenda: Agenda) -> None:
    await agenda.look()
    assert MAX_AGE_S / 2 < agenda.pause_s(None) <= MAX_AGE_S
    assert MAX_AGE_S / 2 < agenda.pause_s(3600.0) <= MAX_AGE_S
    assert agenda.pause_s(0.1) == 0.1
    assert agenda.pause_s(0.001) == PAUSE_FLOOR_S


async def test_a_look_that_is_cut_off_leaves_the_next_one_free(
    site: Worksite, agenda: Agenda, second: Connection
) -> None:
    async def is_stuck() -> bool:
        return bool(await site.connection.fetchval(WAITS))

    async with second.transaction():
        await second.execute(LOCK_DEFERRED)
        look = asyncio.create_task(agenda.look())
        await eventually("the look to wait for the table", is_stuck)
        look.cancel()
        await asyncio.wait([look])
    assert look.cancelled()
    assert (await agenda.look()).due_s is None
