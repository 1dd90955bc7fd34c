"""The pool and the endpoints in front of it, with real processes."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from io import StringIO
from typing import Any

import httpx
import pytest

from learn_client import PATIENCE_S, RawConnection, request
from taskflow_learn.config import Settings
from taskflow_learn.errors import Code, Refusal
from taskflow_learn.log import Logger
from taskflow_learn.server import Server
from taskflow_learn.workers.computation import run_report
from taskflow_learn.workers.job import Job, JobStatus
from taskflow_learn.workers.pool import WorkerPool
from taskflow_learn.workers.process import WorkerProcess

ENDLESS = 350_000_000  # long enough never to end within a test


@pytest.fixture
def settings(change: Callable[..., Settings]) -> Settings:
    return change(worker_pool_size=1, report_pool_size=1)


@asynccontextmanager
async def running(
    *,
    size: int = 1,
    queue_limit: int = 10,
    timeout_ms: int = 30_000,
    history_limit: int = 100,
    log_text: StringIO | None = None,
) -> AsyncIterator[WorkerPool]:
    log = Logger(log_text or StringIO())
    pool = WorkerPool(
        "test", log, size=size, queue_limit=queue_limit, timeout_ms=timeout_ms, history_limit=history_limit
    )
    task = asyncio.create_task(pool.run())
    try:
        yield pool
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def burn(pool: WorkerPool, iterations: int) -> Job:
    return pool.submit("cpu", lambda: {"iterations": iterations}, {})


async def ended(pool: WorkerPool, job: Job) -> Job:
    async with asyncio.timeout(PATIENCE_S):
        return await pool.wait(job)


async def first_answer(pool: WorkerPool) -> int:
    """Return the process id of the worker that answers now."""
    output: Any = (await ended(pool, burn(pool, 1))).output
    worker_id: int = output["threadId"]
    return worker_id


@pytest.mark.covers("S1-28", "X-3")
async def test_jobs_run_in_another_process_in_order_of_arrival() -> None:
    async with running() as pool:
        jobs = [burn(pool, number) for number in range(1, 6)]
        finished = [await ended(pool, job) for job in jobs]
        outputs: list[Any] = [job.output for job in finished]
        assert [output["iterations"] for output in outputs] == [1, 2, 3, 4, 5]
        assert {output["threadId"] for output in outputs} == {*pool.pids()}
        assert os.getpid() not in pool.pids()
        started = [job.started_at or "" for job in finished]
        assert started == sorted(started)


@pytest.mark.covers("S1-28", "S1-22")
async def test_a_full_queue_refuses_at_once() -> None:
    async with running(queue_limit=1) as pool:
        await first_answer(pool)
        running_job = burn(pool, ENDLESS)
        while running_job.status is JobStatus.QUEUED:
            await asyncio.sleep(0)
        burn(pool, 1)
        with pytest.raises(Refusal) as refused:
            burn(pool, 1)
        assert refused.value.code is Code.SERVICE_UNAVAILABLE
        assert refused.value.details == {"field": "queue", "max": 1}


@pytest.mark.covers("S1-28")
async def test_a_timeout_kills_the_worker_and_the_next_job_finds_a_new_one() -> None:
    async with running(timeout_ms=400) as pool:
        before = await first_answer(pool)
        job = await ended(pool, burn(pool, ENDLESS))
        assert job.status is JobStatus.FAILED
        assert job.error == "timed out after 400 ms; the worker was killed"
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)
        assert await first_answer(pool) != before


@pytest.mark.covers("S1-28")
async def test_a_crash_costs_one_job() -> None:
    async with running() as pool:
        worker = await first_answer(pool)
        victim, next_one = burn(pool, ENDLESS), burn(pool, 3)
        while victim.status is JobStatus.QUEUED:
            await asyncio.sleep(0)
        os.kill(worker, signal.SIGKILL)
        assert (await ended(pool, victim)).error == "the worker died; a new one takes its place"
        assert (await ended(pool, next_one)).status is JobStatus.COMPLETED
        assert pool.stats()["failedJobs"] == 1


async def test_a_worker_that_dies_while_idle_costs_no_job() -> None:
    async with running() as pool:
        worker = await first_answer(pool)
        os.kill(worker, signal.SIGKILL)
        while pool.pids():
            await asyncio.sleep(0)
        assert await first_answer(pool) != worker


async def test_a_system_that_has_no_process_to_give_delays_a_job_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spawn, failures = WorkerProcess.spawn, [BlockingIOError(11, "no process left"), OSError(24, "too many open files")]

    async def spawn_at_last() -> WorkerProcess:
        if failures:
            raise failures.pop()
        return await spawn()

    monkeypatch.setattr(WorkerProcess, "spawn", spawn_at_last)
    monkeypatch.setattr("taskflow_learn.workers.pool.RESPAWN_PAUSE_S", 0.01)
    log_text = StringIO()
    async with running(log_text=log_text) as pool:
        job = burn(pool, 1)
        assert (await ended(pool, job)).status is JobStatus.COMPLETED
    retries = [line for line in log_text.getvalue().splitlines() if "Worker not started" in line]
    assert ["too many open files" in line for line in retries] == [True, False]
    assert '"retryInS": 0.02' in retries[1]


async def test_a_process_that_does_not_start_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def pair() -> tuple[socket.socket, socket.socket]:
        made.extend(socketpair())
        return made[0], made[1]

    socketpair = socket.socketpair
    monkeypatch.setattr(socket, "socketpair", pair)
    monkeypatch.setattr("sys.executable", "/nowhere")
    with pytest.raises(FileNotFoundError):
        await WorkerProcess.spawn()
    assert [end.fileno() for end in made] == [-1, -1]


async def test_a_bug_in_a_computation_fails_its_job_and_not_the_worker() -> None:
    async with running() as pool:
        worker = await first_answer(pool)
        job = await ended(pool, pool.submit("no such kind", dict, {}))
        assert job.error == "KeyError: 'no such kind'"
        assert await first_answer(pool) == worker


async def test_records_of_old_jobs_are_pruned() -> None:
    async with running(history_limit=3) as pool:
        jobs = [await ended(pool, burn(pool, 1)) for _ in range(5)]
        assert [pool.find(job.id) is not None for job in jobs] == [False, False, True, True, True]
        assert pool.stats()["totalJobs"] == 5


async def test_a_stopped_pool_leaves_no_process() -> None:
    async with running(size=2) as pool:
        await first_answer(pool)
        processes = pool.pids()
        burn(pool, ENDLESS)
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.covers("S1-24")
def test_a_report_counts() -> None:
    rows = [
        ("a", "completed", 10, []),
        ("b", "pending", 8, ["a"]),
        ("c", "in-progress", 4, ["a", "b"]),
        ("d", "pending", 1, ["c"]),
    ]
    report: Any = run_report({"tasks": rows, "heavyIterations": 5})
    assert report["summary"] == {"totalTasks": 4, "blockedTasks": 2, "unblockedTasks": 2, "totalDependencies": 4}
    assert report["byStatus"] == {"pending": 2, "in-progress": 1, "completed": 1, "other": 0}
    assert report["byPriority"] == {"high": 2, "medium": 1, "low": 1}
    assert report["syntheticCpuScore"] == 10
    assert report["threadId"] == os.getpid()
    assert report["durationMs"] >= 0
    assert report["generatedAt"].endswith("Z")


@pytest.mark.covers("S1-22", "S1-23", "S1-24", "S1-25")
async def test_a_report_is_started_and_read(admin: httpx.AsyncClient, user: httpx.AsyncClient, server: Server) -> None:
    await admin.post("/tasks", json={"title": "a", "priority": 9})
    answer = await admin.post("/tasks/reports/start", params={"heavyIterations": 10})
    assert answer.status_code == 202
    started = answer.json()
    assert started.keys() == {"requestId", "message", "jobId", "statusPath"}
    job = server.services.reports.find(started["jobId"])
    assert job is not None
    await ended(server.services.reports, job)
    record = (await user.get(started["statusPath"])).json()
    assert record.keys() == {
        "requestId", "jobId", "status", "createdAt", "startedAt", "finishedAt", "input", "output", "error",
    }  # fmt: skip
    assert record["status"] == "completed"
    assert record["output"]["byPriority"]["high"] == 1
    stats = (await user.get("/tasks/reports/stats")).json()
    assert stats == {
        "poolSize": 1,
        "workerCount": 1,
        "activeWorkers": 0,
        "queuedJobs": 0,
        "maxQueueSize": 50,
        "totalJobs": 1,
        "completedJobs": 1,
        "failedJobs": 0,
        "runningJobs": 0,
        "queuedJobCount": 0,
    }
    missing = await user.get("/tasks/reports/nothing")
    assert missing.status_code == 404
    assert "Task report job" in missing.json()["error"]["message"]


@pytest.mark.covers("S1-22")
@pytest.mark.parametrize("value", ["-1", "120000001", "many", "1.5"])
async def test_iterations_are_bounded(admin: httpx.AsyncClient, value: str) -> None:
    answer = await admin.post("/tasks/reports/start", params={"heavyIterations": value})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"] == {"field": "heavyIterations", "min": 0, "max": 120_000_000}


@pytest.mark.covers("S1-26", "S1-27")
async def test_the_same_work_on_the_loop_and_in_a_worker(user: httpx.AsyncClient) -> None:
    blocking = (await user.get("/tasks/reports/blocking", params={"iterations": 1000})).json()
    assert blocking.keys() == {"mode", "iterations", "result", "durationMs"}
    assert blocking["mode"] == "main-thread-blocking"
    worker = (await user.get("/tasks/reports/worker-run", params={"iterations": 1000})).json()
    assert worker.keys() == {"mode", "jobId", "output"}
    assert worker["mode"] == "worker-thread-report"
    assert worker["output"]["syntheticCpuScore"] == blocking["result"]


@pytest.mark.covers("S1-36", "S1-37", "S1-38", "S1-39", "S1-40")
async def test_cpu_demos(user: httpx.AsyncClient, server: Server) -> None:
    blocking = (await user.get("/demo/cpu/blocking", params={"iterations": 1000})).json()
    ran = (await user.get("/demo/cpu/worker/run", params={"iterations": 1000})).json()
    assert ran["output"]["result"] == blocking["result"]
    answer = await user.get("/demo/cpu/worker/start", params={"iterations": 1000})
    assert answer.status_code == 202
    job = server.services.workers.find(answer.json()["jobId"])
    assert job is not None
    await ended(server.services.workers, job)
    assert (await user.get(answer.json()["statusPath"])).json()["output"]["result"] == blocking["result"]
    assert (await user.get("/demo/cpu/worker/stats")).json()["completedJobs"] == 2
    assert (await user.get("/demo/cpu/worker/jobs/none")).status_code == 404


class TestAServerThatRunsOutOfPatience:
    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(worker_pool_size=1, stop_timeout_ms=50)

    @pytest.mark.covers("S1-6")
    async def test_cuts_off_who_still_waits(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        async with RawConnection.open(server.port) as waiting:
            await waiting.send(request("GET", f"/demo/cpu/worker/run?iterations={ENDLESS}"))
            while server.services.workers.stats()["runningJobs"] == 0:
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_S):
                await server.stop()
            with suppress(ConnectionError):
                assert await waiting.rest() == b""
        assert not caplog.records  # asyncio would complain here about a task that ended badly


class TestAJobThatNeverEnds:
    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(worker_pool_size=1, worker_job_timeout_ms=200)

    async def test_is_killed_and_reported_to_who_waits(self, user: httpx.AsyncClient) -> None:
        answer = await user.get("/demo/cpu/worker/run", params={"iterations": ENDLESS}, timeout=PATIENCE_S)
        assert answer.status_code == 500
        assert "timed out after 200 ms" in answer.json()["error"]["message"]


class TestLessonsSwitchedOff:
    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(lessons=frozenset())

    @pytest.mark.covers("X-5")
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/demo/cpu/blocking"),
            ("GET", "/tasks/reports/blocking"),
            ("POST", "/demo/memory/leak"),
            ("POST", "/tasks/memory/leak"),
        ],
    )
    async def test_what_hurts_is_refused_by_name(self, admin: httpx.AsyncClient, method: str, path: str) -> None:
        answer = await admin.request(method, path)
        assert answer.status_code == 403
        assert answer.json()["error"]["details"]["setting"] == "LESSONS"
