"""Waiting for the result of a job that nobody runs."""

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.support.clock import FakeClock
from tests.support.waiting import eventually
from tests.support.workers import working

from taskflow import TaskFlow
from taskflow.apps.sdk import handle
from taskflow.apps.sdk.function import JobFunction
from taskflow.apps.sdk.handle import REMARK_EVERY_S, Remarks


@pytest.fixture
def count(app: TaskFlow) -> JobFunction[[], None]:
    @app.job("count", queue="texts")
    async def count() -> None: ...

    return count


async def test_a_result_that_is_late_because_nobody_runs_the_job_says_so(
    app: TaskFlow, count: JobFunction[[], None], database_url: str
) -> None:
    waiting = await count.enqueue()
    reason = r"is pending after 0\.05 s: no live worker runs count in queue texts; `taskflow worker --app …` starts one"
    with pytest.raises(TimeoutError, match=reason):
        await waiting.result(timeout_s=0.05)
    with pytest.raises(TimeoutError, match=reason):
        await asyncio.to_thread(waiting.result_sync, timeout_s=0.05)
    async with working(database_url, app.registry, queues=["elsewhere"]):
        with pytest.raises(TimeoutError, match=reason):
            await waiting.result(timeout_s=0.05)
    engine = (await app.database.here()).engine
    await engine.set_queue("texts", paused=True)

    async def offered() -> bool:
        return any("count" in worker.kinds and "texts" in worker.queues for worker in await engine.list_workers())

    async with working(database_url, app.registry, queues=["texts"]):
        await eventually("the kind to be offered", offered)
        with pytest.raises(TimeoutError, match=r"is pending after 0\.05 s: queue texts is paused$"):
            await waiting.result(timeout_s=0.05)
        await engine.set_queue("texts", paused=False)
        await waiting.result(timeout_s=10)


async def test_whoever_waits_for_a_job_that_nobody_runs_is_told_so_in_the_log(
    count: JobFunction[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "UNCLAIMED_S", 0.02)
    first, second = await count.enqueue(), await count.enqueue()
    with capture_logs() as lines:
        results = [asyncio.create_task(one.result()) for one in (first, second)]
        await eventually("the warning", lambda: len(lines))
        for wait in results:
            wait.cancel()
        await asyncio.wait(results)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(second.result_sync, timeout_s=0.2)
    [line] = lines
    assert (line["event"], line["log_level"]) == ("taskflow.result.waiting", "warning")
    assert line["reason"] == "no live worker runs count in queue texts"
    assert line["job_id"] in {str(first.job_id), str(second.job_id)}


async def test_a_remark_comes_again_after_its_time_and_for_another_queue(count: JobFunction[[], None]) -> None:
    clock = FakeClock()
    remarks = Remarks(monotonic=lambda: clock.now.timestamp())
    job = await (await count.enqueue()).job()
    assert [remarks.is_due(job), remarks.is_due(job), remarks.is_due(replace(job, queue="b"))] == [True, False, True]
    clock.advance(seconds=REMARK_EVERY_S)
    assert remarks.is_due(job)
