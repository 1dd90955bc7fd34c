"""Terms and duties: who leads, for how long, and that two who believe to lead do no harm."""

from uuid import UUID

import pytest
from tests.engine.worksite import OOPS, Worksite

from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import DEFAULT_NAMESPACE, WorkerId
from taskflow.engine.record import Leadership, Term
from taskflow.engine.store import Store

ADA, BOB = WorkerId(UUID(int=1)), WorkerId(UUID(int=2))
TERM_S = 8.0


async def test_the_first_to_ask_leads_and_others_wait_until_the_term_lapses(site: Worksite) -> None:
    lead, connection = site.store.lead, site.connection
    assert await lead(connection, "engine", ADA, term_s=TERM_S) == Term(1, 0.0)
    site.clock.advance(seconds=TERM_S - 0.001)
    assert await lead(connection, "engine", BOB, term_s=TERM_S) is None
    site.clock.advance(seconds=0.001)
    assert await lead(connection, "engine", BOB, term_s=TERM_S) == Term(2, 0.0)
    assert await lead(connection, "engine", ADA, term_s=TERM_S) is None


async def test_a_term_that_is_renewed_in_time_goes_on_and_ages(site: Worksite) -> None:
    for age_s in (0.0, 7.0, 14.0):
        assert await site.store.lead(site.connection, "engine", ADA, term_s=TERM_S) == Term(1, age_s)
        site.clock.advance(seconds=7)


async def test_a_term_that_lapsed_counts_as_a_new_one_even_for_the_same_holder(site: Worksite) -> None:
    """What happened in between is not known, so the reaper must wait out a whole lease again."""
    await site.store.lead(site.connection, "engine", ADA, term_s=TERM_S)
    site.clock.advance(seconds=TERM_S)
    assert await site.store.lead(site.connection, "engine", ADA, term_s=TERM_S) == Term(2, 0.0)


async def test_a_leader_that_resigns_is_followed_at_once(site: Worksite) -> None:
    await site.store.lead(site.connection, "engine", ADA, term_s=TERM_S)
    await site.store.resign(site.connection, "engine", BOB)  # not his to give up
    assert await site.store.lead(site.connection, "engine", BOB, term_s=TERM_S) is None
    await site.store.resign(site.connection, "engine", ADA)
    assert await site.store.lead(site.connection, "engine", BOB, term_s=TERM_S) == Term(2, 0.0)


async def test_leaderships_of_different_names_have_nothing_to_do_with_each_other(site: Worksite) -> None:
    assert await site.store.lead(site.connection, "engine", ADA, term_s=TERM_S) == Term(1, 0.0)
    assert await site.store.lead(site.connection, "platform", BOB, term_s=TERM_S) == Term(1, 0.0)


async def test_who_leads_and_for_how_long_can_be_asked(site: Worksite) -> None:
    assert await site.store.find_leader(site.connection, "engine") is None
    await site.store.lead(site.connection, "engine", ADA, term_s=TERM_S)
    site.clock.advance(seconds=3)
    leader = await site.store.find_leader(site.connection, "engine")
    assert leader == Leadership(holder=ADA, term=1, held_s=3.0, expires_in_s=5.0)


async def test_a_duty_is_locked_until_its_transaction_ends(
    store: Store, connection: Connection, second: Connection
) -> None:
    async with connection.transaction():
        assert await store.try_duty_lock(connection, 1)
        assert not await store.try_duty_lock(second, 1)
        assert await store.try_duty_lock(second, 2)
    assert await store.try_duty_lock(second, 1)


async def test_dead_letters_are_counted_by_namespace_up_to_a_limit(
    site: Worksite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.submit_many(5)
    await site.submit_many(2, namespace=UUID(int=7))
    outcomes = [policy.failed_for_good(claim, OOPS, 0.1) for claim in await site.claim()]
    await site.store.finish(site.connection, outcomes)
    assert await site.store.count_dead_letters(site.connection, DEFAULT_NAMESPACE) == 5
    monkeypatch.setattr("taskflow.engine.store.reading.DEAD_LETTER_ROWS", 3)
    assert await site.store.count_dead_letters(site.connection, DEFAULT_NAMESPACE) == 3
