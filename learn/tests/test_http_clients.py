"""Clients that others wrote understand our answers: curl and httpx."""

import asyncio
import json
import os
import tracemalloc

import httpx

from learn_client import ADMIN, GET_HEALTH, RawConnection, request
from taskflow_learn.server import Server


async def curl(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec("curl", "-sS", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_curl_writes_and_reads(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}"
    token = ("-H", f"Authorization: Bearer {ADMIN}")
    task = json.loads(await curl(*token, "-d", '{"title":"from curl","priority":7}', f"{url}/tasks"))
    assert task["priority"] == 7
    assert json.loads(await curl(*token, f"{url}/tasks/next")) == task
    chunked = ("-X", "PUT", "-H", "Transfer-Encoding: chunked", "-d", '{"priority":2}')
    assert json.loads(await curl(*token, *chunked, f"{url}/tasks/{task['id']}"))["priority"] == 2
    assert (await curl(*token, "-i", "-X", "DELETE", f"{url}/tasks/{task['id']}")).startswith("HTTP/1.1 204 No Content")
    assert (await curl("-I", f"{url}/health")).startswith("HTTP/1.1 200 OK")
    assert len((await curl(*token, "--http1.0", f"{url}/demo/stream/csv?count=1000")).splitlines()) == 1_001


async def test_curl_waits_for_100_continue_with_a_large_body(server: Server) -> None:
    body = json.dumps({"title": "large", "description": "x" * 9_000}).ljust(500_000)
    url = f"http://127.0.0.1:{server.port}/tasks"
    answer = await curl("-H", f"Authorization: {ADMIN}", "-H", "Expect: 100-continue", "-d", body[:100_000], "-i", url)
    assert "100 Continue" in answer
    assert "201 Created" in answer


async def test_httpx_uses_one_connection_for_many_requests(admin: httpx.AsyncClient, server: Server) -> None:
    for _ in range(50):
        assert (await admin.get("/tasks/next")).json() == {"message": "No tasks in queue"}
    assert len(server._connections) == 1


async def test_every_answer_names_its_request(admin: httpx.AsyncClient) -> None:
    answers = [await admin.get(path) for path in ("/health", "/tasks", "/nowhere", "/tasks/export.csv")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)
    assert all("date" in answer.headers for answer in answers)


async def test_thousands_of_requests_leave_nothing_behind(raw: RawConnection, server: Server) -> None:
    """Keep-alive for 3,000 requests: no memory, no task and no file stays."""
    batch = GET_HEALTH * 50 + request("GET", "/nowhere") * 50

    async def hundred() -> None:
        await raw.send(batch)
        for _ in range(100):
            await raw.answer()
        server.services.log._write.__self__.truncate(0)  # type: ignore[attr-defined]  # the log of a test is in memory

    for _ in range(10):  # caches fill up
        await hundred()
    files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())  # noqa: PTH208 - only a count
    tracemalloc.start()
    for _ in range(2):
        await hundred()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(18):
        await hundred()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 256 * 1024
    assert (len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())) == (files, tasks)  # noqa: PTH208
