"""
The application that works while its world fails: every way to run a handler, every promise that can be broken.

Its handlers do next to nothing and record that they do it. Each returns the lease that it ran under, so that a result
says by whose right it was accepted.
"""

import asyncio
import os
import time
from functools import cache
from pathlib import Path
from typing import TypedDict

from taskflow import JobContext, TaskFlow
from tests.history.events import Began, Ended
from tests.history.recorder import Recorder, now

HISTORY_DIR = "FAULTS_HISTORY_DIR"  # environment variable
QUEUES = ("shop", "narrow")
NARROW_LIMIT = 2
RETRIES = 10
EFFECTS = {"book": 1, "book_sync": 1}  # rows in history.effect per completed job

app = TaskFlow()


class Result(TypedDict):
    lease: str
    attempt: int


def result_of(ctx: JobContext) -> Result:
    return Result(lease=str(ctx.claim.lease_id), attempt=ctx.attempt)


def soon(_failures: int) -> float:
    return 0.2


@cache
def _recorder(_pid: int) -> Recorder:
    return Recorder(Path(os.environ[HISTORY_DIR]), "handlers")


@app.before_attempt
def note_began(ctx: JobContext) -> None:
    began = Began(
        at=now(), job_id=str(ctx.job_id), attempt=ctx.attempt, lease_id=str(ctx.claim.lease_id), kind=ctx.kind
    )
    _recorder(os.getpid()).record(began)


@app.after_attempt
def note_ended(ctx: JobContext, error: BaseException | None) -> None:
    ended = Ended(
        at=now(),
        job_id=str(ctx.job_id),
        attempt=ctx.attempt,
        lease_id=str(ctx.claim.lease_id),
        error=None if error is None else type(error).__name__,
    )
    _recorder(os.getpid()).record(ended)


@app.job("note", queue="shop", retries=RETRIES, backoff=soon)
async def note(ctx: JobContext, op: str, takes_s: float = 0.02) -> Result:
    await asyncio.sleep(takes_s)
    return result_of(ctx)


@app.job("single", queue="shop", retries=RETRIES, backoff=soon)
async def single(ctx: JobContext, op: str, takes_s: float = 0.2) -> Result:
    """Submitted with a unique key."""
    await asyncio.sleep(takes_s)
    return result_of(ctx)


@app.job("flaky", queue="shop", retries=RETRIES, backoff=soon)
async def flaky(ctx: JobContext, op: str) -> Result:
    if ctx.failures == 0:
        raise RuntimeError("the first attempt fails")
    return result_of(ctx)


@app.job("doomed", queue="shop", retries=1, backoff=soon)
async def doomed(ctx: JobContext, op: str) -> Result:
    raise RuntimeError("every attempt fails")


@app.job("threaded", queue="shop", retries=RETRIES, backoff=soon, isolation="thread")
def threaded(ctx: JobContext, op: str) -> Result:
    time.sleep(0.05)
    return result_of(ctx)


@app.job("crunch", queue="shop", retries=RETRIES, backoff=soon)
def crunch(ctx: JobContext, op: str) -> Result:
    """In a child process."""
    time.sleep(0.05)
    return result_of(ctx)


@app.job("book", queue="shop", retries=RETRIES, backoff=soon)
async def book(ctx: JobContext, op: str, takes_s: float = 0.05) -> Result:
    async with ctx.transaction() as connection:
        await connection.execute(
            "INSERT INTO history.effect VALUES ($1, $2, $3)", ctx.job_id, ctx.attempt, ctx.claim.lease_id
        )
    await asyncio.sleep(takes_s)
    return result_of(ctx)


@app.job("book_sync", queue="shop", retries=RETRIES, backoff=soon)
def book_sync(ctx: JobContext, op: str) -> Result:
    with ctx.transaction() as connection:
        connection.execute(
            "INSERT INTO history.effect VALUES (%s, %s, %s)", [ctx.job_id, ctx.attempt, ctx.claim.lease_id]
        )
    time.sleep(0.05)
    return result_of(ctx)


@app.job("narrow", queue="narrow", retries=RETRIES, backoff=soon)
async def narrow(ctx: JobContext, op: str) -> Result:
    """In the queue with a limit; what waits there at the end is waited for."""
    await asyncio.sleep(0.1)
    return result_of(ctx)


@app.job("tick", queue="shop", retries=RETRIES, backoff=soon)
async def tick(ctx: JobContext) -> Result:
    """Submitted by a schedule."""
    return result_of(ctx)


@app.job("block", queue="shop", retries=RETRIES, backoff=soon, timeout_s=60)
async def block(ctx: JobContext, op: str, seconds: float) -> Result:
    """Let nothing else on this event loop have its turn."""
    time.sleep(seconds)  # noqa: ASYNC251 -- that is the fault
    return result_of(ctx)
