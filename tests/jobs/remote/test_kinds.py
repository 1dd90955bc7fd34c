"""Kinds that workers over HTTP offer: their schemas check submits, and a name has one owner."""

import time
from typing import Any
from uuid import uuid4

import pytest
from tests.jobs.remote.test_weight import doubling
from tests.support.api import Api, check_problem, pointers
from tests.support.remote import RESIZE, RemoteTester

from taskflow.engine.registry import Registry
from taskflow.kinds import INTERNAL, RESERVED


async def test_a_published_kind_can_be_submitted_and_its_schema_is_kept_to(worker: RemoteTester) -> None:
    body = {"taskType": "thumbnail", "payload": {"width": 0}}
    check_problem(await worker.client.post("/api/v1/jobs", json=body), 422, "unknown_kind")
    await worker.publish({**RESIZE, "taskType": "thumbnail", "priority": "high"})
    refused = check_problem(await worker.client.post("/api/v1/jobs", json=body), 422, "invalid")
    assert pointers(refused) == {"/payload/width": "out_of_range"}
    taken = (await worker.client.post("/api/v1/jobs", json={**body, "payload": {"width": 1}})).json()
    assert (taken["queue"], taken["priority"], taken["retries"], taken["timeout"]) == ("images", 8, 1, 20_000)


async def test_the_newest_schema_counts_at_once(worker: RemoteTester) -> None:
    await worker.submit(5)
    await worker.publish({"taskType": "resize", "schema": {"required": ["height"]}})
    response = await worker.client.post("/api/v1/jobs", json={"taskType": "resize", "payload": {"width": 5}})
    assert pointers(check_problem(response, 422, "invalid")) == {"/payload/height": "required"}


async def test_what_is_not_said_of_a_kind_is_as_usual(worker: RemoteTester) -> None:
    answer = await worker.ask("kinds", {"kinds": [{"taskType": "ping", "schema": {}}]})
    usual = {"priority": 5, "retries": 3, "timeout": 30_000}
    assert answer["items"] == [{"taskType": "ping", "queue": "default", "schema": {}, "defaults": usual}]
    assert await worker.claim(taskTypes=["ping"]) == []


async def test_kinds_of_others_cannot_be_taken_over(api: Api, worker: RemoteTester) -> None:
    registry = Registry()

    @registry.job("invoice", payload=dict[str, Any])
    async def invoice(_ctx: object, _payload: dict[str, Any]) -> None:
        raise AssertionError("no handler runs here")

    await api.publish(registry)
    new = {"taskType": "new", "schema": {}}
    for name in ("send_email", "EMAIL", "deliver_webhook", "bulk_operation", "invoice"):
        response = await worker.post("kinds", {"kinds": [new, {"taskType": name, "schema": {}}]})
        assert check_problem(response, 409, "kind_taken")["taken"] == [name]
    async with api.client(await api.key("worker", namespace=uuid4())) as client:
        response = await RemoteTester(api, client).post("kinds", {"kinds": [RESIZE]})
        assert check_problem(response, 409, "kind_taken")["taken"] == ["resize"]
    check_problem(await worker.client.post("/api/v1/jobs", json={"taskType": "new"}), 422, "unknown_kind")


async def test_a_namespace_publishes_so_many_schemas_and_no_more(
    worker: RemoteTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.engine.remote.MAX_KINDS", 2)
    await worker.publish({"taskType": "resize", "schema": {}})
    await worker.publish(RESIZE)  # known: no third
    response = await worker.post("kinds", {"kinds": [{"taskType": "more", "schema": {}}]})
    check_problem(response, 409, "too_many_kinds")


async def test_bad_kinds_are_refused_by_field_and_none_is_published(worker: RemoteTester) -> None:
    deep: dict[str, Any] = {}
    for _ in range(70):
        deep = {"not": deep}
    for fields, expected in (
        ({"taskType": "no spaces"}, {"/kinds/1/taskType": "invalid_name"}),
        ({"taskType": ""}, {"/kinds/1/taskType": "wrong_length"}),
        ({"queue": "no spaces"}, {"/kinds/1/queue": "invalid_name"}),
        ({"queue": None}, {"/kinds/1/queue": "wrong_type"}),
        ({"priority": 10}, {"/kinds/1/priority": "priority"}),
        ({"retries": 11}, {"/kinds/1/retries": "out_of_range"}),
        ({"timeout": 0}, {"/kinds/1/timeout": "out_of_range"}),
        ({"schema": None}, {"/kinds/1/schema": "wrong_type"}),
        ({"schema": {"type": "objekt"}}, {"/kinds/1/schema": "bad_schema"}),
        ({"schema": {"$ref": "https://example.com/schema.json"}}, {"/kinds/1/schema": "bad_schema"}),
        ({"schema": {"$ref": "#/nowhere"}}, {"/kinds/1/schema": "bad_schema"}),
        (
            {"schema": {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#"}]}}}},
            {"/kinds/1/schema": "too_costly"},
        ),
        ({"schema": doubling(40)}, {"/kinds/1/schema": "too_costly"}),
        ({"schema": {"description": "a\x00b"}}, {"/kinds/1/schema/description": "unstorable"}),
        ({"schema": deep}, {"/kinds/1/schema" + "/not" * 65: "unstorable"}),
        ({"schema": {"description": "x" * 65_536}}, {"/kinds/1/schema": "too_large"}),
        ({"handler": "x"}, {"/kinds/1/handler": "unknown_field"}),
        ({"taskType": "fine"}, {"/kinds/1/taskType": "given_twice"}),
    ):
        kinds = [{"taskType": "fine", "schema": {}}, {"taskType": "other", "schema": {}, **fields}]
        response = await worker.post("kinds", {"kinds": kinds})
        assert pointers(check_problem(response, 422, "invalid")) == expected, fields
    many: list[object] = [{"taskType": f"kind-{number}", "schema": {}} for number in range(101)]
    for kinds, expected in (([], {"/kinds": "too_few"}), (many, {"/kinds": "too_many"})):
        assert pointers(check_problem(await worker.post("kinds", {"kinds": kinds}), 422, "invalid")) == expected
    check_problem(await worker.client.post("/api/v1/jobs", json={"taskType": "fine"}), 422, "unknown_kind")


async def test_names_of_built_in_kinds_are_reserved_before_any_worker_has_started(worker: RemoteTester) -> None:
    for name in sorted(RESERVED):
        response = await worker.post("kinds", {"kinds": [{"taskType": name, "schema": {}}]})
        assert check_problem(response, 409, "kind_taken")["taken"] == [name]
    for name in sorted(INTERNAL):
        check_problem(await worker.post("claim", {"taskTypes": [name]}), 422, "unknown_kind")


async def test_kinds_of_another_namespace_are_not_there(api: Api, worker: RemoteTester) -> None:
    await worker.publish(RESIZE, {"taskType": "secret", "schema": {"description": "how we do it"}})
    key = await api.key("worker", "jobs:write", "jobs:read", namespace=uuid4())
    async with api.client(key) as client:
        listed = (await client.get("/api/v1/job-types")).json()["items"]
        assert {"resize", "secret"} & {item["taskType"] for item in listed} == set()
        body = {"taskType": "resize", "payload": {"width": 1}}
        problem = check_problem(await client.post("/api/v1/jobs", json=body), 422, "unknown_kind")
        assert {"resize", "secret"} & set(problem["knownKinds"]) == set()
        response = await RemoteTester(api, client).post("claim", {"taskTypes": ["resize"]})
        check_problem(response, 422, "unknown_kind")
        # Nor does a wrong submit tell what its schema asks for.
        wrong = {"taskType": "resize", "payload": {}, "retries": 99}
        assert pointers(check_problem(await client.post("/api/v1/jobs", json=wrong), 422, "invalid")) == {
            "/retries": "out_of_range"
        }
    listed = (await worker.client.get("/api/v1/job-types")).json()["items"]
    assert {"resize", "secret"} <= {item["taskType"] for item in listed}


async def test_a_pattern_of_somebody_else_gives_up_soon(worker: RemoteTester) -> None:
    patterns = [{"pattern": rf"^(a|a)*\1{'z' * number}$"} for number in range(50)]
    await worker.publish({"taskType": "slow", "schema": {"properties": {"x": {"allOf": patterns}}}})
    began_s = time.monotonic()
    body = {"taskType": "slow", "payload": {"x": "a" * 5000 + "b"}}
    response = await worker.client.post("/api/v1/jobs", json=body)
    assert list(pointers(check_problem(response, 422, "invalid"))) == ["/payload/x"]
    assert time.monotonic() - began_s < 3.0  # 10 s without a limit of steps back
