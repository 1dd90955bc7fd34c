"""Attempts of an app's jobs: results, verdicts, hooks, state, progress, and transactions that end with the job."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import BaseModel
from tests.support.waiting import eventually
from tests.support.workers import claim as claim_jobs
from tests.support.workers import register, working

from taskflow import (
    Cancel,
    JobCancelled,
    JobContext,
    JobFailed,
    NotFound,
    Permanent,
    Retry,
    Snooze,
    State,
    TaskFlow,
)
from taskflow.apps.sdk import attempt
from taskflow.apps.sdk.function import JobFunction
from taskflow.db.query import Connection
from taskflow.engine.job import OutcomeKind
from taskflow.engine.store import Store
from taskflow.engine.worker import Worker


@dataclass
class Receipt:
    number: UUID
    at: datetime
    total: float


class Parcel(BaseModel):
    weight_kg: float
    sent: datetime | None = None


def running(app: TaskFlow, url: str, **options: Any) -> AbstractAsyncContextManager[Worker]:
    return working(url, app.registry, queues=app.registry.queues, lifespan=app.open_state, **options)


@pytest.fixture
async def ledger(connection: Connection) -> AsyncIterator[Connection]:
    """A table of an application's own, in the same database."""
    await connection.execute("CREATE TABLE ledger (entry text NOT NULL)")
    yield connection
    await connection.execute("DROP TABLE ledger")


async def entries(connection: Connection) -> list[str]:
    return [row["entry"] for row in await connection.fetch("SELECT entry FROM ledger ORDER BY entry")]


# Results --------------------------------------------------------------------------------------------------------------


async def test_a_result_comes_back_as_the_type_that_the_function_declares(app: TaskFlow, database_url: str) -> None:
    @app.job("pay", queue="money")
    async def pay(total: float, at: datetime) -> Receipt:
        assert at.tzinfo is not None
        return Receipt(UUID(int=7), at, total)

    now = datetime.now(UTC)
    async with running(app, database_url):
        handle = await pay.enqueue(9.5, at=now)
        assert await handle.result(timeout_s=5) == Receipt(UUID(int=7), now, 9.5)
    assert await asyncio.to_thread(pay.handle(handle.job_id).result_sync, timeout_s=1) == Receipt(UUID(int=7), now, 9.5)


async def test_what_is_no_result_raises_what_became_of_the_job(app: TaskFlow, database_url: str) -> None:
    @app.job(retries=0)
    async def fail() -> None:
        raise ValueError("the card is expired")

    @app.job()
    async def wait() -> None:
        await asyncio.sleep(60)

    async with running(app, database_url):
        failed = await fail.enqueue()
        words = r"failed \(exhausted\) after 1 attempts: ValueError: the card is expired"
        with pytest.raises(JobFailed, match=words) as e:
            await failed.result(timeout_s=5)
        assert (e.value.error_type, e.value.error, e.value.job_id) == (
            "ValueError",
            "the card is expired",
            failed.job_id,
        )
        assert "attempt.py" not in str(e.value.traceback).splitlines()[1]
        waiting = await wait.enqueue()
        await eventually("the attempt", lambda: _is(waiting, State.ACTIVE))
        with pytest.raises(TimeoutError, match=r"is active after 0\.05 s"):
            await waiting.result(timeout_s=0.05)
        assert (await waiting.cancel()).requested_at is not None
        with pytest.raises(JobCancelled):
            await waiting.result(timeout_s=5)
    with pytest.raises(NotFound):
        await app.handle(UUID(int=9)).result(timeout_s=1)


async def _is(handle: Any, state: State) -> bool:
    return bool(await handle.status() is state)


@pytest.mark.parametrize("returned", [True, False])
async def test_a_verdict_counts_whether_it_is_raised_or_returned(
    app: TaskFlow, database_url: str, returned: bool
) -> None:
    @app.job(retries=1)
    async def judge(ctx: JobContext, word: str) -> int | Retry | Snooze | Cancel | Permanent:
        verdicts: Mapping[str, Retry | Snooze | Cancel | Permanent] = {
            "retry": Retry(0.0),
            "snooze": Snooze(0.0),
            "cancel": Cancel(),
            "permanent": Permanent("never"),
        }
        if ctx.attempt > 1:
            return ctx.failures
        if returned:
            return verdicts[word]
        raise verdicts[word]

    async with running(app, database_url):
        handles = {word: await judge.enqueue(word) for word in ("retry", "snooze", "cancel", "permanent")}
        assert await handles["retry"].result(timeout_s=8) == 1
        assert await handles["snooze"].result(timeout_s=8) == 0
        with pytest.raises(JobCancelled):
            await handles["cancel"].result(timeout_s=8)
        with pytest.raises(JobFailed, match=r"\(permanent\) after 1 attempts: Permanent: never"):
            await handles["permanent"].result(timeout_s=8)


# Around an attempt ----------------------------------------------------------------------------------------------------


async def test_hooks_run_in_pairs_around_every_attempt_and_find_the_shared_state(
    app: TaskFlow, database_url: str
) -> None:
    heard: list[Any] = []

    @app.lifespan
    async def opened() -> AsyncIterator[Mapping[str, Any]]:
        heard.append("opened")
        yield {"rate": 3}
        heard.append("closed")

    @app.before_attempt
    def first(ctx: JobContext) -> None:
        heard.append(("first", ctx.kind))

    @app.before_attempt
    async def second(_ctx: JobContext) -> None:
        heard.append("second")

    @app.after_attempt
    async def last(_ctx: JobContext, error: BaseException | None) -> None:
        heard.append(("last", error if error is None else type(error).__name__))

    @app.after_attempt
    def last_but_one(_ctx: JobContext, _error: BaseException | None) -> None:
        heard.append("last but one")
        raise RuntimeError("a hook after an attempt changes nothing")

    @app.job(retries=0)
    async def multiply(ctx: JobContext, by: int) -> int:
        if by == 0:
            raise ZeroDivisionError
        return by * int(ctx.state["rate"])

    async with running(app, database_url):
        assert await (await multiply.enqueue(by=2)).result(timeout_s=5) == 6
        with pytest.raises(JobFailed):
            await (await multiply.enqueue(by=0)).result(timeout_s=5)
    around = [("first", "multiply"), "second", "last but one"]
    assert heard == ["opened", *around, ("last", None), *around, ("last", "ZeroDivisionError"), "closed"]


async def test_a_hook_before_an_attempt_may_end_it(app: TaskFlow, database_url: str) -> None:
    @app.before_attempt
    def closed(_ctx: JobContext) -> None:
        raise Permanent("the shop is closed")

    @app.job()
    async def sell() -> None:
        raise AssertionError("never called")

    async with running(app, database_url):
        with pytest.raises(JobFailed, match="the shop is closed"):
            await (await sell.enqueue()).result(timeout_s=5)


async def test_progress_is_shown_while_the_job_runs_and_the_last_report_stays(app: TaskFlow, database_url: str) -> None:
    go_on = asyncio.Event()

    @app.job()
    async def resize(ctx: JobContext) -> None:
        for step in range(50):
            ctx.progress(step / 100, f"step {step}")
        await go_on.wait()
        ctx.progress(1.0, "done\x00")

    async with running(app, database_url):
        handle = await resize.enqueue()

        async def reported() -> Any:
            return (await handle.job()).progress

        shown = await eventually("a report", reported)
        assert (round(shown.fraction, 4), shown.message, shown.attempt) == (0.49, "step 49", 1)
        go_on.set()
        await handle.result(timeout_s=5)
        final = (await handle.job()).progress
        assert final is not None
        assert (final.fraction, final.message) == (1.0, "done\\u0000")


async def test_progress_from_zero_to_one_or_an_error(app: TaskFlow, database_url: str) -> None:
    @app.job(retries=0)
    async def resize(ctx: JobContext) -> None:
        ctx.progress(40)

    async with running(app, database_url):
        with pytest.raises(JobFailed, match="fraction must be from 0 to 1, got 40"):
            await (await resize.enqueue()).result(timeout_s=5)


# Transactions that end with the job -----------------------------------------------------------------------------------


@pytest.mark.covers("X-6", "S4-66")
async def test_effects_and_completion_are_one_commit(app: TaskFlow, database_url: str, ledger: Connection) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    @app.job()
    async def book(ctx: JobContext, entry: str) -> str:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO ledger VALUES ($1)", entry)
        async with ctx.transaction() as again:
            assert again is connection
            await again.execute("INSERT INTO ledger VALUES ($1)", f"{entry} again")
        inside.set()
        await leave.wait()
        return entry

    async with running(app, database_url):
        handle = await book.enqueue(entry="a")
        await inside.wait()
        assert await entries(ledger) == []
        assert await handle.status() is State.ACTIVE
        leave.set()
        assert await handle.result(timeout_s=5) == "a"
        assert await entries(ledger) == ["a", "a again"]
    job = await handle.job()
    assert (job.attempt, job.failures) == (1, 0)
    stats = await ledger.fetch("SELECT measure, jobs FROM taskflow.stat_delta ORDER BY measure")
    assert [tuple(row) for row in stats] == [("run", 1), ("wait", 1)]


@pytest.mark.parametrize("where", ["in the block", "after the block", "in the result"])
async def test_an_error_rolls_the_effects_back(
    app: TaskFlow, database_url: str, ledger: Connection, where: str
) -> None:
    @app.job(retries=0)
    async def book(ctx: JobContext) -> Any:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO ledger VALUES ('a')")
            if where == "in the block":
                raise RuntimeError("oops")
        if where == "after the block":
            raise RuntimeError("oops")
        return "\x00"  # which jsonb cannot hold

    async with running(app, database_url):
        with pytest.raises(JobFailed):
            await (await book.enqueue()).result(timeout_s=5)
    assert await entries(ledger) == []


async def test_an_error_that_the_function_catches_rolls_back_what_it_was_in_and_no_more(
    app: TaskFlow, database_url: str, ledger: Connection
) -> None:
    @app.job(retries=0)
    async def book(ctx: JobContext) -> None:
        try:
            async with ctx.transaction() as connection:
                await connection.execute("INSERT INTO ledger VALUES ('lost')")
                raise LookupError  # noqa: TRY301
        except LookupError:
            async with ctx.transaction() as connection:
                await connection.execute("INSERT INTO ledger VALUES ('kept')")

    async with running(app, database_url):
        await (await book.enqueue()).result(timeout_s=5)
    assert await entries(ledger) == ["kept"]


@pytest.mark.covers("X-6", "S2-44")
async def test_effects_happen_once_although_the_claim_was_lost_and_the_job_ran_twice(
    app: TaskFlow, database_url: str, ledger: Connection
) -> None:
    """The first attempt comes too late with everything done but the commit: nothing of it stays."""
    attempts: list[int] = []
    second_is_running = asyncio.Event()

    @app.job()
    async def book(ctx: JobContext) -> int:
        attempts.append(ctx.attempt)
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO ledger VALUES ($1)", f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            await Store().return_leases(ledger, [ctx.claim.lease_id], OutcomeKind.LOST)
            try:
                await second_is_running.wait()
            except asyncio.CancelledError:
                await second_is_running.wait()  # it does not give up, and tries to complete
        second_is_running.set()
        return ctx.attempt

    async with running(app, database_url):
        handle = await book.enqueue()
        assert await handle.result(timeout_s=15) == 2
    assert attempts == [1, 2]
    assert await entries(ledger) == ["attempt 2"]
    assert (await handle.job()).attempt == 2


async def test_a_timeout_rolls_the_effects_back(app: TaskFlow, database_url: str, ledger: Connection) -> None:
    @app.job(retries=0, timeout_s=0.2)
    async def book(ctx: JobContext) -> None:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO ledger VALUES ('a')")
            await asyncio.sleep(30)

    async with running(app, database_url):
        with pytest.raises(JobFailed, match="Timeout"):
            await (await book.enqueue()).result(timeout_s=8)
    assert await entries(ledger) == []


async def test_a_job_submitted_in_an_attempts_transaction_exists_if_the_attempt_completes(
    app: TaskFlow, database_url: str
) -> None:
    @app.job()
    async def follow(number: int) -> int:
        return number

    @app.job(retries=1, backoff=lambda _failures: 0.0)
    async def lead(ctx: JobContext) -> str:
        async with ctx.transaction() as connection:
            handle = await follow.options(connection=connection).enqueue(ctx.attempt)
        if ctx.attempt == 1:
            raise RuntimeError
        return str(handle.job_id)

    async with running(app, database_url):
        follower = app.handle(await (await lead.enqueue()).result(timeout_s=8))
        assert await follower.result(timeout_s=8) == 2
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM taskflow.job").fetchone() == (2,)


async def test_a_sync_function_in_a_thread_has_a_psycopg_transaction(
    app: TaskFlow, database_url: str, ledger: Connection
) -> None:
    @app.job(isolation="thread", retries=1, backoff=lambda _failures: 0.0)
    def book(ctx: JobContext, entry: str) -> str:
        ctx.progress(0.5)
        with ctx.transaction() as connection:
            connection.execute("INSERT INTO ledger VALUES (%s)", [f"{entry} {ctx.attempt}"])
        if ctx.attempt == 1:
            raise RuntimeError
        return entry

    async with running(app, database_url):
        handle = await book.enqueue(entry="a")
        assert await handle.result(timeout_s=8) == "a"
    assert await entries(ledger) == ["a 2"]


@pytest.mark.parametrize("isolation", ["asyncio", "thread"])
async def test_an_attempt_with_a_transaction_began_when_its_function_was_called(
    app: TaskFlow, database_url: str, ledger: Connection, isolation: str
) -> None:
    """What it waited for since its claim, a child process or its turn as a suspect, is no part of its time."""
    claim_earlier = "UPDATE taskflow.lease SET claimed_at = claimed_at - interval '1 minute'"
    called_at: list[datetime] = []

    if isolation == "asyncio":

        @app.job()
        async def book(ctx: JobContext) -> None:
            called_at.append(datetime.now(UTC))
            async with ctx.transaction() as connection:
                await connection.execute("INSERT INTO ledger VALUES ('a')")
            await ledger.execute(claim_earlier)

    else:

        @app.job(isolation="thread")
        def book(ctx: JobContext) -> None:
            called_at.append(datetime.now(UTC))
            with ctx.transaction() as connection:
                connection.execute("INSERT INTO ledger VALUES ('a')")
            with psycopg.connect(database_url) as other:
                other.execute(claim_earlier)

    async with running(app, database_url):
        handle = await book.enqueue()
        await handle.result(timeout_s=8)
    job = await handle.job()
    assert job.started_at is not None
    assert abs(job.started_at - called_at[0]) < timedelta(seconds=5)
    measured = "SELECT bucket < taskflow.stat_bucket(5) FROM taskflow.stat_delta WHERE measure = 'run'"
    assert await ledger.fetchval(measured)


async def test_code_that_does_not_say_how_long_an_attempt_ran_goes_on_to_complete_it(
    app: TaskFlow, connection: Connection
) -> None:
    """Workers of the version before call the function with four arguments."""

    @app.job("count")
    async def count() -> int:
        return 0

    handle = await count.enqueue()
    [claim] = await claim_jobs(connection, await register(connection), kinds=["count"])
    statement = "SELECT taskflow.complete_one($1, $2, $3, $4)"
    assert await connection.fetchval(statement, claim.lease_id, claim.position, "7", claim.queue_wait_s)
    assert await handle.result(timeout_s=1) == 7
    assert await connection.fetchval(statement, claim.lease_id, claim.position, "8", 0.0) is False
    assert [
        tuple(row) for row in await connection.fetch("SELECT measure, jobs FROM taskflow.stat_delta ORDER BY 1")
    ] == [
        ("run", 1),
        ("wait", 1),
    ]


async def test_a_callback_is_due_with_the_commit_of_an_attempts_transaction(
    app: TaskFlow, database_url: str, ledger: Connection
) -> None:
    @app.job()
    async def book(ctx: JobContext) -> None:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO ledger VALUES ('a')")

    async with running(app, database_url):
        await (await book.options(callback_url="https://example.org/").enqueue()).result(timeout_s=5)
    assert await ledger.fetchval("SELECT event FROM taskflow.webhook_delivery") == "job.completed"


async def test_an_attempts_transaction_may_be_idle_for_as_long_as_the_attempt_may_run(
    app: TaskFlow, database_url: str
) -> None:
    @app.job(timeout_s=100)
    async def look(ctx: JobContext) -> str:
        async with ctx.transaction() as connection:
            return str(await connection.fetchval("SHOW idle_in_transaction_session_timeout"))

    async with running(app, database_url):
        assert await (await look.enqueue()).result(timeout_s=5) in ("109s", "110s")


def kill_session(url: str, pid: int) -> None:
    with psycopg.connect(url, autocommit=True) as killer:
        killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def booking(app: TaskFlow, url: str, isolation: str, *, within: bool, times: int = 1) -> JobFunction[[], int]:
    """Declare a job of one try whose session is killed in its first attempts, within its block or after it."""
    if isolation == "thread":

        @app.job(isolation="thread", retries=0)
        def book_sync(ctx: JobContext) -> int:
            with ctx.transaction() as connection:
                connection.execute("INSERT INTO ledger VALUES (%s)", [f"attempt {ctx.attempt}"])
                pid = connection.info.backend_pid
                if within and ctx.attempt <= times:
                    kill_session(url, pid)
                    connection.execute("SELECT 1")
            if ctx.attempt <= times:
                kill_session(url, pid)
            return ctx.attempt

        return book_sync

    @app.job(retries=0)
    async def book(ctx: JobContext) -> int:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT INTO ledger VALUES ($1)", f"attempt {ctx.attempt}")
            pid = connection.get_server_pid()
            if within and ctx.attempt <= times:
                await asyncio.to_thread(kill_session, url, pid)
                await connection.execute("SELECT 1")
        if ctx.attempt <= times:
            await asyncio.to_thread(kill_session, url, pid)
        return ctx.attempt

    return book


@pytest.mark.parametrize("isolation", ["asyncio", "thread"])
@pytest.mark.parametrize("within", [True, False])
async def test_an_attempt_is_charged_nothing_for_a_database_that_goes_away_beneath_its_transaction(
    app: TaskFlow,
    database_url: str,
    ledger: Connection,
    monkeypatch: pytest.MonkeyPatch,
    isolation: str,
    within: bool,
) -> None:
    monkeypatch.setattr(attempt, "AWAY_S", 0.05)
    book = booking(app, database_url, isolation, within=within)
    async with running(app, database_url):
        handle = await book.enqueue()
        assert await handle.result(timeout_s=15) == 2
    job = await handle.job()
    assert (job.attempt, job.failures) == (2, 0)
    assert await entries(ledger) == ["attempt 2"]
    assert attempt.SPARED in [row["message"] for row in await ledger.fetch("SELECT message FROM taskflow.job_log")]


async def test_what_a_function_decides_about_an_outage_itself_stands(app: TaskFlow, database_url: str) -> None:
    @app.job()
    async def give_up(ctx: JobContext) -> None:
        async with ctx.transaction() as connection:
            await asyncio.to_thread(kill_session, database_url, connection.get_server_pid())
            raise Permanent("without the database it is too late")

    async with running(app, database_url):
        with pytest.raises(JobFailed, match="too late"):
            await (await give_up.enqueue()).result(timeout_s=15)


@pytest.mark.usefixtures("ledger")
async def test_a_job_that_takes_its_session_down_each_time_ends(
    app: TaskFlow, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "AWAY_S", 0.05)
    monkeypatch.setattr(attempt, "MAX_SPARED", 2)
    book = booking(app, database_url, "asyncio", within=True, times=99)
    async with running(app, database_url):
        with pytest.raises(JobFailed, match="after 3 attempts"):
            await (await book.enqueue()).result(timeout_s=15)


async def test_waiting_for_a_result_looks_seldom(app: TaskFlow, database_url: str) -> None:
    @app.job()
    async def noop() -> None: ...

    looks = 0
    get_job = app.get_job

    async def counted(job_id: Any) -> Any:
        nonlocal looks
        looks += 1
        return await get_job(job_id)

    app.get_job = counted  # type: ignore[method-assign]
    handle = await noop.enqueue()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await handle.result(timeout_s=0.5)
    assert 0.5 <= time.monotonic() - began < 1.5
    assert 3 < looks < 15


async def test_a_job_takes_a_model_of_pydantic_and_returns_one(app: TaskFlow, database_url: str) -> None:
    @app.job()
    async def send(parcel: Parcel) -> Parcel:
        return parcel.model_copy(update={"sent": datetime(2026, 1, 2, tzinfo=UTC)})

    async with running(app, database_url):
        handle = await send.enqueue(Parcel(weight_kg=1.5))
        assert await handle.result(timeout_s=10) == Parcel(weight_kg=1.5, sent=datetime(2026, 1, 2, tzinfo=UTC))
