"""Group commit of submits: everybody is answered, nobody pays for a neighbour."""

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.support.workers import drop_partitions

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import submitter
from taskflow.engine.client import Engine
from taskflow.engine.job import Enqueued, NewJob
from taskflow.kernel.errors import Unavailable

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
REFUSED_BY_POSTGRES = NewJob("mail", {}, headers={"request_id": "a NUL \x00 that jsonb cannot hold"})
REFUSED_BY_ENCODER = NewJob("mail", {}, headers={"request_id": "half a pair \ud800"})


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    async with Engine(database) as engine:
        yield engine


async def count(connection: Connection) -> int:
    value: int = await connection.fetchval("SELECT count(*) FROM taskflow.job")
    return value


async def submit(engine: Engine, jobs: int) -> list[Enqueued | BaseException]:
    """Submit so many at once; each one's answer or refusal."""
    return await asyncio.gather(*(engine.enqueue(NewJob("mail", {})) for _ in range(jobs)), return_exceptions=True)


async def test_concurrent_submits_share_commits_and_are_answered_each_with_its_own_job(
    engine: Engine, connection: Connection
) -> None:
    answers = await asyncio.gather(*(engine.enqueue(NewJob("mail", {"number": n})) for n in range(200)))
    rows = await connection.fetch("SELECT id, payload->>'number' AS number, xmin::text AS commit FROM taskflow.job")
    assert {row["id"]: int(row["number"]) for row in rows} == {answer.id: n for n, answer in enumerate(answers)}
    assert len({row["commit"] for row in rows}) <= 3


async def test_callers_who_submit_one_after_the_other_come_to_share_every_commit(
    engine: Engine, connection: Connection
) -> None:
    """Whoever comes again as soon as it was answered must not miss the commit that the others wait for."""

    async def call() -> None:
        for _ in range(30):
            await engine.enqueue(NewJob("mail", {}))

    await asyncio.gather(*(call() for _ in range(10)))
    commits = await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM taskflow.job")
    assert commits <= 30 + 10  # as often as each calls, and some until they are in step


async def test_a_lone_submit_waits_for_nobody(engine: Engine, connection: Connection) -> None:
    first = await engine.enqueue(NewJob("mail", {}))
    second = await engine.enqueue(NewJob("mail", {}))
    assert first.id < second.id
    assert await count(connection) == 2


@pytest.mark.covers("S2-2")
async def test_a_thousand_submits_in_bursts_are_all_answered(engine: Engine, connection: Connection) -> None:
    """A wake-up lost between two batches would leave callers waiting for ever."""
    rng = random.Random(7)

    async def submit(number: int) -> Enqueued:
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(rng.choice([0, 0, 0.001]))
        return await engine.enqueue(NewJob("mail", {"number": number}))

    async with asyncio.timeout(20):
        answers: list[Enqueued] = []
        while len(answers) < 1000:
            burst = [submit(len(answers) + n) for n in range(rng.choice([1, 2, 40, 157]))]
            answers += await asyncio.gather(*burst)
    assert len({answer.id for answer in answers}) == len(answers) == await count(connection)


async def test_a_batch_larger_than_one_insert_is_split(
    engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitter, "MAX_ROWS", 10)
    await asyncio.gather(*(engine.enqueue(NewJob("mail", {})) for _ in range(95)))
    assert await count(connection) == 95
    assert await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM taskflow.job") >= 10


@pytest.mark.parametrize(
    ("bad", "error"),
    [(REFUSED_BY_POSTGRES, asyncpg.PostgresError), (REFUSED_BY_ENCODER, ValueError)],
    ids=["by PostgreSQL", "by the encoder"],
)
async def test_one_bad_row_fails_alone(
    engine: Engine, connection: Connection, bad: NewJob, error: type[Exception]
) -> None:
    """The client's checks refuse both before they come here; this is for what no check foresees."""
    submit_unchecked = engine._submitter.submit
    jobs = [bad if n == 3 else NewJob("mail", {"number": n}) for n in range(8)]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(submit_unchecked(job) for job in jobs), return_exceptions=True)
        assert isinstance(answers[3], error)
        assert [n for n, answer in enumerate(answers) if isinstance(answer, Enqueued)] == [0, 1, 2, 4, 5, 6, 7]
        assert await count(connection) == 7
        with pytest.raises(error):
            await submit_unchecked(bad)
        await engine.enqueue(NewJob("mail", {}))


async def test_a_caller_who_leaves_does_not_hurt_its_neighbours(
    engine: Engine, connection: Connection, second: Connection
) -> None:
    """One leaves while its row is on its way alone, one before its row is sent."""

    async def blocked() -> bool:
        return bool(await second.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with connection.transaction():
        await connection.execute("LOCK TABLE taskflow.job IN SHARE MODE")
        callers = [asyncio.create_task(engine.enqueue(NewJob("mail", {"number": n}))) for n in range(6)]
        await eventually("an INSERT to wait for the lock", blocked)
        callers[0].cancel()
        callers[1].cancel()
        await eventually("the next INSERT to wait for the lock", blocked)
        late = [asyncio.create_task(engine.enqueue(NewJob("mail", {"number": n}))) for n in range(6, 9)]
        callers[2].cancel()
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*callers, *late, return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if isinstance(answer, Enqueued)] == [3, 4, 5, 6, 7, 8]
    stored = await connection.fetch("SELECT (payload->>'number')::integer AS number FROM taskflow.job")
    assert {row["number"] for row in stored} >= {3, 4, 5, 6, 7, 8}
    assert 1 not in {row["number"] for row in stored}


async def test_too_many_waiting_submits_are_refused_with_the_limit(
    engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitter, "MAX_WAITING", 5)
    answers = await asyncio.gather(*(engine.enqueue(NewJob("mail", {})) for _ in range(8)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert len(refused) == 2
    assert "5 submits" in refused[0].detail
    assert await count(connection) == 6  # the first does not wait: it is on its way


async def test_submits_during_an_outage_are_unavailable_and_work_again_after_it(
    database_url: str, connection: Connection
) -> None:
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, patience_s=0.1)
        async with Engine(database) as engine, asyncio.timeout(10):
            await engine.enqueue(NewJob("mail", {}))
            await proxy.close_door()
            answers = await submit(engine, 5)
            assert all(isinstance(answer, Unavailable) for answer in answers)
            await proxy.heal()
            await engine.enqueue(NewJob("mail", {}))
        await database.stop()
    assert await count(connection) == 2


async def test_a_submit_whose_answer_is_lost_is_unavailable_although_it_was_stored(
    database_url: str, connection: Connection
) -> None:
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, patience_s=5.0)
        async with Engine(database) as engine, asyncio.timeout(10):
            proxy.lose_answer("enqueue_and_wake")
            with pytest.raises(Unavailable, match="went away"):
                await engine.enqueue(NewJob("mail", {}))
            proxy.lose_request("enqueue_and_wake")
            with pytest.raises(Unavailable, match="went away"):
                await engine.enqueue(NewJob("mail", {}))
            await engine.enqueue(NewJob("mail", {}))
            proxy.lose_answer("enqueue_one")
            with pytest.raises(Unavailable, match="may have happened"):
                await engine.enqueue_many([NewJob("mail", {})])
        await database.stop()
    assert await count(connection) == 3


@pytest.mark.usefixtures("spoilt_schema")
async def test_missing_partitions_are_made_on_demand(engine: Engine, connection: Connection) -> None:
    await drop_partitions(connection, "job")
    async with asyncio.timeout(10):
        await asyncio.gather(*(engine.enqueue(NewJob("mail", {})) for _ in range(5)))
        await drop_partitions(connection, "job")
        await engine.enqueue_many([NewJob("mail", {}), NewJob("mail", {})])
    assert await count(connection) == 2
    await engine.stop()
    await drop_partitions(connection, "job")
    await engine.enqueue(NewJob("mail", {}))
    assert await count(connection) == 1


@pytest.mark.usefixtures("spoilt_schema")
async def test_a_connection_lost_while_partitions_are_made_ends_neither_the_submits_nor_the_service(
    database_url: str, connection: Connection
) -> None:
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, patience_s=5.0)
        async with Engine(database) as engine, asyncio.timeout(10):
            await drop_partitions(connection, "job")
            proxy.lose_request("make_partitions")
            answers = await asyncio.gather(
                *(engine.enqueue(NewJob("mail", {})) for _ in range(3)), return_exceptions=True
            )
            assert isinstance(answers[0], Unavailable)  # it went alone; the others come on the next connection
            assert all(isinstance(answer, Enqueued) for answer in answers[1:])
            await engine.enqueue(NewJob("mail", {}))
        await database.stop()
    assert await count(connection) == 3


@pytest.mark.usefixtures("spoilt_schema")
async def test_nobody_waits_for_ever_when_the_service_stops_on_its_way(
    engine: Engine, connection: Connection, second: Connection
) -> None:
    """Stopped in the shared INSERT, with some still waiting; and stopped while rows are tried one by one."""
    await drop_partitions(connection, "job")
    async with connection.transaction(), asyncio.timeout(10):
        await connection.execute("SELECT pg_advisory_xact_lock(723641, 0)")  # the making of partitions waits for this

        async def blocked() -> bool:
            return bool(await second.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        callers = [asyncio.create_task(engine.enqueue(NewJob("mail", {}))) for _ in range(3)]
        await eventually("the service to wait for the lock", blocked)
        callers += [asyncio.create_task(engine.enqueue(NewJob("mail", {}))) for _ in range(2)]
        await asyncio.sleep(0)
        await engine.stop()
        answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 5
    await engine.start()
    await engine.enqueue(NewJob("mail", {}))
    assert await count(connection) == 1


async def test_a_database_that_does_not_commit_is_waited_for_once_and_its_sessions_end(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while a synchronous standby is dead: who stands in line is not made to wait for one timeout after another."""
    monkeypatch.setattr(submitter, "MAX_WAIT_S", 0.1)
    database = Database(database_url, command_timeout_s=0.5)
    async with Engine(database) as engine:
        await engine.enqueue(NewJob("mail", {}))
        async with connection.transaction():
            await connection.execute("LOCK TABLE taskflow.job IN EXCLUSIVE MODE")
            first, *others = await submit(engine, 4)
            assert "may have happened" in str(first)
            assert {str(other) for other in others} == {submitter.TOO_LATE}
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            await eventually("nobody to wait", lambda: _is_zero(connection, waiting))
        assert await count(connection) == 1
        await engine.enqueue(NewJob("mail", {}))
    await database.stop()


async def _is_zero(connection: Connection, query: str) -> bool:
    return bool(await connection.fetchval(query) == 0)
