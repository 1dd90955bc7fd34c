"""Liveness, readiness, health and metrics."""

from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.api import MAIL, Api, check_problem, make_api
from tests.support.schema import set_schema

import taskflow
from taskflow.db.migrate import HEAD, Schema, read_schema
from taskflow.db.query import Connection
from taskflow.http import health


@pytest.mark.covers("S4-63", "S3-23")
async def test_live_ready_and_health_need_no_key(api: Api) -> None:
    async with api.client(address="203.0.113.9") as anonymous:
        assert (await anonymous.get("/live")).json() == {"status": "ok"}
        assert (await anonymous.get("/ready")).status_code == 200
        body = (await anonymous.get("/health")).json()
    assert body["status"] == "ok"
    assert body["version"] == taskflow.__version__
    assert body["uptimeSeconds"] >= 0
    assert (body["database"], body["schema"], body["workersAlive"]) == ("up", "current", 0)


@pytest.mark.covers("S2-11", "S4-63")
async def test_health_counts_live_workers(database_url: str) -> None:
    async with make_api(database_url) as api, api.client() as anonymous:
        await api.claim()
        assert (await anonymous.get("/health")).json()["workersAlive"] == 1


@pytest.mark.covers("S4-63")
async def test_ready_and_health_are_503_while_the_database_is_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH_S", 0)
    monkeypatch.setattr(api.database, "url", "postgresql://127.0.0.1:9/nothing")
    await api.database.stop()
    async with api.client() as anonymous:
        for path in ("/ready", "/health"):
            response = await anonymous.get(path)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            body = response.json()
            assert (body["status"], body["database"], body["workersAlive"]) == ("down", "down", None)
        assert (await anonymous.get("/live")).status_code == 200
        assert "taskflow_database_up 0.0" in (await anonymous.get("/metrics")).text
        monkeypatch.undo()
        assert (await anonymous.get("/metrics")).status_code == 200


@pytest.mark.parametrize(
    ("revision", "works_from", "status", "schema"),
    [
        ("0000", None, 503, "outdated"),
        ("9999", "9999", 503, "too_new"),
        ("9999", HEAD, 200, "newer"),
        ("9999", None, 200, "newer"),
    ],
)
async def test_ready_says_whether_the_schema_is_fit_for_this_version(
    api: Api, revision: str, works_from: str | None, status: int, schema: str
) -> None:
    """A new version migrates first: older processes stay ready as long as they work on the schema."""
    async with api.database.acquire() as connection:
        await set_schema(connection, revision, works_from)
    async with api.client() as anonymous:
        response = await anonymous.get("/ready")
    assert (response.status_code, response.json()["schema"]) == (status, schema)
    assert response.json()["workersAlive"] == (0 if status == 200 else None)


async def test_the_database_is_asked_once_however_often_health_is(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def counted(connection: Connection) -> Schema:
        nonlocal asked
        asked += 1
        return await read_schema(connection)

    monkeypatch.setattr(health, "read_schema", counted)
    async with api.client() as anonymous:
        for _ in range(5):
            await anonymous.get("/health")
            await anonymous.get("/ready")
    assert asked == 1


@pytest.mark.covers("S4-69")
async def test_metrics_can_be_parsed_and_show_the_queues(api: Api, client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.post("/api/v1/jobs", json=MAIL)
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    [sample] = families["taskflow_queue_pending_jobs"].samples
    assert (sample.labels, sample.value) == ({"queue": "builtin", "kind": "send_email"}, 3)
    assert families["taskflow_queue_has_worker"].samples[0].value == 0
    assert families["taskflow_database_up"].samples[0].value == 1
    assert families["taskflow_build_info"].samples[0].labels == {"version": taskflow.__version__}
    assert "taskflow_attempts" in families
    assert "process_resident_memory_bytes" in families
    [enqueued] = [
        sample.value
        for sample in families["taskflow_jobs_enqueued"].samples
        if sample.name.endswith("_total") and sample.labels == {"queue": "builtin", "kind": "send_email"}
    ]
    assert enqueued >= 3


async def test_metrics_are_for_this_machine_and_for_operators(api: Api) -> None:
    async with api.client(address="127.0.0.1") as here:
        assert (await here.get("/metrics")).status_code == 200
        for header in ("X-Forwarded-For", "Forwarded"):
            check_problem(await here.get("/metrics", headers={header: "for=1.2.3.4"}), 401, "unauthenticated")
    async with api.client(address="203.0.113.9") as anonymous:
        check_problem(await anonymous.get("/metrics"), 401, "unauthenticated")
    async with api.client(await api.key("owner"), address="203.0.113.9") as owner:
        check_problem(await owner.get("/metrics"), 403, "not_permitted")
    operator_key = await api.key("operator", namespace=uuid4())
    async with api.client(operator_key, address="203.0.113.9") as operator:
        assert (await operator.get("/metrics")).status_code == 200
