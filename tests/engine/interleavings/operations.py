"""What callers, workers and the leader do, by the engine's own services, and what each answer promises of the end."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.engine.interleavings.ground import KINDS, Ground, Operation, Services
from tests.engine.interleavings.state import State
from tests.engine.worksite import KIND, QUEUE, new_job

from taskflow.engine.completer import Completer
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    Cancellation,
    Claim,
    Enqueued,
    JobId,
    KindInfo,
    NewJob,
    Outcome,
    OutcomeKind,
    WorkerId,
)
from taskflow.engine.job import State as JobState
from taskflow.engine.remote import RemoteWorkers
from taskflow.engine.schedule import SchedulePlan
from taskflow.engine.submitter import store_jobs
from taskflow.kernel.errors import AlreadyFinal, Conflict, NotFound

URL = "https://shop.example/done"
EVERY = timedelta(minutes=1)


# Submitting ----------------------------------------------------------------------------------------------------------


def submit(ground: Ground, *jobs: NewJob) -> Operation:
    async def run(services: Services) -> list[Enqueued]:
        return await store_jobs(services.database, ground.store, jobs)

    def promise(answers: Sequence[Enqueued], state: State) -> Iterator[str]:
        stored = {job.id for job in state.jobs or ()}
        for answer in answers:
            if answer.id not in stored:
                yield f"answer: job {answer.id} was answered and is not there"

    return Operation("submit", run, promise)


# Workers -------------------------------------------------------------------------------------------------------------


def claim(
    ground: Ground, limit: int = 10, *, worker_id: WorkerId | None = None, queues: Sequence[str] = (QUEUE,)
) -> Operation:
    holder = worker_id or ground.site.worker_id

    async def run(services: Services) -> list[Claim]:
        async with services.database.acquire() as connection:
            return await ground.store.claim(
                connection, worker_id=holder, incarnation=1, queues=queues, kinds=KINDS, limit=limit
            )

    def promise(claims: Sequence[Claim], state: State) -> Iterator[str]:
        for held in claims:
            if all(place.attempt < held.attempt for place in state.of(held.job_id)):
                yield f"answer: attempt {held.attempt} of job {held.job_id} was given out and has not happened"

    return Operation("claim", run, promise)


def claim_after_a_look(ground: Ground) -> Operation:
    """Claim as a worker that lost its connection: first it hands back what it holds and does not know of."""
    claiming = claim(ground)

    async def run(services: Services) -> list[Claim]:
        async with services.database.acquire() as connection:
            held = await ground.store.list_own_leases(connection, worker_id=ground.site.worker_id, incarnation=1)
            await ground.store.return_leases(connection, [lease.id for lease in held], OutcomeKind.HANDED_BACK)
        answer: list[Claim] = await claiming.run(services)
        return answer

    return Operation("claim", run, claiming.promise)


def flush(ground: Ground, *outcomes: Outcome, name: str = "") -> Operation:
    """Write down what attempts came to, as workers do; the answer is what was lost."""

    async def run(services: Services) -> list[Outcome]:
        return await RemoteWorkers(services.database, services.engine, store=ground.store).end(outcomes)

    def promise(lost: Sequence[Outcome], state: State) -> Iterator[str]:
        for outcome in outcomes:
            is_written = was_decided(state, outcome)
            if (outcome in lost) == is_written:
                yield (
                    f"answer: attempt {outcome.claim.attempt} of job {outcome.claim.job_id}, {outcome.kind}, "
                    f"was {'refused and is' if is_written else 'taken and is not'} written"
                )

    return Operation(name or outcomes[0].kind, run, promise)


def write_down(ground: Ground, *outcomes: Outcome) -> Operation:
    """The same by a worker's own completer, which sends again what was not answered."""

    async def run(services: Services) -> None:
        completer = Completer(services.database, ground.store)
        running = asyncio.create_task(completer.run())
        try:
            for outcome in outcomes:
                completer.add(outcome)
            await completer.drain()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def promise(_: None, state: State) -> Iterator[str]:
        for outcome in outcomes:
            if not was_decided(state, outcome):
                yield f"answer: job {outcome.claim.job_id}, {outcome.kind}, is not written"

    return Operation(f"write down {', '.join(outcome.kind for outcome in outcomes)}", run, promise)


def was_decided(state: State, outcome: Outcome) -> bool:
    """Say whether that attempt came to just that."""
    claim = outcome.claim
    if outcome.kind is OutcomeKind.COMPLETED:
        end = state.end_of(claim.job_id)
        return end is not None and (end.place, end.attempt) == ("completed", claim.attempt)
    return any(
        (line.job_id, line.attempt, line.outcome) == (claim.job_id, claim.attempt, outcome.kind)
        for line in state.log or ()
    )


def complete_in_own_transaction(ground: Ground, outcome: Outcome, *, is_repeated: bool = False) -> Operation:
    """End an attempt together with work of the handler's own; True if it was taken. Refused, it may be a repeat."""

    async def run(services: Services) -> bool:
        query, parameters = ground.store.complete_elsewhere(outcome)
        async with services.database.acquire() as connection:
            block = connection.transaction()
            await block.start()
            won = bool(await query.fetchval(connection, **parameters))
            await (block.commit() if won else block.rollback())
            return won

    def promise(won: bool, state: State) -> Iterator[str]:
        if won != was_decided(state, outcome) and not (is_repeated and not won):
            yield f"answer: {won} was said of {outcome.claim.job_id}, which ended as {state.of(outcome.claim.job_id)}"

    return Operation("complete in own transaction", run, promise)


def return_leases(ground: Ground, *claims: Claim, outcome: OutcomeKind = OutcomeKind.HANDED_BACK) -> Operation:
    """Hand back what a worker or its child process held: it signs off, or does not know these claims."""
    lease_ids = sorted({held.lease_id for held in claims})

    async def run(services: Services) -> dict[str, int]:
        async with services.database.acquire() as connection:
            return await ground.store.return_leases(connection, lease_ids, outcome)

    return Operation("hand back", run)


# Callers -------------------------------------------------------------------------------------------------------------


def cancel(job_id: JobId, *, attempt: int = 1) -> Operation:
    """Cancel a job; asked of a worker, no attempt after number *attempt* may begin."""

    async def run(services: Services) -> Cancellation:
        return await services.engine.cancel(job_id)

    def promise(answer: Cancellation | AlreadyFinal, state: State) -> Iterator[str]:
        end = state.end_of(job_id)
        if isinstance(answer, AlreadyFinal):
            return
        if answer.state is JobState.CANCELLED and (end is None or end.place != "cancelled"):
            yield f"answer: job {job_id} was cancelled, and ended as {end}"
        if answer.state is JobState.ACTIVE and (end is None or end.attempt > attempt):
            yield f"answer: job {job_id} was asked to stop, and ended as {end}"

    return Operation("cancel", run, promise, (AlreadyFinal,))


def run_now(job_id: JobId) -> Operation:
    async def run(services: Services) -> Any:
        return await services.engine.run_now(job_id)

    return Operation("run now", run, allowed=(Conflict,))


def change(job_id: JobId, *, priority: int | None = None, run_after: timedelta | None = None) -> Operation:
    async def run(services: Services) -> Any:
        return await services.engine.change(job_id, priority=priority, run_after=run_after)

    return Operation("change", run, allowed=(Conflict,))


def replay(job_id: JobId, *, state: JobState = JobState.FAILED) -> Operation:
    async def run(services: Services) -> Any:
        return await services.engine.replay(job_id, state=state)

    return Operation("replay", run, allowed=(Conflict, NotFound))


def delete(ground: Ground, *job_ids: JobId) -> Operation:
    async def run(services: Services) -> list[JobId]:
        async with services.database.acquire() as connection:
            return await ground.store.delete_ended(
                connection, DEFAULT_NAMESPACE, job_ids, created_from=ground.clock.now - timedelta(days=1)
            )

    def promise(deleted: Sequence[JobId], state: State) -> Iterator[str]:
        for job_id in deleted:
            if state.of(job_id):
                yield f"answer: job {job_id} was deleted, and is {state.of(job_id)}"

    return Operation("delete", run, promise)


def pause(queue: str = QUEUE) -> Operation:
    async def run(services: Services) -> Any:
        return await services.engine.set_queue(queue, paused=True)

    return Operation("pause", run)


def limit(concurrency: int, queue: str = QUEUE) -> Operation:
    async def run(services: Services) -> Any:
        return await services.engine.set_queue(queue, limits=True, concurrency=concurrency)

    return Operation("limit", run)


# The leader ----------------------------------------------------------------------------------------------------------

REAP = Operation("rescue", lambda services: services.reaper.reap())
STAGE = Operation("stage", lambda services: services.stager.stage())
EXPIRE = Operation("expire", lambda services: services.expirer.expire())
FIRE = Operation("fire", lambda services: services.scheduler.fire())


def fold(ground: Ground) -> Operation:
    async def run(services: Services) -> int:
        async with services.database.acquire() as connection:
            return await ground.store.fold_stats(connection, limit=100)

    return Operation("fold", run)


def thin_out(ground: Ground, day: datetime) -> Operation:
    async def run(services: Services) -> int | None:
        async with services.database.transaction() as connection:
            return await ground.store.thin_out_jobs(
                connection, day.date(), max_jobs=100, max_bytes=10**6, lock_wait_s=10.0
            )

    return Operation("thin out", run)


# Setting up ----------------------------------------------------------------------------------------------------------


async def schedule(ground: Ground, name: str = "nightly", **said: Any) -> UUID:
    """Make a schedule that fires each minute, and the kind of its jobs."""
    info = KindInfo(KIND, QUEUE, {"type": "object"}, retries=1, timeout_s=5.0, priority=5)
    await ground.store.publish_kinds(ground.observer, [(info, "hash")])
    plan = SchedulePlan(name=name, kind=KIND, payload={}, every=EVERY, tags=("scheduled",), **said)
    now = await ground.store.read_now(ground.observer)
    made = await ground.store.insert_schedule(ground.observer, plan, now=now, next_at=now + EVERY)
    assert made is not None
    return made.id


def named(tag: str, **fields: Any) -> NewJob:
    """A job that a test knows again by its tag."""
    return new_job(tags=(tag,), **fields)
