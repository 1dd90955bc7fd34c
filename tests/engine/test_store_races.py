"""
Two connections at once: one holds its transaction open, the other starts and is seen to wait, the first commits.

No test sleeps: PostgreSQL itself says who waits for whom.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg
import pytest
from tests.engine.worksite import Worksite, failed, succeeded
from tests.support.waiting import eventually

from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import OutcomeKind, State
from taskflow.engine.record import Term
from taskflow.engine.store import LEASE_S

A = TypeVar("A")
B = TypeVar("B")

WAITS = "SELECT cardinality(pg_blocking_pids($1)) > 0"


async def until_it_waits(waiting: Connection, observer: Connection) -> None:
    pid = waiting.get_server_pid()
    await eventually("a statement to wait for a lock", lambda: observer.fetchval(WAITS, pid))


async def overtake(
    first: Connection,
    second: Connection,
    leading: Awaitable[A],
    trailing: Coroutine[Any, Any, B],
    *,
    commit: bool = True,
) -> tuple[A, B]:
    """
    Run *leading* in a transaction of *first*, start *trailing* on *second*, end the transaction once that waits.

    Returns what each came to.
    """
    block = first.transaction()
    await block.start()
    led = await leading
    trail = asyncio.create_task(trailing)
    try:
        await until_it_waits(second, first)
    finally:
        await (block.commit() if commit else block.rollback())
    return led, await trail


async def pass_by(first: Connection, leading: Awaitable[A], trailing: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Run *leading* in a transaction of *first*, and *trailing* on another connection to its end before the commit."""
    async with first.transaction():
        led = await leading
        return led, await asyncio.wait_for(trailing, 5)


async def ends(site: Worksite) -> list[tuple[str, int]]:
    """State and attempt of every row in done."""
    rows = await site.connection.fetch("SELECT state, attempt FROM taskflow.done ORDER BY job_id")
    return [(row["state"], row["attempt"]) for row in rows]


# Claims --------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S3-19", "S3-18")
async def test_two_claims_at_once_get_different_jobs_and_neither_waits(site: Worksite, second: Connection) -> None:
    ids = await site.submit_many(10)
    mine, yours = await pass_by(site.connection, site.claim(6), site.claim(6, connection=second))
    assert [claim.job_id for claim in mine] == ids[:6]
    assert [claim.job_id for claim in yours] == ids[6:]


async def test_a_claim_passes_by_the_jobs_that_a_claim_which_fails_had_taken(
    site: Worksite, second: Connection
) -> None:
    ids = await site.submit_many(2)
    block = site.connection.transaction()
    await block.start()
    await site.claim(1)
    assert [claim.job_id for claim in await site.claim(connection=second)] == ids[1:]
    await block.rollback()
    assert [claim.job_id for claim in await site.claim(connection=second)] == ids[:1]


@pytest.mark.covers("S2-10")
async def test_a_cancel_that_meets_a_claim_waits_and_then_asks_the_worker(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    body = await site.body(job_id)
    claims, cancelled = await overtake(site.connection, second, site.claim(), site.store.cancel_waiting(second, body))
    assert (len(claims), cancelled) == (1, False)
    assert await site.store.request_cancel(second, job_id) == site.clock.now


async def test_a_cancel_that_meets_a_claim_which_fails_cancels(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    body = await site.body(job_id)
    _, cancelled = await overtake(
        site.connection, second, site.claim(), site.store.cancel_waiting(second, body), commit=False
    )
    assert cancelled
    assert (await site.job(job_id)).state is State.CANCELLED


async def test_a_claim_passes_by_a_job_that_is_being_cancelled(site: Worksite, second: Connection) -> None:
    body = await site.body(await site.submit())
    cancelled, claims = await pass_by(
        site.connection, site.store.cancel_waiting(site.connection, body), site.claim(connection=second)
    )
    assert (cancelled, claims) == (True, [])
    assert await ends(site) == [("cancelled", 0)]


async def test_a_claim_that_began_before_its_worker_was_buried_is_found_as_an_orphan(
    site: Worksite, second: Connection
) -> None:
    await site.submit()
    site.clock.advance(seconds=LEASE_S + 1)
    claims, buried = await pass_by(site.connection, site.claim(), site.store.bury_workers(second))
    assert buried == [site.worker_id]
    assert await site.store.find_orphan_leases(second, limit=10) == [claims[0].lease_id]


# Cancels and replays -------------------------------------------------------------------------------------------------


async def test_of_two_cancels_one_cancels(site: Worksite, second: Connection) -> None:
    body = await site.body(await site.submit())
    cancel = site.store.cancel_waiting
    assert await overtake(site.connection, second, cancel(site.connection, body), cancel(second, body)) == (True, False)
    assert await ends(site) == [("cancelled", 0)]


async def test_of_two_requests_to_stop_both_get_the_first_instant(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    await site.claim()
    first_at = site.clock.now

    async def later() -> object:
        site.clock.advance(seconds=5)
        return await site.store.request_cancel(second, job_id)

    request = site.store.request_cancel(site.connection, job_id)
    assert await overtake(site.connection, second, request, later()) == (first_at, first_at)


async def test_requests_to_stop_two_jobs_of_one_lease_both_arrive(site: Worksite, second: Connection) -> None:
    one, two = await site.submit_many(2)
    await site.claim()
    request = site.store.request_cancel
    await overtake(site.connection, second, request(site.connection, one), request(second, two))
    (lease,) = await site.store.list_own_leases(site.connection, worker_id=site.worker_id, incarnation=1)
    assert set(lease.cancels) == {one, two}


async def test_of_two_replays_one_replays(site: Worksite, second: Connection) -> None:
    body = await site.body(await site.submit(retries=0))
    await site.fail(await site.claim_one())
    replay = site.store.replay
    assert await overtake(site.connection, second, replay(site.connection, body), replay(second, body)) == (True, False)
    assert len(await site.claim()) == 1


async def test_a_cancel_that_meets_staging_finds_the_job_when_it_looks_again(
    site: Worksite, second: Connection
) -> None:
    body = await site.body(await site.submit(run_after=timedelta(seconds=1)))
    site.clock.advance(seconds=2)
    staged, cancelled = await overtake(
        site.connection, second, site.store.stage(site.connection, limit=9), site.store.cancel_waiting(second, body)
    )
    assert (staged, cancelled) == ({"default": 1}, False)
    assert await site.store.cancel_waiting(second, body)
    assert await ends(site) == [("cancelled", 0)]


async def test_staging_passes_by_a_job_that_is_being_cancelled(site: Worksite, second: Connection) -> None:
    body = await site.body(await site.submit(run_after=timedelta(seconds=1)))
    site.clock.advance(seconds=2)
    cancel = site.store.cancel_waiting(site.connection, body)
    assert await pass_by(site.connection, cancel, site.store.stage(second, limit=9)) == (True, {})
    assert await site.claim() == []


async def test_two_stagings_at_once_make_each_job_ready_once(site: Worksite, second: Connection) -> None:
    ids = await site.submit_many(6, run_after=timedelta(seconds=1))
    site.clock.advance(seconds=2)
    stage = site.store.stage
    both = await pass_by(site.connection, stage(site.connection, limit=4), stage(second, limit=4))
    assert both == ({"default": 4}, {"default": 2})
    assert sorted(claim.job_id for claim in await site.claim()) == ids


# Ending attempts -----------------------------------------------------------------------------------------------------


async def test_of_two_completions_of_one_claim_one_is_refused(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    first, other = succeeded(claim, "first"), succeeded(claim, "second")
    complete = site.store.complete
    both = await overtake(site.connection, second, complete(site.connection, [first]), complete(second, [other]))
    assert both == ([], [other])
    assert (await site.job(job_id)).result == "first"


@pytest.mark.parametrize("neighbours", [0, 1])
async def test_a_flush_sent_again_while_its_first_try_still_runs_waits_and_is_known_as_ours(
    site: Worksite, second: Connection, neighbours: int
) -> None:
    await site.submit_many(1 + neighbours)
    claim = (await site.claim())[0]
    outcome = failed(claim)
    finish = site.store.finish
    both = await overtake(site.connection, second, finish(site.connection, [outcome]), finish(second, [outcome]))
    assert both == ([], [outcome])
    assert await site.store.find_unsettled(second, [outcome]) == []


async def test_flushes_of_different_jobs_of_one_lease_both_arrive(site: Worksite, second: Connection) -> None:
    """The second waits for the lease row, and then clears its own bit of what the first left."""
    ids = await site.submit_many(3)
    claims = await site.claim()
    complete = site.store.complete
    both = await overtake(
        site.connection,
        second,
        complete(site.connection, [succeeded(claims[0])]),
        complete(second, [succeeded(claims[1])]),
    )
    assert both == ([], [])
    assert await site.store.finish(second, [policy.handed_back(claims[2])]) == []
    states = {job.id: job.state for job in await site.store.read_jobs(second, ids)}
    assert [states[job_id] for job_id in ids] == [State.COMPLETED, State.COMPLETED, State.PENDING]
    assert await second.fetchval("SELECT count(*) FROM taskflow.lease") == 0


async def test_a_rescue_that_meets_a_completion_returns_only_the_rest(site: Worksite, second: Connection) -> None:
    ids = await site.submit_many(2)
    claims = await site.claim()
    refused, returned = await overtake(
        site.connection,
        second,
        site.store.complete(site.connection, [succeeded(claims[0])]),
        site.store.return_leases(second, [claims[0].lease_id], OutcomeKind.LOST),
    )
    assert (refused, returned) == ([], {"default": 1})
    assert await ends(site) == [("completed", 1)]
    assert [claim.job_id for claim in await site.claim()] == ids[1:]


async def test_a_rescue_that_meets_the_last_completion_returns_nothing(site: Worksite, second: Connection) -> None:
    await site.submit()
    claim = await site.claim_one()
    refused, returned = await overtake(
        site.connection,
        second,
        site.store.complete(site.connection, [succeeded(claim)]),
        site.store.return_leases(second, [claim.lease_id], OutcomeKind.LOST),
    )
    assert (refused, returned) == ([], {})
    assert await site.claim() == []


async def test_a_completion_that_meets_a_rescue_is_refused(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    outcome = succeeded(await site.claim_one())
    returned, refused = await overtake(
        site.connection,
        second,
        site.store.return_leases(site.connection, [outcome.claim.lease_id], OutcomeKind.LOST),
        site.store.complete(second, [outcome]),
    )
    assert (returned, refused) == ({"default": 1}, [outcome])
    assert await site.store.find_unsettled(second, [outcome]) == [outcome]
    assert (await site.job(job_id)).state is State.PENDING


async def test_of_two_rescues_one_returns_the_jobs(site: Worksite, second: Connection) -> None:
    await site.submit_many(2)
    lease_ids = [(await site.claim())[0].lease_id]
    back = site.store.return_leases
    both = await overtake(
        site.connection,
        second,
        back(site.connection, lease_ids, OutcomeKind.LOST),
        back(second, lease_ids, OutcomeKind.LOST),
    )
    assert both == ({"default": 2}, {})
    assert len(await site.claim()) == 2


@pytest.mark.covers("S2-10")
@pytest.mark.parametrize("neighbours", [0, 1])
async def test_a_request_to_stop_that_meets_the_completion_comes_too_late(
    site: Worksite, second: Connection, neighbours: int
) -> None:
    job_id = (await site.submit_many(1 + neighbours))[0]
    claim = (await site.claim())[0]
    refused, asked = await overtake(
        site.connection,
        second,
        site.store.complete(site.connection, [succeeded(claim)]),
        site.store.request_cancel(second, job_id),
    )
    assert (refused, asked) == ([], None)
    assert (await site.job(job_id)).state is State.COMPLETED


async def test_a_completion_that_meets_a_request_to_stop_stands(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    _, refused = await overtake(
        site.connection,
        second,
        site.store.request_cancel(site.connection, job_id),
        site.store.complete(second, [succeeded(claim)]),
    )
    assert refused == []
    assert (await site.job(job_id)).state is State.COMPLETED


@pytest.mark.covers("S2-10")
@pytest.mark.parametrize("ending", ["error", "snooze", "hand-back"])
async def test_an_attempt_that_ends_while_its_cancel_is_being_asked_for_sees_it(
    site: Worksite, second: Connection, ending: str
) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    outcomes = {
        "error": failed(claim),
        "snooze": policy.snoozed(claim, 9.0, 0.1),
        "hand-back": policy.handed_back(claim),
    }
    _, refused = await overtake(
        site.connection,
        second,
        site.store.request_cancel(site.connection, job_id),
        site.store.finish(second, [outcomes[ending]]),
    )
    assert refused == []
    assert (await site.job(job_id)).state is State.CANCELLED


async def test_a_rescue_that_meets_a_request_to_stop_cancels(site: Worksite, second: Connection) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    await overtake(
        site.connection,
        second,
        site.store.request_cancel(site.connection, job_id),
        site.store.return_leases(second, [claim.lease_id], OutcomeKind.LOST),
    )
    assert (await site.job(job_id)).state is State.CANCELLED


async def test_a_cancel_that_meets_the_end_of_an_attempt_finds_the_job_waiting_again(
    site: Worksite, second: Connection
) -> None:
    job_id = await site.submit()
    claim = await site.claim_one()
    body = await site.body(job_id)
    _, asked = await overtake(
        site.connection,
        second,
        site.store.finish(site.connection, [failed(claim)]),
        site.store.request_cancel(second, job_id),
    )
    assert asked is None
    assert await site.store.cancel_waiting(second, body)


# Workers and leaders -------------------------------------------------------------------------------------------------


async def test_a_worker_that_beats_while_it_is_being_buried_lives(site: Worksite, second: Connection) -> None:
    site.clock.advance(seconds=LEASE_S + 1)
    both = await overtake(
        site.connection, second, site.store.heartbeat(site.connection, site.worker_id), site.store.bury_workers(second)
    )
    assert both == (True, [])


async def test_a_beat_that_meets_the_burial_learns_of_it(site: Worksite, second: Connection) -> None:
    site.clock.advance(seconds=LEASE_S + 1)
    both = await overtake(
        site.connection, second, site.store.bury_workers(site.connection), site.store.heartbeat(second, site.worker_id)
    )
    assert both == ([site.worker_id], False)


async def test_of_two_candidates_one_leads(site: Worksite, second: Connection) -> None:
    other = await site.start_worker()
    lead = site.store.lead
    both = await overtake(
        site.connection,
        second,
        lead(site.connection, "engine", site.worker_id, term_s=8),
        lead(second, "engine", other, term_s=8),
    )
    assert both == (Term(1, 0.0), None)


# Deadlocks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def third(database_url: str) -> AsyncIterator[Connection]:
    """One more connection, to look from outside."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close(timeout=5)


@pytest.mark.parametrize("statement", ["complete", "finish", "return_leases"])
async def test_leases_are_locked_in_the_order_of_their_ids_whatever_the_order_given(
    site: Worksite, second: Connection, third: Connection, statement: str
) -> None:
    """So two flushes of the same leases, or a flush and a rescue, never wait for each other in a circle."""
    await site.submit_many(2)
    claims = sorted([await site.claim_one(), await site.claim_one()], key=lambda claim: claim.lease_id)
    low, high = claims
    lock = "SELECT FROM taskflow.lease WHERE id = $1 FOR UPDATE"
    statements: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "complete": lambda: site.store.complete(second, [succeeded(high), succeeded(low)]),
        "finish": lambda: site.store.finish(second, [failed(high), failed(low)]),
        "return_leases": lambda: site.store.return_leases(second, [high.lease_id, low.lease_id], OutcomeKind.LOST),
    }
    block = site.connection.transaction()
    await block.start()
    await site.connection.execute(lock, low.lease_id)
    running = asyncio.create_task(statements[statement]())
    await until_it_waits(second, site.connection)
    assert await third.execute(f"{lock} NOWAIT", high.lease_id) == "SELECT 1"  # not taken yet
    await block.commit()
    assert await running in ([], {"default": 2})


async def test_flushes_of_the_same_leases_in_opposite_order_both_arrive(
    site: Worksite, second: Connection, third: Connection
) -> None:
    """Both are held up by a third party and then let go at once."""
    ids = await site.submit_many(8)
    one, two = await site.claim(4), await site.claim(4)
    block = third.transaction()
    await block.start()
    await third.execute("SELECT FROM taskflow.lease ORDER BY id FOR UPDATE")
    forth = [succeeded(claim) for claim in (*one[:2], *two[:2])]
    back = [failed(claim) for claim in (*two[2:], *one[2:])]
    tasks = [
        asyncio.create_task(site.store.complete(site.connection, forth)),
        asyncio.create_task(site.store.finish(second, back)),
    ]
    for connection in (site.connection, second):
        await until_it_waits(connection, third)
    await block.commit()
    assert await asyncio.gather(*tasks) == [[], []]
    states = [job.state for job in await site.store.read_jobs(site.connection, ids)]
    assert (states.count(State.COMPLETED), states.count(State.RETRYING)) == (4, 4)
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.lease") == 0
