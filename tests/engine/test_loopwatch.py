"""A blocked event loop is named, with the job that blocks it."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from tests.engine.test_executor import make_claim
from tests.support.waiting import eventually

from taskflow.engine import loopwatch as module
from taskflow.engine.loopwatch import LoopWatch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.01)
    monkeypatch.setattr(module, "BLOCKED_S", 0.1)


@pytest.fixture
def said() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_the_job_that_blocks_the_loop_is_named_once(said: list[Any]) -> None:
    claim, blocked = make_claim("blocker"), threading.Event()

    async def handler() -> None:
        await asyncio.sleep(0.02)
        blocked.wait(0.4)

    task = asyncio.ensure_future(handler())
    watch = LoopWatch(asyncio.get_running_loop(), lambda found: claim if found is task else None)
    watching = asyncio.create_task(watch.run())
    await task
    await eventually("the line", lambda: [line for line in said if line["kind"]])
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    [line] = [line for line in said if line["kind"]]
    assert (line["event"], line["kind"], line["job_id"]) == ("taskflow.loop.blocked", "blocker", str(claim.job_id))
    assert 0.1 <= line["blocked_s"] <= 0.4
