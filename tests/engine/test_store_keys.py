"""Unique keys: of jobs with the same key, one."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.engine.test_store_races import overtake
from tests.engine.worksite import Worksite, failed, new_job, succeeded

from taskflow.apps.sdk.database import AppDatabase
from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import Enqueued, Job, JobError, OutcomeKind, State, UniqueScope
from taskflow.engine.store import keys
from taskflow.kernel.errors import Conflict

UNTIL_CLAIMED: dict[str, Any] = {"unique_key": "k", "unique_scope": UniqueScope.UNTIL_CLAIMED}
UNTIL_FINISHED: dict[str, Any] = {"unique_key": "k", "unique_scope": UniqueScope.UNTIL_FINISHED}
WINDOW: dict[str, Any] = {
    "unique_key": "k",
    "unique_scope": UniqueScope.WINDOW,
    "unique_window": timedelta(seconds=60),
}
SCOPES = [UNTIL_CLAIMED, UNTIL_FINISHED, WINDOW]


async def submit(site: Worksite, connection: Connection | None = None, **fields: Any) -> Enqueued:
    [answer] = await site.store.enqueue(connection or site.connection, [new_job(**fields)])
    return answer


async def count(site: Worksite, table: str = "job") -> int:
    found: int = await site.connection.fetchval(f"SELECT count(*) FROM taskflow.{table}")
    return found


@pytest.mark.parametrize("said", SCOPES, ids=lambda said: said["unique_scope"])
async def test_a_second_submit_gets_the_job_that_holds_the_key(site: Worksite, said: dict[str, Any]) -> None:
    first = await submit(site, **said)
    again = await submit(site, **said, payload={"other": True})
    assert (first.duplicate, again.duplicate) == (False, True)
    assert (again.id, again.created_at, again.state) == (first.id, first.created_at, State.PENDING)
    assert await count(site) == 1
    job = await site.job(first.id)
    assert (job.unique_key, job.unique_scope) == ("k", said["unique_scope"])


async def test_a_duplicate_is_answered_after_a_commit_of_its_own(site: Worksite) -> None:
    """The first may be seen while its commit was never confirmed by a standby; only a later commit's wait covers it."""
    next_xid = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    await submit(site, unique_key="k")
    before = await site.connection.fetchval(next_xid)
    assert (await submit(site, unique_key="k")).duplicate
    assert await site.connection.fetchval(next_xid) > before


async def test_a_duplicate_asks_for_nothing_to_be_stored(site: Worksite) -> None:
    await submit(site, unique_key="k")
    asked: list[str] = []
    with site.connection.query_logger(lambda record: asked.append(record.query)):
        assert (await submit(site, unique_key="k")).duplicate
    assert [query for query in asked if "claim_unique_keys" in query]
    assert not [query for query in asked if "taskflow:enqueue" in query]


async def test_a_key_without_a_scope_is_held_until_the_end(site: Worksite) -> None:
    first = await submit(site, unique_key="k")
    await site.claim_one()
    assert (await submit(site, unique_key="k")).id == first.id


async def test_keys_of_other_namespaces_and_kinds_are_other_keys(site: Worksite) -> None:
    await submit(site, **UNTIL_FINISHED)
    assert not (await submit(site, **UNTIL_FINISHED, namespace=UUID(int=9))).duplicate
    assert not (await submit(site, **UNTIL_FINISHED, kind="thumbnail")).duplicate


async def test_until_claimed_ends_with_the_claim(site: Worksite) -> None:
    first = await submit(site, **UNTIL_CLAIMED)
    claim = await site.claim_one()
    second = await submit(site, **UNTIL_CLAIMED)
    assert not second.duplicate
    await site.fail(claim, retry_after_s=0.0)  # it waits again, without the key
    assert (await submit(site, **UNTIL_CLAIMED)).id == second.id
    await site.store.stage(site.connection, limit=9)
    assert {claim.job_id for claim in await site.claim()} == {first.id, second.id}
    assert not (await submit(site, **UNTIL_CLAIMED)).duplicate


async def test_until_claimed_is_held_through_the_time_before_the_job_is_due(site: Worksite) -> None:
    first = await submit(site, **UNTIL_CLAIMED, run_after=timedelta(seconds=5))
    assert first.state is State.SCHEDULED
    site.clock.advance(seconds=6)
    await site.store.stage(site.connection, limit=9)
    assert (await submit(site, **UNTIL_CLAIMED)).id == first.id
    await site.claim_one()
    assert await count(site, "unique_claim") == 0


async def test_a_claim_that_is_rolled_back_gives_the_key_back(site: Worksite) -> None:
    first = await submit(site, **UNTIL_CLAIMED)
    block = site.connection.transaction()
    await block.start()
    await site.claim_one()
    await block.rollback()
    assert (await submit(site, **UNTIL_CLAIMED)).id == first.id


@pytest.mark.parametrize("end", ["complete", "fail", "cancel the attempt", "cancel the waiting", "rescue", "expire"])
async def test_until_finished_ends_with_every_end_of_the_job(site: Worksite, end: str) -> None:
    first = await submit(site, **UNTIL_FINISHED, expires_after=timedelta(seconds=9))
    if end == "cancel the waiting":
        assert await site.cancel(first.id)
    elif end == "expire":
        site.clock.advance(seconds=10)
        assert await site.store.expire(site.connection, limit=9) == 1
    else:
        claim = await site.claim_one()
        assert claim.settles
        assert (await submit(site, **UNTIL_FINISHED)).id == first.id
        if end == "complete":
            await site.store.complete(site.connection, [succeeded(claim)])
        elif end == "fail":
            await site.store.finish(site.connection, [policy.failed_for_good(claim, JobError("E", "e"), 0.1)])
        elif end == "cancel the attempt":
            await site.store.finish(site.connection, [policy.cancelled(claim, 0.1)])
        else:
            await site.cancel(first.id)
            await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST)
    assert (await site.job(first.id)).state.is_terminal
    assert not (await submit(site, **UNTIL_FINISHED)).duplicate


@pytest.mark.parametrize("turn", ["retry", "snooze", "hand back", "rescue"])
async def test_until_finished_goes_on_while_the_job_will_run_again(site: Worksite, turn: str) -> None:
    first = await submit(site, **UNTIL_FINISHED)
    claim = await site.claim_one()
    if turn == "rescue":
        await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST)
    else:
        outcomes = {
            "retry": failed(claim),
            "snooze": policy.snoozed(claim, 3, 1),
            "hand back": policy.handed_back(claim),
        }
        await site.store.finish(site.connection, [outcomes[turn]])
    assert not (await site.job(first.id)).state.is_terminal
    assert (await submit(site, **UNTIL_FINISHED)).id == first.id


async def test_a_late_completion_does_not_release_the_key(site: Worksite) -> None:
    first = await submit(site, **UNTIL_FINISHED)
    claim = await site.claim_one()
    await site.store.return_leases(site.connection, [claim.lease_id], OutcomeKind.LOST)
    late = succeeded(claim)
    assert await site.store.complete(site.connection, [late]) == [late]
    assert (await submit(site, **UNTIL_FINISHED)).id == first.id


async def test_a_window_lasts_its_time_whatever_becomes_of_the_job(site: Worksite) -> None:
    first = await submit(site, **WINDOW)
    await site.store.complete(site.connection, [succeeded(await site.claim_one())])
    site.clock.advance(seconds=59)
    again = await submit(site, **WINDOW)
    assert (again.id, again.state, again.duplicate) == (first.id, State.COMPLETED, True)
    site.clock.advance(seconds=2)
    assert not (await submit(site, **WINDOW)).duplicate


async def test_windows_that_are_over_are_pruned(site: Worksite) -> None:
    await submit(site, **WINDOW)
    assert await site.store.prune_keys(site.connection, limit=9) == 0
    site.clock.advance(seconds=61)
    assert await site.store.prune_keys(site.connection, limit=9) == 1
    assert await count(site, "unique_claim") == 0


async def test_a_batch_may_name_a_key_twice_and_mix_with_plain_jobs(site: Worksite) -> None:
    held = await submit(site, unique_key="held")
    batch = [new_job(), new_job(unique_key="a"), new_job(unique_key="held"), new_job(unique_key="a"), new_job()]
    answers = await site.store.enqueue(site.connection, batch)
    assert [answer.duplicate for answer in answers] == [False, False, True, True, False]
    assert answers[2].id == held.id
    assert answers[3].id == answers[1].id
    stored = [answer.id for answer in answers if not answer.duplicate]
    assert stored == sorted(stored)
    assert await count(site) == 4


async def test_ids_keep_the_order_of_a_batch_when_keys_are_had_at_the_second_try(site: Worksite) -> None:
    await site.store.enqueue(site.connection, [new_job(**WINDOW | {"unique_key": key}) for key in "ab"])
    site.clock.advance(seconds=61)
    batch = [new_job(), new_job(unique_key="b"), new_job(), new_job(unique_key="a"), new_job()]
    answers = await site.store.enqueue(site.connection, batch)
    assert not any(answer.duplicate for answer in answers)
    stored = [answer.id for answer in answers]
    assert stored == sorted(stored)


async def test_a_refused_batch_leaves_no_keys(site: Worksite) -> None:
    await site.store.set_queue(site.connection, "images", draining=True)
    async with site.connection.transaction():
        with pytest.raises(Conflict):
            await site.store.enqueue(site.connection, [new_job(unique_key="a"), new_job(queue="images")])
        assert not (await submit(site, unique_key="b")).duplicate
    assert await site.connection.fetchval("SELECT array_agg(key) FROM taskflow.unique_claim") == ["b"]


async def test_a_rolled_back_submit_leaves_no_key(site: Worksite) -> None:
    block = site.connection.transaction()
    await block.start()
    await submit(site, **UNTIL_FINISHED)
    await block.rollback()
    assert not (await submit(site, **UNTIL_FINISHED)).duplicate


# Races ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", SCOPES, ids=lambda said: said["unique_scope"])
async def test_of_two_submits_at_once_one_makes_the_job(
    site: Worksite, second: Connection, said: dict[str, Any]
) -> None:
    mine, yours = await overtake(site.connection, second, submit(site, **said), submit(site, second, **said))
    assert (mine.duplicate, yours.duplicate) == (False, True)
    assert yours.id == mine.id
    assert await count(site) == 1


async def test_when_the_first_of_two_submits_rolls_back_the_second_makes_the_job(
    site: Worksite, second: Connection
) -> None:
    _, yours = await overtake(
        site.connection,
        second,
        submit(site, **UNTIL_FINISHED),
        submit(site, second, **UNTIL_FINISHED),
        commit=False,
    )
    assert not yours.duplicate
    assert await count(site) == 1


async def test_a_submit_that_meets_the_claim_gets_a_job_of_its_own(site: Worksite, second: Connection) -> None:
    first = await submit(site, **UNTIL_CLAIMED)
    _, yours = await overtake(site.connection, second, site.claim(), submit(site, second, **UNTIL_CLAIMED))
    assert not yours.duplicate
    assert yours.id != first.id


async def test_a_submit_that_meets_the_completion_gets_a_job_of_its_own(site: Worksite, second: Connection) -> None:
    first = await submit(site, **UNTIL_FINISHED)
    outcome = succeeded(await site.claim_one())
    _, yours = await overtake(
        site.connection,
        second,
        site.store.complete(site.connection, [outcome]),
        submit(site, second, **UNTIL_FINISHED),
    )
    assert not yours.duplicate
    assert yours.id != first.id


async def test_two_batches_with_the_same_keys_in_opposite_order_do_not_wait_in_a_circle(
    site: Worksite, second: Connection
) -> None:
    forth = [new_job(unique_key=key) for key in "abcdef"]
    mine, yours = await overtake(
        site.connection,
        second,
        site.store.enqueue(site.connection, forth),
        site.store.enqueue(second, forth[::-1]),
    )
    assert [answer.id for answer in yours] == [answer.id for answer in mine][::-1]
    assert await count(site) == 6


async def test_a_key_whose_holder_is_deleted_just_then_is_taken(
    site: Worksite, second: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await submit(site, **WINDOW)
    await site.store.complete(site.connection, [succeeded(await site.claim_one())])
    body = await site.body(holder.id)
    read_jobs = site.store.read_jobs

    async def delete_before(*args: Any) -> list[Job]:
        await site.store.delete_ended(second, body.namespace, [body.id], created_from=body.created_at)
        return await read_jobs(*args)

    monkeypatch.setattr(site.store, "read_jobs", delete_before)
    answer = await submit(site, **WINDOW)
    assert (answer.duplicate, answer.id == holder.id) == (False, False)


async def test_a_key_whose_window_is_over_does_not_keep_a_job_from_running_again(site: Worksite) -> None:
    job = await submit(site, **UNTIL_FINISHED, retries=0)
    await site.fail(await site.claim_one())
    await submit(site, **WINDOW)
    body = await site.body(job.id)
    assert await site.store.is_key_held(site.connection, body)
    site.clock.advance(seconds=61)
    assert not await site.store.is_key_held(site.connection, body)
    assert await site.connection.fetchval("SELECT job_id FROM taskflow.unique_claim") == job.id


async def test_a_submit_waits_a_bounded_time_for_a_key_in_whichever_transaction(
    site: Worksite, second: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KEY_WAIT_S", 0.05)
    app = AppDatabase(database_url, None)
    try:
        async with second.transaction():
            await submit(site, second, unique_key="k")
            async with site.connection.transaction():
                with pytest.raises(Conflict) as refused:
                    await submit(site, unique_key="k")
                await submit(site, unique_key="other")  # the caller's transaction goes on, and waits as it did before
                assert await site.connection.fetchval("SHOW lock_timeout") == "0"
            assert (refused.value.code, refused.value.retry_after_s) == ("unique_key_busy", 1.0)
            with pytest.raises(Conflict, match="not committed yet"):
                await asyncio.to_thread(app.submit_sync, [new_job(unique_key="k")], lambda _jobs: None)
    finally:
        app.close_sync()


async def test_a_caller_who_waits_less_for_locks_is_not_made_to_wait_longer(site: Worksite, second: Connection) -> None:
    async with second.transaction():
        await submit(site, second, unique_key="k")
        async with site.connection.transaction():
            await site.connection.execute("SET LOCAL lock_timeout = 20")
            async with asyncio.timeout(3):
                with pytest.raises(Conflict):
                    await submit(site, unique_key="k")
            assert await site.connection.fetchval("SHOW lock_timeout") == "20ms"
