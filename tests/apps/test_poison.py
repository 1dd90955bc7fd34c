"""Jobs that kill or block the process they run in, under a real supervisor: they hurt only themselves."""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.poisoned import NEIGHBOURS, QUEUE
from tests.support.waiting import eventually
from tests.support.workers import reaches

from taskflow.apps import supervisor as supervisor_module
from taskflow.apps import worker
from taskflow.apps.fleet import WorkerFleet
from taskflow.apps.settings import Settings
from taskflow.apps.supervisor import Child, Supervisor
from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.job import MAX_CRASHES, FailureReason, JobId, NewJob, OutcomeKind, State

pytestmark = [pytest.mark.slow, pytest.mark.system]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(database: Database) -> Engine:
    return Engine(database)


@asynccontextmanager
async def fleet(url: str, data: Path, monkeypatch: pytest.MonkeyPatch, *, concurrency: int) -> AsyncIterator[Child]:
    """Run one worker process with the kinds of `poisoned`."""
    monkeypatch.setattr(worker, "COMMAND", "tests.support.poisoned")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    settings = Settings.from_env(
        {**environ, "TASKFLOW_DATA_DIR": str(data)}, queues=QUEUE, worker_concurrency=concurrency, workers=1
    )
    async with Supervisor(lambda line: None) as supervisor:
        workers = WorkerFleet(supervisor, settings, url, settings.child_environ(database_url=url))
        workers.start()
        try:
            yield workers.children[0]
        finally:
            supervisor.hurry.set()
            await workers.stop()


async def submit(engine: Engine, kinds: Sequence[str]) -> list[JobId]:
    jobs = [NewJob(kind, {}, queue=QUEUE) for kind in kinds]
    return [answer.id for answer in await engine.enqueue_many(jobs)]


async def outcomes(engine: Engine, job_id: JobId) -> list[OutcomeKind]:
    return [attempt.outcome for attempt in await engine.list_attempts(job_id)]


async def test_one_poison_among_fifty_ends_itself_and_none_of_the_others(
    database_url: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first crash takes the worker down and makes all that ran suspect; then each runs alone."""
    async with fleet(database_url, tmp_path, monkeypatch, concurrency=NEIGHBOURS + 1) as child:
        poison, *neighbours = await submit(engine, ["poison"] + ["neighbour"] * NEIGHBOURS)
        dead = await reaches(engine, poison, within_s=40)
        assert (dead.state, dead.failure_reason, dead.failures) == (State.FAILED, FailureReason.CRASH_LIMIT, 0)
        assert dead.error is not None
        assert "SIGKILL" in dead.error.message
        assert await outcomes(engine, poison) == [OutcomeKind.LOST] + [OutcomeKind.CRASHED] * MAX_CRASHES
        for job_id in neighbours:
            job = await reaches(engine, job_id, within_s=40)
            assert (job.state, job.failures) == (State.COMPLETED, 0)
            assert await outcomes(engine, job_id) == [OutcomeKind.LOST, OutcomeKind.COMPLETED]
            assert job.result != child.pid
        assert child.crashes == 1


async def test_one_poison_among_fifty_in_processes_of_their_own_hurts_nobody(
    database_url: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet(database_url, tmp_path, monkeypatch, concurrency=10) as child:
        kinds = ["neighbour_alone"] * NEIGHBOURS
        kinds.insert(NEIGHBOURS // 2, "poison_alone")
        jobs = await submit(engine, kinds)
        poison = jobs.pop(NEIGHBOURS // 2)
        dead = await reaches(engine, poison, within_s=40)
        assert (dead.state, dead.failure_reason) == (State.FAILED, FailureReason.CRASH_LIMIT)
        assert await outcomes(engine, poison) == [OutcomeKind.CRASHED] * MAX_CRASHES
        for job_id in jobs:
            job = await reaches(engine, job_id, within_s=40)
            assert (job.state, job.attempt) == (State.COMPLETED, 1)
        assert child.crashes == 0


async def test_a_job_that_blocks_its_worker_is_suspect_and_a_job_beside_it_that_had_not_begun_is_not(
    database_url: str,
    engine: Engine,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Both are claimed at once; the first keeps the loop, so that the second never begins."""
    monkeypatch.setattr(supervisor_module, "SILENCE_S", 4.0)
    monkeypatch.setattr(supervisor_module, "CHECK_S", 0.2)
    jobs = await submit(engine, ["block", "neighbour"])
    async with fleet(database_url, tmp_path, monkeypatch, concurrency=2) as child:
        first = await reaches(engine, jobs[0], within_s=30)
        assert (first.state, first.attempt) == (State.COMPLETED, 2)
        assert await outcomes(engine, jobs[0]) == [OutcomeKind.LOST, OutcomeKind.COMPLETED]
        second = await reaches(engine, jobs[1], within_s=30)
        assert (second.state, second.attempt) == (State.COMPLETED, 2)
        assert (first.result == child.pid, second.result == child.pid) == (False, True)
    said = capfd.readouterr().err
    [line] = [line for line in said.splitlines() if "taskflow.loop.blocked" in line]
    assert str(jobs[0]) in line


async def test_the_children_of_a_killed_worker_die_with_it_whatever_they_are_doing(
    database_url: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And their jobs are nobody's crash: they run again."""
    async with fleet(database_url, tmp_path, monkeypatch, concurrency=2) as child:
        [job_id] = await submit(engine, ["stay_alone"])
        [line] = await eventually("its process", lambda: engine.list_logs(job_id, limit=1), within_s=30)
        os.kill(int(line.message), 0)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await eventually("the child to be gone", lambda: not Path(f"/proc/{line.message}").exists(), within_s=3)
        job = await reaches(engine, job_id, within_s=30)
        assert (job.state, job.failures) == (State.COMPLETED, 0)
        assert await outcomes(engine, job_id) == [OutcomeKind.LOST, OutcomeKind.COMPLETED]


async def test_a_job_that_kills_its_worker_out_of_its_child_reaches_the_crash_limit_and_its_neighbour_completes(
    database_url: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who killed the worker cannot be seen, so the first time nobody is charged, and then whoever ran as a suspect."""
    monkeypatch.setattr(supervisor_module, "MAX_BACKOFF_S", 0.1)
    async with fleet(database_url, tmp_path, monkeypatch, concurrency=2) as child:
        killer, neighbour = await submit(engine, ["kill_worker", "stay_alone"])
        dead = await reaches(engine, killer, within_s=50)
        assert (dead.state, dead.failure_reason, dead.failures) == (State.FAILED, FailureReason.CRASH_LIMIT, 0)
        assert await outcomes(engine, killer) == [OutcomeKind.LOST] + [OutcomeKind.CRASHED] * MAX_CRASHES
        assert dead.error is not None
        assert "worker" in dead.error.message
        assert child.crashes == 1 + MAX_CRASHES
        job = await reaches(engine, neighbour, within_s=40)
        assert (job.state, job.failures) == (State.COMPLETED, 0)


async def test_a_job_that_tells_a_process_to_end_costs_itself_and_no_worker(
    database_url: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own process: that is a crash. The worker: that takes orders from its supervisor alone."""
    async with fleet(database_url, tmp_path, monkeypatch, concurrency=2) as child:
        ends_itself, stops_worker = await submit(engine, ["end_itself", "stop_worker"])
        dead = await reaches(engine, ends_itself, within_s=40)
        assert (dead.state, dead.failure_reason, dead.failures) == (State.FAILED, FailureReason.CRASH_LIMIT, 0)
        assert await outcomes(engine, ends_itself) == [OutcomeKind.CRASHED] * MAX_CRASHES
        job = await reaches(engine, stops_worker, within_s=40)
        assert (job.state, job.attempt, job.result) == (State.COMPLETED, 1, child.pid)
        assert child.crashes == 0
