"""Counting jobs that ended: exactly, before and after folding, under workers and leaders at work."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.worksite import Worksite, failed, succeeded

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine import tally as module
from taskflow.engine.job import DEFAULT_NAMESPACE, JobError, OutcomeKind, State, WorkerId
from taskflow.engine.leader import Leader
from taskflow.engine.record import EndCount
from taskflow.engine.statistics import percentiles_s
from taskflow.engine.store import Store
from taskflow.engine.tally import Tally


async def ends(site: Worksite, *, namespace: UUID = DEFAULT_NAMESPACE) -> list[EndCount]:
    hour = site.clock.now.replace(minute=0, second=0, microsecond=0)
    return await site.store.read_stats(
        site.connection, namespace, first=hour - timedelta(hours=2), past=hour + timedelta(hours=3)
    )


def by_state(counts: Sequence[EndCount]) -> dict[State, int]:
    sums: dict[State, int] = {}
    for count in counts:
        if count.measure == "run":
            sums[count.state] = sums.get(count.state, 0) + count.jobs
    return sums


async def deltas(connection: Connection) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM taskflow.stat_delta")
    return count


async def test_every_way_to_end_counts_once_folded_or_not(site: Worksite) -> None:
    await site.submit_many(4)
    waiting = await site.submit(kind="other")
    claims = await site.claim(4)
    await site.store.complete(site.connection, [succeeded(claims[0])])
    await site.store.finish(
        site.connection,
        [
            policy.failed_for_good(claims[1], JobError("ValueError", "no"), 0.5),
            policy.cancelled(claims[2], None),
            failed(claims[3]),  # waits for another try: no end
        ],
    )
    body = await site.store.find_body(site.connection, waiting, None)
    assert body is not None
    assert await site.store.cancel_waiting(site.connection, body)
    expected = {State.COMPLETED: 1, State.FAILED: 1, State.CANCELLED: 2}
    counted = await ends(site)
    assert by_state(counted) == expected
    while await site.store.fold_stats(site.connection, limit=2):
        assert await ends(site) == counted
    assert await deltas(site.connection) == 0


async def test_a_late_worker_counts_nothing(site: Worksite) -> None:
    await site.submit()
    [late] = await site.claim(1)
    await site.store.return_leases(site.connection, [late.lease_id], OutcomeKind.LOST)
    assert await site.store.complete(site.connection, [succeeded(late)]) != []
    assert await ends(site) == []


async def test_times_fall_into_buckets_of_run_and_wait(site: Worksite) -> None:
    await site.submit()
    site.clock.advance(seconds=2)
    [claimed] = await site.claim(1)
    site.clock.advance(seconds=7)  # of which its handler runs the last half second: a child process had to start
    await site.store.complete(site.connection, [succeeded(claimed, duration_s=0.5)])
    run, wait = await ends(site)
    assert (run.measure, wait.measure) == ("run", "wait")
    for count, took_s in ((run, 0.5), (wait, 2.0)):
        found = percentiles_s([(count.bucket, count.jobs)], [1.0])[1.0]
        assert found is not None
        assert took_s <= found <= took_s * 1.42


async def test_namespaces_count_for_themselves(site: Worksite) -> None:
    other = UUID(int=7)
    await site.submit(namespace=other)
    await site.store.complete(site.connection, [succeeded(claim) for claim in await site.claim(1)])
    assert await ends(site) == []
    assert by_state(await ends(site, namespace=other)) == {State.COMPLETED: 1}


async def test_an_hour_is_the_one_in_which_the_job_ended(site: Worksite) -> None:
    site.clock.now = site.clock.now.replace(minute=59, second=59)
    await site.submit_many(2)
    first, second = await site.claim(2)
    await site.store.complete(site.connection, [succeeded(first)])
    site.clock.advance(seconds=1)
    await site.store.complete(site.connection, [succeeded(second)])
    hour = site.clock.now
    series = await site.store.read_stat_series(
        site.connection,
        DEFAULT_NAMESPACE,
        period="hour",
        first=hour - timedelta(hours=1),
        past=hour + timedelta(hours=1),
    )
    assert [(point.at, point.jobs) for point in series] == [(hour - timedelta(hours=1), 1), (hour, 1)]
    assert by_state(
        await site.store.read_stats(site.connection, DEFAULT_NAMESPACE, first=hour, past=hour + timedelta(hours=1))
    ) == {State.COMPLETED: 1}


async def test_nothing_is_lost_or_counted_twice_while_everybody_is_at_it(
    site: Worksite, database: Database, database_url: str
) -> None:
    """Completions on several connections, two folders without the duty's lock, and a reader who adds up meanwhile."""
    jobs = 400
    await site.submit_many(jobs)
    seen: list[int] = []
    done = asyncio.Event()
    store = Store()

    async def complete() -> None:
        async with database.acquire() as connection:
            while claims := await site.claim(7, connection=connection):
                await site.store.complete(connection, [succeeded(claim) for claim in claims])

    async def fold() -> None:
        async with database.acquire() as connection:
            while not done.is_set():
                await store.fold_stats(connection, limit=3)

    async def read() -> None:
        while not done.is_set():
            seen.append(sum(by_state(await ends(site)).values()))

    async def work() -> None:
        await asyncio.gather(complete(), complete(), complete())
        done.set()

    await asyncio.gather(work(), fold(), fold(), read())
    assert seen == sorted(seen)  # a reader never sees a count go back
    assert by_state(await ends(site)) == {State.COMPLETED: jobs}


async def test_the_leader_folds_in_batches_and_forgets_after_its_time(
    site: Worksite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    leader = Leader(database, site.store, WorkerId(uuid4()))
    tally = Tally(database, site.store, leader)
    await site.submit_many(3)
    for claim in await site.claim(3):
        await site.store.complete(site.connection, [succeeded(claim)])
    before = await deltas(site.connection)
    assert await tally.tick() == module.PAUSE_S  # it does not lead
    assert await deltas(site.connection) == before
    leading = asyncio.create_task(leader.run())
    try:
        await asyncio.wait_for(leader.elected.wait(), 8)
        assert await tally.tick() == 0.0
        while await tally.tick() == 0.0:
            pass
        assert await tally.tick() == module.IDLE_PAUSE_S
    finally:
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
    assert await deltas(site.connection) == 0
    assert by_state(await ends(site)) == {State.COMPLETED: 3}
    site.clock.advance(seconds=(module.KEPT_DAYS + 1) * 86400.0)
    assert await tally.prune() > 0
    assert await site.connection.fetchval("SELECT count(*) FROM taskflow.stat_hour") == 0


async def test_who_finds_another_at_it_folds_nothing(site: Worksite, database: Database, second: Connection) -> None:
    await site.submit()
    await site.store.complete(site.connection, [succeeded(claim) for claim in await site.claim(1)])
    tally = Tally(database, site.store, Leader(database, site.store, WorkerId(uuid4())))
    async with second.transaction():
        assert await site.store.try_duty_lock(second, module.DUTY)
        assert await tally.fold() == 0
    assert await tally.fold() > 0


@given(times_s=st.lists(st.floats(0.0, 100_000.0), min_size=1, max_size=50), share=st.floats(0.01, 1.0))
def test_a_percentile_is_within_its_bucket(times_s: list[float], share: float) -> None:
    def bucket(time_s: float) -> int:
        found = 1
        while 2 ** ((found - 1) / 2) < time_s * 1000 and found < 56:
            found += 1
        return found

    ordered = sorted(times_s)
    true = ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
    found = percentiles_s([(bucket(time_s), 1) for time_s in times_s], [share])[share]
    assert found is not None
    assert true / 2**0.5 * 0.999 <= max(found, 0.001) or true <= 0.001
    assert found <= max(true * 2**0.5, 0.001) * 1.001


async def test_buckets_of_the_database_end_where_readers_think(connection: Connection) -> None:
    for time_s, bucket in ((0.0, 1), (0.001, 1), (0.0014, 2), (0.0021, 4), (1.0, 21), (86400.0, 54), (1e9, 56)):
        assert await connection.fetchval("SELECT taskflow.stat_bucket($1)", time_s) == bucket
        low, high = percentiles_s([(bucket, 1)], [0.0]).get(0.0), percentiles_s([(bucket, 1)], [1.0]).get(1.0)
        assert low is not None
        assert high is not None
        assert low * 0.999 <= time_s <= high * 1.001 or bucket == 56


def test_nothing_has_no_percentile() -> None:
    assert percentiles_s([(0, 5)], [0.5]) == {0.5: None}
