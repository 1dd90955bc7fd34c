"""Bulk submits by COPY store what the statement stores, all or none, in the same order."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import RFC_4122

import asyncpg
import pytest
from msgspec.json import decode
from tests.engine.worksite import NOTABLE, Worksite, new_job
from tests.support.waiting import eventually

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import MAX_BATCH, MAX_PAYLOAD_BYTES, NewJob, State
from taskflow.engine.store import copying
from taskflow.engine.store.copying import COPY_BYTES, COPY_ROWS, FIRST_ROWS, MIN_ROWS, PIECE_BYTES, make_ids
from taskflow.kernel.errors import Conflict, Invalid, PayloadTooLarge

WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'taskflow.ready'::regclass)"


async def count(site: Worksite, table: str) -> int:
    value: int = await site.connection.fetchval(f"SELECT count(*) FROM taskflow.{table}")
    return value


async def test_what_is_copied_is_read_back_as_what_is_inserted(site: Worksite) -> None:
    (inserted,) = await site.store.enqueue(site.connection, [NOTABLE])
    copied = await site.store.enqueue(site.connection, [new_job(), NOTABLE, *[new_job()] * MIN_ROWS])
    for answer, number in ((inserted, 1), (copied[1], 2)):
        job = await site.job(answer.id)
        assert (job.payload, job.tags, job.headers) == (NOTABLE.payload, list(NOTABLE.tags), NOTABLE.headers)
        assert (job.kind, job.queue, job.namespace) == (NOTABLE.kind, NOTABLE.queue, NOTABLE.namespace)
        assert (job.priority, job.retries, job.timeout_s, job.state) == (9, 10, 0.001, State.PENDING)
        assert answer.created_at == answer.run_at == job.created_at == job.run_at
        assert (answer.created_at - site.clock.now).microseconds == number
    rows = [
        await site.connection.fetchrow(
            "SELECT j.*, r.*, j.id = $1 AS mine FROM taskflow.job j JOIN taskflow.ready r ON r.job_id = j.id"
            " WHERE j.id = $1",
            answer.id,
        )
        for answer in (inserted, copied[1])
    ]
    own = {"id", "job_id", "created_at", "run_at"}
    first, second = ({k: v for k, v in dict(row or {}).items() if k not in own} for row in rows)
    assert first == second


@pytest.mark.parametrize("size", [MIN_ROWS, FIRST_ROWS + COPY_ROWS, FIRST_ROWS + COPY_ROWS + 1, MAX_BATCH])
async def test_the_order_of_a_bulk_is_that_of_its_ids_and_claims(site: Worksite, size: int) -> None:
    answers = await site.store.enqueue(site.connection, [new_job(payload={"n": n}) for n in range(size)])
    ids = [answer.id for answer in answers]
    assert ids == sorted(set(ids))
    assert [(answer.created_at - site.clock.now) // timedelta(microseconds=1) for answer in answers] == [
        *range(1, size + 1)
    ]
    claims = await site.claim(limit=size)
    assert [claim.job_id for claim in claims] == ids
    assert [decode(claim.payload)["n"] for claim in claims] == list(range(size))


@pytest.mark.parametrize("place", [0, FIRST_ROWS - 1, FIRST_ROWS + COPY_ROWS, MAX_BATCH - 1])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (new_job(priority=77, kind=""), Invalid),
        (new_job(payload={"a": "x" * MAX_PAYLOAD_BYTES}), PayloadTooLarge),
    ],
    ids=["invalid", "too large"],
)
async def test_a_bad_job_is_named_wherever_it_is_and_nothing_is_stored(
    site: Worksite, database: Database, place: int, bad: NewJob, error: type[Exception]
) -> None:
    """Jobs of a bulk are checked while those before them are on their way."""
    jobs = [new_job()] * MAX_BATCH
    jobs[place] = bad
    async with Engine(database, now=site.clock) as engine:
        with pytest.raises(error) as raised:
            await engine.enqueue_many(jobs)
        if isinstance(raised.value, Invalid):
            assert {item.pointer for item in raised.value.errors} == {f"/{place}/taskType", f"/{place}/priority"}
        assert (await count(site, "job"), await count(site, "ready")) == (0, 0)
        assert len(await engine.enqueue_many([new_job()] * MAX_BATCH)) == MAX_BATCH


async def test_a_bad_job_leaves_the_callers_transaction_as_it_was(site: Worksite, database: Database) -> None:
    engine = Engine(database, now=site.clock)
    async with site.connection.transaction():
        await site.submit()
        with pytest.raises(Invalid):
            await engine.enqueue_many([*[new_job()] * MIN_ROWS, new_job(priority=77)], connection=site.connection)
        await site.submit()
    assert (await count(site, "job"), await count(site, "ready")) == (2, 2)


async def test_a_bad_job_is_named_at_once_although_those_before_it_wait(
    site: Worksite, database: Database, second: Connection
) -> None:
    jobs = [*[new_job()] * MIN_ROWS, new_job(priority=77)]
    async with Engine(database, now=site.clock) as engine, second.transaction():
        await second.execute("LOCK TABLE taskflow.job IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Invalid):
            await asyncio.wait_for(engine.enqueue_many(jobs), 8)
    assert (await count(site, "job"), await count(site, "ready")) == (0, 0)


async def test_a_bulk_is_cut_off_at_once_while_one_copy_waits_and_the_next_is_written(
    site: Worksite, database: Database, second: Connection
) -> None:
    def cut_off(place: int, _job: NewJob) -> None:
        if place == FIRST_ROWS:
            submit.cancel()

    async def enqueue() -> None:
        async with database.acquire() as connection:
            await site.store.enqueue(connection, [new_job()] * MAX_BATCH, check=cut_off)

    async with second.transaction():
        await second.execute("LOCK TABLE taskflow.job IN ACCESS EXCLUSIVE MODE")
        submit = asyncio.create_task(enqueue())
        await asyncio.wait([submit], timeout=8)
        assert submit.cancelled()
    assert (await count(site, "job"), await count(site, "ready")) == (0, 0)
    async with database.acquire() as connection:
        assert len(await site.store.enqueue(connection, [new_job()] * MAX_BATCH)) == MAX_BATCH


async def test_large_payloads_go_in_copies_of_some_megabytes(
    site: Worksite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    copy = copying._Line._copy

    async def noted(line: Any, table: str, columns: Any, data: bytearray) -> None:
        sizes.append(len(data))
        await copy(line, table, columns, data)

    monkeypatch.setattr(copying._Line, "_copy", noted)
    large = new_job(payload={"text": "x" * (MAX_PAYLOAD_BYTES - 20)})
    async with Engine(database, now=site.clock) as engine:
        answers = await engine.enqueue_many([large] * MIN_ROWS)
    assert max(sizes) < COPY_BYTES + PIECE_BYTES + 2 * MAX_PAYLOAD_BYTES
    assert await count(site, "job") == await count(site, "ready") == len(answers) == MIN_ROWS
    assert (await site.job(answers[-1].id)).payload == large.payload


async def test_a_bulk_that_is_cut_off_is_not_stored(site: Worksite, database: Database, second: Connection) -> None:
    async def is_stuck() -> bool:
        return bool(await site.connection.fetchval(WAITS))

    async with Engine(database, now=site.clock) as engine:
        async with second.transaction():
            await second.execute("LOCK TABLE taskflow.ready IN ACCESS EXCLUSIVE MODE")
            submit = asyncio.create_task(engine.enqueue_many([new_job()] * MAX_BATCH))
            await eventually("the bulk to wait for the table", is_stuck)
            submit.cancel()
            await asyncio.wait([submit])
        assert submit.cancelled()
        assert (await count(site, "job"), await count(site, "ready")) == (0, 0)
        assert len(await engine.enqueue_many([new_job()] * MAX_BATCH)) == MAX_BATCH


async def test_a_bulk_is_stored_whole_or_not_at_all(site: Worksite) -> None:
    bad = new_job(headers={"request_id": "a NUL \x00 that jsonb cannot hold"})
    with pytest.raises(asyncpg.PostgresError):
        await site.store.enqueue(site.connection, [*[new_job()] * MIN_ROWS, bad])
    assert (await count(site, "job"), await count(site, "ready")) == (0, 0)


async def test_a_bulk_goes_with_the_callers_transaction(site: Worksite) -> None:
    transaction = site.connection.transaction()
    await transaction.start()
    await site.store.enqueue(site.connection, [new_job()] * MIN_ROWS)
    assert await count(site, "ready") == MIN_ROWS
    await transaction.rollback()
    assert (await count(site, "job"), await count(site, "ready")) == (0, 0)


async def test_a_bulk_for_a_queue_that_drains_is_refused(site: Worksite) -> None:
    await site.store.set_queue(site.connection, "images", draining=True)
    with pytest.raises(Conflict, match="'images' drains"):
        await site.store.enqueue(site.connection, [*[new_job()] * MIN_ROWS, new_job(queue="images")])
    assert await count(site, "job") == 0
    assert len(await site.store.enqueue(site.connection, [new_job(queue="other")] * MIN_ROWS)) == MIN_ROWS


async def test_ids_made_here_are_as_those_made_by_the_database(site: Worksite) -> None:
    at = datetime(2026, 11, 23, 23, 59, 59, 998_999, tzinfo=UTC)
    made = make_ids(at, 2002)
    assert made == sorted(made)
    assert len(set(made)) == 2002
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
    theirs = await site.connection.fetch(
        "SELECT taskflow.uuid_v7($1::timestamptz + n * interval '1 microsecond') AS id"
        " FROM generate_series(1, 2002) AS n ORDER BY n",
        at,
    )
    assert [one.int >> 64 for one in made] == [row["id"].int >> 64 for row in theirs]
