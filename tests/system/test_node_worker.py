"""The documentation's worker in Node.js, a real process against a real API: killed, frozen, cancelled, drained."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.http.test_server import start
from tests.support.api import Api, make_api
from tests.support.remote import reap
from tests.support.waiting import eventually

from taskflow.db.pool import Database

WORKER = Path(__file__).parents[2] / "docs" / "examples" / "node-worker" / "worker.mjs"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(NODE is None and "CI" not in os.environ, reason="there is no node"),
]


class Site:
    """What the links that jobs check lead to: it answers when it is told to."""

    def __init__(self) -> None:
        self.answering = asyncio.Event()
        self.waiting = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.waiting += 1
            await self.answering.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            await writer.drain()
        writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    async with await asyncio.start_server(site.serve, "127.0.0.1", 0) as server:
        site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield site
        site.answering.set()


class Farm:
    """An API process, and Node workers that talk to it."""

    def __init__(self, url: str, key: str, database: Database) -> None:
        self.client = httpx.AsyncClient(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"})
        self.database = database
        self._environ = {**os.environ, "TASKFLOW_URL": url, "TASKFLOW_API_KEY": key, "GRACE_MS": "500"}
        self._workers: list[asyncio.subprocess.Process] = []

    async def start_worker(self) -> asyncio.subprocess.Process:
        before = await self._count()
        worker = await asyncio.create_subprocess_exec(
            NODE or "node", str(WORKER), env=self._environ, stdout=asyncio.subprocess.PIPE
        )
        self._workers.append(worker)

        async def is_there() -> bool:
            assert worker.returncode is None
            return await self._count() > before

        await eventually("the worker to claim", is_there, within_s=15)
        return worker

    async def submit(self, url: str) -> str:
        response = await self.client.post("/jobs", json={"taskType": "check_link", "payload": {"url": url}})
        assert response.status_code == 201, response.text
        job_id: str = response.json()["jobId"]
        return job_id

    async def job(self, job_id: str, status: str) -> Any:
        """Wait until the job has this status."""

        async def look() -> Any:
            job = (await self.client.get(f"/jobs/{job_id}")).json()
            return job if job["status"] == status else None

        return await eventually(f"the job to be {status}", look, within_s=15)

    async def give_up_on_all(self) -> int:
        """Let sixteen seconds without a sign of life pass, and rescue. A last sign may have been on its way."""

        async def rescue() -> int:
            async with self.database.acquire() as connection:
                await connection.execute("UPDATE taskflow.worker SET heartbeat_at = heartbeat_at - interval '16 s'")
            return await reap(self.database)

        return await eventually("the worker to be given up", rescue)

    async def _count(self) -> int:
        async with self.database.acquire() as connection:
            count: int = await connection.fetchval("SELECT count(*) FROM taskflow.worker")
        return count

    async def stop(self) -> None:
        for worker in self._workers:
            if worker.returncode is None:
                worker.kill()
            await worker.communicate()
        await self.client.aclose()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
async def farm(listener: socket.socket, database_url: str, database: Database) -> AsyncIterator[Farm]:
    async with make_api(database_url) as api:
        key = await _publish(api)
    server = start(listener, database_url)
    farm = Farm(server.url, key, database)
    try:
        yield farm
    finally:
        await farm.stop()
        server.stop()


async def _publish(api: Api) -> str:
    """Offer the kind before any worker does, so that jobs may be there first."""
    key = await api.key("worker", "jobs:read", "jobs:write")
    async with api.client(key) as client:
        kinds = [{"taskType": "check_link", "queue": "links", "schema": {}}]
        assert (await client.post("/api/v1/worker/kinds", json={"kinds": kinds})).status_code == 200
    return key


async def line(worker: asyncio.subprocess.Process) -> str:
    assert worker.stdout is not None
    async with asyncio.timeout(15):
        return (await worker.stdout.readline()).decode().strip()


async def test_a_job_of_a_worker_killed_in_the_middle_is_completed_by_another(farm: Farm, site: Site) -> None:
    killed = await farm.start_worker()
    job_id = await farm.submit(site.url)
    await farm.job(job_id, "active")
    await eventually("the handler to be at work", lambda: site.waiting == 1, within_s=15)
    killed.kill()
    await killed.wait()
    assert await farm.give_up_on_all() == 1
    site.answering.set()
    second = await farm.start_worker()
    job = await farm.job(job_id, "completed")
    assert (job["attempt"], job["failures"], job["result"]) == (2, 0, {"status": 200, "bytes": 5})
    assert await line(second) == f"{job_id} attempt 2: completed"


async def test_a_frozen_worker_wakes_up_too_late_to_end_its_job(farm: Farm, site: Site) -> None:
    frozen = await farm.start_worker()
    job_id = await farm.submit(site.url)
    await eventually("the handler to be at work", lambda: site.waiting == 1, within_s=15)
    frozen.send_signal(signal.SIGSTOP)
    assert await farm.give_up_on_all() == 1
    site.answering.set()  # the frozen one's answer arrives as well, and waits for it
    await farm.start_worker()
    first = await farm.job(job_id, "completed")
    frozen.send_signal(signal.SIGCONT)
    assert await line(frozen) == f"{job_id} attempt 1: lease_lost"
    last = await farm.job(job_id, "completed")
    assert (last["attempt"], last["finishedAt"]) == (2, first["finishedAt"])


async def test_a_worker_stops_what_is_cancelled_and_drains_when_told(farm: Farm, site: Site) -> None:
    worker = await farm.start_worker()
    cancelled, unfinished = await farm.submit(site.url), await farm.submit(site.url)
    await eventually("both handlers to be at work", lambda: site.waiting == 2, within_s=15)
    assert (await farm.client.post(f"/jobs/{cancelled}/cancel")).status_code == 202
    await farm.job(cancelled, "cancelled")  # by the next heartbeat, at most 5 s away
    assert await line(worker) == f"{cancelled} attempt 1: cancelled"
    worker.terminate()
    assert await line(worker) == f"{unfinished} attempt 1: pending"
    async with asyncio.timeout(10):
        assert await worker.wait() == 0
    job = await farm.job(unfinished, "pending")
    assert job["failures"] == 0
    async with farm.database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM taskflow.worker") == 0
