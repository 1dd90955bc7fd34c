"""Following a job's log by server-sent events."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.support.api import BRIEF_KEY_S, Api, check_problem, pointers
from tests.support.streaming import Stream, streaming
from tests.support.waiting import eventually

from taskflow.db.query import Connection
from taskflow.engine.job import Claim, NewLogLine
from taskflow.jobs import following, log_events

ORDER = {"taskType": "order", "payload": {"number": 1}}


async def running_job(api: Api, client: httpx.AsyncClient) -> Claim:
    await client.post("/api/v1/jobs", json=ORDER)
    [claim] = await api.claim()
    return claim


async def log(api: Api, claim: Claim, *messages: str) -> None:
    async with api.database.acquire() as connection:
        lines = [NewLogLine(claim, "info", message, 0.0) for message in messages]
        await api.store.write_logs(connection, lines, written_at_s=0.0)


def follow(api: Api, key: str, claim: Claim, **headers: str) -> streaming:
    return streaming(api, key, f"/api/v1/jobs/{claim.job_id}/logs?follow=true", method="GET", **headers)


async def event(stream: Stream) -> dict[str, Any]:
    """Return the next event, past comments and the time to wait."""
    while True:
        fields = dict(line.partition(": ")[::2] for line in (await stream.part(b"\n\n")).decode().splitlines())
        if "event" in fields:
            return {**fields, "data": json.loads(fields["data"])}


@pytest.mark.covers("S2-22")
async def test_lines_come_in_order_as_they_are_written_and_then_the_end(api: Api, client: httpx.AsyncClient) -> None:
    claim = await running_job(api, client)
    await log(api, claim, "one", "two")
    async with follow(api, await api.key(), claim) as stream:
        first, second = await event(stream), await event(stream)
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert (first["event"], first["data"]["message"], second["data"]["message"]) == ("log", "one", "two")
        assert first["id"] == str(first["data"]["seq"])
        page = (await client.get(f"/api/v1/jobs/{claim.job_id}/logs")).json()
        assert [first["data"], second["data"]] == page["items"]
        await log(api, claim, "three")
        third = await event(stream)
        assert third["data"]["message"] == "three"
        await log(api, claim, "last")
        await api.complete(claim, None)
        assert (await event(stream))["data"]["message"] == "last"
        end = await event(stream)
        assert (end["event"], end["data"]) == ("end", {"status": "completed"})
        await stream.ended()


async def test_head_is_answered_at_once_and_takes_nobodys_place(api: Api, client: httpx.AsyncClient) -> None:
    claim = await running_job(api, client)
    await log(api, claim, "one")
    async with asyncio.timeout(5):
        answer = await client.head(f"/api/v1/jobs/{claim.job_id}/logs?follow=true")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    async with follow(api, await api.key(), claim) as stream:
        assert (await event(stream))["data"]["message"] == "one"


async def test_a_follower_goes_on_after_the_event_it_saw_last(api: Api, client: httpx.AsyncClient) -> None:
    claim = await running_job(api, client)
    await log(api, claim, "one", "two", "three")
    key = await api.key()
    async with follow(api, key, claim) as stream:
        seen = (await event(stream))["id"]
    async with follow(api, key, claim, **{"last-event-id": seen}) as stream:
        assert (await event(stream))["data"]["message"] == "two"


async def test_who_was_told_the_end_is_told_to_stop(api: Api, client: httpx.AsyncClient) -> None:
    claim = await running_job(api, client)
    await log(api, claim, "one")
    await api.fail(claim, for_good=True)
    url = f"/api/v1/jobs/{claim.job_id}/logs?follow=true"
    answer = await client.get(url)
    assert answer.text.endswith('-end\nevent: end\ndata: {"status":"failed"}\n\n')
    last = answer.text.rpartition("id: ")[2].partition("\n")[0]
    again = await client.get(url, headers={"Last-Event-ID": last})
    assert (again.status_code, again.content) == (204, b"")
    # Run again, the job has more to tell to the same follower.
    await client.post(f"/api/v1/jobs/{claim.job_id}/retry")
    [claim] = await api.claim()
    await log(api, claim, "more")
    async with follow(api, await api.key(), claim, **{"last-event-id": last}) as stream:
        assert (await event(stream))["data"]["message"] == "more"


async def test_a_long_log_comes_whole(api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (following, log_events):
        monkeypatch.setattr(module, "MAX_LINES", 3)
    claim = await running_job(api, client)
    await log(api, claim, *(str(number) for number in range(9)))
    await api.complete(claim, None)
    text = (await client.get(f"/api/v1/jobs/{claim.job_id}/logs?follow=true")).text
    assert [part.rpartition('"message":')[2] for part in text.split("\n\n") if "event: log" in part] == [
        f'"{number}"}}' for number in range(9)
    ]
    assert text.count("event: end") == 1


async def test_silence_is_broken_by_comments(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_events, "HEARTBEAT_S", 0.01)
    claim = await running_job(api, client)
    async with follow(api, await api.key(), claim) as stream:
        assert await stream.part(b"\n\n") == b"retry: 1000"
        assert await stream.part(b"\n\n") == b": nothing new"
        assert await stream.part(b"\n\n") == b": nothing new"


@pytest.mark.usefixtures("brief_keys")
async def test_a_key_that_is_revoked_follows_no_further(
    api: Api, client: httpx.AsyncClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where lines come so often that there is never a silence."""
    monkeypatch.setattr(log_events, "ADMIT_S", BRIEF_KEY_S)
    claim = await running_job(api, client)
    async with follow(api, await api.key("jobs:read"), claim) as stream:
        await log(api, claim, "one")
        assert (await event(stream))["data"]["message"] == "one"
        await connection.execute("UPDATE taskflow.api_key SET revoked_at = now() WHERE scopes = ARRAY['jobs:read']")

        async def ended() -> bool:
            await log(api, claim, "more")
            return stream.task.done()

        await eventually("the stream to end", ended)
    async with follow(api, await api.key("jobs:write", "jobs:read"), claim) as stream:
        await event(stream)
        await connection.execute("UPDATE taskflow.api_key SET revoked_at = now()")
        await stream.ended(timeout_s=log_events.HEARTBEAT_S / 2)  # in silence


async def test_a_drain_ends_followers_without_an_end(api: Api, client: httpx.AsyncClient) -> None:
    claim = await running_job(api, client)
    await log(api, claim, "one")
    async with follow(api, await api.key(), claim) as stream:
        await event(stream)
        api.drain.begin()
        await stream.ended()
        with pytest.raises(TimeoutError):
            await stream.part(b"\n\n", timeout_s=0.01)
    check_problem(await client.get(f"/api/v1/jobs/{claim.job_id}/logs?follow=true"), 503, "unavailable")


async def test_a_follower_who_leaves_is_forgotten(api: Api, client: httpx.AsyncClient) -> None:
    claim = await running_job(api, client)
    async with follow(api, await api.key(), claim) as stream:
        await stream.part(b"\n\n")
        await stream.leave()
        await stream.ended(timeout_s=1.0)


async def test_no_more_than_so_many_follow(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_events, "MAX_FOLLOWERS", 1)
    claim = await running_job(api, client)
    key = await api.key()
    url = f"/api/v1/jobs/{claim.job_id}/logs?follow=true"
    async with follow(api, key, claim) as stream:
        await stream.part(b"\n\n")
        check_problem(await client.get(url), 503, "unavailable")
    async with follow(api, key, claim) as stream:
        assert await stream.part(b"\n\n") == b"retry: 1000"


async def test_many_followers_cost_one_look(api: Api, client: httpx.AsyncClient, connection: Connection) -> None:
    claims = [await running_job(api, client) for _ in range(5)]
    key = await api.key()
    looks: list[int] = []
    real = api.store.follow_logs

    async def counted(self: Any, connection: Connection, positions: Any, *, limit: int) -> Any:
        looks.append(len(positions))
        return await real(connection, positions, limit=limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taskflow.engine.store.reading.ReadStatements.follow_logs", counted)
        streams = [follow(api, key, claim) for claim in claims]
        opened = [await stream.__aenter__() for stream in streams]
        for stream in opened:
            await stream.part(b"\n\n")
        patch.setattr(api.store, "follow_logs", real, raising=False)
        for number, claim in enumerate(claims):
            await log(api, claim, str(number))
        for number, stream in enumerate(opened):
            assert (await event(stream))["data"]["message"] == str(number)
        for one in streams:
            await one.__aexit__()
    assert max(looks) == len(claims)


async def test_what_cannot_be_followed_is_refused(api: Api, client: httpx.AsyncClient) -> None:
    claim = await running_job(api, client)
    url = f"/api/v1/jobs/{claim.job_id}/logs"
    problem = check_problem(await client.get(f"{url}?follow=true&limit=5&cursor=x"), 422, "invalid")
    assert pointers(problem) == {"limit": "exclusive", "cursor": "exclusive"}
    problem = check_problem(await client.get(f"{url}?follow=yes"), 422, "invalid")
    assert pointers(problem) == {"follow": "unknown_value"}
    problem = check_problem(await client.get(f"{url}?follow=true", headers={"Last-Event-ID": "x"}), 400, "bad_event_id")
    assert pointers(problem) == {"Last-Event-ID": "bad"}
    missing = "/api/v1/jobs/019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11/logs?follow=true"
    check_problem(await client.get(missing), 404, "not_found")
    async with api.client(await api.key("jobs:write")) as writer:
        check_problem(await writer.get(f"{url}?follow=true"), 403, "not_permitted")
    assert (await client.get(f"{url}?follow=false")).json()["items"] == []
