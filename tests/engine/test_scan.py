"""Where claims begin to look: behind what was taken, and often enough at the front for nothing to be left there."""

import random
from collections.abc import AsyncIterator

import pytest
from tests.engine.worksite import QUEUE, Worksite, new_job

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.job import Claim, JobId, OutcomeKind
from taskflow.engine.scan import FROM_THE_FRONT, REST, REST_CAP_S, ScanBound

BLOCKS = """
    SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit
    FROM pg_statio_user_tables WHERE schemaname = 'taskflow' AND relname = 'ready'
"""


class Stopwatch:
    """A monotonic clock on which every claim takes *claim_s*."""

    def __init__(self, claim_s: float = 1.0) -> None:
        self.claim_s = claim_s
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.claim_s
        return self.now_s

    def rest(self) -> None:
        """Let so much time pass that the next claim begins at the front."""
        self.now_s += REST * self.claim_s


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def bound(watch: Stopwatch) -> ScanBound:
    return ScanBound(watch)


@pytest.fixture
async def others(database: Database) -> AsyncIterator[Connection]:
    """A second session."""
    async with database.acquire() as connection:
        yield connection


async def late(site: Worksite, connection: Connection, **fields: object) -> JobId:
    """Submit in a transaction that *connection* has open, and leave it open."""
    (answer,) = await site.store.enqueue(connection, [new_job(**fields)])
    return answer.id


def ids(claims: list[Claim]) -> list[JobId]:
    return [claim.job_id for claim in claims]


# Where a claim begins ------------------------------------------------------------------------------------------------


def test_the_first_claim_begins_at_the_front_and_the_next_one_behind_what_it_took(
    bound: ScanBound, site: Worksite
) -> None:
    place = (site.clock.now, site.worker_id)
    assert bound.begin(["a", "b"]) is FROM_THE_FRONT
    bound.end({("b", 5): place})
    scan = bound.begin(["a", "b"])
    assert [at is not None for at in scan.after_run_at] == [False] * 15 + [True] + [False] * 4
    assert (scan.after_run_at[15], scan.after_job_id[15]) == place


@pytest.mark.parametrize(("claim_s", "pause_s"), [(0.001, 0.02), (0.1, 2.0), (5.0, REST_CAP_S)])
def test_claims_from_the_front_take_a_twentieth_of_the_time_and_come_every_ten_seconds_at_least(
    site: Worksite, claim_s: float, pause_s: float
) -> None:
    watch = Stopwatch(claim_s)
    bound = ScanBound(watch)
    bound.begin([QUEUE])
    bound.end({(QUEUE, 5): (site.clock.now, site.worker_id)})
    watch.claim_s = 0.0
    watch.now_s += pause_s * 0.99
    assert bound.begin([QUEUE]) is not FROM_THE_FRONT
    bound.end({})
    watch.now_s += pause_s * 0.02
    assert bound.begin([QUEUE]) is FROM_THE_FRONT


async def test_nobody_s_place_goes_back(bound: ScanBound, site: Worksite) -> None:
    later, earlier = site.clock.now, site.clock.now.replace(year=2000)
    bound.begin([QUEUE])
    bound.end({(QUEUE, 5): (later, site.worker_id)})
    bound.begin([QUEUE])
    bound.end({(QUEUE, 5): (earlier, site.worker_id)})
    assert bound.begin([QUEUE]).after_run_at[5] == later


# What lies in front of that place ------------------------------------------------------------------------------------


async def test_a_job_of_a_higher_priority_is_taken_at_once(site: Worksite, bound: ScanBound) -> None:
    await site.submit_many(30)
    await site.claim(bound=bound)
    high, low = await site.submit(priority=8), await site.submit(priority=2)
    site.clock.advance(seconds=1)
    assert (await site.claim_one(bound=bound)).job_id == high
    assert low not in ids(await site.claim(20, bound=bound))
    assert (await site.claim_one(bound=bound)).job_id == low


async def test_jobs_of_one_submit_have_one_time_and_are_gone_through_by_their_ids(
    site: Worksite, bound: ScanBound
) -> None:
    submitted = await site.submit_many(30)
    site.clock.advance(seconds=1)
    taken = [job_id for _ in range(4) for job_id in ids(await site.claim(9, bound=bound))]
    assert taken == submitted


async def test_what_is_committed_within_a_quarter_of_a_second_is_not_passed_over(
    site: Worksite, bound: ScanBound, others: Connection
) -> None:
    transaction = others.transaction()
    await transaction.start()
    slow = await late(site, others)
    site.clock.advance(seconds=0.1)
    await site.submit_many(3)
    await site.claim(2, bound=bound)
    await transaction.commit()
    site.clock.advance(seconds=0.1)
    assert (await site.claim_one(bound=bound)).job_id == slow


async def test_what_is_committed_later_than_that_is_found_from_the_front(
    site: Worksite, bound: ScanBound, watch: Stopwatch, others: Connection
) -> None:
    transaction = others.transaction()
    await transaction.start()
    slow = await late(site, others)
    site.clock.advance(seconds=5)
    await site.submit_many(3)
    site.clock.advance(seconds=5)
    await site.claim(2, bound=bound)
    await transaction.commit()
    assert slow not in ids(await site.claim(bound=bound))
    watch.rest()
    assert (await site.claim_one(bound=bound)).job_id == slow


async def test_what_was_locked_when_a_claim_passed_it_is_found_from_the_front(
    site: Worksite, bound: ScanBound, watch: Stopwatch, others: Connection
) -> None:
    first, second, third = await site.submit_many(3)
    site.clock.advance(seconds=1)
    async with others.transaction():
        await others.execute("SELECT FROM taskflow.ready WHERE job_id = $1 FOR UPDATE", second)
        assert ids(await site.claim(bound=bound)) == [first, third]
    assert await site.claim(bound=bound) == []
    watch.rest()
    assert (await site.claim_one(bound=bound)).job_id == second


async def test_what_was_handed_back_is_found_from_the_front(site: Worksite, bound: ScanBound, watch: Stopwatch) -> None:
    await site.submit_many(3)
    claims = await site.claim(bound=bound)
    site.clock.advance(seconds=1)
    await site.store.return_leases(site.connection, [claims[0].lease_id], OutcomeKind.HANDED_BACK)
    assert await site.claim(bound=bound) == []
    watch.rest()
    assert ids(await site.claim(bound=bound)) == ids(claims)


async def test_a_database_clock_that_was_set_back_hides_nothing(site: Worksite, bound: ScanBound) -> None:
    site.clock.advance(seconds=3600)
    await site.submit_many(2)
    await site.claim(1, bound=bound)
    site.clock.advance(seconds=-3600)
    submitted = await site.submit()
    assert (await site.claim_one(bound=bound)).job_id == submitted


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_every_job_is_claimed_and_held_by_one(
    site: Worksite, others: Connection, seed: int
) -> None:
    """Two workers, claims taken back, transactions that stay open for long: in the order of the seed."""
    rng = random.Random(seed)
    watches = [Stopwatch(), Stopwatch()]
    bounds = [ScanBound(watch) for watch in watches]
    waiting: set[JobId] = set()
    held: dict[JobId, Claim] = {}
    transaction, uncommitted = None, set[JobId]()

    async def claim(worker: int, limit: int) -> int:
        claims = await site.claim(limit, bound=bounds[worker])
        for taken in claims:
            waiting.remove(taken.job_id)
            held[taken.job_id] = taken
        return len(claims)

    for _ in range(150):
        step = rng.random()
        site.clock.advance(seconds=rng.choice([0.01, 0.1, 1.0]))
        if step < 0.35:
            waiting |= set(await site.submit_many(rng.randint(1, 8), priority=rng.choice([2, 5, 5, 5, 8])))
        elif step < 0.45 and transaction is None:
            transaction = others.transaction()
            await transaction.start()
            uncommitted = {await late(site, others, priority=rng.choice([5, 8])) for _ in range(rng.randint(1, 3))}
        elif step < 0.55 and transaction is not None:
            await transaction.commit()
            waiting |= uncommitted
            transaction = None
        elif step < 0.65 and held:
            lease_id = rng.choice(list(held.values())).lease_id
            await site.store.return_leases(site.connection, [lease_id], OutcomeKind.HANDED_BACK)
            back = {job_id for job_id, taken in held.items() if taken.lease_id == lease_id}
            waiting |= back
            for job_id in back:
                del held[job_id]
        else:
            await claim(rng.randrange(2), rng.randint(1, 10))
    if transaction is not None:
        await transaction.commit()
        waiting |= uncommitted
    watches[0].rest()
    while await claim(0, 10):
        watches[0].rest()
    assert waiting == set()
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.ready") == 0


# What it is good for -------------------------------------------------------------------------------------------------


async def blocks(connection: Connection) -> int:
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    count: int = await connection.fetchval(BLOCKS)
    return count


async def test_under_an_old_snapshot_a_claim_behind_the_place_reads_as_little_as_the_first(
    site: Worksite, bound: ScanBound, watch: Stopwatch, others: Connection
) -> None:
    async with others.transaction(isolation="repeatable_read"):
        await others.fetchval("SELECT count(*) FROM taskflow.ready")  # takes the snapshot
        for _ in range(12):
            await site.submit_many(500)
        site.clock.advance(seconds=1)

        async def cost() -> int:
            before = await blocks(site.connection)
            assert len(await site.claim(10, bound=bound)) == 10
            return await blocks(site.connection) - before

        first = await cost()
        for _ in range(10):
            await site.claim(500, bound=bound)
            watch.now_s = 0.0  # of the time that this takes, none passes
        behind = await cost()
        watch.rest()
        from_the_front = await cost()
    assert behind <= first + 20
    assert from_the_front >= 4 * behind
