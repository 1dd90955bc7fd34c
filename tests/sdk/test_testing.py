"""`taskflow.testing`: jobs in a test's transaction, on its clock, run when it says so."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import psycopg
import pytest

from taskflow import JobContext, State, TaskFlow
from taskflow.testing import in_transaction, in_transaction_sync


@pytest.fixture
def shop(app: TaskFlow) -> TaskFlow:
    @app.lifespan
    async def opened() -> AsyncIterator[Mapping[str, Any]]:
        yield {"sender": "real"}

    @app.job("welcome", queue="mails")
    async def welcome(ctx: JobContext, name: str) -> str:
        await remind.options(delay_s=3600).enqueue(name)
        ctx.log(f"to {name}")
        ctx.progress(0.5)
        return f"{ctx.state['sender']}: {name}"

    @app.job("remind")
    async def remind(ctx: JobContext, name: str) -> str:
        async with ctx.transaction() as connection:
            return str(await connection.fetchval("SELECT $1::text || '!'", name))

    @app.job("flaky", retries=1, backoff=lambda _failures: 60.0)
    async def flaky(ctx: JobContext) -> int:
        if ctx.attempt == 1:
            async with ctx.transaction() as connection:
                await connection.execute("SELECT * FROM nowhere")
        return ctx.attempt

    return app


def stored(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM taskflow.job").fetchone()
    assert row is not None
    return int(row[0])


async def test_jobs_run_when_the_test_says_so_and_nothing_of_them_stays(shop: TaskFlow, database_url: str) -> None:
    async with in_transaction(shop) as jobs:
        handle = await shop.jobs["welcome"].enqueue("Ada")
        assert await handle.status() is State.PENDING
        [done] = await jobs.run_until_idle()
        assert (done.kind, done.state, done.result) == ("welcome", State.COMPLETED, "real: Ada")
        assert done.progress is not None
        assert await handle.result(timeout_s=0) == "real: Ada"
        assert [(job.kind, job.state) for job in await jobs.submitted()] == [
            ("welcome", State.COMPLETED),
            ("remind", State.SCHEDULED),
        ]
    assert stored(database_url) == 0
    assert await (await shop.jobs["welcome"].enqueue("Eve")).status() is State.PENDING
    assert stored(database_url) == 1


async def test_what_is_delayed_waits_for_the_tests_clock(shop: TaskFlow) -> None:
    async with in_transaction(shop, state={"sender": "double"}) as jobs:
        await shop.jobs["welcome"].enqueue("Ada")
        [welcomed] = await jobs.run_until_idle()
        assert welcomed.result == "double: Ada"
        await jobs.advance(minutes=59)
        assert await jobs.run_until_idle() == []
        await jobs.advance(days=40)  # past the partitions that are there
        [reminded] = await jobs.run_until_idle()
        assert (reminded.kind, reminded.result) == ("remind", "Ada!")
        with pytest.raises(ValueError, match="time does not go back"):
            await jobs.advance(seconds=-1)


async def test_a_failed_statement_of_a_job_is_retried_and_spoils_nothing(shop: TaskFlow) -> None:
    async with in_transaction(shop) as jobs:
        await shop.jobs["flaky"].enqueue()
        [flaky] = await jobs.run_until_idle()
        assert flaky.state is State.RETRYING
        assert flaky.error is not None
        assert flaky.error.type == "UndefinedTableError"
        await jobs.advance(minutes=2)
        [flaky] = await jobs.run_until_idle()
        assert (flaky.state, flaky.result, flaky.failures) == (State.COMPLETED, 2, 1)


async def test_a_connection_of_the_tests_own_carries_rows_and_jobs(shop: TaskFlow, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    async with in_transaction(shop, connection) as jobs:
        async with shop.transaction() as tx:
            assert tx is connection
            await shop.jobs["remind"].options(connection=tx).enqueue("Ada")
        assert [job.result for job in await jobs.run_until_idle()] == ["Ada!"]
        with pytest.raises(TypeError, match=r"use taskflow\.testing\.in_transaction_sync"):
            shop.jobs["remind"].enqueue_sync("Ada")
    assert await connection.fetchval("SELECT count(*) FROM taskflow.job") == 1
    await transaction.rollback()
    await connection.close()
    assert stored(database_url) == 0


def test_the_same_without_an_event_loop(app: TaskFlow, database_url: str) -> None:
    @app.job("charge", retries=1, backoff=lambda _failures: 60.0)
    def charge(ctx: JobContext, cents: int) -> int:
        with ctx.transaction() as connection:
            row = connection.execute("SELECT %s + 1", [cents]).fetchone()
        if ctx.attempt == 1:
            raise ConnectionError
        thank.enqueue_sync(cents)
        assert row is not None
        return int(row[0])

    @app.job("thank")
    async def thank(cents: int) -> str:
        return f"{cents / 100:.2f}"

    with in_transaction_sync(app) as jobs:
        handle = charge.options(callback_url="https://example.org/").enqueue_sync(cents=250)
        assert [job.state for job in jobs.run_until_idle()] == [State.RETRYING]
        jobs.advance(minutes=2)
        assert [job.result for job in jobs.run_until_idle()] == [251, "2.50"]
        assert handle.result_sync(timeout_s=0) == 251
        assert [job.kind for job in jobs.submitted("thank")] == ["thank"]
    assert stored(database_url) == 0


async def test_jobs_that_submit_each_other_for_ever_are_noticed(app: TaskFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.job()
    async def again() -> None:
        await again.enqueue()

    monkeypatch.setattr("taskflow.testing.MAX_ATTEMPTS", 20)
    async with in_transaction(app) as jobs:
        await again.enqueue()
        with pytest.raises(AssertionError, match="after 20 attempts: do they submit each other for ever"):
            await jobs.run_until_idle()
