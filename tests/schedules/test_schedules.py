"""Schedules over HTTP."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.support.api import MAIL, Api, check_problem, pointers

PATH = "/api/v1/schedules"
MORNING: dict[str, Any] = {
    "name": "morning mail",
    "cron": "30 7 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "taskType": MAIL["taskType"],
    "payload": MAIL["payload"],
}


async def make(client: httpx.AsyncClient, **said: Any) -> dict[str, Any]:
    response = await client.post(PATH, json={**MORNING, **said})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Making and looking --------------------------------------------------------------------------------------------------


async def test_a_schedule_is_stored_and_says_when_it_fires(client: httpx.AsyncClient) -> None:
    response = await client.post(PATH, json={**MORNING, "priority": "high", "tags": ["mail"]})
    made = response.json()
    assert UUID(made["scheduleId"]).version == 7
    assert response.headers["location"] == f"{PATH}/{made['scheduleId']}"
    assert (made["priority"], made["retries"], made["queue"]) == (8, None, None)
    assert (made["catchup"], made["overlap"], made["pausedAt"]) == ("latest", "skip", None)
    assert len(made["upcoming"]) == 5
    assert made["upcoming"][0] == made["nextRunAt"]
    assert (await client.get(response.headers["location"])).json() == made


async def test_an_interval_counts_from_its_creation(client: httpx.AsyncClient) -> None:
    made = await make(client, cron=None, every=90_000)
    assert instant(made["nextRunAt"]) - instant(made["createdAt"]) == timedelta(seconds=90)


async def test_an_alias_is_stored_under_the_name_of_the_kind(client: httpx.AsyncClient) -> None:
    assert (await make(client, taskType="EMAIL"))["taskType"] == "send_email"


async def test_a_name_belongs_to_one_schedule_of_a_namespace(api: Api, client: httpx.AsyncClient) -> None:
    made = await make(client)
    check_problem(await client.post(PATH, json=MORNING), 409, "name_taken")
    async with api.client(await api.key(namespace=uuid4())) as other:
        await make(other)
    found = (await client.get(PATH, params={"name": MORNING["name"]})).json()["items"]
    assert [item["scheduleId"] for item in found] == [made["scheduleId"]]
    assert (await client.get(PATH, params={"name": "evening"})).json()["items"] == []


async def test_lists_are_newest_first_in_pages(client: httpx.AsyncClient) -> None:
    made = [(await make(client, name=f"number {number}"))["scheduleId"] for number in range(5)]
    found, url = [], f"{PATH}?limit=2"
    while url:
        page = await client.get(url)
        found += [item["scheduleId"] for item in page.json()["items"]]
        assert "upcoming" not in page.json()["items"][0]
        url = page.headers["link"].partition(">")[0].removeprefix("<") if "link" in page.headers else ""
    assert found == made[::-1]


async def test_a_preview_gives_the_next_five_as_the_zone_shows_them(client: httpx.AsyncClient) -> None:
    timing = {"cron": "30 2 * * *", "timezone": "America/New_York"}
    items = (await client.post(f"{PATH}/preview", json=timing)).json()["items"]
    assert len(items) == 5
    assert {item["local"][11:16] for item in items} <= {"02:30", "03:00"}
    assert all(instant(item["at"]) == instant(item["local"]) for item in items)
    every = (await client.post(f"{PATH}/preview", json={"every": 1000})).json()["items"]
    assert instant(every[1]["at"]) - instant(every[0]["at"]) == timedelta(seconds=1)


BAD: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"name": ""}, {"/name": "wrong_length"}),
    ({"name": "x" * 101}, {"/name": "wrong_length"}),
    ({"name": " a"}, {"/name": "invalid_name"}),
    ({"name": "a\x1b[0m"}, {"/name": "invalid_name"}),
    ({"name": None}, {"/name": "wrong_type"}),
    ({"cron": "61 * * * *"}, {"/cron": "bad_cron"}),
    ({"cron": "* * *"}, {"/cron": "bad_cron"}),
    ({"cron": "0 0 31 2 *"}, {"/cron": "bad_cron"}),
    ({"cron": "*" * 201}, {"/cron": "wrong_length"}),
    ({"cron": 5}, {"/cron": "wrong_type"}),
    ({"cron": None}, {"/cron": "required"}),
    ({"every": 60_000}, {"/cron": "exclusive"}),
    ({"cron": None, "every": 999}, {"/every": "out_of_range"}),
    ({"cron": None, "every": 366 * 86_400_000 + 1}, {"/every": "out_of_range"}),
    ({"cron": None, "every": "1m"}, {"/every": "wrong_type"}),
    ({"timezone": "Mars/Base"}, {"/timezone": "unknown_value"}),
    ({"timezone": "America"}, {"/timezone": "unknown_value"}),
    ({"timezone": None}, {"/timezone": "wrong_type"}),
    ({"catchup": "some"}, {"/catchup": "unknown_value"}),
    ({"overlap": True}, {"/overlap": "unknown_value"}),
    ({"paused": "yes"}, {"/paused": "wrong_type"}),
    ({"priority": 10}, {"/priority": "priority"}),
    ({"retries": 11}, {"/retries": "out_of_range"}),
    ({"timeout": 0}, {"/timeout": "out_of_range"}),
    ({"queue": "no spaces"}, {"/queue": "invalid_name"}),
    ({"tags": ["a\n"]}, {"/tags/0": "invalid_tag"}),
    ({"runAt": "2030-01-01T00:00:00Z"}, {"/runAt": "unknown_field"}),
    ({"expiresAt": "2030-01-01T00:00:00Z"}, {"/expiresAt": "unknown_field"}),
    ({"ttl": 0}, {"/ttl": "out_of_range"}),
    ({"callbackUrl": "ftp://receiver.example/"}, {"/callbackUrl": "refused_url"}),
    ({"uniqueKey": ""}, {"/uniqueKey": "wrong_length"}),
    ({"uniqueScope": "window"}, {"/uniqueScope": "needs_key"}),
    ({"uniqueKey": "k", "uniqueScope": "window"}, {"/uniqueWindow": "required"}),
    ({"uniqueKey": "k", "uniqueScope": "ever"}, {"/uniqueScope": "unknown_value"}),
    ({"payload": {"to": "ada@example.com"}}, {"/payload/subject": "required", "/payload/body": "required"}),
    ({"cron": "x", "timezone": "Mars/Base"}, {"/cron": "bad_cron", "/timezone": "unknown_value"}),
    ({"cron": "x", "every": 60_000}, {"/cron": "exclusive"}),
    (
        {"cron": "x", "timezone": "Mars/Base", "priority": 77, "payload": {**MAIL["payload"], "bcc": 1}},
        {
            "/cron": "bad_cron",
            "/timezone": "unknown_value",
            "/priority": "priority",
            "/payload/bcc": "unknown_field",
        },
    ),
    ({"cron": 5, "timezone": 5, "retries": "many"}, dict.fromkeys(("/cron", "/timezone", "/retries"), "wrong_type")),
    (
        {"cron": "no", "name": " x", "payload": {**MAIL["payload"], "bcc": 1}},
        {"/cron": "bad_cron", "/name": "invalid_name", "/payload/bcc": "unknown_field"},
    ),
]


async def test_every_bad_field_is_named_and_nothing_is_stored(client: httpx.AsyncClient) -> None:
    for change, errors in BAD:
        problem = check_problem(await client.post(PATH, json={**MORNING, **change}), 422, "invalid")
        assert pointers(problem) == errors, change
    assert (await client.get(PATH)).json()["items"] == []


async def test_an_unknown_kind_is_refused_with_the_known_ones(client: httpx.AsyncClient) -> None:
    refused = await client.post(PATH, json={**MORNING, "taskType": "bake_bread", "payload": {}})
    assert check_problem(refused, 422, "unknown_kind")["knownKinds"] == ["order", "send_email"]


async def test_a_payload_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    big = {**MAIL["payload"], "body": "x" * 300_000}
    check_problem(await client.post(PATH, json={**MORNING, "payload": big}), 413, "payload_too_large")


async def test_a_namespace_has_a_limit_of_schedules(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskflow.engine.schedules.MAX_SCHEDULES", 2)
    for number in range(2):
        await make(client, name=f"number {number}")
    check_problem(await client.post(PATH, json=MORNING), 422, "too_many")


async def test_a_preview_of_what_cannot_be_is_refused(client: httpx.AsyncClient) -> None:
    for timing in ({}, {"cron": "* * * * *", "every": 1000}, {"cron": "x"}, {"every": 1}, {"at": 1}):
        check_problem(await client.post(f"{PATH}/preview", json=timing), 422, "invalid")


async def test_a_wrong_field_of_a_rule_is_told_with_its_value_and_what_it_takes(client: httpx.AsyncClient) -> None:
    refused = await client.post(f"{PATH}/preview", json={"cron": "0 24 * * *", "every": "1m"})
    details = {error["pointer"]: error["detail"] for error in check_problem(refused, 422, "invalid")["errors"]}
    assert details["/cron"].startswith("the hour cannot be '24': it takes 0 to 23; also *, lists such as 1,3")
    assert details["/every"] == "must be a whole number"


# Changing ------------------------------------------------------------------------------------------------------------


async def test_a_change_leaves_alone_what_it_does_not_name(client: httpx.AsyncClient) -> None:
    made = await make(client, retries=7, tags=["mail"])
    path = f"{PATH}/{made['scheduleId']}"
    changed = (await client.patch(path, json={"priority": 9, "catchup": "all"})).json()
    differ = {name for name in made if changed[name] != made[name]}
    assert differ == {"priority", "catchup", "updatedAt"}
    assert (await client.patch(path, json={"retries": None})).json()["retries"] is None


async def test_an_interval_takes_the_place_of_cron_and_back(client: httpx.AsyncClient) -> None:
    made = await make(client)
    path = f"{PATH}/{made['scheduleId']}"
    changed = (await client.patch(path, json={"every": 60_000})).json()
    assert (changed["cron"], changed["every"]) == (None, 60_000)
    assert instant(changed["nextRunAt"]) - instant(changed["updatedAt"]) <= timedelta(seconds=60)
    changed = (await client.patch(path, json={"cron": "@daily", "timezone": "UTC"})).json()
    assert (changed["cron"], changed["every"], changed["nextRunAt"][11:]) == ("@daily", None, "00:00:00Z")


BAD_CHANGES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"": "required"}),
    ({"cron": None}, {"/cron": "wrong_type"}),
    ({"cron": "x"}, {"/cron": "bad_cron"}),
    ({"cron": "* * * * *", "every": 1000}, {"/cron": "exclusive"}),
    ({"timezone": "Mars/Base"}, {"/timezone": "unknown_value"}),
    ({"payload": {}}, {"/payload/to": "required", "/payload/subject": "required", "/payload/body": "required"}),
    ({"name": None}, {"/name": "wrong_type"}),
    ({"pausedAt": None}, {"/pausedAt": "unknown_field"}),
    ({"cron": "x", "retries": 99}, {"/cron": "bad_cron", "/retries": "out_of_range"}),
]


async def test_a_bad_change_changes_nothing(client: httpx.AsyncClient) -> None:
    made = await make(client)
    path = f"{PATH}/{made['scheduleId']}"
    for change, errors in BAD_CHANGES:
        assert pointers(check_problem(await client.patch(path, json=change), 422, "invalid")) == errors, change
    assert (await client.get(path)).json() == made


async def test_a_name_that_is_taken_cannot_be_taken_over(client: httpx.AsyncClient) -> None:
    await make(client)
    other = await make(client, name="evening mail")
    change = await client.patch(f"{PATH}/{other['scheduleId']}", json={"name": MORNING["name"]})
    check_problem(change, 409, "name_taken")


async def test_pause_and_resume_can_be_said_twice(client: httpx.AsyncClient) -> None:
    made = await make(client)
    path = f"{PATH}/{made['scheduleId']}"
    paused = (await client.post(f"{path}/pause")).json()
    assert (paused["nextRunAt"], paused["upcoming"]) == (None, [])
    assert paused["pausedAt"] is not None
    assert (await client.post(f"{path}/pause")).json() == paused
    resumed = (await client.post(f"{path}/resume")).json()
    assert (resumed["pausedAt"], resumed["nextRunAt"]) == (None, made["nextRunAt"])
    assert (await client.post(f"{path}/resume")).json() == resumed


async def test_a_schedule_can_be_made_paused(client: httpx.AsyncClient) -> None:
    made = await make(client, paused=True)
    assert made["nextRunAt"] is None
    assert made["pausedAt"] == made["createdAt"]


async def test_a_deleted_schedule_is_gone(client: httpx.AsyncClient) -> None:
    made = await make(client)
    path = f"{PATH}/{made['scheduleId']}"
    assert (await client.delete(path)).json()["scheduleId"] == made["scheduleId"]
    for response in (await client.get(path), await client.delete(path), await client.get(f"{path}/ticks")):
        check_problem(response, 404, "not_found")


# By hand -------------------------------------------------------------------------------------------------------------


async def test_run_now_submits_the_job_and_the_ledger_shows_it(client: httpx.AsyncClient) -> None:
    made = await make(client, priority=9)
    path = f"{PATH}/{made['scheduleId']}"
    ran = await client.post(f"{path}/run-now")
    assert ran.status_code == 201
    job = (await client.get(ran.headers["location"])).json()
    assert (job["jobId"], job["priority"], job["payload"]) == (ran.json()["jobId"], 9, MAIL["payload"])
    [tick] = (await client.get(f"{path}/ticks")).json()["items"]
    assert (tick["outcome"], tick["manual"], tick["jobId"]) == ("fired", True, job["jobId"])
    after = (await client.get(path)).json()
    assert (after["lastJobId"], after["nextRunAt"]) == (job["jobId"], made["nextRunAt"])


async def test_a_job_is_given_its_callback_its_expiry_and_its_key_until_they_are_taken_away(
    client: httpx.AsyncClient,
) -> None:
    window = {"uniqueKey": "k", "uniqueScope": "window", "uniqueWindow": 60_000}
    said = {"callbackUrl": "http://receiver.test/", "ttl": 60_000, **window}
    made = await make(client, **said)
    assert {name: made[name] for name in said} == said
    path = f"{PATH}/{made['scheduleId']}"
    job = (await client.post(f"{path}/run-now")).json()
    assert (job["callbackUrl"], job["uniqueKey"], job["uniqueScope"]) == ("http://receiver.test/", "k", "window")
    assert instant(job["expiresAt"]) - instant(job["createdAt"]) == timedelta(minutes=1)
    again = await client.post(f"{path}/run-now")
    assert (again.status_code, again.json()["jobId"], again.json()["duplicate"]) == (200, job["jobId"], True)
    [skipped, _] = (await client.get(f"{path}/ticks")).json()["items"]
    assert (skipped["outcome"], skipped["jobId"], skipped["manual"]) == ("skipped", job["jobId"], True)

    changed = (await client.patch(path, json={"uniqueScope": "until_claimed"})).json()
    assert (changed["uniqueKey"], changed["uniqueScope"], changed["uniqueWindow"]) == ("k", "until_claimed", None)
    refused = await client.patch(path, json={"uniqueScope": "window"})
    assert pointers(check_problem(refused, 422, "invalid")) == {"/uniqueWindow": "required"}
    gone = {"uniqueKey": None, "callbackUrl": None, "ttl": None}
    after = (await client.patch(path, json=gone)).json()
    assert {after[name] for name in said} == {None}


async def test_the_ledger_comes_in_pages(client: httpx.AsyncClient) -> None:
    path = f"{PATH}/{(await make(client))['scheduleId']}"
    jobs = [(await client.post(f"{path}/run-now")).json()["jobId"] for _ in range(5)]
    found: list[str] = []
    asked = {"limit": "2"}
    while True:
        page = (await client.get(f"{path}/ticks", params=asked)).json()
        found += [item["jobId"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        asked["cursor"] = page["nextCursor"]
    assert found == jobs[::-1]


# Once, and by whom ---------------------------------------------------------------------------------------------------


async def test_a_write_sent_twice_with_one_key_happens_once(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "make-it"}
    first = await client.post(PATH, json=MORNING, headers=key)
    again = await client.post(PATH, json=MORNING, headers=key)
    assert again.status_code == 201, again.text
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (201, first.json(), "true")
    check_problem(await client.post(PATH, json={**MORNING, "name": "b"}, headers=key), 422, "idempotency_key_reused")
    path = f"{PATH}/{first.json()['scheduleId']}"
    ran = [await client.post(f"{path}/run-now", headers={"Idempotency-Key": "run"}) for _ in range(2)]
    assert ran[0].json() == ran[1].json()
    assert len((await client.get(f"{path}/ticks")).json()["items"]) == 1
    changes = [await client.patch(path, json={"priority": 1}, headers={"Idempotency-Key": "up"}) for _ in range(2)]
    assert changes[0].json() == changes[1].json()
    # A name that is free no longer does not matter to an answer that was kept.
    assert (await client.post(PATH, json=MORNING, headers=key)).json() == first.json()


async def test_another_namespaces_schedule_does_not_exist(api: Api, client: httpx.AsyncClient) -> None:
    path = f"{PATH}/{(await make(client))['scheduleId']}"
    async with api.client(await api.key(namespace=uuid4())) as other:
        for response in (
            await other.get(path),
            await other.patch(path, json={"priority": 1}),
            await other.delete(path),
            await other.post(f"{path}/pause"),
            await other.post(f"{path}/resume"),
            await other.post(f"{path}/run-now"),
            await other.get(f"{path}/ticks"),
        ):
            check_problem(response, 404, "not_found")
        assert (await other.get(PATH)).json()["items"] == []
    check_problem(await client.get(f"{PATH}/none"), 404, "not_found")


async def test_reading_needs_one_scope_and_writing_another(api: Api, client: httpx.AsyncClient) -> None:
    path = f"{PATH}/{(await make(client))['scheduleId']}"
    async with api.client(await api.key("jobs:read")) as reader:
        assert (await reader.get(path)).status_code == 200
        assert (await reader.get(PATH)).status_code == 200
        assert (await reader.get(f"{path}/ticks")).status_code == 200
        assert (await reader.post(f"{PATH}/preview", json={"every": 1000})).status_code == 200
        for response in (
            await reader.post(PATH, json=MORNING),
            await reader.patch(path, json={"priority": 1}),
            await reader.delete(path),
            await reader.post(f"{path}/pause"),
            await reader.post(f"{path}/resume"),
            await reader.post(f"{path}/run-now"),
        ):
            check_problem(response, 403, "not_permitted")
    async with api.client() as nobody:
        check_problem(await nobody.get(PATH), 401, "unauthenticated")
