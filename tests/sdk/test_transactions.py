"""Jobs that are submitted in transactions of one's own exist if and only if those commit."""

import asyncio

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from tests.sdk.greetings import Greet, driver_url, hearing, jobs_in
from tests.support.waiting import eventually

from taskflow import NotFound, State, TaskFlow
from taskflow.db.query import Connection
from taskflow.engine.notifier import WAKE_CHANNEL


async def test_a_job_exists_if_and_only_if_an_asyncpg_transaction_commits(greet: Greet, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(RuntimeError):  # noqa: PT012
            async with connection.transaction():
                await greet.options(connection=connection).enqueue("lost", 1)
                raise RuntimeError
        assert jobs_in(database_url) == 0
        async with connection.transaction():
            handle = await greet.options(connection=connection, delay_s=5, tags=["t"]).enqueue("kept", 1)
            with pytest.raises(NotFound):
                await handle.status()
    finally:
        await connection.close()
    job = await handle.job()
    assert (job.payload, job.state, list(job.tags), job.queue, job.timeout_s) == (
        {"name": "kept", "times": 1},
        State.SCHEDULED,
        ["t"],
        "greetings",
        5.0,
    )


async def test_many_jobs_go_into_a_transaction_in_their_order(greet: Greet, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            handles = await greet.enqueue_many([{"name": str(n)} for n in range(300)], connection=connection)
    finally:
        await connection.close()
    assert [handle.job_id for handle in handles] == sorted(handle.job_id for handle in handles)
    assert [(await handle.job()).payload["name"] for handle in handles[::50]] == ["0", "50", "100", "150", "200", "250"]


async def test_psycopg_carries_jobs_async_and_sync(greet: Greet, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await greet.options(connection=connection).enqueue("lost", 1)
        await connection.rollback()
        kept = await greet.options(connection=connection).enqueue("kept", 1)
    assert await kept.status() is State.PENDING
    with psycopg.connect(database_url, row_factory=psycopg.rows.dict_row) as plain:
        greet.options(connection=plain).enqueue_sync("lost", 1)
        plain.rollback()
        kept = greet.options(connection=plain).enqueue_sync("kept", 1)
    assert await kept.status() is State.PENDING
    assert jobs_in(database_url) == 2


def test_a_session_of_sqlalchemy_carries_jobs_and_wakes_workers_after_its_commit(
    greet: Greet, database_url: str
) -> None:
    engine = create_engine(driver_url(database_url, "psycopg"))
    with hearing(database_url) as woken, Session(engine) as session:
        greet.options(connection=session).enqueue_sync("lost", 1)
        session.rollback()
        session.execute(text("SELECT 1"))
        session.commit()  # of a transaction without a job
    assert woken == []
    with hearing(database_url) as woken, Session(engine) as session:
        handle = greet.options(connection=session).enqueue_sync("kept", 1)
        session.commit()
        session.commit()
    assert woken == ["greetings"]
    with engine.begin() as connection:
        greet.options(connection=connection).enqueue_sync("kept too", 1)
    engine.dispose()
    assert handle.status_sync() is State.PENDING
    assert jobs_in(database_url) == 2


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_an_async_session_of_sqlalchemy_carries_jobs_and_wakes_workers_after_its_commit(
    greet: Greet, database_url: str, driver: str
) -> None:
    engine = create_async_engine(driver_url(database_url, driver))
    listener = await asyncpg.connect(database_url)
    woken: list[object] = []
    await listener.add_listener(WAKE_CHANNEL, lambda *note: woken.append(note[3]))
    try:
        async with AsyncSession(engine) as session:
            await greet.options(connection=session).enqueue("lost", 1)
            await session.rollback()
            handle = await greet.options(connection=session).enqueue("kept", 1)
            assert woken == []
            await session.commit()
        await eventually("a wake-up", lambda: woken == ["greetings"])
        async with engine.begin() as connection:
            await greet.options(connection=connection).enqueue("kept too", 1)
    finally:
        await listener.close()
        await engine.dispose()
    assert await handle.status() is State.PENDING
    assert jobs_in(database_url) == 2


async def test_a_transaction_of_the_app_commits_rows_and_jobs_together_and_wakes_workers(
    app: TaskFlow, greet: Greet, connection: Connection, database_url: str
) -> None:
    woken: list[object] = []
    await connection.add_listener(WAKE_CHANNEL, lambda *note: woken.append(note[3]))
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with app.transaction() as tx:
            await greet.options(connection=tx).enqueue("lost", 1)
            raise RuntimeError
    async with app.transaction() as tx:
        await greet.enqueue_many([{"name": "kept"}], connection=tx)
        await asyncio.sleep(0.01)
        assert woken == []
    await eventually("a wake-up", lambda: woken == ["greetings"])
    assert jobs_in(database_url) == 1


def test_a_transaction_of_the_app_without_an_event_loop_does_the_same(
    app: TaskFlow, greet: Greet, database_url: str
) -> None:
    with hearing(database_url) as woken:
        with app.transaction_sync() as tx:
            greet.options(connection=tx).enqueue_sync("kept", 1)
        with pytest.raises(RuntimeError), app.transaction_sync() as tx:  # noqa: PT012
            greet.options(connection=tx).enqueue_sync("lost", 1)
            raise RuntimeError
    assert woken == ["greetings"]
    assert jobs_in(database_url) == 1


async def test_a_guests_statement_is_planned_as_its_author_expects(app: TaskFlow) -> None:
    async with app.transaction() as connection:
        assert await connection.fetchval("SHOW enable_seqscan") == "on"
    with app.transaction_sync() as plain:
        assert plain.execute("SHOW enable_seqscan").fetchone() == ("on",)


async def test_what_is_no_connection_is_refused_by_name(greet: Greet, database_url: str) -> None:
    with pytest.raises(TypeError, match=r"connection must be one of asyncpg.Connection, .* got builtins.str"):
        await greet.options(connection=database_url).enqueue("Ada", 1)
    with psycopg.connect(database_url) as plain, pytest.raises(TypeError, match=r"a connection for enqueue_sync\(\)"):
        await greet.options(connection=plain).enqueue("Ada", 1)
    pooled = await asyncpg.connect(database_url)
    with pytest.raises(TypeError, match=r"a connection for enqueue\(\)"):
        greet.options(connection=pooled).enqueue_sync("Ada", 1)
    await pooled.close()
