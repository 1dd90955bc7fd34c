"""Statistics over HTTP."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.support.api import MAIL, Api, check_problem, pointers

from taskflow.engine.job import SYSTEM_NAMESPACE
from taskflow.stats.schemas import ReadStats
from taskflow.stats.service import read_asked, window_of

PATH = "/api/v1/stats"
NOW = datetime.fromisoformat("2026-11-23T09:30:00+00:00")


async def submit(client: httpx.AsyncClient, count: int = 1, **said: Any) -> list[str]:
    return [(await client.post("/api/v1/jobs", json={**MAIL, **said})).json()["jobId"] for _ in range(count)]


async def read(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    response = await client.get(PATH, params=asked)
    assert response.status_code == 200, response.text
    numbers: dict[str, Any] = response.json()
    return numbers


@pytest.mark.covers("S2-11")
async def test_it_counts_jobs_by_state_and_queue_and_says_how_they_went(api: Api, client: httpx.AsyncClient) -> None:
    await submit(client, 6)
    claims = await api.claim(6)
    for claim in claims[:3]:
        await api.complete(claim, {})
    await api.fail(claims[3], for_good=True)
    await api.fail(claims[4])  # waits for its retry
    await submit(client, 2)
    await submit(client, delay=3_600_000, queue="later")
    [cancelled] = await submit(client)
    await client.post(f"/api/v1/jobs/{cancelled}/cancel")
    numbers = await read(client)
    assert numbers["states"] == {
        "pending": 2,
        "scheduled": 1,
        "retrying": 1,
        "active": 1,
        "completed": 3,
        "failed": 1,
        "cancelled": 1,
    }
    assert numbers["successRate"] == 0.75
    assert numbers["capped"] == []
    assert numbers["live"] == [
        {"queue": "builtin", "pending": 2, "scheduled": 0, "retrying": 1, "active": 1},
        {"queue": "later", "pending": 0, "scheduled": 1, "retrying": 0, "active": 0},
    ]
    [queue] = numbers["queues"]
    [kind] = numbers["taskTypes"]
    assert (queue["name"], kind["name"]) == ("builtin", "send_email")
    assert queue["ended"] == kind["ended"] == {"completed": 3, "failed": 1, "cancelled": 1}
    assert 0 < numbers["run"]["p50"] <= numbers["run"]["p95"] <= numbers["run"]["p99"] < 60_000
    assert numbers["wait"]["p50"] > 0
    assert numbers["workers"] == {"active": 1, "concurrency": 1}
    assert 0 <= numbers["uptime"]["api"] < 60_000
    assert 0 <= numbers["uptime"]["workers"] < 60_000


@pytest.mark.covers("S2-11")
async def test_the_last_seven_days_are_a_series_without_gaps(api: Api, client: httpx.AsyncClient) -> None:
    await submit(client)
    [claim] = await api.claim()
    await api.complete(claim, {})
    async with api.database.acquire() as connection:
        await api.store.fold_stats(connection, limit=100)
        await connection.execute("UPDATE taskflow.stat_hour SET hour = hour - interval '3 days'")
    numbers = await read(client)
    assert numbers["period"] == "day"
    days = [datetime.fromisoformat(point["at"]) for point in numbers["series"]]
    assert len(days) in (7, 8)  # whole days, and parts of two
    assert all(later - day == timedelta(days=1) for day, later in pairwise(days))
    assert sum(point["completed"] for point in numbers["series"]) == 1
    assert numbers["series"][-4]["completed"] == 1
    hourly = await read(client, days="1")
    assert (hourly["period"], len(hourly["series"])) == ("hour", 24)
    assert hourly["states"]["completed"] == 0


async def test_nothing_yet_is_zeros_and_nulls(client: httpx.AsyncClient) -> None:
    numbers = await read(client)
    assert set(numbers["states"].values()) == {0}
    assert numbers["successRate"] is None
    assert numbers["run"] == {"p50": None, "p95": None, "p99": None}
    assert (numbers["queues"], numbers["live"]) == ([], [])
    assert numbers["uptime"]["workers"] is None


async def test_a_namespace_sees_its_own_numbers(api: Api, client: httpx.AsyncClient) -> None:
    await submit(client, 2)
    for claim in await api.claim(1):
        await api.complete(claim, {})
    async with api.client(await api.key(namespace=uuid4())) as other:
        numbers = await read(other)
        assert set(numbers["states"].values()) == {0}
        assert numbers["queues"] == []
    async with api.client(await api.key(namespace=SYSTEM_NAMESPACE)) as system:
        assert set((await read(system))["states"].values()) == {0}


async def test_a_count_that_stopped_at_its_limit_says_so(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.engine.store.statistics.LIVE_ROWS", 2)
    await submit(client, 3)
    numbers = await read(client)
    assert (numbers["states"]["pending"], numbers["capped"]) == (2, ["pending"])


async def test_the_unversioned_path_answers_the_same(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/stats")).json().keys() == (await client.get(PATH)).json().keys()


async def test_reading_needs_its_scope(api: Api) -> None:
    async with api.client(await api.key("jobs:write")) as writer, api.client() as nobody:
        check_problem(await writer.get(PATH), 403, "not_permitted")
        check_problem(await nobody.get(PATH), 401, "unauthenticated")


async def test_a_window_that_cannot_be_is_refused_by_name(client: httpx.AsyncClient) -> None:
    for asked, errors in (
        ({"days": "0"}, {"days": "out_of_range"}),
        ({"days": "93"}, {"days": "out_of_range"}),
        ({"days": "00921"}, {"days": "out_of_range"}),
        ({"days": "1.5"}, {"days": "out_of_range"}),
        ({"days": "1", "from": "2026-01-01T00:00:00Z"}, {"days": "exclusive"}),
        ({"from": "yesterday"}, {"from": "instant"}),
        ({"from": "2020-01-01T00:00:00Z", "to": "2020-06-01T00:00:00Z"}, {"from": "out_of_range"}),
        ({"from": "2020-01-02T00:00:00Z", "to": "2020-01-01T00:00:00Z"}, {"from": "out_of_range"}),
        ({"from": "2126-01-01T00:00:00Z"}, {"from": "out_of_range"}),
        ({"to": "0001-01-01T00:00:00Z"}, {"to": "out_of_range"}),
        ({"to": "0001-01-01T00:00:00+14:00"}, {"to": "instant"}),
        ({"from": "0001-01-01T00:00:00Z", "to": "0001-01-02T00:00:00Z"}, {"from": "out_of_range"}),
        ({"from": "9999-12-31T23:59:59Z"}, {"from": "out_of_range"}),
        ({"period": "week"}, {"period": "unknown_value"}),
        ({"days": "32", "period": "hour"}, {"period": "out_of_range"}),
        ({"queue": "builtin"}, {"queue": "unknown_field"}),
    ):
        assert pointers(check_problem(await client.get(PATH, params=asked), 422, "invalid")) == errors, asked


def test_windows_are_whole_hours_up_to_the_one_that_goes_on() -> None:
    def window(**asked: str) -> tuple[str, str, str]:
        found = window_of(read_asked(asked), NOW)
        return found.first.isoformat(), found.past.isoformat(), found.period

    assert window() == ("2026-11-16T10:00:00+00:00", "2026-11-23T10:00:00+00:00", "day")
    assert window(days="1") == ("2026-11-22T10:00:00+00:00", "2026-11-23T10:00:00+00:00", "hour")
    assert window(**{"from": "2026-11-22T23:15:00Z", "to": "2026-11-23T02:00:00Z"}) == (
        *("2026-11-22T23:00:00+00:00", "2026-11-23T02:00:00+00:00", "hour"),
    )
    assert window(**{"from": "2026-11-23T08:59:00+01:00", "period": "day"}) == (
        *("2026-11-23T07:00:00+00:00", "2026-11-23T10:00:00+00:00", "day"),
    )
    assert window(**{"from": "2026-11-23T09:00:00Z", "to": "2030-01-01T00:00:00Z"})[1] == "2026-11-23T10:00:00+00:00"
    assert window_of(ReadStats(), NOW.astimezone(UTC)).period == "day"
