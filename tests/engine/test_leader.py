"""One leads: by the database's clock, and never longer than it can be sure of."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
from tests.support.clock import FakeClock
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.support.workers import supervising

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import deadlines, expirer, reaper, retention, scheduler, stager, tally
from taskflow.engine import leader as module
from taskflow.engine.job import WorkerId
from taskflow.engine.leader import RENEW_S, TERM_S, TRUST_MARGIN_S, Duty, Leader, run_duty
from taskflow.engine.record import Term
from taskflow.engine.store import Store

Make = Callable[..., Leader]


@pytest.fixture
async def campaign(database: Database) -> AsyncIterator[Make]:
    """Make leaders that campaign, on the real clock unless a store says otherwise."""
    tasks: list[asyncio.Task[None]] = []

    def make(store: Store | None = None, *, through: Database = database) -> Leader:
        leader = Leader(through, store or Store(), WorkerId(uuid4()))
        tasks.append(asyncio.create_task(leader.run()))
        return leader

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_S", 0.02)


def leads(leader: Leader) -> bool:
    return leader.held_s is not None


def test_no_two_duties_keep_each_other_waiting() -> None:
    duties = [owner.DUTY for owner in (reaper, stager, scheduler, expirer, tally, deadlines, retention)]
    assert sorted(duties) == sorted(Duty)
    assert len({duty.value for duty in duties}) == len(duties)


def test_a_term_outlives_several_renewals_that_fail() -> None:
    assert 3 * RENEW_S < TERM_S - TRUST_MARGIN_S


async def test_of_two_one_leads(campaign: Make, database: Database) -> None:
    first = campaign()
    await asyncio.wait_for(first.elected.wait(), 8)
    second = campaign()
    await asyncio.sleep(0.1)  # several tries
    assert (first.held_s is None, second.held_s, second.elected.is_set()) == (False, None, False)
    await Leader(database, Store(), WorkerId(uuid4())).resign()  # of one who does not lead: changes nothing
    await asyncio.sleep(0.1)
    assert (first.held_s is None, second.held_s) == (False, None)


async def test_resigning_hands_over_at_once(database: Database, campaign: Make) -> None:
    first = Leader(database, Store(), WorkerId(uuid4()))
    running = asyncio.create_task(first.run())
    await asyncio.wait_for(first.elected.wait(), 8)
    second = campaign()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert leads(first)
    await first.resign()
    assert not leads(first)
    await asyncio.wait_for(second.elected.wait(), TERM_S / 2)  # well before the term would lapse


async def test_a_leader_that_vanished_is_followed_when_its_term_has_lapsed(
    campaign: Make, clock: FakeClock, database: Database
) -> None:
    store = Store(clock)
    async with database.acquire() as connection:
        gone = await store.lead(connection, module.NAME, WorkerId(uuid4()), term_s=TERM_S)
    assert gone is not None
    follower = campaign(store)
    clock.advance(seconds=TERM_S - 0.1)
    await asyncio.sleep(0.1)
    assert follower.held_s is None
    clock.advance(seconds=0.1)
    await asyncio.wait_for(follower.elected.wait(), 8)
    assert follower._term is not None
    assert follower._term.term == gone.term + 1


async def test_a_term_that_lapsed_counts_as_new_even_for_its_holder(clock: FakeClock, connection: Connection) -> None:
    """What happened in between is not known: a database that was away proves nobody's death."""
    store, holder = Store(clock), WorkerId(uuid4())
    first = await store.lead(connection, module.NAME, holder, term_s=TERM_S)
    clock.advance(seconds=TERM_S - 1)
    renewed = await store.lead(connection, module.NAME, holder, term_s=TERM_S)
    assert first is not None
    assert renewed is not None
    assert (renewed.term, renewed.held_s) == (first.term, TERM_S - 1)
    clock.advance(seconds=TERM_S)
    again = await store.lead(connection, module.NAME, holder, term_s=TERM_S)
    assert again is not None
    assert (again.term, again.held_s) == (first.term + 1, 0.0)


@pytest.mark.slow
async def test_a_leader_that_cannot_renew_stops_trusting_its_term_before_it_lapses(
    database_url: str, campaign: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TERM_S", 0.5)
    monkeypatch.setattr(module, "TRUST_MARGIN_S", 0.2)
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, max_size=1, patience_s=0.0)
        leader = campaign(through=database)
        await asyncio.wait_for(leader.elected.wait(), 8)
        held_s = leader.held_s
        assert held_s is not None
        await proxy.close_door()
        await eventually("the trust to end", lambda: leader.held_s is None)
        assert leader.elected.is_set()  # its duties look at held_s themselves
        await proxy.heal()
        await eventually("the next term", lambda: leader.held_s is not None)
        await database.stop()


async def test_held_s_grows_with_the_term(campaign: Make) -> None:
    leader = campaign()
    await asyncio.wait_for(leader.elected.wait(), 8)
    first = leader.held_s
    assert first is not None
    await eventually("the term to be renewed and older", lambda: (leader.held_s or 0) > first + 0.05)


@pytest.mark.slow
async def test_a_duty_goes_on_after_whatever_the_database_does(
    campaign: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = campaign()
    calls: list[str] = []
    done = asyncio.Event()

    async def tick() -> float:
        calls.append("tick")
        match len(calls):
            case 1:
                raise ConnectionResetError
            case 2:
                async with database.acquire() as connection:
                    await connection.execute("SELECT 1 / 0")
            case 4:
                done.set()
        return 0.0 if len(calls) < 4 else 3600.0

    duty = asyncio.create_task(run_duty(leader, "test", tick))
    await asyncio.wait_for(done.wait(), 8)
    duty.cancel()
    with pytest.raises(asyncio.CancelledError):
        await duty


async def test_an_answer_from_before_a_resignation_gives_no_term(campaign: Make) -> None:
    answered, go_on, noted = asyncio.Event(), asyncio.Event(), asyncio.Event()
    leading: list[Leader] = []

    class Slow(Store):
        """Its first answer is held up on its way; when it asks again, it notes who leads by then."""

        async def lead(self, connection: Connection, name: str, holder: WorkerId, *, term_s: float) -> Term | None:
            if answered.is_set() and not noted.is_set():
                leading.extend(leader for leader in (resigning, other) if leads(leader))
                noted.set()
            term = await super().lead(connection, name, holder, term_s=term_s)
            answered.set()
            await go_on.wait()
            return term

    resigning = campaign(Slow())
    await answered.wait()
    other = campaign()
    resignation = asyncio.create_task(resigning.resign())
    await asyncio.wait({resignation}, timeout=0.3)  # it waits for the answer, or is over
    go_on.set()
    await resignation
    await noted.wait()
    assert len(leading) <= 1
    await eventually("one to lead", lambda: leads(other) or leads(resigning))


async def test_a_supervision_that_stops_lets_the_next_one_lead_at_once(database_url: str) -> None:
    async with supervising(database_url) as second, asyncio.timeout(TERM_S / 2):
        await second.supervision._leader.elected.wait()
        await second.supervision._leader.resign()
        async with supervising(database_url) as first:
            leaders = [first.supervision._leader, second.supervision._leader]
            await eventually("one to lead", lambda: any(leads(leader) for leader in leaders))
            assert [leads(leader) for leader in leaders].count(True) == 1
        await eventually("the other to lead", lambda: second.supervision._leader.held_s is not None)
