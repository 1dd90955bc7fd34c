"""Idempotency keys: a write that is sent twice happens once."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.support.api import MAIL, Api, check_problem, until
from tests.support.clock import FakeClock

from taskflow.db.pool import CONNECTION_ERRORS, Database
from taskflow.db.query import Connection
from taskflow.http import idempotency
from taskflow.http.idempotency import Answer, Idempotency, Request, fingerprint, read_key
from taskflow.http.problem import BadHeader
from taskflow.kernel.errors import Conflict, Invalid

PRINCIPAL, NAMESPACE = uuid4(), uuid4()


def request(key: str = "k", body: bytes = b"body", *, principal: UUID = PRINCIPAL, route: str = "POST /x") -> Request:
    return Request(principal, NAMESPACE, route, key, fingerprint(body))


async def note(connection: Connection) -> Answer:
    """A write that can be counted."""
    number = await connection.fetchval("INSERT INTO taskflow.note VALUES (DEFAULT) RETURNING id")
    return Answer(201, str(number).encode(), {"Location": f"/notes/{number}"})


@pytest.fixture
async def once(database: Database, clock: FakeClock) -> Idempotency:
    async with database.acquire() as connection:
        await connection.execute("CREATE TABLE taskflow.note (id serial)")
    return Idempotency(database, now=clock)


async def count(database: Database) -> int:
    async with database.acquire() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM taskflow.note"))


async def test_a_second_request_gets_the_first_ones_answer(once: Idempotency, database: Database) -> None:
    first, replayed = await once.once(request(), note)
    assert not replayed
    second, replayed = await once.once(request(), note)
    assert replayed
    assert second == first
    assert await count(database) == 1


async def test_twins_at_once_write_once(once: Idempotency, database: Database) -> None:
    answers = await asyncio.gather(*(once.once(request(), note) for _ in range(6)))
    assert len({answer.body for answer, _ in answers}) == 1
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 5
    assert await count(database) == 1


async def test_a_twin_waits_for_the_first_and_replays(once: Idempotency, database: Database) -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> Answer:
        answer = await note(connection)
        writing.set()
        await go_on.wait()
        return answer

    async with asyncio.TaskGroup() as group:
        first = group.create_task(once.once(request(), slow))
        await writing.wait()
        second = group.create_task(once.once(request(), note))
        await _until_waiting(database)
        go_on.set()
    assert (first.result()[1], second.result()[1]) == (False, True)
    assert await count(database) == 1


async def test_a_twin_takes_over_when_the_first_fails(once: Idempotency, database: Database) -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def failing(connection: Connection) -> Answer:
        await note(connection)
        writing.set()
        await go_on.wait()
        raise Conflict("no")

    first = asyncio.ensure_future(once.once(request(), failing))
    await writing.wait()
    second = asyncio.ensure_future(once.once(request(), note))
    await _until_waiting(database)
    go_on.set()
    with pytest.raises(Conflict):
        await first
    assert (await second)[1] is False
    assert await count(database) == 1


async def test_a_twin_that_waits_too_long_is_told_to_come_back(
    once: Idempotency, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_S", 0.05)
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> Answer:
        writing.set()
        await go_on.wait()
        return await note(connection)

    first = asyncio.ensure_future(once.once(request(), slow))
    await writing.wait()
    with pytest.raises(Conflict) as refused:
        await once.once(request(), note)
    assert refused.value.code == "idempotency_in_progress"
    assert refused.value.retry_after_s == 1.0
    go_on.set()
    await first
    assert await count(database) == 1


async def test_a_crash_in_the_middle_leaves_nothing_and_the_retry_writes(once: Idempotency, database: Database) -> None:
    async def crashing(connection: Connection) -> Answer:
        answer = await note(connection)
        async with database.acquire() as other:
            await other.execute("SELECT pg_terminate_backend($1)", await connection.fetchval("SELECT pg_backend_pid()"))
        return answer

    with pytest.raises(CONNECTION_ERRORS):
        await once.once(request(), crashing)
    assert await count(database) == 0
    _, replayed = await once.once(request(), note)
    assert not replayed
    assert await count(database) == 1


async def test_another_body_under_the_same_key_is_refused(once: Idempotency, database: Database) -> None:
    await once.once(request(), note)
    with pytest.raises(Invalid) as refused:
        await once.once(request(body=b"other"), note)
    assert refused.value.code == "idempotency_key_reused"
    assert await count(database) == 1


@pytest.mark.parametrize("other", [request(principal=uuid4()), request(route="POST /y"), request("k2")], ids=range(3))
async def test_a_key_belongs_to_its_principal_and_route(once: Idempotency, database: Database, other: Request) -> None:
    await once.once(request(), note)
    assert (await once.once(other, note))[1] is False
    assert await count(database) == 2


async def test_a_key_is_kept_for_a_day_and_then_free(once: Idempotency, database: Database, clock: FakeClock) -> None:
    await once.once(request(), note)
    clock.advance(seconds=24 * 3600 - 1)
    assert (await once.once(request(), note))[1] is True
    assert await once.prune() == 0
    clock.advance(seconds=1)
    assert (await once.once(request(body=b"other"), note))[1] is False
    await once.once(request("k2"), note)
    clock.advance(seconds=24 * 3600)
    assert await once.prune() == 2
    assert (await once.once(request(), note))[1] is False


async def test_twins_on_a_key_whose_day_is_over_write_once(
    once: Idempotency, database: Database, clock: FakeClock
) -> None:
    await once.once(request(), note)
    clock.advance(seconds=24 * 3600)
    answers = await asyncio.gather(*(once.once(request(), note) for _ in range(5)))
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 4
    assert await count(database) == 2


async def test_a_replay_neither_waits_for_nor_writes_anything(
    once: Idempotency, database: Database, connection: Connection
) -> None:
    await once.once(request(), note)
    async with connection.transaction():
        await connection.execute("SELECT FROM taskflow.idempotency_key FOR UPDATE")
        async with asyncio.timeout(2):
            assert (await once.once(request(), note))[1] is True


async def test_a_replay_is_answered_after_a_commit_of_its_own(
    once: Idempotency, database: Database, connection: Connection
) -> None:
    """The first may be seen while its commit was never confirmed by a standby; only a later commit's wait covers it."""
    next_xid = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    await once.once(request(), note)
    before = await connection.fetchval(next_xid)
    assert (await once.once(request(), note))[1] is True
    assert await connection.fetchval(next_xid) > before


async def test_pruning_goes_by_the_index(connection: Connection) -> None:
    await connection.execute("SET enable_seqscan = off")
    sql = idempotency.QUERIES["prune_idempotency_keys"].sql
    plan = await connection.fetch(f"EXPLAIN {sql}", None, timedelta(hours=24), 10)
    assert any("idempotency_key_age" in row[0] for row in plan), plan


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ä", "a\tb"])
def test_a_key_that_cannot_be_is_refused(key: str) -> None:
    with pytest.raises(BadHeader, match="visible ASCII"):
        read_key({"idempotency-key": key})


def test_a_fingerprint_tells_where_its_parts_end() -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")


# Over HTTP --------------------------------------------------------------------------------------------------------


async def submit(client: httpx.AsyncClient, key: str, path: str = "/api/v1/jobs", **fields: Any) -> httpx.Response:
    return await client.post(path, json={**MAIL, **fields}, headers={"Idempotency-Key": key})


async def jobs(client: httpx.AsyncClient) -> Sequence[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get("/api/v1/jobs")).json()["items"]
    return items


@pytest.mark.covers("X-6")
async def test_a_repeated_submit_makes_one_job_and_says_so(client: httpx.AsyncClient) -> None:
    first = await submit(client, "order-1")
    again = await submit(client, "order-1")
    alias = await submit(client, "order-1", path="/api/jobs")
    assert (first.status_code, again.status_code, alias.status_code) == (201, 201, 201)
    assert first.content == again.content == alias.content
    assert first.headers["location"] == again.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == alias.headers["idempotency-replayed"] == "true"
    assert len(await jobs(client)) == 1


@pytest.mark.covers("X-6")
async def test_twins_over_http_make_one_job(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(submit(client, "order-1") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["jobId"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 4
    assert len(await jobs(client)) == 1


async def test_a_reused_or_bad_key_is_a_clear_problem(client: httpx.AsyncClient) -> None:
    await submit(client, "order-1")
    check_problem(await submit(client, "order-1", priority="high"), 422, "idempotency_key_reused")
    check_problem(await submit(client, "x" * 256), 400, "bad_idempotency_key")
    assert len(await jobs(client)) == 1


async def test_a_refused_submit_does_not_use_its_key_up(client: httpx.AsyncClient) -> None:
    check_problem(await submit(client, "order-1", retries=99), 422, "invalid")
    check_problem(await submit(client, "order-1", queue="no spaces"), 422, "invalid")
    assert (await submit(client, "order-1")).status_code == 201


async def test_a_kept_answer_outlives_what_it_was_checked_against(api: Api, client: httpx.AsyncClient) -> None:
    first = await submit(client, "order-1")
    async with api.database.acquire() as connection:
        await connection.execute("DELETE FROM taskflow.kind")
    async with api.client(client.headers["authorization"].removeprefix("Bearer ")) as fresh:
        await asyncio.sleep(0)
        assert (await submit(fresh, "order-1")).json() == first.json()


async def test_cancel_and_retry_take_a_key_too(api: Api, client: httpx.AsyncClient) -> None:
    job_id = (await submit(client, "a", retries=0)).json()["jobId"]
    await api.fail((await api.claim())[0], for_good=True)
    for action in ("retry", "cancel"):
        url, headers = f"/api/v1/jobs/{job_id}/{action}", {"Idempotency-Key": "act"}
        first = await client.post(url, headers=headers)
        again = await client.post(url, headers=headers)
        assert (first.status_code, again.status_code) == (200, 200), first.text
        assert first.content == again.content
        assert again.headers["idempotency-replayed"] == "true"
        assert (await client.post(url)).status_code == 409
    other = (await submit(client, "b")).json()["jobId"]
    response = await client.post(f"/api/v1/jobs/{other}/cancel", headers={"Idempotency-Key": "act"})
    check_problem(response, 422, "idempotency_key_reused")


async def test_a_key_of_another_principal_is_another_key(api: Api, client: httpx.AsyncClient) -> None:
    await submit(client, "order-1")
    async with api.client(await api.key()) as other:
        assert "idempotency-replayed" not in (await submit(other, "order-1")).headers
    assert len(await jobs(client)) == 2


async def _until_waiting(database: Database) -> None:
    """Return when a session of this database waits for another transaction."""
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    async with database.acquire() as connection:
        await until(lambda: connection.fetchval(waiting))
