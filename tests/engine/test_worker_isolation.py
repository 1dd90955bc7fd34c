"""Attempts in child processes, through a whole worker and a real database."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.isolated import command, make_registry
from tests.support.waiting import eventually
from tests.support.workers import reaches, stopped, working

from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.job import Enqueued, NewJob, OutcomeKind, State
from taskflow.engine.worker import Worker

pytestmark = pytest.mark.slow

GRACE_S = 0.2


@pytest.fixture
def engine(database: Database) -> Engine:
    return Engine(database)


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[Worker]:
    registry = make_registry("process", "sync")
    options: dict[str, Any] = {"grace_s": 0.0, "cancel_grace_s": GRACE_S, "command": command("sync")}
    async with working(database_url, registry, **options) as worker:
        yield worker


async def begin(engine: Engine, kind: str, path: Path) -> Enqueued:
    """Submit a job, and wait until its handler has begun."""
    job = await engine.enqueue(NewJob(kind, {"path": str(path)}))
    await eventually("the handler to begin", path.exists, within_s=20)
    return job


async def test_a_job_in_a_child_process_completes_and_its_lines_are_kept(worker: Worker, engine: Engine) -> None:
    job = await reaches(engine, await engine.enqueue(NewJob("who", {})), within_s=20)
    assert job.state is State.COMPLETED
    assert isinstance(job.result, dict)
    assert job.result["pid"] != os.getpid()
    logged = await reaches(engine, await engine.enqueue(NewJob("log", {"size": 3})), within_s=20)
    assert [line.message for line in await engine.list_logs(logged.id, limit=10)] == ["line 0", "line 1", "line 2"]


@pytest.mark.covers("S2-46", "X-8")
async def test_a_cancel_of_a_job_that_ignores_it_kills_its_process(
    worker: Worker, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.engine.worker.RECONCILE_S", 0.05)
    job = await begin(engine, "stubborn", tmp_path / "begun")
    await engine.cancel(job.id)
    assert (await reaches(engine, job)).state is State.CANCELLED
    assert not worker.is_stuck


async def test_the_death_of_one_child_hurts_no_other_job(worker: Worker, engine: Engine, tmp_path: Path) -> None:
    jobs = [await begin(engine, "breed", tmp_path / f"pid-{number}") for number in range(2)]
    text = await eventually("its number", (tmp_path / "pid-0").read_text)
    stat = Path(f"/proc/{text}/stat").read_text()
    os.kill(int(stat.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)  # its parent
    hurt = await reaches(engine, jobs[0], State.RETRYING)
    assert (hurt.failures, hurt.error.type if hurt.error else None) == (0, "Crashed")
    assert [attempt.outcome for attempt in await engine.list_attempts(jobs[0].id)] == [OutcomeKind.CRASHED]
    assert (await engine.get_job(jobs[1].id)).state is State.ACTIVE


async def test_a_drain_kills_what_ignores_it_and_hands_it_back_uncharged(
    worker: Worker, engine: Engine, tmp_path: Path
) -> None:
    job = await begin(engine, "stubborn", tmp_path / "begun")
    worker.request_stop()
    await stopped(worker)
    assert not worker.is_stuck
    handed = await engine.get_job(job.id)
    assert (handed.state, handed.attempt, handed.failures) == (State.PENDING, 1, 0)
    assert [attempt.outcome for attempt in await engine.list_attempts(job.id)] == [OutcomeKind.HANDED_BACK]


async def test_a_worker_that_cannot_start_children_refuses_kinds_that_need_them(database_url: str) -> None:
    with pytest.raises(ValueError, match="run in child processes"):
        async with working(database_url, make_registry("process", "sync")):
            pass
