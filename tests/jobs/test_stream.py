"""Streams of submits over HTTP: lines in, summaries out, and what is stored when something breaks in between."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.support.api import MAIL, Api, check_problem, make_api, pointers
from tests.support.streaming import streaming
from tests.support.waiting import eventually

from taskflow.db.query import Connection
from taskflow.jobs import stream_endpoints, streams
from taskflow.jobs.repository import StreamId, StreamRepository

URL = "/api/v1/jobs/stream"
TYPE = {"Content-Type": "application/x-ndjson"}
ORDERS = [{"taskType": "order", "payload": {"number": number}} for number in range(1, 11)]


def body(jobs: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(job).encode() + b"\n" for job in jobs)


async def send(client: httpx.AsyncClient, content: Any, *, url: str = URL, **headers: str) -> list[dict[str, Any]]:
    """Send a stream and return the lines of the answer."""
    response = await client.post(url, content=content, headers={**TYPE, **headers})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def opened(api: Api, key: str) -> streaming:
    """Open a stream that is read while it is sent."""
    return streaming(api, key, URL, **TYPE)


async def numbers(connection: Connection) -> list[int]:
    """Return the order numbers that are stored, in the order of their ids."""
    rows = await connection.fetch("SELECT payload->>'number' AS number FROM taskflow.job ORDER BY id")
    return [int(row["number"]) for row in rows]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three lines make a batch, so that few lines make several."""
    monkeypatch.setattr(stream_endpoints, "MAX_BATCH_LINES", 3)


async def test_each_batch_gets_a_summary_and_the_end_the_totals(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    lines = await send(client, body(ORDERS[:7]))
    assert lines == [
        {"from": 1, "to": 3, "accepted": 3, "rejected": 0},
        {"from": 4, "to": 6, "accepted": 3, "rejected": 0},
        {"from": 7, "to": 7, "accepted": 1, "rejected": 0},
        {"_end": True, "count": 7, "accepted": 7, "rejected": 0},
    ]
    assert await numbers(connection) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_streamed_job_is_the_same_as_one_submitted_alone(client: httpx.AsyncClient) -> None:
    job = {**MAIL, "taskType": "EMAIL", "priority": "high", "retries": 1, "timeout": 1500, "tags": ["a"], "queue": "x"}
    alone = (await client.post("/api/v1/jobs", json=job)).json()
    await send(client, body([job]))
    items = (await client.get("/api/v1/jobs")).json()["items"]
    own = {"jobId", "createdAt", "runAt"}
    assert len(items) == 2
    assert {name: value for name, value in items[0].items() if name not in own} == {
        name: value for name, value in alone.items() if name not in own
    }


async def test_a_wrong_line_is_told_with_its_number_and_stops_nothing(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    bad: list[tuple[bytes, dict[str, str]]] = [
        (b"nonsense", {"": "not_json"}),
        (b"\xff\xfe", {"": "not_json"}),
        (b"[]", {"": "wrong_type"}),
        (b'{"taskType": "bake_bread"}', {"/taskType": "unknown_kind"}),
        (b'{"taskType": "order", "payload": {"number": "x"}}', {"/payload/number": "wrong_type"}),
        (b'{"taskType": "order", "payload": {"number": 1}, "queue": "no spaces"}', {"/queue": "invalid_name"}),
        (b'{"taskType": "order", "payload": {"number": 1}, "colour": 1}', {"/colour": "unknown_field"}),
        (b'{"taskType": "order", "payload": {"number": 1, "note": "a\\u0000b"}}', {"/payload/note": "unstorable"}),
        (b'{"taskType": "order", "payload": {"number": 1, "note": "%s"}}' % (b"x" * 300_000),
         {"/payload": "payload_too_large"}),
        (b'{"note": "%s"}' % (b"x" * streams.MAX_LINE_BYTES), {"": "line_too_long"}),
    ]  # fmt: skip
    content = b"\n".join([body(ORDERS[:1]).strip(), *(line for line, _ in bad), body(ORDERS[1:2])])
    lines = await send(client, content)
    told = {line["line"]: pointers(line) for line in lines if "line" in line}
    assert told == {number: expected for number, (_, expected) in enumerate(bad, 2)}
    assert lines[-1] == {"_end": True, "count": 12, "accepted": 2, "rejected": 10}
    assert await numbers(connection) == [1, 2]


async def test_blank_lines_count_as_lines_and_as_nothing_else(client: httpx.AsyncClient) -> None:
    lines = await send(client, b"\n\r\n" + body(ORDERS[:1]).replace(b"\n", b"\r\n") + b"\n nonsense")
    assert [line["line"] for line in lines if "line" in line] == [5]
    assert lines[-1] == {"_end": True, "count": 2, "accepted": 1, "rejected": 1}
    assert await send(client, b"") == [{"_end": True, "count": 0, "accepted": 0, "rejected": 0}]


async def test_error_lines_stop_at_their_limit_and_the_counting_goes_on(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_endpoints, "MAX_ERROR_LINES", 4)
    lines = await send(client, b"x\n" * 10)
    assert [line["line"] for line in lines if "line" in line] == [1, 2, 3, 4]
    assert lines[-1] == {"_end": True, "count": 10, "accepted": 0, "rejected": 10}


async def test_long_lines_end_a_batch_early(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_endpoints, "MAX_BATCH_BYTES", 1000)
    job = {"taskType": "order", "payload": {"number": 1, "note": "x" * 600}}
    lines = await send(client, body([job] * 3))
    assert [(line["from"], line["to"]) for line in lines[:-1]] == [(1, 2), (3, 3)]


@pytest.mark.usefixtures("spoilt_schema")
async def test_a_row_that_only_the_database_refuses_fails_alone(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    await connection.execute("ALTER TABLE taskflow.job ADD CONSTRAINT unlucky CHECK (payload->>'number' <> '2')")
    lines = await send(client, body(ORDERS[:3]), **{"Idempotency-Key": "k"})
    assert pointers(lines[0]) == {"": "unstorable"}
    assert lines[1] == {"from": 1, "to": 3, "accepted": 2, "rejected": 1}
    assert await numbers(connection) == [1, 3]


async def test_a_queue_that_drains_refuses_its_own_lines_only(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    assert (await client.post("/api/v1/queues/closed/drain")).status_code == 200
    lines = await send(client, body([ORDERS[0], {**ORDERS[1], "queue": "closed"}, ORDERS[2]]))
    assert pointers(lines[0]) == {"/queue": "queue_draining"}
    assert lines[1] == {"from": 1, "to": 3, "accepted": 2, "rejected": 1}
    assert await numbers(connection) == [1, 3]


async def test_of_lines_with_the_same_unique_key_one_is_stored(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    lines = await send(client, body([{**ORDERS[0], "uniqueKey": "order-1"}] * 2 + ORDERS[1:2]))
    assert lines[0] == {"from": 1, "to": 3, "accepted": 3, "rejected": 0, "duplicates": 1}
    assert await numbers(connection) == [1, 2]


# Going on ------------------------------------------------------------------------------------------------------------


async def test_what_is_stored_under_a_key_is_not_stored_again(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    key = {"Idempotency-Key": "file-1"}
    await send(client, body(ORDERS[:4]), **key)
    lines = await send(client, body(ORDERS[:8]), **key)
    assert lines == [
        {"from": 1, "to": 3, "replayed": True},
        {"from": 4, "to": 4, "replayed": True},
        {"from": 5, "to": 6, "accepted": 2, "rejected": 0},
        {"from": 7, "to": 8, "accepted": 2, "rejected": 0},
        {"_end": True, "count": 8, "accepted": 8, "rejected": 0},
    ]
    assert await numbers(connection) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_stream_goes_on_from_a_line(client: httpx.AsyncClient, connection: Connection) -> None:
    key = {"Idempotency-Key": "file-1"}
    await send(client, body(ORDERS[:4]), **key)
    lines = await send(client, body(ORDERS[2:6]), url=f"{URL}?fromLine=3", **key)
    assert lines[0] == {"from": 3, "to": 4, "replayed": True}
    assert lines[-1] == {"_end": True, "count": 6, "accepted": 6, "rejected": 0}
    assert await numbers(connection) == [1, 2, 3, 4, 5, 6]


async def test_lines_must_not_be_left_out(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "file-1"}
    await send(client, body(ORDERS[:2]), **key)
    response = await client.post(f"{URL}?fromLine=4", content=body(ORDERS[3:]), headers={**TYPE, **key})
    assert check_problem(response, 409, "stream_gap")["lastLine"] == 2


async def test_without_a_key_the_first_line_has_the_number_that_is_said(client: httpx.AsyncClient) -> None:
    for number in (1_000_001, 10**15):
        lines = await send(client, b"x\n", url=f"{URL}?fromLine={number}")
        assert lines[0]["line"] == number


async def test_what_was_wrong_is_told_again_to_who_lost_the_answer(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "file-1"}
    content = body(ORDERS[:1]) + b"x\n" + body(ORDERS[1:3]) + b"y\n"
    first = await send(client, content, **key)
    again = await send(client, content, **key)
    assert [line for line in again if "line" in line] == [line for line in first if "line" in line]
    assert again[-1] == first[-1] == {"_end": True, "count": 5, "accepted": 3, "rejected": 2}


async def test_a_crash_at_any_point_of_a_batch_stores_it_once(
    client: httpx.AsyncClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the commit nothing is stored; after it, the next try knows. Each is broken off in turn."""
    key = {"Idempotency-Key": "file-1"}

    def breaks(method: str, *, before: bool) -> None:
        real = getattr(StreamRepository, method)

        async def broken(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.setattr(StreamRepository, method, real)
            if not before:
                await real(*args, **kwargs)
            raise ConnectionResetError("cut")

        monkeypatch.setattr(StreamRepository, method, broken)

    for method, before in (("lock", True), ("lock", False), ("move", True), ("move", False)):
        breaks(method, before=before)
        end = (await send(client, body(ORDERS), **key))[-1]
        assert (end["_end"], end["code"], end["resumeFrom"]) == (False, "unavailable", 1)
        assert await numbers(connection) == []
    # The commit went through and its acknowledgement got lost.
    real_store = streams.SubmitStream._write

    async def cut_after_commit(self: streams.SubmitStream, *args: Any, **kwargs: Any) -> Any:
        await real_store(self, *args, **kwargs)
        raise ConnectionResetError("cut")

    monkeypatch.setattr(streams.SubmitStream, "_write", cut_after_commit)
    end = (await send(client, body(ORDERS), **key))[-1]
    assert (end["_end"], end["resumeFrom"]) == (False, 1)
    monkeypatch.setattr(streams.SubmitStream, "_write", real_store)
    lines = await send(client, body(ORDERS), url=f"{URL}?fromLine=1", **key)
    assert lines[0] == {"from": 1, "to": 3, "replayed": True}
    assert await numbers(connection) == list(range(1, 11))


async def test_two_that_send_the_same_stream_at_once_store_it_once(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    key = {"Idempotency-Key": "file-1"}

    async def slowly(size: int) -> AsyncIterator[bytes]:
        content = body(ORDERS)
        for start in range(0, len(content), size):
            yield content[start : start + size]
            await asyncio.sleep(0)

    answers = await asyncio.gather(*(send(client, slowly(size), **key) for size in (50, 70, 110)))
    assert [answer[-1] for answer in answers] == [{"_end": True, "count": 10, "accepted": 10, "rejected": 0}] * 3
    assert await numbers(connection) == list(range(1, 11))


async def test_keys_of_two_principals_are_two_streams(api: Api, connection: Connection) -> None:
    for _ in range(2):
        async with api.client(await api.key()) as client:
            await send(client, body(ORDERS[:2]), **{"Idempotency-Key": "same"})
    assert sorted(await numbers(connection)) == [1, 1, 2, 2]


async def test_old_streams_are_forgotten_and_living_ones_kept(api: Api, connection: Connection) -> None:
    async with api.client(await api.key()) as client:
        for key in ("old", "new"):
            await send(client, b"x\n" + body(ORDERS[:1]), **{"Idempotency-Key": key})
    await connection.execute("UPDATE taskflow.submit_stream SET created_at = created_at - interval '30 hours'")
    await connection.execute(
        "UPDATE taskflow.submit_stream SET touched_at = touched_at - interval '30 hours' WHERE key = 'old'"
    )
    repository = StreamRepository()
    assert await repository.prune(connection, kept=timedelta(hours=24), limit=10) == 1
    for table in ("submit_stream", "submit_stream_error"):
        rows = await connection.fetch(f"SELECT key FROM taskflow.{table}")
        assert [row["key"] for row in rows] == ["new"]
    principal_id = await connection.fetchval("SELECT principal_id FROM taskflow.submit_stream")
    assert await repository.find(connection, StreamId(principal_id, "new")) is not None


# The way in and out --------------------------------------------------------------------------------------------------


async def test_a_summary_comes_while_the_body_still_does(api: Api) -> None:
    """Full duplex: the sender waits for the first summary before it sends the rest."""
    key = await api.key()
    async with opened(api, key) as stream:
        await stream.send(body(ORDERS[:3]))
        assert await stream.line() == {"from": 1, "to": 3, "accepted": 3, "rejected": 0}
        await stream.send(body(ORDERS[3:6]), more=False)
        assert (await stream.line())["to"] == 6
        assert (await stream.line())["_end"] is True


async def test_lines_of_a_slow_sender_are_stored_after_a_moment(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_endpoints, "FLUSH_S", 0.01)
    async with opened(api, await api.key()) as stream:
        await stream.send(body(ORDERS[:1]) + b'{"taskType":')
        assert await stream.line() == {"from": 1, "to": 1, "accepted": 1, "rejected": 0}
        await stream.send(b' "order", "payload": {"number": 2}}', more=False)
        assert await stream.line() == {"from": 2, "to": 2, "accepted": 1, "rejected": 0}


async def test_a_silent_sender_is_left(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_endpoints, "IDLE_TIMEOUT_S", 0.02)
    async with opened(api, await api.key()) as stream:
        await stream.send(body(ORDERS[:3]))
        assert (await stream.line())["to"] == 3
        end = await stream.line()
        assert (end["_end"], end["code"], end["resumeFrom"]) == (False, "body_timeout", 4)


async def test_who_leaves_stops_the_stream_after_the_batch(api: Api, connection: Connection) -> None:
    async with opened(api, await api.key()) as stream:
        await stream.send(body(ORDERS[:5]) + b'{"taskType": "order", "payload": {"number": 6}}')
        assert (await stream.line())["to"] == 3
        await stream.leave()
        await stream.ended()
    assert await numbers(connection) == [1, 2, 3]


async def test_a_drain_ends_a_stream_and_says_where_to_go_on(api: Api) -> None:
    async with opened(api, await api.key()) as stream:
        await stream.send(body(ORDERS[:4]))
        assert (await stream.line())["to"] == 3
        api.drain.begin()
        end = await stream.line()
        assert (end["_end"], end["code"], end["resumeFrom"]) == (False, "draining", 4)
        await stream.ended()


@pytest.mark.slow
@pytest.mark.usefixtures("brief_keys")
async def test_a_key_revoked_meanwhile_ends_the_stream(api: Api, connection: Connection) -> None:
    async with opened(api, await api.key()) as stream:
        await stream.send(body(ORDERS[:3]))
        await stream.line()
        await connection.execute("UPDATE taskflow.api_key SET revoked_at = now()")

        async def refused() -> dict[str, Any] | None:
            await stream.send(body(ORDERS[:3]))
            line = await stream.line()
            return None if "from" in line else line

        end = await eventually("the key to be looked up again", refused)
        assert (end["_end"], end["code"]) == (False, "invalid_key")


async def test_no_more_than_so_many_streams_are_open(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_endpoints, "MAX_STREAMS", 1)
    key = await api.key()
    async with api.client(key) as client:
        async with opened(api, key) as stream:
            await stream.send(body(ORDERS[:3]))
            await stream.line()
            response = await client.post(URL, content=b"", headers=TYPE)
            check_problem(response, 503, "unavailable")
            assert response.headers["retry-after"] == "5"
            await stream.leave()
            await stream.ended()
        assert (await send(client, b""))[-1]["_end"] is True


@pytest.mark.usefixtures("spoilt_schema")
async def test_partitions_that_nobody_made_are_made(api: Api, connection: Connection) -> None:
    rows = await connection.fetch(
        "SELECT inhrelid::regclass::text AS part FROM pg_inherits WHERE inhparent = 'taskflow.job'::regclass"
    )
    for row in rows:
        await connection.execute(f"DROP TABLE {row['part']}")
    async with api.client(await api.key()) as client:
        assert (await send(client, body(ORDERS[:3]), **{"Idempotency-Key": "k"}))[-1]["accepted"] == 3


async def test_workers_are_woken(api: Api, connection: Connection) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener("taskflow_wake", lambda *said: heard.put_nowait(str(said[-1])))
    async with api.client(await api.key()) as client:
        await send(client, body(ORDERS[:1]))
    assert "orders" in await asyncio.wait_for(heard.get(), 5)
    await connection.reset()


async def test_what_is_wrong_with_the_request_is_said_before_anything_is_read(
    api: Api, client: httpx.AsyncClient
) -> None:
    response = await client.post(URL, content=b"{}", headers={"Content-Type": "application/json"})
    check_problem(response, 415, "wrong_media_type")
    response = await client.post(URL, content=b"{}", headers={**TYPE, "Content-Encoding": "gzip"})
    check_problem(response, 415, "wrong_media_type")
    response = await client.post(URL, content=b"{}", headers={**TYPE, "Idempotency-Key": "a b"})
    check_problem(response, 400, "bad_idempotency_key")
    too_far = "1000000000000001"
    for given, code in (("0", "out_of_range"), (too_far, "out_of_range"), ("x", "wrong_type"), ("-1", "wrong_type")):
        problem = check_problem(await client.post(f"{URL}?fromLine={given}", content=b"", headers=TYPE), 422, "invalid")
        assert pointers(problem) == {"fromLine": code}
    problem = check_problem(await client.post(f"{URL}?from=1", content=b"", headers=TYPE), 422, "invalid")
    assert pointers(problem) == {"from": "unknown_field"}
    async with api.client(await api.key("jobs:read")) as reader:
        check_problem(await reader.post(URL, content=b"", headers=TYPE), 403, "not_permitted")
    async with api.client() as nobody:
        check_problem(await nobody.post(URL, content=b"", headers=TYPE), 401, "unauthenticated")


async def test_the_alias_takes_streams_too(client: httpx.AsyncClient) -> None:
    assert (await send(client, body(ORDERS[:1]), url="/api/jobs/stream"))[-1]["accepted"] == 1


async def test_a_database_that_goes_away_ends_the_stream(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_api(database_url) as api:
        await api.publish()
        async with opened(api, await api.key()) as stream:
            await stream.send(body(ORDERS[:3]))
            await stream.line()

            async def away(*_: Any) -> Any:
                raise ConnectionRefusedError("gone")

            monkeypatch.setattr(api.database, "_checkout", away)
            await stream.send(body(ORDERS[3:6]))
            end = await stream.line()
            assert (end["_end"], end["code"], end["resumeFrom"]) == (False, "unavailable", 4)
            monkeypatch.undo()
