"""
The workloads that go through the commands of the product: an API process under load, and a worker without work.

The load comes from this process, by a client that does little more than write prepared bytes and read a status: what is
measured is the API, the database and the machine they share with it.
"""

import asyncio
import os
import re
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from benchmarks.figures import Figure, Figures, percentile
from taskflow.engine.registry import JobContext, Registry
from taskflow.engine.store import Store

CONNECTIONS = 64
START_S = 60.0
BODY = msgspec.json.encode({"taskType": "measured", "payload": {"n": 1, "padding": "x" * 160}})
STREAM_LINES = 1000  # a write of them at a time
WORKS = "SELECT EXISTS (SELECT FROM taskflow.worker WHERE kinds <> '{}')"
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Payload(msgspec.Struct, forbid_unknown_fields=True):
    """About 200 bytes, checked by the API against the schema that is made of this."""

    n: int
    padding: str


async def rest(url: str, seconds: float) -> Figures:
    """64 connections, each with one submit at a time: with key, schema of the payload, and commit."""
    async with _api(url) as (port, key):
        request = _head("POST /api/v1/jobs", key, f"Content-Length: {len(BODY)}") + BODY
        await asyncio.gather(*(_submit_for(port, request, 1.0) for _ in range(CONNECTIONS)))
        times = await asyncio.gather(*(_submit_for(port, request, seconds) for _ in range(CONNECTIONS)))
    took = [ms for of_one in times for ms in of_one]
    return {
        "REST submit, 64 connections": Figure(len(took) / seconds, "jobs/s", "≥ 4,500"),
        "REST submit p50": Figure(statistics.median(took), "ms", "≤ 15"),
        "REST submit p99": Figure(percentile(took, 99), "ms"),
    }


async def stream(url: str, seconds: float) -> Figures:
    """One stream of jobs as lines of JSON, from the first line to the summary of the last."""
    async with _api(url) as (port, key):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_head("POST /api/v1/jobs/stream", key, "Transfer-Encoding: chunked", kind="application/x-ndjson"))
        answer = asyncio.ensure_future(reader.read())  # the summaries, as they come
        lines = (BODY + b"\n") * STREAM_LINES
        chunk = b"%x\r\n%b\r\n" % (len(lines), lines)
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds:
            writer.write(chunk)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        found = re.search(rb'"_end":\s*true.*"accepted":\s*(\d+)', await answer)
        took_s = time.perf_counter() - begin
        writer.close()
    if found is None:
        raise AssertionError("the stream broke off")
    return {"NDJSON stream": Figure(int(found[1]) / took_s, "jobs/s", "≥ 30,000")}


SETTLE_S = 12.0  # what a start leaves to do; and a session of PostgreSQL may count its transactions ten seconds late


async def idle(url: str, seconds: float) -> Figures:
    """`taskflow worker` with nothing to do: its supervisor, which leads, and one process."""
    async with _command(url, "worker", "--processes", "1") as worker:
        connection = await asyncpg.connect(url)
        try:
            while not await connection.fetchval(WORKS):  # noqa: ASYNC110 -- in a table
                await asyncio.sleep(0.1)
            await asyncio.sleep(SETTLE_S)
            family = _family(worker.pid)
            before_s, commits = sum(map(cpu_s, family)), await _commits(connection)
            await asyncio.sleep(seconds)
            spent_s, commits = sum(map(cpu_s, family)) - before_s, await _commits(connection) - commits
            supervisor, child = (_pss_bytes(pid) / 2**20 for pid in family[:2])
        finally:
            await connection.close()
    return {
        "idle worker, CPU": Figure(100 * spent_s / seconds, "% of a core", "< 1"),
        "idle worker, transactions": Figure(commits / seconds, "1/s", "≤ 5"),
        "idle worker, memory of the process": Figure(child, "MiB", "< 80"),
        "idle worker, memory of its supervisor": Figure(supervisor, "MiB"),
    }


def _head(call: str, key: str, length: str, *, kind: str = "application/json") -> bytes:
    lines = (f"{call} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", f"Content-Type: {kind}", length)
    return "\r\n".join((*lines, "", "")).encode()


async def _submit_for(port: int, request: bytes, seconds: float) -> list[float]:
    """Submit on one connection, one job after the other; return how long each took, in ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 20") or (length := _LENGTH.search(head)) is None:
            raise AssertionError(f"a submit was refused: {head.decode()}")
        await reader.readexactly(int(length[1]))
        times.append((time.perf_counter() - begin) * 1000)
    writer.close()
    return times


@asynccontextmanager
async def _api(url: str) -> AsyncIterator[tuple[int, str]]:
    """One API process that knows a kind without any worker; gives its port and a key."""
    registry = Registry()

    @registry.job("measured", payload=Payload)
    async def measured(ctx: JobContext, payload: Payload) -> None:
        raise AssertionError("nobody runs it")

    connection = await asyncpg.connect(url)
    await Store().publish_kinds(connection, registry.published)
    await connection.close()
    words = ("keys", "create", "bench", "--scope", "jobs:write", "--database-url", url)
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "taskflow", *words, env=_environ(url), stdout=asyncio.subprocess.PIPE
    )
    key = (await made.communicate())[0].decode().strip()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with _command(url, "api", "--port", str(port)):
        until = time.perf_counter() + START_S
        while not await _is_ready(port):
            if time.perf_counter() > until:
                raise AssertionError(f"the API was not ready within {START_S:.0f} s")
            await asyncio.sleep(0.1)
        yield port, key


async def _is_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.write(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


@asynccontextmanager
async def _command(url: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "taskflow", *words, env=_environ(url), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


def _environ(url: str) -> Mapping[str, str]:
    """In production, as far as limits and log lines go; without a limit of requests."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TASKFLOW_DATABASE_URL": url,
        "TASKFLOW_SECRET_KEY": "measured-" * 8,
        "TASKFLOW_LOG_LEVEL": "warning",
        "TASKFLOW_RATE_LIMIT_WRITE": "0",
    }


def _family(pid: int) -> list[int]:
    """Return *pid* and its children, in the order of their ids."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *sorted(map(int, children))]


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_bytes(pid: int) -> int:
    """Its memory, with its share of what it shares with others."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    if found is None:
        raise AssertionError("no Pss in smaps_rollup")
    return int(found[1]) * 1024


async def _commits(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """Transactions of the database so far, of other sessions: ours are left out by asking once each time."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    count: int = await connection.fetchval(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    return count
