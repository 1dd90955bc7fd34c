"""What the server can carry. The bounds are loose, for a busy machine; the reference tells what was measured."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter

import httpx
import pytest

from learn_client import ADMIN, RawConnection, request
from taskflow_learn.config import Settings
from taskflow_learn.server import Server

SOCKETS = 1_000


def rss_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.slow
@pytest.mark.covers("S1-19", "S1-47", "X-4")
async def test_three_hundred_thousand_rows_leave_at_flat_memory(raw: RawConnection) -> None:
    await raw.send(request("GET", "/demo/stream/csv?count=300000", "Connection: close"))
    await raw.read(1_000_000)
    before = rss_mb()
    size = 0
    while data := await raw.reader.read(1_048_576):
        size += len(data)
    assert size > 40_000_000
    assert rss_mb() - before < 20


@pytest.mark.slow
@pytest.mark.covers("S1-58", "X-2")
async def test_a_thousand_sockets_hear_one_event(server: Server, admin: httpx.AsyncClient) -> None:
    handshake = request(
        "GET",
        "/ws/tasks",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(RawConnection.open(server.port)) for _ in range(SOCKETS)]
        for socket in sockets:
            await socket.send(handshake)
        for socket in sockets:
            assert (await socket.answer(has_body=False)).status == 101
            assert b"connection.ready" in await frame(socket)
        assert (await admin.get("/tasks/system/ws")).json()["connectedClients"] == SOCKETS
        task = (await admin.post("/tasks", json={"title": "to all"})).json()
        for socket in sockets:
            assert json.loads(await frame(socket))["task"] == task


async def frame(socket: RawConnection) -> bytes:
    _, length = await socket.read(2)
    return await socket.read(int.from_bytes(await socket.read(2), "big") if length == 126 else length)


class TestPings:
    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(worker_pool_size=1)

    @pytest.mark.slow
    @pytest.mark.covers("S1-35", "S1-36", "S1-37", "X-3")
    async def test_a_worker_leaves_the_loop_free_and_blocking_does_not(self, server: Server) -> None:
        """The ratio is tested, not the milliseconds: a blocked loop makes a ping wait for all of the computation."""
        async with RawConnection.open(server.port) as busy, RawConnection.open(server.port) as pinger:

            async def slowest_ping(path: str) -> tuple[float, float]:
                """Return the slowest ping and the duration of *path*, in seconds."""
                begun = perf_counter()
                computing = asyncio.create_task(busy.ask(request("GET", path)))
                await asyncio.sleep(0)  # the request is on its way before the first ping
                slowest = 0.0
                while not computing.done():
                    asked = perf_counter()
                    assert (await pinger.ask(request("GET", "/demo/cpu/ping"))).status == 200
                    slowest = max(slowest, perf_counter() - asked)
                assert (await computing).status == 200
                return slowest, perf_counter() - begun

            await busy.ask(request("GET", "/demo/cpu/worker/run?iterations=1"))  # the worker has started
            worker_ping, worker_s = await slowest_ping("/demo/cpu/worker/run?iterations=3000000")
            blocked_ping, blocked_s = await slowest_ping("/demo/cpu/blocking?iterations=3000000")
            assert blocked_ping > blocked_s * 0.8
            assert worker_ping < worker_s * 0.5


@pytest.mark.slow
async def test_keep_alive_serves_many_requests_a_second(raw: RawConnection) -> None:
    """Measured: over 6,000 a second on one core. The bound only catches a collapse."""
    one = request("GET", "/tasks/next", token=ADMIN)
    await raw.ask(one)
    begun = perf_counter()
    for _ in range(1_000):
        raw.writer.write(one)
        await raw.reader.readuntil(b'"No tasks in queue"}')
    assert 1_000 / (perf_counter() - begun) > 300
