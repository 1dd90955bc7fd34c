"""The engine as its users see it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.engine.test_store_races import until_it_waits
from tests.support.workers import claim, register

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.client import Engine
from taskflow.engine.job import (
    MAX_BATCH,
    MAX_PAYLOAD_BYTES,
    Enqueued,
    FailureReason,
    JobError,
    JobFilter,
    JobId,
    NewJob,
    Outcome,
    OutcomeKind,
    State,
)
from taskflow.engine.record import JobBody
from taskflow.engine.store import Store
from taskflow.kernel.errors import AlreadyFinal, Conflict, Invalid, NotFound, PayloadTooLarge

ALPHA, BETA = UUID(int=1), UUID(int=2)
STORE = Store()


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    async with Engine(database) as engine:
        yield engine


async def count(connection: Connection) -> int:
    value: int = await connection.fetchval("SELECT count(*) FROM taskflow.job")
    return value


async def one_of_each(engine: Engine, connection: Connection, *, namespace: UUID = ALPHA) -> dict[State, JobId]:
    """Make a job in every state there is, and say which is which."""
    jobs: dict[State, JobId] = {}

    async def make(kind: str, **options: object) -> Enqueued:
        return await engine.enqueue(replace(NewJob(kind, {}, namespace=namespace), **options))  # type: ignore[arg-type]

    worker_id = await register(connection)

    async def end(kind: str, outcome: str) -> JobId:
        await make(kind)
        [held] = await claim(connection, worker_id, kinds=[kind])
        error = JobError("Boom", "it broke")
        match outcome:
            case "completed":
                done = policy.succeeded(held, {"sent": True}, 0.5)
                assert not await STORE.complete(connection, [done])
            case _:
                ended: Outcome = {
                    "failed": lambda: policy.failed_for_good(held, error, 0.5),
                    "cancelled": lambda: policy.cancelled(held, 0.5),
                    "retrying": lambda: policy.failed(held, OutcomeKind.ERROR, error, 0.5, retry_after_s=600),
                }[outcome]()
                assert not await STORE.finish(connection, [ended])
        return held.job_id

    jobs[State.COMPLETED] = await end("done", "completed")
    jobs[State.FAILED] = await end("broken", "failed")
    jobs[State.CANCELLED] = await end("stopped", "cancelled")
    jobs[State.RETRYING] = await end("again", "retrying")
    await make("running")
    [held] = await claim(connection, worker_id, kinds=["running"])
    jobs[State.ACTIVE] = held.job_id
    jobs[State.SCHEDULED] = (await make("later", run_after=timedelta(hours=1))).id
    jobs[State.PENDING] = (await make("waiting")).id
    return jobs


# Submitting ----------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-3", "S2-5", "S2-6", "S2-8", "S2-12", "S3-9")
async def test_a_submitted_job_is_read_back_as_it_was_given(engine: Engine) -> None:
    given = NewJob(
        "send_email",
        {"to": "ada@example.org", "lines": ["ä", None, 1.5]},
        namespace=ALPHA,
        queue="mail",
        priority=8,
        retries=10,
        timeout_s=12.5,
        tags=["nightly", 'quote " and \\ comma,'],
        headers={"request_id": "r-1"},
    )
    answer = await engine.enqueue(given)
    assert answer.state is State.PENDING
    assert abs(datetime.now(UTC) - answer.created_at) < timedelta(minutes=1)
    job = await engine.get_job(answer.id, namespace=ALPHA)
    for name in ("kind", "payload", "namespace", "queue", "priority", "retries", "timeout_s", "tags", "headers"):
        assert getattr(job, name) == getattr(given, name)
    assert (job.state, job.attempt, job.failures, job.created_at) == (State.PENDING, 0, 0, answer.created_at)


async def test_a_job_may_be_scheduled_by_instant_or_delay_and_the_past_is_now(engine: Engine) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    by_instant = await engine.enqueue(NewJob("noop", {}, run_at=at))
    assert (by_instant.state, by_instant.run_at) == (State.SCHEDULED, at)
    by_delay = await engine.enqueue(NewJob("noop", {}, run_after=timedelta(seconds=90)))
    assert by_delay.run_at - by_delay.created_at == timedelta(seconds=90)
    for now in (NewJob("noop", {}, run_at=at - timedelta(days=9)), NewJob("noop", {}, run_after=timedelta(0))):
        assert (await engine.enqueue(now)).state is State.PENDING


OVER_A_LIMIT: list[tuple[dict[str, object], str, str]] = [
    ({"kind": "no spaces"}, "/taskType", "100 characters"),
    ({"queue": ""}, "/queue", "100 characters"),
    ({"priority": 10}, "/priority", "from 0 to 9"),
    ({"retries": 11}, "/retries", "from 0 to 10"),
    ({"timeout_s": 0.0}, "/timeout", "from 1 to 86400000 ms"),
    ({"timeout_s": float("nan")}, "/timeout", "from 1 to 86400000 ms"),
    ({"run_at": datetime(2030, 1, 1)}, "/runAt", "time zone"),  # noqa: DTZ001 -- that is the fault
    ({"run_after": timedelta(seconds=-1)}, "/delay", "from 0 to"),
    ({"tags": ["t"] * 21}, "/tags", "at most 20"),
    ({"tags": ["new\nline"]}, "/tags/0", "100 printable"),
    ({"payload": {"a": ["\x00"]}}, "/payload/a/0", ""),
]


@pytest.mark.covers("S2-5", "S2-34")
async def test_a_job_over_a_limit_is_refused_and_the_limit_named(engine: Engine, connection: Connection) -> None:
    for bad, pointer, limit in OVER_A_LIMIT:
        job = replace(NewJob("noop", {}), **bad)  # type: ignore[arg-type]
        with pytest.raises(Invalid) as refused:
            await engine.enqueue(job)
        assert [(error.pointer, limit in error.detail) for error in refused.value.errors] == [(pointer, True)]
        with pytest.raises(Invalid) as refused:
            await engine.enqueue_many([NewJob("noop", {}), job])
        assert [error.pointer for error in refused.value.errors] == [f"/1{pointer}"]
    assert await count(connection) == 0


async def test_a_payload_or_a_batch_that_is_too_large_is_refused(engine: Engine, connection: Connection) -> None:
    with pytest.raises(PayloadTooLarge, match=str(MAX_PAYLOAD_BYTES)):
        await engine.enqueue(NewJob("noop", {"text": "x" * MAX_PAYLOAD_BYTES}))
    with pytest.raises(Invalid, match=f"at most {MAX_BATCH} jobs"):
        await engine.enqueue_many([NewJob("noop", {})] * (MAX_BATCH + 1))
    assert await count(connection) == 0
    fits = "x" * (MAX_PAYLOAD_BYTES - len('{"text":""}'))
    answer = await engine.enqueue(NewJob("noop", {"text": fits}))
    assert (await engine.get_job(answer.id)).payload == {"text": fits}
    assert await engine.enqueue_many([]) == []


async def test_a_batch_is_answered_in_its_order_and_is_all_or_nothing(engine: Engine, connection: Connection) -> None:
    answers = await engine.enqueue_many([NewJob("noop", {"number": n}) for n in range(MAX_BATCH)])
    assert [answer.id for answer in answers] == sorted(answer.id for answer in answers)
    assert (await engine.get_job(answers[417].id)).payload == {"number": 417}
    with pytest.raises(Invalid, match="job 1 has invalid fields"):
        await engine.enqueue_many([NewJob("noop", {}), NewJob("noop", {}, headers={"a": "\x00"})])
    assert await count(connection) == MAX_BATCH


@pytest.mark.covers("S2-2")
async def test_jobs_submitted_in_a_callers_transaction_share_its_fate(
    engine: Engine, database: Database, second: Connection
) -> None:
    async def submit(*, fail: bool) -> list[JobId]:
        async with database.transaction() as connection:
            one = await engine.enqueue(NewJob("noop", {}), connection=connection)
            two, three = await engine.enqueue_many([NewJob("noop", {})] * 2, connection=connection)
            assert (await engine.get_job(one.id, connection=connection)).state is State.PENDING
            assert await count(second) == 0
            if fail:
                raise KeyError
        return [one.id, two.id, three.id]

    with pytest.raises(KeyError):
        await submit(fail=True)
    assert await count(second) == 0
    committed = await submit(fail=False)
    assert {row["job_id"] for row in await second.fetch("SELECT job_id FROM taskflow.ready")} == set(committed)


async def test_an_engine_that_was_never_started_submits_one_commit_each(database: Database) -> None:
    engine = Engine(database)
    answer = await engine.enqueue(NewJob("noop", {}))
    assert (await engine.get_job(answer.id)).state is State.PENDING
    await engine.stop()
    await engine.start()
    await engine.start()
    await engine.enqueue(NewJob("noop", {}))
    await engine.stop()
    await engine.stop()
    assert len((await engine.list_jobs(NewJob("noop", {}).namespace, JobFilter(), limit=10)).items) == 2


# Looking -------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-7", "S2-8", "S2-12", "S2-17", "S3-13", "S3-14")
async def test_every_state_is_shown_listed_and_filtered(engine: Engine, connection: Connection) -> None:
    jobs = await one_of_each(engine, connection)
    assert set(jobs) == set(State)
    everything = await engine.list_jobs(ALPHA, JobFilter(), limit=100)
    assert [(job.id, job.state) for job in everything.items] == [
        (job_id, state) for state, job_id in sorted(jobs.items(), key=lambda item: item[1], reverse=True)
    ]
    for state, job_id in jobs.items():
        job = await engine.get_job(job_id)
        assert job.state is state
        page = await engine.list_jobs(ALPHA, JobFilter(state=state), limit=100)
        assert page.items == [job]
        assert await engine.list_jobs(ALPHA, JobFilter(kind=job.kind), limit=100) == page
        assert not (await engine.list_jobs(BETA, JobFilter(state=state), limit=100)).items

    completed = await engine.get_job(jobs[State.COMPLETED])
    assert (completed.result, completed.error, completed.attempt) == ({"sent": True}, None, 1)
    assert completed.started_at is not None
    assert completed.finished_at is not None
    assert completed.started_at < completed.finished_at
    failed = await engine.get_job(jobs[State.FAILED])
    assert (failed.error, failed.failure_reason) == (JobError("Boom", "it broke"), FailureReason.PERMANENT)
    retrying = await engine.get_job(jobs[State.RETRYING])
    assert (retrying.failures, retrying.error) == (1, JobError("Boom", "it broke"))
    assert retrying.run_at is not None
    [attempt] = await engine.list_attempts(retrying.id)
    assert (attempt.attempt, attempt.outcome, attempt.retry_at) == (1, OutcomeKind.ERROR, retrying.run_at)


@pytest.mark.covers("S2-7", "S3-10")
async def test_pages_follow_each_other_without_gap_or_repeat(engine: Engine) -> None:
    jobs = [NewJob("odd" if n % 2 else "even", {}, namespace=ALPHA, tags=[] if n % 3 else ["third"]) for n in range(25)]
    answers = await engine.enqueue_many(jobs)
    ids = [answer.id for answer in reversed(answers)]
    for chosen, expected in (
        (JobFilter(), ids),
        (JobFilter(kind="even"), ids[::2]),
        (JobFilter(tag="third"), ids[::3]),
        (JobFilter(state=State.PENDING), ids),
        (JobFilter(created_to=answers[10].created_at - timedelta(milliseconds=1)), []),
        (JobFilter(created_from=answers[0].created_at), ids),
    ):
        seen: list[JobId] = []
        before = None
        for _ in range(20):
            page = await engine.list_jobs(ALPHA, chosen, limit=4, before=before)
            assert len(page.items) <= 4
            seen += [job.id for job in page.items]
            if (before := page.next_before) is None:
                break
        assert (seen, before) == (expected, None)


async def test_what_is_not_there_or_is_another_namespaces_is_not_found(engine: Engine) -> None:
    foreign = (await engine.enqueue(NewJob("noop", {}, namespace=BETA))).id
    for job_id in (foreign, JobId(uuid4())):
        for look in (
            engine.get_job(job_id, namespace=ALPHA),
            engine.list_attempts(job_id, namespace=ALPHA),
            engine.list_logs(job_id, limit=10, namespace=ALPHA),
            engine.cancel(job_id, namespace=ALPHA),
            engine.replay(job_id, namespace=ALPHA),
        ):
            with pytest.raises(NotFound, match=str(job_id)):
                await look
    assert (await engine.get_job(foreign, namespace=BETA)).state is State.PENDING


async def test_depths_name_ready_kinds_that_no_live_worker_has(engine: Engine, connection: Connection) -> None:
    worker_id = await register(connection)
    await STORE.set_worker_kinds(connection, worker_id, ["noop"])
    await engine.enqueue_many([NewJob("noop", {})] * 2 + [NewJob("orphan", {}), NewJob("noop", {}, queue="far")])
    depths = await engine.queue_depths()
    assert {(depth.queue, depth.kind): (depth.pending, depth.has_worker) for depth in depths} == {
        ("default", "noop"): (2, True),
        ("default", "orphan"): (1, False),
        ("far", "noop"): (1, False),
    }
    [worker] = await engine.list_workers()
    assert (worker.id, worker.alive, list(worker.kinds)) == (worker_id, True, ["noop"])


# Cancelling and replaying --------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-10")
async def test_a_job_that_nobody_runs_is_cancelled_at_once_and_an_active_one_is_asked(
    engine: Engine, connection: Connection
) -> None:
    jobs = await one_of_each(engine, connection)
    for state in (State.PENDING, State.SCHEDULED, State.RETRYING):
        assert (await engine.cancel(jobs[state])).state is State.CANCELLED
        job = await engine.get_job(jobs[state])
        assert (job.state, job.finished_at is None) == (State.CANCELLED, False)
        with pytest.raises(AlreadyFinal) as refused:
            await engine.cancel(jobs[state])
        assert refused.value.state == "cancelled"

    asked = await engine.cancel(jobs[State.ACTIVE])
    assert asked.state is State.ACTIVE
    assert await engine.cancel(jobs[State.ACTIVE]) == asked  # asking twice keeps the first instant
    active = await engine.get_job(jobs[State.ACTIVE])
    assert (active.state, active.cancel_requested_at) == (State.ACTIVE, asked.requested_at)

    for state in (State.COMPLETED, State.FAILED, State.CANCELLED):
        with pytest.raises(AlreadyFinal, match=str(state)) as refused:
            await engine.cancel(jobs[state])
        assert refused.value.state == state


async def test_a_cancel_in_a_callers_transaction_shares_its_fate(engine: Engine, database: Database) -> None:
    job_id = (await engine.enqueue(NewJob("noop", {}))).id

    async def cancel(*, fail: bool) -> None:
        async with database.transaction() as connection:
            assert (await engine.cancel(job_id, connection=connection)).state is State.CANCELLED
            if fail:
                raise KeyError

    with pytest.raises(KeyError):
        await cancel(fail=True)
    assert (await engine.get_job(job_id)).state is State.PENDING
    await cancel(fail=False)
    assert (await engine.get_job(job_id)).state is State.CANCELLED


async def test_of_many_who_cancel_and_claim_at_once_one_takes_the_job(engine: Engine, connection: Connection) -> None:
    worker_id = await register(connection)
    for _ in range(10):
        job_id = (await engine.enqueue(NewJob("noop", {}))).id
        results = await asyncio.gather(
            engine.cancel(job_id),
            engine.cancel(job_id),
            claim(connection, worker_id, kinds=["noop"]),
            return_exceptions=True,
        )
        job = await engine.get_job(job_id)
        claims = results[2]
        assert isinstance(claims, list)
        if claims:
            assert (job.state, job.cancel_requested_at is None) == (State.ACTIVE, False)
        else:
            assert job.state is State.CANCELLED
            assert sum(isinstance(result, AlreadyFinal) for result in results) == 1


@pytest.mark.covers("S2-12")
async def test_a_failed_job_runs_again_with_its_history_kept(engine: Engine, connection: Connection) -> None:
    jobs = await one_of_each(engine, connection)
    again = await engine.replay(jobs[State.FAILED])
    assert (again.id, again.state, again.attempt, again.failures) == (jobs[State.FAILED], State.PENDING, 1, 0)
    assert [attempt.attempt for attempt in await engine.list_attempts(again.id)] == [1]
    with pytest.raises(Conflict, match="pending") as refused:
        await engine.replay(again.id)
    assert (refused.value.code, refused.value.facts) == ("not_failed", {"state": "pending"})
    for state, job_id in jobs.items():
        if state is not State.FAILED:
            with pytest.raises(Conflict, match=str(state)):
                await engine.replay(job_id)

    [held] = await claim(connection, await register(connection), kinds=["broken"])
    assert (held.attempt, held.failures) == (2, 0)


@pytest.mark.parametrize("what", ["cancel", "replay", "run_now", "change"])
async def test_a_job_that_is_deleted_meanwhile_is_not_found(
    engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    job_id = (await one_of_each(engine, connection))[State.FAILED]
    body_of = engine._store.find_body

    async def then_delete(*args: Any) -> JobBody | None:
        body = await body_of(*args)
        if body is not None:
            await STORE.delete_ended(connection, body.namespace, [body.id], created_from=body.created_at)
        return body

    monkeypatch.setattr(engine._store, "find_body", then_delete)
    change: dict[str, Any] = {"priority": 1} if what == "change" else {}
    with pytest.raises(NotFound, match=str(job_id)):
        await getattr(engine, what)(job_id, **change)


async def test_a_job_that_is_changed_while_it_is_run_now_is_run_now(
    engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await engine.enqueue(NewJob("noop", {}, run_after=timedelta(hours=1)))
    run_now, tries = engine._store.run_now, list[JobBody]()

    async def meet_a_change(lent: Connection, body: JobBody) -> bool:
        tries.append(body)
        if len(tries) > 1:
            return await run_now(lent, body)
        async with connection.transaction():
            await STORE.change_waiting(connection, body, priority=9, run_at=None, run_after=None)
            trailing = asyncio.create_task(run_now(lent, body))
            await until_it_waits(lent, connection)
        return await trailing

    monkeypatch.setattr(engine._store, "run_now", meet_a_change)
    assert (await engine.run_now(job.id)).state is State.PENDING
