"""Reading: one job, lists with their filters and pages, and how deep the queues are."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.engine.worksite import OOPS, Worksite, new_job, succeeded

from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import DEFAULT_NAMESPACE, JobFilter, JobId, State
from taskflow.engine.store import LEASE_S, Store

OTHER = UUID(int=7)


async def list_all(
    site: Worksite, chosen: JobFilter, *, limit: int, namespace: UUID = DEFAULT_NAMESPACE
) -> list[JobId]:
    """All pages of a list, one after the other."""
    ids: list[JobId] = []
    before: JobId | None = None
    while True:
        page, before = await site.store.list_ids(site.connection, DEFAULT_NAMESPACE, chosen, limit=limit, before=before)
        assert len(page) <= limit
        ids += page
        if before is None:
            return ids


async def one_of_each_state(site: Worksite, **fields: object) -> dict[State, JobId]:
    """Seven jobs, one in each state, in a queue of their own unless told otherwise."""
    fields = {"queue": f"queue-{uuid4()}"} | fields
    completed, failed, cancelled, retrying, active, pending = await site.submit_many(6, **fields)
    scheduled = await site.submit(**fields, run_after=timedelta(seconds=60))
    kinds, queues = [str(fields.get("kind", "mail"))], [str(fields["queue"])]
    claims = await site.claim(5, kinds=kinds, queues=queues)
    await site.store.complete(site.connection, [succeeded(claims[0])])
    await site.store.finish(site.connection, [policy.failed_for_good(claims[1], OOPS, 0.1)])
    await site.store.finish(site.connection, [policy.cancelled(claims[2], 0.1)])
    await site.fail(claims[3])
    return {
        State.COMPLETED: completed,
        State.FAILED: failed,
        State.CANCELLED: cancelled,
        State.RETRYING: retrying,
        State.ACTIVE: active,
        State.PENDING: pending,
        State.SCHEDULED: scheduled,
    }


# One ------------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-8", "S2-12", "S3-13")
async def test_every_state_reads_as_itself(site: Worksite) -> None:
    jobs = await one_of_each_state(site)
    read = {job.id: job.state for job in await site.store.read_jobs(site.connection, list(jobs.values()))}
    assert read == {job_id: state for state, job_id in jobs.items()}


async def test_jobs_are_read_newest_first_and_unknown_ones_left_out(site: Worksite) -> None:
    ids = await site.submit_many(3)
    asked = [ids[1], JobId(uuid4()), ids[2], ids[0]]
    assert [job.id for job in await site.store.read_jobs(site.connection, asked)] == ids[::-1]
    assert await site.store.read_jobs(site.connection, []) == []


async def test_a_job_of_another_namespace_is_not_there(site: Worksite) -> None:
    job_id = await site.submit(namespace=OTHER)
    assert await site.store.read_jobs(site.connection, [job_id], namespace=DEFAULT_NAMESPACE) == []
    assert await site.store.find_body(site.connection, job_id, DEFAULT_NAMESPACE) is None
    assert [job.id for job in await site.store.read_jobs(site.connection, [job_id], namespace=OTHER)] == [job_id]
    assert await site.store.find_body(site.connection, job_id, OTHER) is not None


# Lists ----------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-7", "S2-12")
@pytest.mark.parametrize("state", list(State))
async def test_a_list_of_a_state_holds_just_the_jobs_in_it_newest_first(site: Worksite, state: State) -> None:
    sets = [await one_of_each_state(site) for _ in range(3)]
    await one_of_each_state(site, namespace=OTHER, queue="theirs")
    expected = sorted((jobs[state] for jobs in sets), reverse=True)
    for limit in (1, 2, 100):
        assert await list_all(site, JobFilter(state=state), limit=limit) == expected


@pytest.mark.covers("S2-7")
async def test_a_list_shows_the_newest_first_and_goes_on_where_it_stopped(site: Worksite) -> None:
    ids = await site.submit_many(25)
    page, before = await site.store.list_ids(site.connection, DEFAULT_NAMESPACE, JobFilter(), limit=10, before=None)
    assert page == ids[::-1][:10]
    assert before == page[-1]
    assert await list_all(site, JobFilter(), limit=10) == ids[::-1]


@pytest.mark.covers("S2-7")
@pytest.mark.parametrize("state", [None, *State])
async def test_a_list_can_be_narrowed_by_kind_queue_and_tag(site: Worksite, state: State | None) -> None:
    plain = await one_of_each_state(site)
    special = await one_of_each_state(site, kind="special", queue="s", tags=("urgent", "x"))
    wanted = set(special.values()) if state is None else {special[state]}
    for chosen in (JobFilter(kind="special"), JobFilter(queue="s"), JobFilter(tag="urgent")):
        narrowed = JobFilter(state=state, kind=chosen.kind, queue=chosen.queue, tag=chosen.tag)
        assert set(await list_all(site, narrowed, limit=50)) == wanted
    everything = set(plain.values()) if state is None else {plain[state]}
    assert set(await list_all(site, JobFilter(state=state), limit=50)) == everything | wanted
    assert await list_all(site, JobFilter(state=state, kind="special", queue="default"), limit=50) == []
    assert await list_all(site, JobFilter(state=state, tag="urg"), limit=50) == []


@pytest.mark.covers("S2-7")
@pytest.mark.parametrize("state", [None, *State])
async def test_a_list_can_be_narrowed_by_time_from_inclusive_to_exclusive(site: Worksite, state: State | None) -> None:
    made: list[tuple[datetime, set[JobId]]] = []
    for _ in range(3):
        jobs = await one_of_each_state(site)
        made.append((site.clock.now, set(jobs.values()) if state is None else {jobs[state]}))
        site.clock.advance(seconds=60)
    chosen = JobFilter(state=state, created_from=made[1][0], created_to=made[2][0])
    assert set(await list_all(site, chosen, limit=2)) == made[1][1]
    assert (
        set(await list_all(site, JobFilter(state=state, created_from=made[1][0]), limit=2)) == made[1][1] | made[2][1]
    )
    assert set(await list_all(site, JobFilter(state=state, created_to=made[1][0]), limit=2)) == made[0][1]


@pytest.mark.parametrize("state", [None, State.PENDING])
async def test_a_filter_that_hardly_anything_passes_gives_short_pages_that_go_on(
    site: Worksite, monkeypatch: pytest.MonkeyPatch, state: State | None
) -> None:
    """A page looks at so many rows and no further; the caller is told where to go on."""
    monkeypatch.setattr("taskflow.engine.store.reading.SCAN_ROWS", 10)
    first = await site.submit(kind="rare")
    site.clock.advance(seconds=1)
    await site.submit_many(25)
    chosen = JobFilter(kind="rare", state=state)
    page, before = await site.store.list_ids(site.connection, DEFAULT_NAMESPACE, chosen, limit=5, before=None)
    assert (page, before is None) == ([], False)
    assert await list_all(site, chosen, limit=5) == [first]


# Depths ---------------------------------------------------------------------------------------------------------------


async def test_depths_count_what_is_due_by_queue_and_kind(site: Worksite) -> None:
    await site.store.set_worker_kinds(site.connection, site.worker_id, ["mail"])
    assert await site.store.queue_depths(site.connection) == []
    await site.submit_many(2)
    await site.submit(run_after=timedelta(hours=1))
    site.clock.advance(seconds=5)
    await site.submit(kind="thumbnail")
    await site.submit(queue="other")
    site.clock.advance(seconds=1)
    depths = await site.store.queue_depths(site.connection)
    assert [(depth.queue, depth.kind, depth.pending, depth.has_worker) for depth in depths] == [
        ("default", "mail", 2, True),
        ("default", "thumbnail", 1, False),
        ("other", "mail", 1, False),
    ]
    assert [depth.oldest_due_age_s for depth in depths] == pytest.approx([6, 1, 1], abs=0.001)


async def test_a_silent_worker_serves_no_queue(site: Worksite) -> None:
    await site.store.set_worker_kinds(site.connection, site.worker_id, ["mail"])
    await site.submit()
    site.clock.advance(seconds=LEASE_S)
    assert [depth.has_worker for depth in await site.store.queue_depths(site.connection)] == [True]
    site.clock.advance(seconds=0.001)
    assert [depth.has_worker for depth in await site.store.queue_depths(site.connection)] == [False]


async def test_depths_are_counted_up_to_a_limit(site: Worksite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskflow.engine.store.reading.DEPTH_ROWS", 10)
    await site.submit_many(25)
    assert [depth.pending for depth in await site.store.queue_depths(site.connection)] == [10]


async def test_without_a_clock_of_its_own_a_store_lives_by_the_databases(connection: Connection) -> None:
    """What production does; every other test moves time itself."""
    jobs = [new_job(), new_job(run_after=timedelta(seconds=60))]
    pending, scheduled = await Store().enqueue(connection, jobs)
    now = await connection.fetchval("SELECT now()")
    assert abs(pending.created_at - now) < timedelta(seconds=5)
    due_s = (await Store().look_ahead(connection, grace_s=1.0)).due_s
    assert scheduled.state is State.SCHEDULED
    assert due_s is not None
    assert 50 < due_s <= 60
