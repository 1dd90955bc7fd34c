"""The SDK as a type checker sees it. Checked by `make lint`, never run: a changed type fails here first."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, assert_type
from uuid import UUID

import asyncpg
import psycopg

from taskflow import Handle, Job, JobContext, JobFailed, JobFunction, NewJob, Retry, State, TaskFlow
from taskflow.engine.job import Cancellation
from taskflow.testing import in_transaction, in_transaction_sync

app = TaskFlow()


@app.job("thumbnail", queue="images", retries=5, timeout_s=30, isolation="process", memory_limit_mb=512)
def thumbnail(ctx: JobContext, source: str, width: int = 640) -> str:
    with ctx.transaction() as connection:
        assert_type(connection, psycopg.Connection[Any])
    return source * width


@app.job()
async def sales(ctx: JobContext, days: int) -> dict[str, int] | Retry:
    async with ctx.transaction() as connection:
        assert_type(connection, asyncpg.Connection[Any])
    return {"days": days}


@app.job()
async def ping(name: str) -> int:
    return len(name)


@app.job(priority="high", backoff=lambda failures: failures * 2.0)
def plain(number: float) -> None:
    del number


@app.lifespan
async def opened() -> AsyncIterator[Mapping[str, Any]]:
    yield {}


@app.before_attempt
async def before(ctx: JobContext) -> None: ...


@app.after_attempt
def after(ctx: JobContext, error: BaseException | None) -> None: ...


@app.before_enqueue
def traced(job: NewJob) -> NewJob | None: ...


@app.after_enqueue
def counted(job: NewJob, job_id: UUID) -> None: ...


async def submits() -> None:
    handle = await thumbnail.enqueue("a.png", width=640)
    assert_type(handle, Handle[str])
    assert_type(await handle.result(timeout_s=10), str)
    assert_type(await handle.status(), State)
    assert_type(await handle.job(), Job)
    assert_type(await handle.cancel(), Cancellation)
    assert_type(await sales.options(priority="high", delay_s=60).enqueue(7), Handle[dict[str, int] | Retry])
    assert_type(await ping.enqueue(name="Ada"), Handle[int])
    assert_type(await ping.enqueue_many([{"name": "Ada"}]), list[Handle[int]])
    await thumbnail.enqueue(5, width=640)  # type: ignore[arg-type]
    await thumbnail.enqueue("a.png", height=640)  # type: ignore[call-arg]
    await ping.enqueue()  # type: ignore[call-arg]
    async with app.transaction() as tx:
        assert_type(tx, asyncpg.Connection[Any])
        await ping.options(connection=tx).enqueue("Ada")
    async with in_transaction(app) as jobs:
        assert_type(await jobs.run_until_idle(), list[Job])


def submits_sync() -> None:
    handle = plain.enqueue_sync(5)
    assert_type(handle, Handle[None])
    assert_type(thumbnail.enqueue_sync("a.png", 640).result_sync(timeout_s=10), str)
    assert_type(thumbnail.handle("01234567-89ab-7def-8123-456789abcdef").status_sync(), State)
    try:
        handle.result_sync(timeout_s=1)
    except JobFailed as error:
        assert_type(error.attempts, int)
    with app.transaction_sync() as tx:
        assert_type(tx, psycopg.Connection[Any])
    with in_transaction_sync(app) as jobs:
        assert_type(jobs.run_until_idle(), list[Job])


def takes_any(job: JobFunction[..., object]) -> str:
    return job.kind


takes_any(thumbnail)
