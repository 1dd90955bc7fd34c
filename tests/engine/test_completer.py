"""Writing down what attempts came to, once, through whatever happens to the connection."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.support.workers import claim, drop_partitions, metric, register

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import completer as module
from taskflow.engine import policy
from taskflow.engine.completer import Completer
from taskflow.engine.job import (
    Claim,
    FailureReason,
    Job,
    JobError,
    JobId,
    NewJob,
    NewLogLine,
    Outcome,
    OutcomeKind,
    State,
)
from taskflow.engine.store import Store

STORE = Store()
BOOM = JobError("Boom", "it broke")


@dataclass
class Desk:
    """Claims to end, the completer that ends them, and the connection that looks."""

    completer: Completer
    proxy: Proxy
    connection: Connection
    claims: list[Claim]

    async def jobs(self) -> list[Job]:
        """The jobs of the claims, in their order."""
        found = {job.id: job for job in await STORE.read_jobs(self.connection, [claim.job_id for claim in self.claims])}
        return [found[claim.job_id] for claim in self.claims]

    async def states(self) -> list[State]:
        return [job.state for job in await self.jobs()]

    async def drain(self) -> None:
        async with asyncio.timeout(10):
            await self.completer.drain()

    async def rows(self, table: str) -> list[JobId]:
        """The job of every row of a table."""
        return [row["job_id"] for row in await self.connection.fetch(f"SELECT job_id FROM taskflow.{table}")]


@asynccontextmanager
async def _desk(url: str, connection: Connection, jobs: int) -> AsyncIterator[Desk]:
    await STORE.enqueue(connection, [NewJob("noop", {})] * jobs)
    claims = await claim(connection, await register(connection), kinds=["noop"], limit=jobs)
    async with Proxy(url) as proxy:
        database = Database(proxy.url, max_size=2, patience_s=0.0)
        completer = Completer(database, STORE)
        running = asyncio.create_task(completer.run())
        try:
            yield Desk(completer, proxy, connection, claims)
        finally:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await database.stop()


@pytest.fixture
async def desk(database_url: str, connection: Connection) -> AsyncIterator[Desk]:
    """Six claimed jobs, of one lease."""
    async with _desk(database_url, connection, 6) as desk:
        yield desk


def done(held: Claim) -> Outcome:
    return policy.succeeded(held, {"ok": True}, 0.1)


def endings(claims: list[Claim]) -> list[Outcome]:
    """Every way an attempt may end, one for each of six claims, and the states that they lead to."""
    ways: list[Callable[[Claim], Outcome]] = [
        done,
        lambda held: policy.failed(held, OutcomeKind.ERROR, BOOM, 0.1, retry_after_s=600),
        lambda held: policy.failed_for_good(held, BOOM, 0.1),
        lambda held: policy.snoozed(held, 600, 0.1),
        lambda held: policy.cancelled(held, 0.1),
        policy.handed_back,
    ]
    return [way(held) for way, held in zip(ways, claims, strict=True)]


ENDED = [State.COMPLETED, State.RETRYING, State.FAILED, State.SCHEDULED, State.CANCELLED, State.PENDING]


def poison(held: Claim) -> Outcome:
    """What no check let through: PostgreSQL will refuse the statement that it is in."""
    return Outcome(held, OutcomeKind.COMPLETED, State.COMPLETED, 0, result="no JSON", duration_s=0.1)


def line(held: Claim, message: str) -> NewLogLine:
    return NewLogLine(held, "info", message, time.monotonic())


async def assert_ended_once(desk: Desk) -> None:
    assert await desk.states() == ENDED
    ids = [held.job_id for held in desk.claims]
    assert sorted(await desk.rows("done")) == sorted([ids[0], ids[2], ids[4]])
    assert sorted(await desk.rows("attempt_log")) == sorted(ids[1:])
    assert sorted(await desk.rows("deferred")) == sorted([ids[1], ids[3]])
    assert await desk.rows("ready") == [ids[5]]
    assert await desk.connection.fetchval("SELECT count(*) FROM taskflow.lease") == 0


@pytest.mark.covers("S2-12", "S2-20")
async def test_everything_an_attempt_may_come_to_is_written(desk: Desk) -> None:
    for outcome in endings(desk.claims):
        desk.completer.add(outcome)
    assert len(desk.completer) == 6
    await desk.drain()
    assert len(desk.completer) == 0
    await assert_ended_once(desk)


async def test_a_single_outcome_is_written_without_delay(desk: Desk) -> None:
    desk.completer.add(done(desk.claims[0]))
    await eventually("the outcome to be written", lambda: len(desk.completer) == 0)
    assert await desk.states() == [State.COMPLETED] + [State.ACTIVE] * 5


@pytest.mark.parametrize("statement", ["complete", "finish"])
async def test_a_flush_whose_answer_was_lost_is_sent_again_and_written_once(desk: Desk, statement: str) -> None:
    """The fence refuses what had been written already; only looking tells that from a lease lost."""
    lost = metric("taskflow_leases_lost_total")
    desk.proxy.lose_answer(statement)
    for outcome in endings(desk.claims):
        desk.completer.add(outcome)
    await desk.drain()
    assert desk.proxy.lost == 1
    await assert_ended_once(desk)
    assert metric("taskflow_leases_lost_total") == lost


@pytest.mark.parametrize("statement", ["complete", "finish"])
async def test_a_flush_that_never_arrived_is_sent_again(desk: Desk, statement: str) -> None:
    desk.proxy.lose_request(statement)
    for outcome in endings(desk.claims):
        desk.completer.add(outcome)
    await desk.drain()
    assert desk.proxy.lost == 1
    await assert_ended_once(desk)


async def blocked(connection: Connection, what: str) -> int | None:
    """The backend that waits for a lock in a statement of ours."""
    value: int | None = await connection.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%taskflow:' || $1 || ' %'"
        " AND datname = current_database()",
        what,
    )
    return value


async def test_a_backend_terminated_in_the_middle_of_a_flush_costs_nothing(desk: Desk, second: Connection) -> None:
    lost = metric("taskflow_leases_lost_total")
    async with second.transaction():
        await second.execute("LOCK TABLE taskflow.attempt_log IN SHARE MODE")
        for outcome in endings(desk.claims):
            desk.completer.add(outcome)
        pid = await eventually("the flush to be blocked", lambda: blocked(desk.connection, "finish"))
        await desk.connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await eventually("the flush to be sent again", lambda: blocked(desk.connection, "finish"))
    await desk.drain()
    await assert_ended_once(desk)
    assert metric("taskflow_leases_lost_total") == lost


async def test_an_outage_keeps_the_buffer_and_the_drain_waits_for_its_end(desk: Desk) -> None:
    await desk.proxy.close_door()
    for outcome in endings(desk.claims):
        desk.completer.add(outcome)
    drained = asyncio.create_task(desk.completer.drain())
    finished, _ = await asyncio.wait({drained}, timeout=0.1)
    assert not finished
    assert len(desk.completer) == 6
    assert desk.completer.lease_ids == {desk.claims[0].lease_id}
    await desk.proxy.heal()
    await asyncio.wait_for(drained, 10)
    await assert_ended_once(desk)


async def test_a_claim_that_was_taken_back_is_refused_and_counted_and_its_neighbours_are_not(
    desk: Desk, database_url: str, connection: Connection
) -> None:
    """Completion is fenced by the claim: a late acknowledgement changes nothing."""
    lost = metric("taskflow_leases_lost_total")
    [other] = {held.lease_id for held in desk.claims}
    await STORE.enqueue(connection, [NewJob("noop", {})])
    [kept] = await claim(connection, await register(connection), kinds=["noop"])
    await STORE.return_leases(connection, [other], OutcomeKind.LOST)
    for outcome in endings(desk.claims):
        desk.completer.add(outcome)
    desk.completer.add(done(kept))
    await desk.drain()
    assert await desk.states() == [State.PENDING] * 6
    assert [job.attempt for job in await desk.jobs()] == [1] * 6
    [job] = await STORE.read_jobs(connection, [kept.job_id])
    assert job.state is State.COMPLETED
    assert metric("taskflow_leases_lost_total") == lost + 5  # to be handed back is what the sixth wanted


async def test_an_outcome_that_postgresql_refuses_fails_its_job_and_no_other(desk: Desk) -> None:
    outcomes = [done(held) for held in desk.claims]
    outcomes[2] = poison(desk.claims[2])
    for outcome in outcomes:
        desk.completer.add(outcome)
    await desk.drain()
    assert await desk.states() == [State.COMPLETED] * 2 + [State.FAILED] + [State.COMPLETED] * 3
    job = (await desk.jobs())[2]
    assert job.failure_reason is FailureReason.PERMANENT
    assert job.error is not None
    assert "invalid input syntax" in job.error.message
    assert await desk.connection.fetchval("SELECT count(*) FROM taskflow.lease") == 0


async def test_a_connection_lost_while_a_bad_outcome_is_searched_for_loses_none_and_counts_none(desk: Desk) -> None:
    lost = metric("taskflow_leases_lost_total")
    desk.proxy.lose_answer("complete", skip=1)  # the first is refused, the second is the first neighbour's own
    for outcome in [done(desk.claims[0]), poison(desk.claims[1]), *(done(held) for held in desk.claims[2:])]:
        desk.completer.add(outcome)
    await desk.drain()
    assert desk.proxy.lost == 1
    assert await desk.states() == [State.COMPLETED, State.FAILED] + [State.COMPLETED] * 4
    assert len(await desk.rows("done")) == 6
    assert metric("taskflow_leases_lost_total") == lost


async def refuse_done(connection: Connection, sqlstate: str) -> None:
    """Make PostgreSQL refuse every row of done with *sqlstate*: a disk that is full, an administrator's timeout."""
    await connection.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{sqlstate}'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON taskflow.done FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )


@pytest.mark.usefixtures("spoilt_schema")
@pytest.mark.parametrize(
    ("sqlstate", "name"), [("53100", "DiskFull"), ("57014", "QueryCanceled"), ("40P01", "Deadlock")]
)
async def test_what_is_not_the_outcomes_fault_is_waited_out(
    desk: Desk, second: Connection, sqlstate: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_CAP_S", 0.05)
    await refuse_done(second, sqlstate)
    sent = desk.proxy.statements
    for outcome in endings(desk.claims):
        desk.completer.add(outcome)

    await eventually(f"{name} to be met again and again", lambda: desk.proxy.statements >= sent + 10)
    assert State.FAILED not in await desk.states()
    await second.execute(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
    )  # to drop the trigger would take locks that a flush may hold
    await desk.drain()
    await assert_ended_once(desk)


@pytest.mark.usefixtures("spoilt_schema")
async def test_missing_partitions_are_made_and_a_connection_lost_meanwhile_is_survived(
    desk: Desk, connection: Connection
) -> None:
    lost = metric("taskflow_leases_lost_total")
    for parent in ("done", "attempt_log", "job_log"):
        await drop_partitions(connection, parent)
    desk.proxy.lose_request("make_partitions")
    desk.completer.write_line(line(desk.claims[0], "a line"))
    for outcome in endings(desk.claims):
        desk.completer.add(outcome)
    await desk.drain()
    assert desk.proxy.lost == 1
    await assert_ended_once(desk)
    assert await desk.rows("job_log") == [desk.claims[0].job_id]
    assert metric("taskflow_leases_lost_total") == lost


@pytest.mark.covers("S2-9", "S2-22")
async def test_lines_are_written_in_order_and_before_the_outcome_of_their_attempt(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line is taken only while its attempt is open, so those of a batch too large for one statement go first."""
    monkeypatch.setattr(module, "MAX_BATCH_LINES", 7)
    held, taken_back = desk.claims[:2]
    assert not await STORE.finish(desk.connection, [policy.handed_back(taken_back)])
    for number in range(20):
        desk.completer.write_line(line(held, f"line {number}"))
        desk.completer.write_line(line(taken_back, f"late {number}"))
    desk.completer.add(done(held))
    await desk.drain()
    for one, expected in ((held, [f"line {n}" for n in range(20)]), (taken_back, [])):
        body = await STORE.find_body(desk.connection, one.job_id, None)
        assert body is not None
        lines = await STORE.list_logs(desk.connection, body, after_seq=0, limit=100)
        assert [line.message for line in lines] == expected


async def test_lines_of_an_attempt_that_goes_on_are_written_a_few_times_a_second(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_PAUSE_S", 0.05)
    sent = desk.proxy.statements
    for number in range(10):
        desk.completer.write_line(line(desk.claims[0], f"line {number}"))

    async def all_there() -> bool:
        return len(await desk.rows("job_log")) == 10

    assert desk.proxy.statements == sent
    await eventually("the lines to be written", all_there)
    assert desk.proxy.statements <= sent + 4
