"""Limits and pauses of queues, as workers keep them."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from tests.support.waiting import eventually
from tests.support.workers import Number, reaches, supervising, working

from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.job import NewJob, State
from taskflow.engine.registry import JobContext, Registry

pytestmark = pytest.mark.slow

QUEUES = ("default", "images")


class Gauge:
    """How many handlers of each queue run, and how many did at most."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.ended = 0
        self.registry = Registry()

        @self.registry.job("count", payload=Number)
        async def count(ctx: JobContext, payload: Number) -> None:
            self.now[ctx.queue] += 1
            self.most[ctx.queue] = max(self.most[ctx.queue], self.now[ctx.queue])
            await asyncio.sleep(0.001 * payload.number)
            self.now[ctx.queue] -= 1
            self.ended += 1


async def test_a_limit_holds_over_workers_and_its_places_are_taken_as_they_come_free(
    database_url: str, database: Database
) -> None:
    """Without the wake-up at each end, sixty jobs one after the other would take as many polls."""
    gauge = Gauge()
    async with (
        Engine(database) as engine,
        supervising(database_url, queues=QUEUES) as above,
        working(database_url, gauge.registry, under=above, queues=QUEUES, incarnation=1),
        working(database_url, gauge.registry, under=above, queues=QUEUES[::-1], incarnation=2),
    ):
        await engine.set_queue("images", limits=True, concurrency=2)
        jobs = [NewJob("count", {"number": 2}, queue=queue) for queue in QUEUES * 60]
        await engine.enqueue_many(jobs)
        await eventually("all jobs to end", lambda: gauge.ended == 120)
    assert gauge.most["images"] <= 2
    assert gauge.most["default"] > 2


async def test_a_limit_survives_the_crash_of_a_worker_that_held_it(database_url: str, database: Database) -> None:
    registry, started, gate = Registry(), asyncio.Event(), asyncio.Event()

    @registry.job("hold", payload=Number)
    async def hold(_ctx: JobContext, _payload: Number) -> None:
        started.set()
        await gate.wait()

    async with Engine(database) as engine, supervising(database_url) as above:
        await engine.set_queue("default", limits=True, concurrency=1)
        first, second = await engine.enqueue_many([NewJob("hold", {})] * 2)
        async with working(database_url, registry, under=above, incarnation=1, grace_s=0.0):
            await started.wait()
            assert (await engine.get_job(second.id)).state is State.PENDING
        gate.set()
        async with working(database_url, registry, under=above, incarnation=2):
            for job in (first, second):
                assert (await reaches(engine, job)).state is State.COMPLETED


async def test_a_queue_that_is_resumed_is_worked_on_at_once(database_url: str, database: Database) -> None:
    gauge = Gauge()
    async with Engine(database) as engine, working(database_url, gauge.registry):
        await engine.set_queue("default", paused=True)
        job = await engine.enqueue(NewJob("count", {}))
        await engine.enqueue(NewJob("count", {}, queue="elsewhere"))
        assert (await engine.get_queue("default")).pending == 1
        await engine.set_queue("default", paused=False)
        await reaches(engine, job, State.COMPLETED)


async def test_a_job_that_nobody_claims_in_time_fails_by_the_leaders_hand(
    database_url: str, database: Database
) -> None:
    async with Engine(database) as engine, supervising(database_url):
        job = await engine.enqueue(NewJob("count", {}, expires_after=timedelta(milliseconds=50)))
        assert (await reaches(engine, job)).failure_reason == "expired"


async def test_submits_with_a_key_through_one_engine_make_one_job(database_url: str, database: Database) -> None:
    async with Engine(database) as engine:
        keyed = NewJob("count", {}, unique_key="k")
        answers = await asyncio.gather(*(engine.enqueue_many([keyed, keyed]) for _ in range(4)))
        flat = [answer for pair in answers for answer in pair]
        flat += await asyncio.gather(*(engine.enqueue(keyed) for _ in range(8)))
        assert len({answer.id for answer in flat}) == 1
        assert sum(not answer.duplicate for answer in flat) == 1
