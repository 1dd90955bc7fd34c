"""Submitting jobs over HTTP."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from tests.support.api import MAIL, Api, check_problem, make_api, pointers, until

from taskflow.engine.job import KindInfo
from taskflow.engine.payload import PayloadSchema
from taskflow.jobs.catalogue import Kind


@pytest.mark.covers("S2-5", "S2-6", "X-12")
async def test_a_submit_is_answered_with_the_stored_job(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/jobs", json=MAIL)
    assert response.status_code == 201, response.text
    job = response.json()
    assert job["status"] == "pending"
    assert UUID(job["jobId"]).version == 7
    assert job["createdAt"].endswith("Z")
    assert response.headers["location"] == f"/api/v1/jobs/{job['jobId']}"
    again = (await client.get(response.headers["location"])).json()
    assert again.pop("attempts") == []
    assert again == job


@pytest.mark.covers("S2-5")
async def test_what_a_submit_leaves_out_comes_from_its_kind(client: httpx.AsyncClient) -> None:
    job = (await client.post("/api/v1/jobs", json={"taskType": "order", "payload": {"number": 1}})).json()
    assert {name: job[name] for name in ("queue", "priority", "retries", "timeout", "tags")} == {
        "queue": "orders",
        "priority": 5,
        "retries": 1,
        "timeout": 5000,
        "tags": [],
    }


@pytest.mark.covers("S2-5", "S2-18")
async def test_a_priority_is_a_name_or_a_number(client: httpx.AsyncClient) -> None:
    for given, stored in (("high", 8), ("normal", 5), ("low", 2), (0, 0), (9, 9), (None, 5)):
        response = await client.post("/api/v1/jobs", json={**MAIL, "priority": given})
        assert response.json()["priority"] == stored, given


async def test_everything_that_a_submit_says_is_kept(client: httpx.AsyncClient) -> None:
    said = {"queue": "mine", "retries": 10, "timeout": 1500, "tags": ["a", "b c"], "priority": 7}
    created = (await client.post("/api/v1/jobs", json={**MAIL, **said})).json()
    read = (await client.get(f"/api/v1/jobs/{created['jobId']}")).json()
    assert {name: read[name] for name in said} == said


async def test_a_job_can_wait_for_an_instant_or_a_while(client: httpx.AsyncClient) -> None:
    later = (await client.post("/api/v1/jobs", json={**MAIL, "runAt": "2126-01-01T02:00:00+02:00"})).json()
    assert (later["status"], later["runAt"]) == ("scheduled", "2126-01-01T00:00:00Z")
    delayed = (await client.post("/api/v1/jobs", json={**MAIL, "delay": 60_000})).json()
    assert delayed["status"] == "scheduled"
    assert delayed["runAt"] > delayed["createdAt"]


@pytest.mark.covers("S2-13")
async def test_an_alias_is_stored_under_the_name_of_the_kind(client: httpx.AsyncClient) -> None:
    job = (await client.post("/api/v1/jobs", json={**MAIL, "taskType": "EMAIL"})).json()
    assert job["taskType"] == "send_email"
    assert [item["jobId"] for item in (await client.get("/api/v1/jobs?taskType=EMAIL")).json()["items"]] == [
        job["jobId"]
    ]


@pytest.mark.covers("S2-5")
async def test_the_unversioned_paths_answer_the_same(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/jobs", json=MAIL)
    assert created.status_code == 201
    job_id = created.json()["jobId"]
    assert (await client.get(f"/api/jobs/{job_id}")).json() == (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (await client.get("/api/jobs")).json() == (await client.get("/api/v1/jobs")).json()
    assert (await client.get("/api/job-types")).json() == (await client.get("/api/v1/job-types")).json()
    assert (await client.get(f"/api/jobs/{job_id}/logs")).json() == {"items": [], "nextCursor": None}
    assert (await client.post(f"/api/jobs/{job_id}/cancel")).json()["status"] == "cancelled"
    check_problem(await client.post(f"/api/jobs/{job_id}/retry"), 409, "not_failed")


@pytest.mark.covers("S2-16")
async def test_an_unknown_kind_is_refused_with_the_known_ones(client: httpx.AsyncClient) -> None:
    problem = check_problem(
        await client.post("/api/v1/jobs", json={"taskType": "bake_bread", "payload": {}}), 422, "unknown_kind"
    )
    assert problem["knownKinds"] == ["order", "send_email"]
    assert pointers(problem) == {"/taskType": "unknown_kind"}


async def test_a_kind_published_a_moment_ago_is_known(database_url: str) -> None:
    async with make_api(database_url) as api, api.client(await api.key()) as client:
        check_problem(await client.post("/api/v1/jobs", json=MAIL), 422, "unknown_kind")
        await api.publish()

        async def is_taken() -> bool:
            return (await client.post("/api/v1/jobs", json=MAIL)).status_code == 201

        await until(is_taken, timeout_s=1)


_LONG = "x" * 101
BAD_FIELDS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"taskType": None}, {"/taskType": "wrong_type"}),
    ({"taskType": ""}, {"/taskType": "wrong_length"}),
    ({"taskType": _LONG}, {"/taskType": "wrong_length"}),
    ({"payload": []}, {"/payload": "wrong_type"}),
    ({"payload": None}, {"/payload": "wrong_type"}),
    ({"priority": "urgent"}, {"/priority": "priority"}),
    ({"priority": 10}, {"/priority": "priority"}),
    ({"priority": -1}, {"/priority": "priority"}),
    ({"priority": 1.5}, {"/priority": "priority"}),
    ({"priority": True}, {"/priority": "priority"}),
    ({"retries": 11}, {"/retries": "out_of_range"}),
    ({"retries": -1}, {"/retries": "out_of_range"}),
    ({"retries": "3"}, {"/retries": "wrong_type"}),
    ({"retries": True}, {"/retries": "wrong_type"}),
    ({"timeout": 0}, {"/timeout": "out_of_range"}),
    ({"timeout": 86_400_001}, {"/timeout": "out_of_range"}),
    ({"timeout": 1e3}, {"/timeout": "wrong_type"}),
    ({"delay": -1}, {"/delay": "out_of_range"}),
    ({"delay": 10**12}, {"/delay": "out_of_range"}),
    ({"delay": "1s"}, {"/delay": "wrong_type"}),
    ({"runAt": "tomorrow"}, {"/runAt": "instant"}),
    ({"runAt": "2030-01-01T00:00:00"}, {"/runAt": "instant"}),
    ({"runAt": 1893456000}, {"/runAt": "instant"}),
    ({"runAt": "0001-01-01T00:00:00+14:00"}, {"/runAt": "instant"}),
    ({"runAt": "2126-01-01T00:00:00Z", "delay": 5}, {"/runAt": "exclusive"}),
    ({"queue": ""}, {"/queue": "wrong_length"}),
    ({"queue": "no spaces"}, {"/queue": "invalid_name"}),
    ({"queue": 7}, {"/queue": "wrong_type"}),
    ({"tags": "a"}, {"/tags": "wrong_type"}),
    ({"tags": [1, "b", ""]}, {"/tags/0": "wrong_type", "/tags/2": "wrong_length"}),
    ({"tags": ["a\n"]}, {"/tags/0": "invalid_tag"}),
    ({"tags": [str(number) for number in range(21)]}, {"/tags": "too_many"}),
    ({"workspaceId": "x"}, {"/workspaceId": "unknown_field"}),
    ({"a/b~c": 1}, {"/a~1b~0c": "unknown_field"}),
]


@pytest.mark.covers("S2-5")
async def test_a_wrong_field_is_named_with_its_pointer(client: httpx.AsyncClient) -> None:
    for fields, expected in BAD_FIELDS:
        problem = check_problem(await client.post("/api/v1/jobs", json={**MAIL, **fields}), 422, "invalid")
        assert pointers(problem) == expected, fields
    assert (await client.get("/api/v1/jobs")).json()["items"] == []


BAD_PAYLOADS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"/payload/to": "required", "/payload/subject": "required", "/payload/body": "required"}),
    ({"to": 5}, {"/payload/to": "wrong_type"}),
    ({"to": "nobody"}, {"/payload/to": "pattern"}),
    ({"to": "a@b.c\r\nBcc: x@y.z"}, {"/payload/to": "pattern"}),
    ({"to": "a@b.c\n"}, {"/payload/to": "pattern"}),
    ({"to": ["a@b.c", "nobody"]}, {"/payload/to/1": "pattern"}),
    ({"to": []}, {"/payload/to": "too_few"}),
    ({"to": ["a@b.c"] * 51}, {"/payload/to": "too_many"}),
    ({"subject": "a\r\nBcc: x@y.z"}, {"/payload/subject": "pattern"}),
    ({"subject": "a\u2028b"}, {"/payload/subject": "pattern"}),
    ({"subject": "x" * 999}, {"/payload/subject": "wrong_length"}),
    ({"body": 1}, {"/payload/body": "wrong_type"}),
    ({"forceFail": "yes"}, {"/payload/forceFail": "wrong_type"}),
    ({"colour": 1, "mood": 2}, {"/payload/colour": "unknown_field", "/payload/mood": "unknown_field"}),
]


@pytest.mark.covers("S2-13")
async def test_a_payload_that_breaks_its_kinds_schema_is_refused(client: httpx.AsyncClient) -> None:
    for fields, expected in BAD_PAYLOADS:
        payload = {**MAIL["payload"], **fields} if fields else {}
        problem = check_problem(await client.post("/api/v1/jobs", json={**MAIL, "payload": payload}), 422, "invalid")
        assert pointers(problem) == expected, fields
    assert (await client.get("/api/v1/jobs")).json()["items"] == []


SAID: list[tuple[Any, dict[str, str]]] = [
    ([], {"": "the body must be a JSON object"}),
    ({**MAIL, "payload": []}, {"/payload": "must be a JSON object"}),
    ({**MAIL, "colour": 1}, {"/colour": "is not a field of this request"}),
    ({"payload": MAIL["payload"]}, {"/taskType": "is required"}),
    (
        {**MAIL, "payload": {"to": "nobody", "subject": "a\nb", "colour": 1}},
        {
            "/payload/to": "is not a mail address such as ada@example.com",
            "/payload/subject": "is not a single line of text",
            "/payload/body": "is required",
            "/payload/colour": "is not a field of this payload",
        },
    ),
    (
        {**MAIL, "payload": {**MAIL["payload"], "to": ["ada@example.com", "nobody"]}},
        {"/payload/to/1": "is not a mail address such as ada@example.com"},
    ),
]


async def test_what_is_wrong_is_said_in_words_for_people(client: httpx.AsyncClient) -> None:
    for body, expected in SAID:
        problem = check_problem(await client.post("/api/v1/jobs", json=body), 422, "invalid")
        assert {error["pointer"]: error["detail"] for error in problem["errors"]} == expected


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({}, "does not have the right form"),
        ({"title": "An ISBN."}, "is not an ISBN"),
        ({"title": "Code", "description": "Three letters."}, "does not have the right form: Three letters"),
    ],
)
def test_a_pattern_is_told_by_what_the_schema_says_of_it(part: dict[str, Any], said: str) -> None:
    schema = {"properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$", **part}}}
    info = KindInfo(kind="order", queue="orders", schema=schema, priority=5, retries=0, timeout_s=1.0)
    [error] = Kind(info, PayloadSchema(schema)).payload_errors({"code": "x"})
    assert (error.code, error.detail) == ("pattern", said)


async def test_everything_wrong_is_named_at_once(client: httpx.AsyncClient) -> None:
    body = {"taskType": "order", "payload": {"number": "one"}, "retries": 99, "colour": "red"}
    problem = check_problem(await client.post("/api/v1/jobs", json=body), 422, "invalid")
    assert pointers(problem) == {
        "/payload/number": "wrong_type",
        "/retries": "out_of_range",
        "/colour": "unknown_field",
    }
    body = {"taskType": "order", "payload": {"number": "one"}, "queue": "no spaces"}
    problem = check_problem(await client.post("/api/v1/jobs", json=body), 422, "invalid")
    assert pointers(problem) == {"/payload/number": "wrong_type", "/queue": "invalid_name"}


async def test_json_that_is_no_object_is_422(client: httpx.AsyncClient) -> None:
    for body in (b"[]", b'"text"', b"1", b"null", b"true"):
        response = await client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert pointers(check_problem(response, 422, "invalid")) == {"": "wrong_type"}, body


async def test_what_the_database_cannot_hold_is_refused(client: httpx.AsyncClient) -> None:
    payload = {**MAIL["payload"], "body": "a\x00b"}
    problem = check_problem(await client.post("/api/v1/jobs", json={**MAIL, "payload": payload}), 422, "invalid")
    assert pointers(problem) == {"/payload/body": "unstorable"}


async def test_a_payload_over_its_limit_is_413_and_the_limit_is_named(api: Api, client: httpx.AsyncClient) -> None:
    note = "x" * (256 * 1024)
    response = await client.post("/api/v1/jobs", json={"taskType": "order", "payload": {"number": 1, "note": note}})
    problem = check_problem(response, 413, "payload_too_large")
    assert "262144" in problem["detail"]
    assert pointers(problem) == {"/payload": "payload_too_large"}
    just_fits = "x" * (256 * 1024 - len(msgspec.json.encode({"number": 1, "note": ""})))
    response = await client.post(
        "/api/v1/jobs", json={"taskType": "order", "payload": {"number": 1, "note": just_fits}}
    )
    assert response.status_code == 201


@pytest.mark.covers("S2-14", "S2-42")
async def test_a_forced_failure_is_for_development_only(database_url: str) -> None:
    body = {**MAIL, "payload": {**MAIL["payload"], "forceFail": True}}
    async with make_api(database_url, development=True) as api, api.client(await api.key()) as client:
        await api.publish()
        response = await client.post("/api/v1/jobs", json=body)
        assert response.status_code == 201
        assert response.json()["payload"]["forceFail"] is True
    async with make_api(database_url, development=False) as api, api.client(await api.key()) as client:
        problem = check_problem(await client.post("/api/v1/jobs", json=body), 422, "invalid")
        assert pointers(problem) == {"/payload/forceFail": "development_only"}


async def test_a_key_named_twice_counts_as_its_last_value_everywhere(client: httpx.AsyncClient) -> None:
    body = b'{"taskType": "order", "payload": {"number": "bad", "number": 2}, "retries": 99, "retries": 0}'
    response = await client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 201
    job = (await client.get(response.headers["location"])).json()
    assert (job["payload"], job["retries"]) == ({"number": 2}, 0)


async def test_the_request_id_rides_along_with_the_job(api: Api, client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/jobs", json=MAIL, headers={"X-Request-Id": "from-the-shop-17"})
    [claim] = await api.claim()
    assert claim.headers == {"request_id": "from-the-shop-17"}


async def test_submits_side_by_side_are_all_stored(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(
            client.post("/api/v1/jobs", json={"taskType": "order", "payload": {"number": number}})
            for number in range(50)
        )
    )
    ids = {answer.json()["jobId"]: answer.json()["payload"]["number"] for answer in answers}
    listed = (await client.get("/api/v1/jobs?limit=200")).json()["items"]
    assert {job["jobId"]: job["payload"]["number"] for job in listed} == ids
    assert len(ids) == 50
