"""Wake-ups: after commit, once for many, and never the cause of a failure."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest
from tests.engine.worksite import NOTABLE
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import JobId, NewJob
from taskflow.engine.notifier import CANCEL_CHANNEL, PAUSE_S, WAKE_CHANNEL, Notifier
from taskflow.engine.store import Store
from taskflow.kernel.errors import Conflict

WHOLE = "SELECT j.*, r.* FROM taskflow.job j JOIN taskflow.ready r ON r.job_id = j.id WHERE j.id = $1"

Heard = asyncio.Queue[tuple[str, str]]


@pytest.fixture
async def heard(second: Connection) -> Heard:
    """Everything that the database notifies, as (channel, payload)."""
    queue: Heard = asyncio.Queue()
    for channel in (WAKE_CHANNEL, CANCEL_CHANNEL):
        await second.add_listener(channel, lambda *args: queue.put_nowait((args[2], args[3])))
    return queue


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    async with Engine(database) as engine:
        yield engine


async def next_of(heard: Heard) -> tuple[str, str]:
    return await asyncio.wait_for(heard.get(), 8)


async def test_a_burst_of_submits_is_one_wake_up_per_queue(engine: Engine, heard: Heard) -> None:
    queues = ["mail", "images"]
    await asyncio.gather(*(engine.enqueue(NewJob("noop", {}, queue=queues[n % 2])) for n in range(200)))
    engine.wake(["end"])
    news = []
    while (note := await next_of(heard)) != (WAKE_CHANNEL, "end"):
        news.append(note)
    assert set(news) == {(WAKE_CHANNEL, "mail"), (WAKE_CHANNEL, "images")}
    assert len(news) <= 6  # the first submit goes alone; and what came while a round was on its way


async def test_a_lone_submit_wakes_before_it_is_answered(engine: Engine, heard: Heard, database_url: str) -> None:
    """In the same round trip: the notifier has not even a connection. The next one, at once after it, goes by that."""
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url)
        async with Engine(database) as behind:
            await behind.enqueue(NewJob("noop", {}, queue="mail"))
            assert await next_of(heard) == (WAKE_CHANNEL, "mail")
            assert proxy.statements == 2  # partitions at the start
        await database.stop()
    await engine.enqueue(NewJob("noop", {}, queue="a"))
    await engine.enqueue(NewJob("noop", {}, queue="b"))
    assert [await next_of(heard), await next_of(heard)] == [(WAKE_CHANNEL, "a"), (WAKE_CHANNEL, "b")]


async def test_a_submit_wakes_by_itself_only_if_nobody_has_or_does_just_then(database: Database) -> None:
    free = asyncio.Event()

    @asynccontextmanager
    async def lend() -> AsyncIterator[Connection]:
        await free.wait()
        async with database.acquire() as connection:
            yield connection

    notifier = Notifier(lend)

    def is_rested() -> bool:
        return notifier.is_rested

    assert is_rested()
    notifier.note_sent()
    assert not is_rested()
    await eventually("the pause to be over", is_rested)
    notifier.wake(["mail"])
    assert not is_rested()
    running = asyncio.create_task(notifier.run())
    await eventually("the round to begin", lambda: not notifier._waiting)
    await asyncio.sleep(2 * PAUSE_S)
    assert not is_rested()
    free.set()
    await eventually("the round to be over", is_rested)
    running.cancel()
    await asyncio.wait([running])


async def test_what_wakes_with_its_submit_is_stored_like_any_other(engine: Engine, connection: Connection) -> None:
    woken = await engine.enqueue(NOTABLE)
    stored = await engine.enqueue(NOTABLE, connection=connection)
    rows = []
    for answer in (woken, stored):
        row = dict(await connection.fetchrow(WHOLE, answer.id) or {})
        assert (row.pop("id"), row.pop("job_id")) == (answer.id, answer.id)
        assert (row.pop("created_at"), row.pop("run_at")) == (answer.created_at, answer.run_at)
        rows.append(row)
    assert rows[0] == rows[1]


async def test_a_submit_that_wakes_commits_by_itself_first(connection: Connection) -> None:
    """So that no commit of a job waits for its turn among those who notify; a caller's transaction cannot have it."""
    async with connection.transaction():
        with pytest.raises(asyncpg.InvalidTransactionTerminationError):
            async with connection.transaction():
                await Store().store_and_wake(connection, NewJob("noop", {}), WAKE_CHANNEL)
    assert await connection.fetchval("SELECT count(*) FROM taskflow.job") == 0


async def test_a_draining_queue_refuses_a_lone_submit(engine: Engine, heard: Heard, connection: Connection) -> None:
    await engine.set_queue("mail", draining=True)
    assert await next_of(heard) == (WAKE_CHANNEL, "mail")
    with pytest.raises(Conflict, match="'mail' drains"):
        await engine.enqueue(NewJob("noop", {}, queue="mail"))
    await engine.enqueue(NewJob("noop", {}, queue="other"))
    assert await next_of(heard) == (WAKE_CHANNEL, "other")
    assert await connection.fetchval("SELECT count(*) FROM taskflow.job") == 1


async def test_a_wake_up_waits_for_the_commit(engine: Engine, heard: Heard, database: Database) -> None:
    """In a caller's transaction nothing is notified: the caller says when it has committed."""
    async with database.transaction() as connection:
        await engine.enqueue(NewJob("noop", {}, queue="mail"), connection=connection)
        await engine.enqueue_many([NewJob("noop", {}, queue="mail")], connection=connection)
    engine.wake(["other"])
    assert await next_of(heard) == (WAKE_CHANNEL, "other")
    engine.wake(["mail"])
    assert await next_of(heard) == (WAKE_CHANNEL, "mail")
    await engine.enqueue_many([NewJob("noop", {}, queue="a"), NewJob("noop", {}, queue="b")])
    assert {await next_of(heard), await next_of(heard)} == {(WAKE_CHANNEL, "a"), (WAKE_CHANNEL, "b")}


async def test_a_cancel_names_its_job(engine: Engine, heard: Heard) -> None:
    job_id = JobId(uuid4())
    engine.announce_cancel(job_id)
    assert await next_of(heard) == (CANCEL_CHANNEL, str(job_id))


async def test_a_wake_up_lost_in_an_outage_is_dropped_and_later_ones_arrive(database_url: str, heard: Heard) -> None:
    async with Proxy(database_url) as proxy, asyncio.timeout(10):
        database = Database(proxy.url, patience_s=0.0)
        notifier = Notifier(database.acquire)
        running = asyncio.create_task(notifier.run())
        notifier.wake(["before"])
        assert await next_of(heard) == (WAKE_CHANNEL, "before")
        await proxy.close_door()
        notifier.wake(["lost"])
        refused = proxy.accepted
        await asyncio.sleep(0.05)  # long enough to try and fail; nothing tells of a wake-up that was dropped
        await proxy.heal()
        notifier.wake(["after"])
        while (news := await next_of(heard)) != (WAKE_CHANNEL, "after"):
            assert news == (WAKE_CHANNEL, "lost")
        assert proxy.accepted > refused
        running.cancel()
        await database.stop()
