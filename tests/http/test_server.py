"""The API under its real server, on a socket that somebody else holds."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.api import MAIL, SECRET, Api, make_api, until
from tests.support.up import rss_bytes

SOURCE = str(Path(__file__).parents[2] / "src")
CODE = (
    "import sys; from taskflow.apps.api import run_api; from taskflow.apps.settings import Settings; "
    "run_api(Settings.from_env(), fd=int(sys.argv[1]))"
)


@dataclass
class Server:
    """A running API process and its socket."""

    process: "subprocess.Popen[bytes]"
    address: tuple[str, int]

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


def start(listener: socket.socket, database_url: str, **settings: str) -> Server:
    environ = {
        **os.environ,
        "PYTHONPATH": SOURCE,
        "TASKFLOW_DATABASE_URL": database_url,
        "TASKFLOW_SECRET_KEY": SECRET.decode(),
        "TASKFLOW_ENV": "development",
        "TASKFLOW_LOG_FORMAT": "json",
        **settings,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(listener.fileno())],
        env=environ,
        pass_fds=[listener.fileno()],
        stderr=subprocess.DEVNULL,
    )
    return Server(process, listener.getsockname()[:2])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def server(listener: socket.socket, database_url: str) -> Iterator[Server]:
    server = start(listener, database_url)
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait(10)


async def key_for(database_url: str) -> str:
    async with make_api(database_url) as api:
        await api.publish()
        return await api.key()


@pytest.mark.system
@pytest.mark.slow
async def test_a_restarted_api_answers_at_the_same_address(
    server: Server, listener: socket.socket, database_url: str
) -> None:
    key = await key_for(database_url)
    async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": key}, timeout=20) as client:
        job_id = (await client.post("/api/v1/jobs", json=MAIL)).json()["jobId"]
        assert server.stop() == 0
        again = start(listener, database_url)
        try:
            assert (await client.get(f"/api/v1/jobs/{job_id}")).json()["jobId"] == job_id
        finally:
            assert again.stop() == 0


@pytest.mark.system
@pytest.mark.slow
async def test_a_refused_upload_sees_the_reason_and_not_a_reset(server: Server, database_url: str) -> None:
    key = await key_for(database_url)
    reader, writer = await asyncio.open_connection(*server.address)
    size = 6 * 1024 * 1024
    head = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: test\r\nX-API-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    )
    writer.write(head.encode())
    for _ in range(size // 65536):  # all of it, before anything is read, as simple clients do
        writer.write(b"x" * 65536)
        await writer.drain()
    async with asyncio.timeout(15):
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert b"1048576" in await reader.readexactly(length)
        # The connection goes on to serve.
        writer.write(b"GET /live HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.system
@pytest.mark.slow
async def test_what_is_under_way_is_answered_before_the_end(server: Server, database_url: str) -> None:
    key = await key_for(database_url)
    async with make_api(database_url) as holder:
        await _hold_and_stop(server, key, holder)


async def _refuses(server: Server) -> bool:
    """Say whether the server takes no more requests: the socket is held here too, so it waits instead of failing."""
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=0.1) as client:
            await client.get("/live")
    except httpx.TransportError:
        return True
    return False


async def _hold_and_stop(server: Server, key: str, holder: Api) -> None:
    async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": key}, timeout=20) as client:
        assert (await client.get("/api/v1/jobs")).status_code == 200
        async with holder.database.transaction() as connection:
            await connection.execute("LOCK TABLE taskflow.job IN ACCESS EXCLUSIVE MODE")
            submit = asyncio.ensure_future(client.post("/api/v1/jobs", json=MAIL))
            blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'taskflow.job'::regclass)"
            await until(lambda: connection.fetchval(blocked))
            server.process.send_signal(signal.SIGTERM)
            await until(lambda: _refuses(server))
        assert (await submit).status_code == 201
    assert await asyncio.to_thread(server.process.wait, 15) == 0


@pytest.mark.system
@pytest.mark.slow
async def test_a_restart_does_not_wait_for_those_who_follow_a_log(server: Server, database_url: str) -> None:
    key = await key_for(database_url)
    async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": key}, timeout=20) as client:
        job_id = (await client.post("/api/v1/jobs", json=MAIL)).json()["jobId"]
        async with client.stream("GET", f"/api/v1/jobs/{job_id}/logs?follow=true") as answer:
            parts = answer.aiter_text()
            assert await anext(parts) == "retry: 1000\n\n"
            server.process.send_signal(signal.SIGTERM)
            assert [part async for part in parts] == []  # ended properly, long before requests are cut off
        assert await asyncio.to_thread(server.process.wait, 5) == 0


@pytest.mark.system
@pytest.mark.slow
async def test_a_stream_of_jobs_is_answered_while_it_comes_in_bounded_memory(server: Server, database_url: str) -> None:
    key = await key_for(database_url)
    block = b'{"taskType": "order", "payload": {"number": 1, "note": "%s"}}\n' % (b"x" * 900) * 1000
    head = (
        f"POST /api/v1/jobs/stream HTTP/1.1\r\nHost: test\r\nX-API-Key: {key}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(head.encode())
    sizes = []
    async with asyncio.timeout(40):
        for number in range(24):  # 23 MB, a batch ahead of what is answered
            writer.write(b"%x\r\n%b\r\n" % (len(block), block))
            await writer.drain()
            if number:
                assert b'"accepted":1000' in await reader.readuntil(b'"rejected":0}\n')
            sizes.append(rss_bytes(server.process.pid))
        writer.write(b"0\r\n\r\n")
        assert b'{"_end":true,"count":24000,"accepted":24000,"rejected":0}' in await reader.read()
    assert max(sizes[8:]) - max(sizes[:8]) < 8 * 1024 * 1024
    writer.close()


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.covers("S4-61")
async def test_each_setting_of_a_rate_limit_sets_that_limit(listener: socket.socket, database_url: str) -> None:
    key = await key_for(database_url)
    names = ("read", "write", "stream", "work", "failures")
    told = {f"TASKFLOW_RATE_LIMIT_{name.upper()}": f"0.01:{burst}" for burst, name in enumerate(names, 1)}
    server = start(listener, database_url, **told)
    try:
        async with httpx.AsyncClient(base_url=f"{server.url}/api/v1", timeout=20) as client:
            routes = [("GET", "/jobs"), ("POST", "/jobs"), ("POST", "/jobs/stream"), ("POST", "/worker/claim")]
            answers = [await client.request(*route, headers={"X-API-Key": key}) for route in routes]
            assert [(await client.get("/jobs")).status_code for _ in names] == [401] * 5
            answers.append(await client.get("/jobs"))
        said = [answer.headers["ratelimit-policy"] for answer in answers]
        assert said == [f'"{name}";q={burst};w={burst * 100}' for burst, name in enumerate(names, 1)]
    finally:
        assert server.stop() == 0
