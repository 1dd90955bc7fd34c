"""Jobs that wait: what expires, what is changed before it is active."""

from datetime import timedelta
from typing import Any

import pytest
from tests.engine.test_store_races import overtake, pass_by
from tests.engine.worksite import Worksite, failed

from taskflow.db.query import Connection
from taskflow.engine.job import FailureReason, JobId, OutcomeKind, State

SOON = timedelta(seconds=5)


async def change(site: Worksite, job_id: JobId, connection: Connection | None = None, **said: Any) -> bool | None:
    said = {"priority": None, "run_at": None, "run_after": None, **said}
    return await site.store.change_waiting(connection or site.connection, await site.body(job_id), **said)


# Expiry --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [None, timedelta(seconds=60)], ids=["pending", "scheduled"])
async def test_a_job_that_nobody_claimed_in_time_fails_as_expired(site: Worksite, wait: timedelta | None) -> None:
    job_id = await site.submit(expires_after=SOON, run_after=wait)
    assert (await site.ahead()).expiry_s == pytest.approx(5, abs=0.01)
    assert await site.store.expire(site.connection, limit=9) == 0
    site.clock.advance(seconds=6)
    assert await site.store.expire(site.connection, limit=9) == 1
    job = await site.job(job_id)
    assert (job.state, job.failure_reason, job.attempt) == (State.FAILED, FailureReason.EXPIRED, 0)
    assert job.error is not None
    assert job.error.type == "Expired"
    assert (await site.ahead()).expiry_s is None


async def test_a_claim_passes_by_what_has_expired_before_the_sweep_comes(site: Worksite) -> None:
    expired = await site.submit(expires_after=SOON, priority=9)
    other = await site.submit()
    site.clock.advance(seconds=6)
    assert [claim.job_id for claim in await site.claim()] == [other]
    assert (await site.job(expired)).state is State.PENDING


@pytest.mark.parametrize("turn", ["retry", "hand back"])
async def test_a_job_that_was_claimed_in_time_does_not_expire(site: Worksite, turn: str) -> None:
    job_id = await site.submit(expires_after=SOON)
    claim = await site.claim_one()
    if turn == "retry":
        await site.fail(claim, retry_after_s=0.0)
        await site.store.stage(site.connection, limit=9)
    else:
        await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.HANDED_BACK)
    site.clock.advance(seconds=6)
    assert await site.store.expire(site.connection, limit=9) == 0
    assert (await site.claim_one()).job_id == job_id


async def test_staging_keeps_the_expiry(site: Worksite) -> None:
    await site.submit(expires_after=timedelta(seconds=9), run_after=SOON)
    site.clock.advance(seconds=6)
    assert await site.store.stage(site.connection, limit=9) == {"default": 1}
    site.clock.advance(seconds=6)
    assert await site.claim() == []
    assert await site.store.expire(site.connection, limit=9) == 1


async def test_the_sweep_passes_by_a_job_that_is_being_cancelled(site: Worksite, second: Connection) -> None:
    job_id = await site.submit(expires_after=SOON)
    body = await site.body(job_id)
    site.clock.advance(seconds=6)
    cancelled, expired = await pass_by(
        site.connection, site.store.cancel_waiting(site.connection, body), site.store.expire(second, limit=9)
    )
    assert (cancelled, expired) == (True, 0)
    assert (await site.job(job_id)).state is State.CANCELLED


async def test_an_expired_job_can_be_run_again(site: Worksite) -> None:
    job_id = await site.submit(expires_after=SOON)
    site.clock.advance(seconds=6)
    await site.store.expire(site.connection, limit=9)
    assert await site.store.replay(site.connection, await site.body(job_id))
    assert (await site.claim_one()).job_id == job_id


# Run now -------------------------------------------------------------------------------------------------------------


async def test_a_scheduled_job_is_run_now(site: Worksite) -> None:
    job_id = await site.submit(run_after=timedelta(hours=1), unique_key="k", expires_after=timedelta(hours=2))
    assert await site.store.run_now(site.connection, await site.body(job_id))
    job = await site.job(job_id)
    assert (job.state, job.run_at) == (State.PENDING, site.clock.now)
    site.clock.advance(seconds=3 * 3600)
    assert await site.store.expire(site.connection, limit=9) == 1  # what it said of itself went with it


async def test_a_retrying_job_is_run_now_with_its_failures(site: Worksite) -> None:
    job_id = await site.submit()
    await site.fail(await site.claim_one(), retry_after_s=100.0)
    assert await site.store.run_now(site.connection, await site.body(job_id))
    claim = await site.claim_one()
    assert (claim.job_id, claim.attempt, claim.failures) == (job_id, 2, 1)
    assert not await site.store.run_now(site.connection, await site.body(job_id))


async def test_a_job_that_is_run_now_while_it_is_staged_runs_once(site: Worksite, second: Connection) -> None:
    job_id = await site.submit(run_after=SOON)
    body = await site.body(job_id)
    site.clock.advance(seconds=6)
    both = await overtake(
        site.connection, second, site.store.stage(site.connection, limit=9), site.store.run_now(second, body)
    )
    assert both == ({"default": 1}, False)
    assert len(await site.claim()) == 1


# Changes -------------------------------------------------------------------------------------------------------------


async def test_a_higher_priority_goes_first_and_stays_through_a_rescue(site: Worksite) -> None:
    first = await site.submit()
    site.clock.advance(seconds=1)
    second = await site.submit()
    assert await change(site, second, priority=9) is True
    claim = await site.claim_one()
    assert (claim.job_id, claim.priority, (await site.job(second)).priority) == (second, 9, 9)
    await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST)
    assert [claim.job_id for claim in await site.claim()] == [second, first]


async def test_a_pending_job_that_is_put_off_becomes_scheduled(site: Worksite) -> None:
    job_id = await site.submit()
    later = site.clock.now + timedelta(seconds=60)
    assert await change(site, job_id, run_at=later) is False
    job = await site.job(job_id)
    assert (job.state, job.run_at) == (State.SCHEDULED, later)
    assert await site.claim() == []
    assert await change(site, job_id, run_after=timedelta(0)) is True
    assert (await site.claim_one()).job_id == job_id


async def test_a_retry_that_is_put_off_is_still_a_retry(site: Worksite) -> None:
    job_id = await site.submit()
    await site.fail(await site.claim_one())
    assert await change(site, job_id, run_after=timedelta(hours=1)) is False
    job = await site.job(job_id)
    assert (job.state, job.run_at, job.failures) == (State.RETRYING, site.clock.now + timedelta(hours=1), 1)


async def test_a_pending_job_keeps_its_turn_when_it_is_asked_for_sooner(site: Worksite) -> None:
    first = await site.submit()
    site.clock.advance(seconds=1)
    second = await site.submit()
    assert await change(site, second, run_at=site.clock.now - timedelta(days=1)) is True
    assert [claim.job_id for claim in await site.claim()] == [first, second]


async def test_what_a_job_says_of_itself_survives_a_change(site: Worksite) -> None:
    job_id = await site.submit(expires_after=SOON)
    await change(site, job_id, run_after=timedelta(seconds=60))
    site.clock.advance(seconds=6)
    assert await site.store.expire(site.connection, limit=9) == 1


@pytest.mark.parametrize("state", ["active", "ended"])
async def test_a_job_that_does_not_wait_is_not_changed(site: Worksite, state: str) -> None:
    job_id = await site.submit(retries=0)
    claim = await site.claim_one()
    if state == "ended":
        await site.store.finish(site.connection, [failed(claim)])
    assert await change(site, job_id, priority=9) is None
    assert (await site.job(job_id)).priority == 5


async def test_a_change_that_meets_the_claim_comes_too_late(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    body = await site.body(job_id)
    late = site.store.change_waiting(second, body, priority=9, run_at=None, run_after=None)
    claims, changed = await overtake(site.connection, second, site.claim(), late)
    assert (len(claims), changed) == (1, None)
    assert (await site.job(job_id)).priority == 5


async def test_a_claim_passes_by_a_job_that_is_being_changed(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    changed, claims = await pass_by(site.connection, change(site, job_id, priority=9), site.claim(connection=second))
    assert (changed, claims) == (True, [])
    assert (await site.claim_one()).priority == 9
