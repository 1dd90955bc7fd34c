"""Claiming for one process: never more than it has places for, soon after news, and without any."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.support.workers import register

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import producer as module
from taskflow.engine.job import Claim, JobId, NewJob, WorkerId
from taskflow.engine.producer import POLL_CAP_S, Producer
from taskflow.engine.store import Store

STORE = Store()


class Site:
    """A producer, its places, and what it has claimed."""

    def __init__(self, database: Database, worker_id: WorkerId, *, places: int) -> None:
        self.places = places
        self.free = places
        self.claims: list[Claim] = []
        self.batches: list[int] = []
        self.producer = Producer(
            database.acquire,
            STORE,
            worker_id=worker_id,
            incarnation=1,
            queues=["default"],
            kinds=["noop"],
            places=places,
            free=lambda: self.free,
            on_claims=self._take,
        )

    def _take(self, claims: Sequence[Claim]) -> None:
        assert len(claims) <= self.free
        self.free -= len(claims)
        self.batches.append(len(claims))
        self.claims += claims

    def give_back(self, places: int) -> None:
        for _ in range(places):
            self.free += 1
            self.producer.place_freed()


Run = Callable[..., Site]


@pytest.fixture
async def run(database_url: str, connection: Connection) -> AsyncIterator[Run]:
    """Start producers; they end with the test."""
    worker_id = await register(connection)
    database = Database(database_url, max_size=2, patience_s=0.0)
    tasks: list[asyncio.Task[None]] = []

    def start(*, places: int = 10, through: Database = database) -> Site:
        site = Site(through, worker_id, places=places)
        tasks.append(asyncio.create_task(site.producer.run()))
        return site

    yield start
    for task in tasks:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await database.stop()


async def submit(connection: Connection, jobs: int = 1) -> list[JobId]:
    return [answer.id for answer in await STORE.enqueue(connection, [NewJob("noop", {})] * jobs)]


async def polls(site: Site, monkeypatch: pytest.MonkeyPatch) -> "asyncio.Queue[float]":
    """The waits that the producer chooses, as it chooses them."""
    waits: asyncio.Queue[float] = asyncio.Queue()
    wait_for_work = site.producer._wait_for_work

    async def spy(poll_s: float) -> float:
        waits.put_nowait(poll_s)
        return await wait_for_work(poll_s)

    monkeypatch.setattr(site.producer, "_wait_for_work", spy)
    return waits


async def test_it_claims_what_is_there_up_to_its_places_and_more_as_they_come_free(
    run: Run, connection: Connection
) -> None:
    await submit(connection, 25)
    site = run(places=10)
    await eventually("the places to be taken", lambda: len(site.claims) == 10)
    site.give_back(3)
    await eventually("the freed places to be taken", lambda: len(site.claims) == 13)
    site.give_back(10)
    await eventually("the next ten", lambda: len(site.claims) == 23)
    site.give_back(10)
    await eventually("the rest", lambda: len(site.claims) == 25)
    assert max(site.batches) == 10
    assert len({claim.job_id for claim in site.claims}) == 25


@pytest.mark.slow
async def test_without_any_notification_it_polls_ever_less_often_but_once_a_second(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert POLL_CAP_S <= 1.0
    monkeypatch.setattr(module, "POLL_CAP_S", 0.2)
    site = run()
    waits = await polls(site, monkeypatch)
    seen = [await asyncio.wait_for(waits.get(), 8) for _ in range(5)]
    assert seen == [0.05, 0.1, 0.2, 0.2, 0.2]
    [job_id] = await submit(connection)
    began = time.monotonic()
    await eventually("the poll to find the job", lambda: site.claims)
    assert time.monotonic() - began < 0.2 + 2
    assert [claim.job_id for claim in site.claims] == [job_id]


async def test_a_wake_up_ends_the_wait_and_those_for_other_queues_do_not(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_FIRST_S", 3600.0)
    monkeypatch.setattr(module, "POLL_CAP_S", 3600.0)
    site = run()
    waits = await polls(site, monkeypatch)
    await asyncio.wait_for(waits.get(), 8)
    for number, queue in enumerate(("default", ""), 1):
        await submit(connection)
        site.producer.wake("elsewhere")
        await asyncio.sleep(0.02)
        assert len(site.claims) == number - 1
        site.producer.wake(queue)
        await eventually("the wake-up to be followed", lambda number=number: len(site.claims) == number)  # type: ignore[misc]


async def test_a_wake_up_during_a_claim_is_not_lost(
    run: Run, second: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job may have been committed after the claim's snapshot: it looks once more before it waits."""
    monkeypatch.setattr(module, "POLL_FIRST_S", 3600.0)
    async with second.transaction():
        await second.execute("LOCK TABLE taskflow.ready")
        site = run()
        waits = await polls(site, monkeypatch)
        await eventually("the claim to be on its way", lambda: site.producer.claiming)
        site.producer.wake("default")
    assert [await asyncio.wait_for(waits.get(), 8) for _ in range(2)] == [3600.0, 3600.0]


async def test_a_terminated_connection_and_an_outage_are_survived(
    run: Run, database_url: str, connection: Connection
) -> None:
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, max_size=2, patience_s=0.0, application_name="test-producer")
        site = run(through=database)
        await submit(connection)
        await eventually("the first job", lambda: len(site.claims) == 1)
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'test-producer' AND datname = current_database()"
        )
        await submit(connection)
        await eventually("a job after the termination", lambda: len(site.claims) == 2)
        await proxy.close_door()
        await submit(connection)
        await proxy.heal()
        await eventually("a job after the outage", lambda: len(site.claims) == 3)
        await database.stop()


async def test_a_claim_in_doubt_is_known_by_its_lease_until_its_answer_is_lost(
    run: Run, database_url: str, connection: Connection
) -> None:
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, max_size=2, patience_s=0.0)
        [job_id] = await submit(connection)
        proxy.lose_answer("claim")
        site = run(through=database)
        await eventually("the answer to be lost", lambda: proxy.lost == 1 and not site.producer.claiming)
        leases = await connection.fetch("SELECT job_ids FROM taskflow.lease")
        assert [list(row["job_ids"]) for row in leases] == [[job_id]]
        assert site.claims == []
        await database.stop()


async def test_it_asks_for_nothing_while_nothing_is_free(run: Run, connection: Connection) -> None:
    await submit(connection, 3)
    site = run(places=1)
    site.free = 0
    site.producer.wake("default")
    site.producer.place_freed()
    await asyncio.sleep(0.02)
    assert site.batches == []
    site.give_back(1)
    await eventually("one job", lambda: site.batches == [1])
