"""Workers that live, die and are missed; and what becomes of the jobs they held."""

import pytest
from tests.engine.worksite import OOPS, Worksite, succeeded

from taskflow.engine import policy
from taskflow.engine.job import MAX_CRASHES, Attempt, FailureReason, KindInfo, OutcomeKind, State
from taskflow.engine.store import LEASE_S, new_lease_ids

# Proving life ---------------------------------------------------------------------------------------------------------


async def test_a_worker_is_buried_after_one_whole_lease_of_silence(site: Worksite) -> None:
    site.clock.advance(seconds=LEASE_S)
    assert await site.store.bury_workers(site.connection) == []
    site.clock.advance(seconds=0.001)
    assert await site.store.bury_workers(site.connection) == [site.worker_id]
    assert await site.store.bury_workers(site.connection) == []


async def test_a_worker_that_beats_is_not_buried(site: Worksite) -> None:
    for _ in range(4):
        site.clock.advance(seconds=LEASE_S)
        assert await site.store.heartbeat(site.connection, site.worker_id)
    assert await site.store.bury_workers(site.connection) == []


async def test_a_worker_that_was_buried_learns_it_from_its_next_beat(site: Worksite) -> None:
    site.clock.advance(seconds=LEASE_S + 1)
    await site.store.bury_workers(site.connection)
    assert not await site.store.heartbeat(site.connection, site.worker_id)


async def test_workers_are_shown_alive_until_a_lease_has_passed(site: Worksite) -> None:
    await site.store.set_worker_kinds(site.connection, site.worker_id, ["mail"])
    site.clock.advance(seconds=LEASE_S)
    young = await site.start_worker()
    (old, new) = await site.store.list_workers(site.connection)
    assert (old.id, old.alive, list(old.kinds), list(old.queues), old.concurrency) == (
        site.worker_id, True, ["mail"], ["default"], 10,
    )  # fmt: skip
    assert (new.id, new.alive, new.started_at) == (young, True, site.clock.now)
    site.clock.advance(seconds=0.001)
    assert [worker.alive for worker in await site.store.list_workers(site.connection)] == [False, True]


# Taking back ----------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-20")
async def test_a_job_of_a_dead_worker_is_pending_again_and_charged_nothing(site: Worksite) -> None:
    job_id = await site.submit(retries=0)
    claim = await site.claim_one()
    claimed_at = site.clock.now
    site.clock.advance(seconds=LEASE_S + 1)
    await site.store.bury_workers(site.connection)
    orphans = await site.store.find_orphan_leases(site.connection, limit=10)
    assert orphans == [claim.lease_id]
    assert await site.store.return_leases(site.connection, orphans, OutcomeKind.LOST) == {"default": 1}
    job = await site.job(job_id)
    assert (job.state, job.attempt, job.failures, job.run_at) == (State.PENDING, 1, 0, claimed_at)
    assert await site.store.list_attempts(site.connection, await site.body(job_id)) == [
        Attempt(1, OutcomeKind.LOST, claimed_at, site.clock.now)
    ]
    rescuer = await site.start_worker()
    assert (await site.claim_one(worker_id=rescuer)).attempt == 2


async def test_a_rescue_returns_the_open_jobs_of_a_lease_and_nothing_else(site: Worksite) -> None:
    completed, failed, retrying, open_ = await site.submit_many(4)
    claims = await site.claim()
    await site.store.complete(site.connection, [succeeded(claims[0], 1)])
    await site.store.finish(site.connection, [policy.failed_for_good(claims[1], OOPS, 0.1)])
    await site.fail(claims[2])
    ended = [completed, failed, retrying]
    before = await site.store.read_jobs(site.connection, ended)
    lease_id = claims[0].lease_id
    assert await site.store.return_leases(site.connection, [lease_id], OutcomeKind.LOST) == {"default": 1}
    assert await site.store.read_jobs(site.connection, ended) == before
    assert (await site.job(open_)).state is State.PENDING


async def test_a_rescued_job_keeps_the_failures_it_was_charged_before(site: Worksite) -> None:
    job_id = await site.submit(retries=1)
    await site.fail(await site.claim_one(), retry_after_s=0)
    await site.store.stage(site.connection, limit=1)
    claim = await site.claim_one()
    await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST)
    again = await site.claim_one()
    assert (again.attempt, again.failures) == (3, 1)
    await site.fail(again)
    assert (await site.job(job_id)).state is State.FAILED


async def test_who_is_charged_a_crash_fails_at_the_last_of_them_and_others_are_not_charged(site: Worksite) -> None:
    charged, other = await site.submit_many(2)
    for crashes in range(1, MAX_CRASHES + 1):
        claims = {claim.job_id: claim for claim in await site.claim()}
        assert claims[charged].crashes == crashes - 1
        await site.store.return_leases(
            site.connection, [claims[charged].lease_id], OutcomeKind.LOST, suspects=[charged], charged=[charged]
        )
    job = await site.job(charged)
    assert (job.state, job.failure_reason, job.failures) == (State.FAILED, FailureReason.CRASH_LIMIT, 0)
    assert job.error is not None
    assert job.error.type == "Crashed"
    [left] = await site.claim()
    assert (left.job_id, left.crashes, left.suspect) == (other, 0, False)


async def test_what_was_running_when_its_process_died_is_suspect_and_nothing_else(site: Worksite) -> None:
    running, waiting = await site.submit_many(2)
    claims = await site.claim()
    assert [claim.suspect for claim in claims] == [False, False]
    lease = [claims[0].lease_id]
    await site.store.return_leases(site.connection, lease, OutcomeKind.LOST, suspects=[running])
    again = {claim.job_id: claim for claim in await site.claim()}
    assert (again[running].suspect, again[waiting].suspect) == (True, False)
    assert (again[running].failures, again[running].crashes) == (0, 0)
    await site.store.return_leases(site.connection, [again[running].lease_id], OutcomeKind.HANDED_BACK)
    assert {claim.job_id: claim.suspect for claim in await site.claim()} == {running: True, waiting: False}


async def test_crashes_and_suspicion_stay_with_a_job_while_it_waits_and_replay_forgives_both(site: Worksite) -> None:
    job_id = await site.submit()
    for crashes in range(1, MAX_CRASHES + 1):
        claim = await site.claim_one()
        assert (claim.crashes, claim.suspect) == (crashes - 1, crashes > 1)
        outcome = policy.crashed(claim, OOPS, 0.1, backoff=lambda failures: 0.0)
        assert await site.store.finish(site.connection, [outcome]) == []
        await site.store.stage(site.connection, limit=1)
    job = await site.job(job_id)
    assert (job.state, job.failure_reason, job.failures) == (State.FAILED, FailureReason.CRASH_LIMIT, 0)
    assert job.error == OOPS
    history = await site.store.list_attempts(site.connection, await site.body(job_id))
    assert [attempt.outcome for attempt in history] == [OutcomeKind.CRASHED] * MAX_CRASHES
    assert await site.store.replay(site.connection, await site.body(job_id))
    again = await site.claim_one()
    assert (again.crashes, again.suspect, again.attempt) == (0, False, MAX_CRASHES + 1)


async def test_a_rescue_cancels_what_was_asked_to_stop(site: Worksite) -> None:
    """Its worker is dead: nobody else will do it, and running it again is the last thing that was wanted."""
    stopped, kept = await site.submit_many(2)
    claim, _ = await site.claim()
    await site.cancel(stopped)
    site.clock.advance(seconds=1)
    await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST)
    job = await site.job(stopped)
    assert (job.state, job.finished_at) == (State.CANCELLED, site.clock.now)
    assert (await site.job(kept)).state is State.PENDING


async def test_a_lease_returns_once(site: Worksite) -> None:
    await site.submit()
    claim = await site.claim_one()
    lease_ids = [claim.lease_id, new_lease_ids([])[0], claim.lease_id]
    assert await site.store.return_leases(site.connection, lease_ids, OutcomeKind.LOST) == {"default": 1}
    assert await site.store.return_leases(site.connection, lease_ids, OutcomeKind.LOST) == {}
    assert await site.store.return_leases(site.connection, [], OutcomeKind.LOST) == {}
    assert len(await site.claim()) == 1


async def test_returned_jobs_are_counted_by_queue_so_that_their_workers_can_be_woken(site: Worksite) -> None:
    await site.submit_many(2, queue="a")
    await site.submit_many(3, queue="b")
    claims = await site.claim(queues=["a", "b"])
    returned = await site.store.return_leases(site.connection, [claims[0].lease_id], OutcomeKind.LOST)
    assert returned == {"a": 2, "b": 3}


async def test_the_leases_of_a_live_worker_are_no_orphans(site: Worksite) -> None:
    await site.submit()
    await site.claim_one()
    assert await site.store.find_orphan_leases(site.connection, limit=10) == []
    assert await site.store.next_death_s(site.connection) == LEASE_S


async def test_the_leases_of_a_worker_that_left_without_handing_back_are_orphans(site: Worksite) -> None:
    await site.submit_many(3)
    claims = [await site.claim_one() for _ in range(3)]
    await site.store.remove_worker(site.connection, site.worker_id)
    orphans = await site.store.find_orphan_leases(site.connection, limit=2)
    assert orphans == sorted(claim.lease_id for claim in claims)[:2]
    assert await site.store.next_death_s(site.connection) == 0


async def test_a_silent_worker_is_something_to_rescue_even_without_leases(site: Worksite) -> None:
    site.clock.advance(seconds=LEASE_S - 1)
    assert await site.store.next_death_s(site.connection) == 1
    other = await site.start_worker()
    assert await site.store.next_death_s(site.connection) == 1
    site.clock.advance(seconds=2)
    assert await site.store.next_death_s(site.connection) == -1
    assert await site.store.bury_workers(site.connection) == [site.worker_id]
    await site.store.remove_worker(site.connection, other)
    assert await site.store.next_death_s(site.connection) is None


async def test_the_leases_of_a_dead_child_are_found_without_those_of_its_siblings(site: Worksite) -> None:
    await site.submit_many(4)
    mine = sorted([(await site.claim_one(incarnation=1)).lease_id, (await site.claim_one(incarnation=1)).lease_id])
    sibling = (await site.claim_one(incarnation=2)).lease_id
    foreign = (await site.claim_one(worker_id=await site.start_worker(), incarnation=1)).lease_id
    find = site.store.find_child_leases
    assert await find(site.connection, worker_id=site.worker_id, incarnation=1) == mine
    assert await find(site.connection, worker_id=site.worker_id) == sorted([*mine, sibling])
    assert foreign not in await find(site.connection, worker_id=site.worker_id)


@pytest.mark.covers("S2-10")
async def test_a_child_sees_its_leases_and_the_cancels_asked_of_them(site: Worksite) -> None:
    ids = await site.submit_many(3)
    await site.claim(2, incarnation=1)
    await site.claim(1, incarnation=2)
    await site.cancel(ids[1])
    (lease,) = await site.store.list_own_leases(site.connection, worker_id=site.worker_id, incarnation=1)
    assert (list(lease.job_ids), list(lease.cancels)) == (ids[:2], [ids[1]])


# Kinds ----------------------------------------------------------------------------------------------------------------


def kind_info(**fields: object) -> KindInfo:
    defaults = {"kind": "mail", "queue": "q", "schema": {"v": 1}, "retries": 3, "timeout_s": 30.0, "priority": 5}
    return KindInfo(**(defaults | fields))  # type: ignore[arg-type]


async def test_a_kind_is_known_with_the_schema_published_last(site: Worksite) -> None:
    old, new = kind_info(), kind_info(schema={"v": 2}, retries=5, timeout_s=0.25)
    await site.store.publish_kinds(site.connection, [(old, "hash 1"), (kind_info(kind="a"), "hash 1")])
    site.clock.advance(seconds=1)
    await site.store.publish_kinds(site.connection, [(new, "hash 2")])
    assert await site.store.list_kinds(site.connection) == [kind_info(kind="a"), new]


async def test_an_old_worker_that_restarts_does_not_undo_a_new_schema(site: Worksite) -> None:
    old, new = kind_info(), kind_info(schema={"v": 2})
    for info, schema_hash in ((old, "1"), (new, "2"), (old, "1")):
        await site.store.publish_kinds(site.connection, [(info, schema_hash)])
        site.clock.advance(seconds=1)
    assert await site.store.list_kinds(site.connection) == [new]
