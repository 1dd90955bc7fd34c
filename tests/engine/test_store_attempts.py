"""Ending attempts: what is written down, who is refused, what is charged, and when a job is tried again."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from tests.engine.worksite import OOPS, Worksite, failed, succeeded

from taskflow.engine import policy
from taskflow.engine.job import (
    Attempt,
    Claim,
    FailureReason,
    JobError,
    NewLogLine,
    NewProgress,
    Outcome,
    OutcomeKind,
    State,
)
from taskflow.kernel.json import JSONValue


async def lose(site: Worksite, claim: Claim) -> None:
    """Take a claim back, as a rescue does."""
    await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST)


# Success --------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-8", "S2-12")
@pytest.mark.parametrize("result", [None, {"emailId": "email_1"}, [1, "ü"], "text", 0, False])
async def test_a_completed_job_shows_its_result_and_when_it_ran(site: Worksite, result: JSONValue) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    site.clock.advance(seconds=5)
    assert await site.store.complete(site.connection, [succeeded(claim, result, duration_s=2.5)]) == []
    job = await site.job(job_id)
    assert (job.state, job.result, job.error, job.failures) == (State.COMPLETED, result, None, 0)
    assert job.finished_at == site.clock.now
    assert job.started_at == site.clock.now - timedelta(seconds=2.5), "when its handler was called"


async def test_an_attempt_that_ended_began_with_its_handler_and_not_before_its_claim(site: Worksite) -> None:
    """Between the two a child process starts, or others are waited for; no clock lets one begin early."""
    job_id = await site.submit(retries=2)
    for seconds, ran_s, began_s in ((5, 2.0, 2.0), (1, 3.0, 1.0)):
        claim = await site.claim_one()
        site.clock.advance(seconds=seconds)
        outcome = policy.failed(claim, OutcomeKind.ERROR, OOPS, ran_s, backoff=lambda _: 0.0)
        assert await site.store.finish(site.connection, [outcome]) == []
        attempt = (await site.store.list_attempts(site.connection, await site.body(job_id)))[-1]
        assert attempt.started_at == site.clock.now - timedelta(seconds=began_s)
        await site.store.stage(site.connection, limit=1)


async def test_the_last_completion_of_a_batch_removes_its_lease(site: Worksite) -> None:
    await site.submit_many(3)
    claims = await site.claim()
    for claim in claims:
        assert await site.connection.fetchval("SELECT count(*) FROM taskflow.lease") == 1
        await site.store.complete(site.connection, [succeeded(claim)])
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.lease") == 0


async def test_a_batch_may_end_in_any_order_and_any_portions(site: Worksite) -> None:
    ids = await site.submit_many(300)
    claims = await site.claim(300)
    for start in range(7):
        assert await site.store.complete(site.connection, [succeeded(claim) for claim in claims[start::7]]) == []
    jobs = await site.store.read_jobs(site.connection, ids)
    assert {job.state for job in jobs} == {State.COMPLETED}
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.lease") == 0


async def test_one_flush_ends_attempts_of_several_leases(site: Worksite) -> None:
    await site.submit_many(6)
    batches = [await site.claim(2) for _ in range(3)]
    mixed = [batches[2][0], batches[0][1], batches[1][0], batches[0][0]]
    assert await site.store.complete(site.connection, [succeeded(claim) for claim in mixed]) == []
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.lease") == 2


async def test_an_empty_flush_is_no_flush(site: Worksite) -> None:
    assert await site.store.complete(site.connection, []) == []
    assert await site.store.finish(site.connection, []) == []
    assert await site.store.find_unsettled(site.connection, []) == []
    await site.store.write_logs(site.connection, [], written_at_s=0)


# The fence ------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S3-19")
async def test_a_worker_that_lost_its_claim_cannot_complete(site: Worksite) -> None:
    """A late acknowledgement changes nothing, neither while the job waits again nor while another runs it."""
    job_id = await site.submit()
    late = succeeded(await site.claim_one(), "late")
    await lose(site, late.claim)
    waiting = await site.job(job_id)
    assert await site.store.complete(site.connection, [late]) == [late]
    assert await site.job(job_id) == waiting
    current = await site.claim_one()
    assert await site.store.complete(site.connection, [late]) == [late]
    assert await site.store.complete(site.connection, [succeeded(current, "current")]) == []
    assert await site.store.complete(site.connection, [late]) == [late]
    job = await site.job(job_id)
    assert (job.state, job.result, job.attempt) == (State.COMPLETED, "current", 2)


ENDINGS: dict[str, Callable[[Claim], Outcome]] = {
    "an error": failed,
    "a timeout": lambda claim: failed(claim, OutcomeKind.TIMEOUT),
    "a verdict": lambda claim: policy.failed_for_good(claim, OOPS, 0.5),
    "a snooze": lambda claim: policy.snoozed(claim, 60.0, 0.5),
    "a cancel": lambda claim: policy.cancelled(claim, 0.5),
    "a hand-back": policy.handed_back,
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_worker_that_lost_its_claim_cannot_end_it_by(site: Worksite, ending: str) -> None:
    job_id = await site.submit()
    late = ENDINGS[ending](await site.claim_one())
    await lose(site, late.claim)
    before, history = await site.job(job_id), await site.store.list_attempts(site.connection, await site.body(job_id))
    assert await site.store.finish(site.connection, [late]) == [late]
    assert await site.store.find_unsettled(site.connection, [late]) == [late]
    assert await site.job(job_id) == before
    assert await site.store.list_attempts(site.connection, await site.body(job_id)) == history


async def test_of_a_mixed_flush_only_the_lost_claims_are_refused(site: Worksite) -> None:
    ids = await site.submit_many(4)
    first, second = await site.claim(2), await site.claim(2)
    await lose(site, first[0])
    outcomes = [succeeded(claim) for claim in (first[0], second[0], first[1], second[1])]
    assert await site.store.complete(site.connection, outcomes) == [outcomes[0], outcomes[2]]
    states = {job.id: job.state for job in await site.store.read_jobs(site.connection, ids)}
    assert [states[job_id] for job_id in ids] == [State.PENDING] * 2 + [State.COMPLETED] * 2


@pytest.mark.parametrize("ending", ["success", *ENDINGS])
async def test_a_flush_sent_twice_is_refused_and_known_as_ours(site: Worksite, ending: str) -> None:
    """The answer of the first was lost at COMMIT; the second must neither repeat it nor believe in a lost lease."""
    job_id = await site.submit()
    claim = await site.claim_one()
    outcome = succeeded(claim, "ours") if ending == "success" else ENDINGS[ending](claim)
    flush = site.store.complete if ending == "success" else site.store.finish
    assert await flush(site.connection, [outcome]) == []
    written = await site.job(job_id)
    assert await flush(site.connection, [outcome]) == [outcome]
    assert await site.store.find_unsettled(site.connection, [outcome]) == []
    assert await site.job(job_id) == written
    assert len(await site.store.list_attempts(site.connection, await site.body(job_id))) == 1


async def test_what_another_attempt_wrote_is_not_taken_for_ours(site: Worksite) -> None:
    await site.submit()
    late = succeeded(await site.claim_one())
    await lose(site, late.claim)
    await site.store.complete(site.connection, [succeeded(await site.claim_one())])
    assert await site.store.find_unsettled(site.connection, [late]) == [late]


# Failure, and trying again --------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-19", "S2-20", "S2-12", "S3-13")
@pytest.mark.parametrize("kind", [OutcomeKind.ERROR, OutcomeKind.TIMEOUT])
async def test_retries_come_after_2_4_and_8_seconds_and_then_the_job_has_failed(
    site: Worksite, kind: OutcomeKind
) -> None:
    job_id = await site.submit(retries=3)
    for failures in (1, 2, 3):
        assert await site.fail(await site.claim_one(), kind=kind) == []
        job = await site.job(job_id)
        assert (job.state, job.attempt, job.failures, job.error) == (State.RETRYING, failures, failures, OOPS)
        assert job.run_at is not None
        wait_s = (job.run_at - site.clock.now).total_seconds()
        assert 2**failures <= wait_s <= 2**failures + 0.999
        site.clock.advance(seconds=wait_s - 0.001)
        assert await site.store.stage(site.connection, limit=10) == {}
        site.clock.advance(seconds=0.001)
        assert await site.store.stage(site.connection, limit=10) == {"default": 1}
    assert await site.fail(await site.claim_one(), kind=kind) == []
    job = await site.job(job_id)
    assert (job.state, job.failure_reason, job.attempt, job.failures) == (State.FAILED, FailureReason.EXHAUSTED, 4, 4)
    assert (job.error, job.run_at, job.finished_at) == (OOPS, None, site.clock.now)


@pytest.mark.covers("S2-20")
async def test_the_history_tells_of_every_attempt_and_when_the_next_was_planned(site: Worksite) -> None:
    job_id = await site.submit(retries=2)
    await site.fail(await site.claim_one(), backoff=lambda failures: 10.0)
    first_at = site.clock.now
    site.clock.advance(seconds=10)
    await site.store.stage(site.connection, limit=1)
    late = await site.claim_one()
    site.clock.advance(seconds=30)
    await site.fail(late, kind=OutcomeKind.TIMEOUT, duration_s=30.0, backoff=lambda failures: 10.0)
    second_at = site.clock.now
    site.clock.advance(seconds=10)
    await site.store.stage(site.connection, limit=1)
    await site.store.complete(site.connection, [succeeded(await site.claim_one())])
    ten_s = timedelta(seconds=10)
    assert await site.store.list_attempts(site.connection, await site.body(job_id)) == [
        Attempt(1, OutcomeKind.ERROR, first_at, first_at, OOPS, first_at + ten_s),
        Attempt(2, OutcomeKind.TIMEOUT, second_at - 3 * ten_s, second_at, OOPS, second_at + ten_s),
        Attempt(3, OutcomeKind.COMPLETED, site.clock.now, site.clock.now),
    ]


async def test_a_job_without_retries_fails_at_its_first_error(site: Worksite) -> None:
    job_id = await site.submit(retries=0)
    await site.fail(await site.claim_one())
    job = await site.job(job_id)
    assert (job.state, job.failure_reason) == (State.FAILED, FailureReason.EXHAUSTED)


async def test_a_verdict_fails_a_job_that_had_retries_left(site: Worksite) -> None:
    job_id = await site.submit(retries=10)
    outcome = policy.failed_for_good(await site.claim_one(), OOPS, 0.1)
    assert await site.store.finish(site.connection, [outcome]) == []
    job = await site.job(job_id)
    assert (job.state, job.failure_reason, job.failures) == (State.FAILED, FailureReason.PERMANENT, 1)


async def test_an_error_keeps_where_it_came_from(site: Worksite) -> None:
    job_id = await site.submit(retries=0)
    error = JobError("Bad\x00Type", "nul \x00, surrogate \ud800 and ü", "Traceback …")
    outcome = policy.failed(await site.claim_one(), OutcomeKind.ERROR, error, 0.1)
    assert await site.store.finish(site.connection, [outcome]) == []
    kept = (await site.job(job_id)).error
    assert kept == JobError("Bad\\u0000Type", "nul \\u0000, surrogate \\ud800 and ü", "Traceback …")


async def test_a_job_that_completes_after_errors_shows_none(site: Worksite) -> None:
    job_id = await site.submit()
    await site.fail(await site.claim_one(), retry_after_s=0)
    assert (await site.job(job_id)).error == OOPS
    await site.store.stage(site.connection, limit=1)
    assert (await site.job(job_id)).error == OOPS
    await site.store.complete(site.connection, [succeeded(await site.claim_one())])
    job = await site.job(job_id)
    assert (job.error, job.failures, job.attempt) == (None, 1, 2)


async def test_a_snooze_is_free_and_runs_again_at_its_time(site: Worksite) -> None:
    job_id = await site.submit(retries=0)
    for attempt in (1, 2, 3):
        assert await site.store.finish(site.connection, [policy.snoozed(await site.claim_one(), 60.0, 0.1)]) == []
        job = await site.job(job_id)
        assert (job.state, job.attempt, job.failures) == (State.SCHEDULED, attempt, 0)
        assert job.run_at == site.clock.now + timedelta(seconds=60)
        site.clock.advance(seconds=60)
        assert await site.store.stage(site.connection, limit=1) == {"default": 1}


async def test_a_job_handed_back_is_free_and_stands_before_what_came_later(site: Worksite) -> None:
    handed = await site.submit(retries=0)
    claim = await site.claim_one()
    site.clock.advance(seconds=1)
    later = await site.submit()
    assert await site.store.finish(site.connection, [policy.handed_back(claim)]) == []
    job = await site.job(handed)
    assert (job.state, job.attempt, job.failures) == (State.PENDING, 1, 0)
    claims = await site.claim()
    assert [(claim.job_id, claim.attempt) for claim in claims] == [(handed, 2), (later, 1)]


async def test_jobs_handed_back_together_keep_their_order(site: Worksite) -> None:
    ids = await site.submit_many(5)
    claims = await site.claim()
    await site.store.finish(site.connection, [policy.handed_back(claim) for claim in reversed(claims)])
    assert [claim.job_id for claim in await site.claim()] == ids


# Cancels that were asked for ------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-10")
@pytest.mark.parametrize("ending", ["an error", "a timeout", "a snooze", "a hand-back", "a cancel"])
async def test_a_requested_cancel_wins_over_running_again(site: Worksite, ending: str) -> None:
    job_id = await site.submit(retries=10)
    claim = await site.claim_one()
    await site.cancel(job_id)
    assert await site.store.finish(site.connection, [ENDINGS[ending](claim)]) == []
    job = await site.job(job_id)
    assert (job.state, job.run_at, job.failure_reason) == (State.CANCELLED, None, None)
    (attempt,) = await site.store.list_attempts(site.connection, await site.body(job_id))
    assert (attempt.outcome, attempt.retry_at) == (ENDINGS[ending](claim).kind, None)


async def test_a_job_that_completes_before_it_sees_the_cancel_has_completed(site: Worksite) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    await site.cancel(job_id)
    assert await site.store.complete(site.connection, [succeeded(claim, "done")]) == []
    assert (await site.job(job_id)).state is State.COMPLETED


async def test_a_job_that_fails_for_good_before_it_sees_the_cancel_has_failed(site: Worksite) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    await site.cancel(job_id)
    await site.store.finish(site.connection, [policy.failed_for_good(claim, OOPS, 0.1)])
    job = await site.job(job_id)
    assert (job.state, job.failure_reason) == (State.FAILED, FailureReason.PERMANENT)


async def test_a_cancel_asked_of_one_job_spares_its_neighbours(site: Worksite) -> None:
    ids = await site.submit_many(12)
    claims = await site.claim(12)
    await site.cancel(ids[1])
    await site.store.finish(site.connection, [policy.handed_back(claim) for claim in claims])
    jobs = {job.id: job.state for job in await site.store.read_jobs(site.connection, ids)}
    assert [job_id for job_id in ids if jobs[job_id] is State.CANCELLED] == [ids[1]]
    assert [jobs[job_id] for job_id in (ids[0], ids[10], ids[11])] == [State.PENDING] * 3  # 1 is no prefix of 10


# Logs -----------------------------------------------------------------------------------------------------------------


async def test_log_lines_keep_their_order_and_their_times(site: Worksite) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    lines = [NewLogLine(claim, "info", f"line {n}", 100.0 + n) for n in range(50)]
    await site.store.write_logs(site.connection, lines, written_at_s=150.0)
    read = await site.store.list_logs(site.connection, await site.body(job_id), after_seq=0, limit=100)
    assert [line.message for line in read] == [f"line {n}" for n in range(50)]
    assert all(earlier.seq < later.seq for earlier, later in pairwise(read))
    assert read[0].at == site.clock.now - timedelta(seconds=50)
    assert {(line.attempt, line.level) for line in read} == {(1, "info")}


async def test_logs_are_read_on_from_where_the_last_page_ended(site: Worksite) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    await site.store.write_logs(
        site.connection, [NewLogLine(claim, "info", str(n), 0.0) for n in range(5)], written_at_s=0.0
    )
    body = await site.body(job_id)
    first = await site.store.list_logs(site.connection, body, after_seq=0, limit=3)
    rest = await site.store.list_logs(site.connection, body, after_seq=first[-1].seq, limit=3)
    assert [line.message for line in [*first, *rest]] == ["0", "1", "2", "3", "4"]


async def test_lines_of_a_claim_that_was_taken_back_are_dropped(site: Worksite) -> None:
    lost_id, kept_id = await site.submit_many(2)
    lost, kept = await site.claim_one(), await site.claim_one()
    await lose(site, lost)
    lines = [NewLogLine(claim, "info", "still here", 0.0) for claim in (lost, kept, lost)]
    await site.store.write_logs(site.connection, lines, written_at_s=0.0)
    for job_id, count in ((lost_id, 0), (kept_id, 1)):
        read = await site.store.list_logs(site.connection, await site.body(job_id), after_seq=0, limit=9)
        assert len(read) == count


async def test_lines_and_progress_of_an_attempt_that_completed_in_its_own_transaction_are_kept(site: Worksite) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    query, parameters = site.store.complete_elsewhere(succeeded(claim))
    assert await site.connection.fetchval(query.sql, *query.arguments(parameters))
    assert await write(site, claim) == (1, 1)
    [line] = await site.store.list_logs(site.connection, await site.body(job_id), after_seq=0, limit=9)
    job = await site.job(job_id)
    assert job.progress is not None
    assert (line.message, job.progress.message) == ("last", "last")
    stale = msgspec.structs.replace(claim, attempt=claim.attempt + 1)
    assert await write(site, stale) == (0, 0)


@pytest.mark.parametrize("ending", ["failed", "retried"])
async def test_lines_that_arrive_after_the_attempt_was_undone_are_dropped(site: Worksite, ending: str) -> None:
    job_id = await site.submit(retries=0 if ending == "failed" else 1)
    claim = await site.claim_one()
    await site.fail(claim)
    assert await write(site, claim) == (0, 0)
    assert await site.store.list_logs(site.connection, await site.body(job_id), after_seq=0, limit=9) == []


async def write(site: Worksite, claim: Claim) -> tuple[int, int]:
    """Write a line and a report of one attempt; return how many of each were kept."""
    lines = await site.store.write_logs(site.connection, [NewLogLine(claim, "info", "last", 0.0)], written_at_s=0.0)
    reports = [NewProgress(claim, 1.0, "last", 0.0)]
    return lines, await site.store.write_progress(site.connection, reports, written_at_s=0.0)
