"""Memory, its lessons, health, and the demonstrations of errors and streams."""

import asyncio
import csv
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from taskflow_learn.config import Settings
from taskflow_learn.memory import Memory
from taskflow_learn.server import Server

STATS = {
    "memory",
    "requestHistorySize",
    "eventHistorySize",
    "safeCacheSize",
    "intentionalLeakCacheSize",
    "requestHistoryLimit",
    "eventHistoryLimit",
    "safeCacheLimit",
    "intentionalLeakCacheLimit",
    "leakBatchLimit",
    "uptimeSeconds",
}


@pytest.mark.covers("S1-29", "S1-42")
@pytest.mark.parametrize("path", ["/tasks/system/memory", "/demo/memory/stats"])
async def test_memory_can_be_asked_about(user: httpx.AsyncClient, path: str) -> None:
    stats = (await user.get(path)).json()
    assert stats.keys() == STATS | {"requestId"}
    assert stats["memory"].keys() == {"rss", "heapTotal", "heapUsed", "external", "arrayBuffers"}
    assert stats["memory"]["rss"] > 1_000_000
    assert stats["memory"]["heapTotal"] >= stats["memory"]["heapUsed"] > 0


@pytest.mark.covers("S1-31", "S1-32", "S1-33", "S1-43", "S1-44", "S1-45", "X-5")
@pytest.mark.parametrize("prefix", ["/tasks/memory", "/demo/memory"])
async def test_the_leak_grows_to_its_limit_and_the_cache_does_not(admin: httpx.AsyncClient, prefix: str) -> None:
    for expected in (100, 200):  # a thousand were asked for, a hundred a call are allowed
        answer = await admin.post(f"{prefix}/leak", params={"count": 1_000, "sizeKb": 8})
        assert answer.status_code == 201
        stats = answer.json()
        assert (stats["mode"], stats["intentionalLeakCacheSize"]) == ("intentional-leak", expected)
    assert stats["memory"]["arrayBuffers"] == 200 * 8 * 1024
    for _ in range(10):
        stats = (await admin.post(f"{prefix}/leak", params={"sizeKb": 1})).json()
    assert stats["intentionalLeakCacheSize"] == stats["intentionalLeakCacheLimit"] == 1_000
    for _ in range(2):
        answer = await admin.post(f"{prefix}/safe", params={"count": 150, "sizeKb": 1})
        assert answer.status_code == 201
        assert (answer.json()["mode"], answer.json()["safeCacheSize"]) == ("bounded-cache", 100)
    answer = await admin.post(f"{prefix}/clear")
    assert answer.status_code == 200
    stats = answer.json()
    assert stats["mode"] == "cleared"
    assert (stats["intentionalLeakCacheSize"], stats["safeCacheSize"]) == (0, 0)
    assert stats["memory"]["arrayBuffers"] == 0


@pytest.mark.covers("S1-31")
@pytest.mark.parametrize(
    ("query", "field", "high"),
    [("count=10001", "count", 10_000), ("count=0", "count", 10_000), ("sizeKb=129", "sizeKb", 128)],
)
async def test_a_leak_is_bounded_by_name(admin: httpx.AsyncClient, query: str, field: str, high: int) -> None:
    answer = await admin.post(f"/tasks/memory/leak?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["details"] == {"field": field, "min": 1, "max": high}


@pytest.mark.covers("S1-41", "S1-34")
async def test_usage_names_the_line_that_leaks(admin: httpx.AsyncClient, server: Server) -> None:
    await admin.post("/demo/memory/leak", params={"sizeKb": 64})
    server.services.memory.clean_up()
    usage = (await admin.get("/demo/memory/usage")).json()
    assert usage["python"]["isTracing"]
    assert usage["python"]["topLines"][0]["line"].startswith("src/taskflow_learn/memory.py:")
    assert usage["python"]["topLines"][0]["bytes"] >= 100 * 64 * 1024
    assert usage["snapshots"][-1].keys() >= {"timestamp", "rss", "heapUsed"}
    await admin.post("/demo/memory/clear")
    assert not (await admin.get("/demo/memory/usage")).json()["python"]["isTracing"]


class TestHistories:
    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(memory_request_history_limit=5, memory_event_history_limit=3, memory_cleanup_interval_ms=20)

    @pytest.mark.covers("S1-34")
    async def test_are_bounded_and_snapshots_are_taken(self, admin: httpx.AsyncClient, server: Server) -> None:
        for number in range(8):
            await admin.post("/tasks", json={"title": str(number)})
        stats = (await admin.get("/tasks/system/memory")).json()
        assert (stats["requestHistorySize"], stats["requestHistoryLimit"]) == (5, 5)
        assert (stats["eventHistorySize"], stats["eventHistoryLimit"]) == (3, 3)
        async with asyncio.timeout(10):
            while len(server.services.memory.snapshots()) < 2:
                await asyncio.sleep(0)


def test_the_safe_cache_throws_out_its_oldest_entries(change: Callable[..., Settings]) -> None:
    memory = Memory(change(memory_safe_cache_limit=3))
    memory.fill_safely(5, 1)
    assert [*memory._safe] == [2, 3, 4]


@pytest.mark.covers("S1-34")
def test_the_clean_up_forgets_what_is_old(settings: Settings) -> None:
    memory = Memory(settings)
    memory.remember_request("GET", "/old", 200)
    memory.remember_event("task.created", "old")
    memory.clean_up(max_age_s=60)
    assert (memory.stats()["requestHistorySize"], memory.stats()["eventHistorySize"]) == (1, 1)
    memory.clean_up(max_age_s=-1)  # everything is older than that
    assert (memory.stats()["requestHistorySize"], memory.stats()["eventHistorySize"]) == (0, 0)


@pytest.mark.covers("S1-49")
async def test_health_needs_no_token(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.get("/health")
    health = answer.json()
    assert health.keys() == {"status", "timestamp", "requestId", "uptimeSeconds"}
    assert health["status"] == "healthy"
    assert health["requestId"] == answer.headers["x-request-id"]


@pytest.mark.covers("S1-35")
async def test_ping(user: httpx.AsyncClient) -> None:
    assert (await user.get("/demo/cpu/ping")).json()["message"] == "pong"


@pytest.mark.covers("S1-48", "S1-52")
@pytest.mark.parametrize(
    ("method", "name", "status", "code"),
    [
        ("GET", "internal", 500, "INTERNAL_ERROR"),
        ("GET", "unauthorized", 401, "UNAUTHORIZED"),
        ("GET", "forbidden", 403, "FORBIDDEN"),
        ("GET", "notfound", 404, "NOT_FOUND"),
        ("POST", "validation", 422, "VALIDATION_ERROR"),
        ("POST", "missingfield", 422, "MISSING_REQUIRED_FIELD"),
    ],
)
async def test_every_error_has_the_same_shape(
    admin: httpx.AsyncClient, method: str, name: str, status: int, code: str
) -> None:
    answer = await admin.request(method, f"/demo/error/{name}")
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert {"code", "message", "requestId", "timestamp"} <= error.keys() <= {
        "code", "message", "requestId", "timestamp", "details",
    }  # fmt: skip
    assert error["code"] == code
    assert "Traceback" not in answer.text
    assert "RuntimeError" not in answer.text


@pytest.mark.covers("S1-47")
async def test_synthetic_streams(user: httpx.AsyncClient) -> None:
    rows = list(csv.reader(io.StringIO((await user.get("/demo/stream/csv", params={"count": 500})).text)))
    assert len(rows) == 501
    assert all(len(row) == 8 for row in rows)
    lines = (await user.get("/demo/stream/ndjson", params={"count": 500})).text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [row[0] for row in rows[1:]]
    refused = await user.get("/demo/stream/csv", params={"count": 300_001})
    assert refused.json()["error"]["details"] == {"field": "count", "min": 1, "max": 300_000}
