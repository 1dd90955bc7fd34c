"""The task endpoints, over HTTP."""

import asyncio
import json
from io import StringIO
from typing import Any

import httpx
import pytest

from learn_client import RawConnection, request
from taskflow_learn.server import Server

UNKNOWN = "11111111-1111-4111-8111-111111111111"


async def create(admin: httpx.AsyncClient, title: str, **fields: Any) -> dict[str, Any]:
    answer = await admin.post("/tasks", json={"title": title, **fields})
    assert answer.status_code == 201, answer.text
    task: dict[str, Any] = answer.json()
    return task


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    assert error["requestId"] == answer.headers["x-request-id"]
    assert error["timestamp"].endswith("Z")
    return error


@pytest.mark.covers("S1-7", "S1-9", "S1-11")
async def test_a_created_task_can_be_read(admin: httpx.AsyncClient, user: httpx.AsyncClient) -> None:
    first = await create(admin, "first")
    task = await create(admin, "second", description="d", priority=7, status="in-progress", dependencies=[first["id"]])
    assert task["priority"] == 7
    assert task["dependencies"] == [first["id"]]
    assert (await user.get(f"/tasks/{task['id']}")).json() == task


@pytest.mark.covers("S1-10", "S1-21")
async def test_the_list_is_in_order_of_creation(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/tasks")).json() == []
    tasks = [await create(admin, f"t{number}", priority=number % 3 + 1) for number in range(5)]
    assert (await admin.get("/tasks")).json() == tasks
    assert (await admin.get("/tasks/count")).json() == {"count": 5}


@pytest.mark.covers("S1-12")
async def test_an_update_merges_and_moves(admin: httpx.AsyncClient) -> None:
    one, two = await create(admin, "one", priority=5), await create(admin, "two", priority=6)
    answer = await admin.put(f"/tasks/{one['id']}", json={"priority": 9, "dependencies": [two["id"]]})
    assert answer.status_code == 200
    changed = answer.json()
    assert changed == {**one, "priority": 9, "dependencies": [two["id"]], "updatedAt": changed["updatedAt"]}
    assert (await admin.get("/tasks/next")).json() == changed
    error_of(await admin.put(f"/tasks/{UNKNOWN}", json={}), 404, "TASK_NOT_FOUND")


@pytest.mark.covers("S1-12", "S1-8")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"priority": "high"}, "priority"),
        ({"status": "done"}, "status"),
        ({"title": None}, "title"),
        ({"dependencies": [UNKNOWN]}, "dependencies"),
        ({"dependencies": [UNKNOWN, UNKNOWN]}, "dependencies"),
        ({"dependencies": "self"}, "dependencies"),
        ({"owner": "me"}, "owner"),
    ],
)
async def test_an_update_is_checked_like_a_create(
    admin: httpx.AsyncClient, changes: dict[str, Any], field: str
) -> None:
    task = await create(admin, "one")
    if changes.get("dependencies") == "self":
        changes = {"dependencies": [task["id"]]}
    error = error_of(await admin.put(f"/tasks/{task['id']}", json=changes), 422, "VALIDATION_ERROR")
    assert error["details"]["field"] == field
    assert (await admin.get(f"/tasks/{task['id']}")).json() == task


@pytest.mark.covers("S1-13")
async def test_a_delete_leaves_no_trace_in_other_lists(admin: httpx.AsyncClient) -> None:
    one = await create(admin, "one")
    two = await create(admin, "two", dependencies=[one["id"]])
    answer = await admin.delete(f"/tasks/{one['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await admin.get(f"/tasks/{two['id']}")).json()["dependencies"] == []
    error_of(await admin.delete(f"/tasks/{one['id']}"), 404, "TASK_NOT_FOUND")
    error_of(await admin.get(f"/tasks/{one['id']}"), 404, "TASK_NOT_FOUND")


@pytest.mark.covers("S1-14", "S1-15", "S1-16")
async def test_next_and_peek_look_and_take_nothing(admin: httpx.AsyncClient, user: httpx.AsyncClient) -> None:
    assert (await user.get("/tasks/next")).json() == {"message": "No tasks in queue"}
    assert (await user.get("/tasks/peek")).json() == {"message": "Queue is empty"}
    assert (await user.get("/tasks/queue")).json() == []
    low, high = await create(admin, "low", priority=2), await create(admin, "high", priority=8)
    for path in ("/tasks/next", "/tasks/peek", "/tasks/next"):
        assert (await user.get(path)).json() == high
    assert (await user.get("/tasks/queue")).json() == [high, low]


@pytest.mark.covers("S1-14", "S1-60")
async def test_equals_wait_in_order_of_arrival_and_the_completed_do_not_wait(admin: httpx.AsyncClient) -> None:
    tasks = [await create(admin, f"t{number}", priority=5) for number in range(4)]
    for task in tasks:
        assert (await admin.get("/tasks/next")).json()["id"] == task["id"]
        await admin.put(f"/tasks/{task['id']}", json={"status": "completed"})
    assert (await admin.get("/tasks/next")).json() == {"message": "No tasks in queue"}
    await admin.put(f"/tasks/{tasks[2]['id']}", json={"status": "pending"})
    assert (await admin.get("/tasks/next")).json()["id"] == tasks[2]["id"]


@pytest.mark.covers("S1-17", "S1-18")
async def test_resolve_orders_dependencies_first(admin: httpx.AsyncClient, user: httpx.AsyncClient) -> None:
    c = await create(admin, "c")
    b = await create(admin, "b", dependencies=[c["id"]])
    a = await create(admin, "a", dependencies=[b["id"], c["id"]])
    alone = await create(admin, "alone")
    everything = await user.get("/tasks/resolve")
    assert everything.json() == {
        "requestId": everything.headers["x-request-id"],
        "scope": "all",
        "scopedTaskId": None,
        "totalTasksInOrder": 4,
        "orderedTaskIds": [c["id"], b["id"], a["id"], alone["id"]],
        "orderedTasks": [c, b, a, alone],
    }
    scoped = (await user.get(f"/tasks/{b['id']}/resolve")).json()
    assert (scoped["scope"], scoped["scopedTaskId"]) == ("task", b["id"])
    assert scoped["orderedTaskIds"] == [c["id"], b["id"]]
    error_of(await user.get(f"/tasks/{UNKNOWN}/resolve"), 404, "TASK_NOT_FOUND")


@pytest.mark.covers("S1-17", "S1-18", "S1-66")
async def test_a_circle_is_409_and_the_others_are_still_ordered(admin: httpx.AsyncClient) -> None:
    a = await create(admin, "a")
    b = await create(admin, "b", dependencies=[a["id"]])
    alone = await create(admin, "alone")
    await admin.put(f"/tasks/{a['id']}", json={"dependencies": [b["id"]]})
    details = error_of(await admin.get("/tasks/resolve"), 409, "CONFLICT")["details"]
    assert details["cyclePath"] == [a["id"], b["id"], a["id"]]
    assert details["orderedTaskIds"] == [alone["id"]]
    assert {*details["unresolvedTaskIds"]} == {a["id"], b["id"]}
    error_of(await admin.get(f"/tasks/{b['id']}/resolve"), 409, "CONFLICT")
    assert (await admin.get(f"/tasks/{alone['id']}/resolve")).json()["orderedTaskIds"] == [alone["id"]]


@pytest.mark.covers("S1-17", "S1-18")
async def test_a_missing_dependency_is_422(admin: httpx.AsyncClient, server: Server) -> None:
    """No request can make one; so it is planted where a bug would put it."""
    task, alone = await create(admin, "a"), await create(admin, "alone")
    server.services.store.get(task["id"]).dependencies.append(UNKNOWN)
    for path in ("/tasks/resolve", f"/tasks/{task['id']}/resolve"):
        details = error_of(await admin.get(path), 422, "VALIDATION_ERROR")["details"]
        assert (details["missingTaskId"], details["requiredBy"]) == (UNKNOWN, task["id"])
    assert (await admin.get(f"/tasks/{alone['id']}/resolve")).status_code == 200


@pytest.mark.covers("S1-17", "S1-10", "X-4")
async def test_a_chain_far_deeper_than_any_stack_is_answered(raw: RawConnection, server: Server) -> None:
    store = server.services.store
    last = store.create({"title": "0"})
    for number in range(1, 20_000):
        last = store.create({"title": str(number), "dependencies": [last.id]})
    answer = await raw.ask(request("GET", f"/tasks/{last.id}/resolve"))
    assert answer.status == 200
    resolved = json.loads(answer.body)
    assert [int(task["title"]) for task in resolved["orderedTasks"]] == [*range(20_000)]
    assert resolved["totalTasksInOrder"] == 20_000


@pytest.mark.covers("S1-19", "S1-20")
async def test_exports_have_the_promised_headers_and_rows(admin: httpx.AsyncClient, user: httpx.AsyncClient) -> None:
    one = await create(admin, 'say "hi", please', description="two\nlines")
    two = await create(admin, "two", dependencies=[one["id"]])
    answer = await user.get("/tasks/export.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == "attachment; filename=tasks-export.csv"
    assert answer.headers["cache-control"] == "no-store"
    header, first, *_ = answer.text.split("\n", 1)
    assert header == "id,title,description,status,priority,dependencies,createdAt,updatedAt"
    assert first.startswith(f'"{one["id"]}","say ""hi"", please","two\nlines","pending","1","[]","{one["createdAt"]}"')
    assert f'"[""{one["id"]}""]"' in answer.text
    lines = await user.get("/tasks/stream.ndjson")
    assert lines.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert [json.loads(line) for line in lines.text.splitlines()] == [one, two]


@pytest.mark.covers("S1-10", "S1-20")
async def test_a_list_that_changes_while_it_leaves_is_still_whole(admin: httpx.AsyncClient, server: Server) -> None:
    store = server.services.store
    ids = [store.create({"title": "x" * 200}).id for _ in range(3_000)]
    async with admin.stream("GET", "/tasks/stream.ndjson") as answer:
        lines = answer.aiter_lines()
        received = [json.loads(await anext(lines))["id"]]
        for task_id in ids[:100]:
            await admin.delete(f"/tasks/{task_id}")
        received += [json.loads(line)["id"] async for line in lines]
    assert received == ids


@pytest.mark.covers("S1-20")
async def test_a_stream_stops_when_the_client_leaves(server: Server, log_text: StringIO) -> None:
    async with RawConnection.open(server.port) as leaver:
        await leaver.send(request("GET", "/demo/stream/csv?count=300000"))
        await leaver.read(1_000)
        leaver.writer.transport.abort()
        _, unfinished = await asyncio.wait(server._connections, timeout=10)
    assert not unfinished
    assert "Request received" in log_text.getvalue()
    assert "Response sent" not in log_text.getvalue()  # it never came to its end


@pytest.mark.covers("S1-53")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{not json", "line 1"),
        (b"", "Expecting value"),
        (b'{"title":"\xff"}', "utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"title":"a","priority":NaN}', "NaN"),
        (b'{"title":"a","priority":' + b"9" * 5_000 + b"}", "digits"),
    ],
    ids=["broken", "empty", "not-utf-8", "deep", "nan", "huge-number"],
)
async def test_what_is_no_json_is_400(admin: httpx.AsyncClient, body: bytes, words: str) -> None:
    error = error_of(await admin.post("/tasks", content=body), 400, "INVALID_JSON")
    assert words in error["details"]["parseError"]


@pytest.mark.covers("S1-9")
async def test_a_task_needs_a_title(admin: httpx.AsyncClient) -> None:
    error = error_of(await admin.post("/tasks", json={"priority": 1}), 422, "MISSING_REQUIRED_FIELD")
    assert error["details"] == {"field": "title"}


@pytest.mark.covers("S1-53")
async def test_unknown_paths_and_methods(admin: httpx.AsyncClient) -> None:
    error = error_of(await admin.get("/nowhere"), 404, "NOT_FOUND")
    assert error["message"] == "Endpoint not found"
    for method, path in (("PATCH", "/tasks"), ("DELETE", "/tasks/next"), ("POST", "/health")):
        answer = await admin.request(method, path)
        error = error_of(answer, 405, "BAD_REQUEST")
        assert error["details"] == {"method": method, "endpoint": path}
        assert "GET" in answer.headers["allow"]
    error_of(await admin.get("/tasks/next/"), 404, "NOT_FOUND")
    error_of(await admin.get("/tasks/not-a-uuid"), 404, "TASK_NOT_FOUND")
