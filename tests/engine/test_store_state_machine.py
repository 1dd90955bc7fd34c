"""
Random histories of a queue: whatever callers, workers and reapers do, PostgreSQL agrees with the model.

One database and one event loop for the whole run. Time moves with the leader's turns, and by a millisecond with every
step, so that ids are ordered and a failing example can be replayed although ids are random.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.engine.model import QueueModel, claim_of
from tests.support.clock import FakeClock

from taskflow.db.pool import session_settings
from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    Claim,
    JobError,
    JobFilter,
    JobId,
    LeaseId,
    NewJob,
    NewLogLine,
    Outcome,
    OutcomeKind,
    State,
    UniqueScope,
    WorkerId,
)
from taskflow.engine.record import JobBody
from taskflow.engine.store import LEASE_S, Store
from taskflow.engine.store import jobs as job_statements

settings.register_profile(
    "store_machine",
    max_examples=65,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking a history takes longer than the test may
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

T = TypeVar("T")
NAMESPACES = (DEFAULT_NAMESPACE, UUID(int=7))
QUEUES = ("builtin", "images")
KINDS = ("mail", "thumbnail", "report")
PRIORITIES = (0, 2, 5, 8, 9)
TABLES = (
    *("job", "ready", "deferred", "lease", "done", "attempt_log", "job_log", "worker"),
    *("webhook_delivery", "stat_delta", "stat_hour", "queue", "unique_claim"),
)

STEPS = (
    *("enqueue", "claim", "claim", "flush", "flush", "ask", "ask", "say", "say", "log", "look_back"),
    *("lead", "lead", "supervise", "supervise"),
)
LISTS = [(namespace, state) for state in (None, *State) for namespace in NAMESPACES]
LIST_TURNS = 5  # each list is looked at after every fifth step: they are the dearest check
COMMITTED, ROLLED_BACK, ANSWER_LOST = "committed", "rolled back", "answer lost"

PLACE = {
    State.PENDING: "ready",
    State.SCHEDULED: "scheduled",
    State.RETRYING: "retrying",
    State.ACTIVE: "lease",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
PLACES = """
    SELECT job_id, 'ready' AS place, attempt, failures, crashes, suspect
    FROM taskflow.ready WHERE kind <> 'deliver_webhook'
    UNION ALL SELECT job_id, state, attempt, failures, crashes, suspect FROM taskflow.deferred
    UNION ALL SELECT job_id, state, attempt, failures, NULL, NULL FROM taskflow.done
    UNION ALL
    SELECT
        u.job_id, 'lease', u.attempt, u.failures, coalesce((l.marks -> (u.ord - 1)::text ->> 0)::smallint, 0),
        coalesce((l.marks -> (u.ord - 1)::text ->> 1)::boolean, false)
    FROM taskflow.lease l
    CROSS JOIN unnest(l.job_ids, l.attempts, l.failures) WITH ORDINALITY AS u(job_id, attempt, failures, ord)
    WHERE get_bit(l.open, u.ord::integer - 1) = 1
    ORDER BY job_id, place
"""
# Deliveries, each with the engine's own job that makes it.
DELIVERIES = """
    SELECT v.job_id, v.event, v.ended_at, v.error
    FROM taskflow.webhook_delivery v
    JOIN taskflow.job j ON j.id = v.id AND j.queue = 'webhooks' AND j.payload ->> 'jobId' = v.job_id::text
    JOIN taskflow.ready r ON r.job_id = v.id AND r.kind = 'deliver_webhook'
    WHERE v.status = 'pending'
"""
COUNTS = """
    SELECT
        (SELECT count(*) FROM taskflow.webhook_delivery),
        (SELECT count(*) FROM taskflow.ready WHERE kind = 'deliver_webhook'),
        (SELECT count(*) FROM taskflow.job WHERE kind = 'deliver_webhook')
"""
STATS = """
    SELECT namespace, queue, kind, state, sum(jobs)::integer AS jobs
    FROM (SELECT * FROM taskflow.stat_hour UNION ALL SELECT * FROM taskflow.stat_delta) AS counted
    WHERE measure = 'run' GROUP BY namespace, queue, kind, state
"""
KEYS = "SELECT namespace, kind, key, job_id, held_until FROM taskflow.unique_claim"
LEASES = "SELECT id, worker_id, incarnation, open::text FROM taskflow.lease ORDER BY id"


def keyed(new: NewJob, key: tuple[str, UniqueScope] | None) -> NewJob:
    if key is None:
        return new
    window = timedelta(seconds=5) if key[1] is UniqueScope.WINDOW else None
    return replace(new, unique_key=key[0], unique_scope=key[1], unique_window=window)


new_jobs = st.builds(
    NewJob,
    kind=st.sampled_from(KINDS),
    payload=st.just({"to": "ada@example.org"}),
    namespace=st.sampled_from((DEFAULT_NAMESPACE, *NAMESPACES)),
    queue=st.sampled_from(QUEUES),
    priority=st.sampled_from(PRIORITIES),
    retries=st.integers(0, 2),
    tags=st.sampled_from(((), ("nightly",))),
    callback_url=st.sampled_from((None, None, "https://shop.example/done")),
    expires_after=st.sampled_from((None, timedelta(seconds=1), timedelta(seconds=30))),
)
SCOPES = (UniqueScope.UNTIL_CLAIMED, UniqueScope.UNTIL_FINISHED, UniqueScope.UNTIL_FINISHED, UniqueScope.WINDOW)
keys = st.none() | st.tuples(st.sampled_from("ab"), st.sampled_from(SCOPES))
# A job, how many seconds from now it should run, and whether that is asked for as an instant or as a delay.
submits = st.tuples(
    st.builds(keyed, new_jobs, keys), st.sampled_from([None, None, None, None, -5, 0, 3, 20]), st.booleans()
)
Request: TypeAlias = tuple[NewJob, int | None, bool]
mostly = st.sampled_from([True, True, True, True, False])
ENDINGS = ("complete", "error", "error", "timeout", "crash", "crash", "permanent", "snooze", "cancel", "hand back",
           "hand back late")  # fmt: skip


class StoreMachine(RuleBasedStateMachine):
    """Subclassed with the run's loop and connection."""

    runner: asyncio.Runner
    connection: Connection

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.store = Store(self.clock)
        self.model = QueueModel()
        self.ids = self.checks = 0
        self.claims: list[Claim] = []  # all that were ever given out: workers may be late
        self.workers: list[WorkerId] = []  # all that ever lived
        self.attempts: dict[JobId, int] = {}
        self.logged: dict[JobId, list[str]] = {}
        self.do(self.connection.execute(f"TRUNCATE {', '.join(f'taskflow.{table}' for table in TABLES)}"))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[None]:
        block = self.connection.transaction()
        self.do(block.start())
        try:
            yield
        except BaseException:
            self.do(block.rollback())  # so that the next example finds a connection that is fit for use
            raise
        self.do(block.commit() if commit else block.rollback())

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One rule with weights: left to choose among rules, Hypothesis switches some off, such as every claim."""
        self.clock.advance(seconds=0.001)
        getattr(self, data.draw(st.sampled_from(STEPS), label="step"))(data)

    # Callers ---------------------------------------------------------------------------------------------------------

    @initialize(requests=st.lists(submits, min_size=2, max_size=6))
    def begin(self, requests: list[Request]) -> None:
        self.start_worker()
        self.submit(requests, commit=True)

    def enqueue(self, data: st.DataObject) -> None:
        requests = data.draw(st.lists(submits, min_size=1, max_size=4), label="requests")
        self.submit(requests, commit=data.draw(mostly, label="commit"))

    def ask(self, data: st.DataObject) -> None:
        """Somebody wants a job stopped or run again, whatever its state."""
        requests = ["cancel", "cancel active", "cancel active", "replay", "replay failed", "run now", "change"]
        request = data.draw(st.sampled_from(requests), label="request")
        wanted = {"cancel active": State.ACTIVE, "replay failed": State.FAILED}.get(request)
        among = self.model.among(wanted) if wanted else []
        job = data.draw(st.sampled_from(among or list(self.model.jobs.values())), label="job")
        body = self.do(self.store.find_body(self.connection, job.id, job.new.namespace))
        assert body is not None
        if request.startswith("replay"):
            assert self.replay(body) == self.model.replay(self.clock.now, job)
            return
        if request == "run now":
            assert self.do(self.store.run_now(self.connection, body)) == self.model.run_now(self.clock.now, job)
            return
        if request == "change":
            priority = data.draw(st.sampled_from(PRIORITIES), label="priority")
            wait = data.draw(st.sampled_from([None, timedelta(0), timedelta(seconds=4)]), label="wait")
            changed = self.store.change_waiting(self.connection, body, priority=priority, run_at=None, run_after=wait)
            assert self.do(changed) == self.model.change(self.clock.now, job, priority, wait)
            return
        ended = job.state if job.state.is_terminal else None
        assert self.do(self.store.find_end(self.connection, body)) == ended
        waited = self.do(self.store.cancel_waiting(self.connection, body))
        assert waited == self.model.cancel_waiting(self.clock.now, job)
        if not waited:
            asked = self.do(self.store.request_cancel(self.connection, job.id))
            assert asked == self.model.request_cancel(self.clock.now, job)

    def replay(self, body: JobBody) -> bool:
        """As the engine does it: nothing of it stays if another job holds the key."""
        block = self.connection.transaction()
        self.do(block.start())
        done = self.do(self.store.replay(self.connection, body))
        if done and self.do(self.store.is_key_held(self.connection, body)):
            self.do(block.rollback())
            return False
        self.do(block.commit())
        return done

    def say(self, data: st.DataObject) -> None:
        """An operator says something of a queue."""
        queue = data.draw(st.sampled_from(QUEUES), label="queue")
        settings: dict[str, Any]
        match data.draw(st.sampled_from(["pause", "resume", "resume", "limit", "limit", "lift"]), label="said"):
            case "pause":
                settings = {"paused": True}
                self.model.paused.add(queue)
            case "resume":
                settings = {"paused": False}
                self.model.paused.discard(queue)
            case "limit":
                settings = {"limits": True, "concurrency": data.draw(st.integers(1, 2), label="concurrency")}
                self.model.limits[queue] = settings["concurrency"]
            case _:
                settings = {"limits": True, "concurrency": None}
                self.model.limits.pop(queue, None)
        self.do(self.store.set_queue(self.connection, queue, **settings))

    # Workers ---------------------------------------------------------------------------------------------------------

    def claim(self, data: st.DataObject) -> None:
        self.take(data, commit=data.draw(mostly, label="commit"))

    def flush(self, data: st.DataObject) -> None:
        """End some attempts, of whatever lease, in time or late; a flush whose answer was lost is sent again."""
        fate = data.draw(st.sampled_from([COMMITTED, COMMITTED, ROLLED_BACK, ANSWER_LOST]), label="fate")
        if not self.model.leases:
            self.take(data, commit=True)
        outcomes = [self.draw_outcome(data, claim) for claim in self.draw_claims(data)]
        if fate == ROLLED_BACK:
            with self.transaction(commit=False):
                self.send(outcomes)
            return
        refused = self.send(outcomes)
        assert refused == in_order(outcomes, self.model.flush(self.clock.now, outcomes))
        if fate == ANSWER_LOST:
            refused = self.send(outcomes)
            assert refused == in_order(outcomes, outcomes)  # nothing is written down twice …
        unsettled = self.do(self.store.find_unsettled(self.connection, refused))
        assert unsettled == self.model.find_unsettled(refused)  # … and what was ours is known again

    def log(self, data: st.DataObject) -> None:
        """Lines of some claims, of those that stand and of those that ended beside them: a completed one's are kept."""
        claims = [claim for claim in self.claims if claim.lease_id in self.model.leases] or self.draw_claims(data)
        lines = [NewLogLine(claim, "info", f"{claim.attempt}/{n}", 0.0) for n, claim in enumerate(claims)]
        self.do(self.store.write_logs(self.connection, lines, written_at_s=0.0))
        for line in lines:
            job = self.model.jobs[line.claim.job_id]
            if self.stands(line.claim) or (job.state is State.COMPLETED and job.attempt == line.claim.attempt):
                self.logged.setdefault(line.claim.job_id, []).append(line.message)
        self.look_back(data)

    def look_back(self, data: st.DataObject) -> None:
        self.do(self.check_history())

    async def check_history(self) -> None:
        for job in self.model.jobs.values():
            body = await self.store.find_body(self.connection, job.id, None)
            assert body is not None
            assert await self.store.list_attempts(self.connection, body) == job.history
            lines = await self.store.list_logs(self.connection, body, after_seq=0, limit=100)
            assert [line.message for line in lines] == self.logged.get(job.id, [])

    # Supervisors and the leader --------------------------------------------------------------------------------------

    def supervise(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(["start", "beat", "stop", "child died", "child died"]), label="event")
        worker_id = self.draw_worker(data)
        if event == "start" or not self.model.beats:
            self.start_worker()
        elif event == "beat":
            alive = self.do(self.store.heartbeat(self.connection, worker_id))
            assert alive == (worker_id in self.model.beats)
            if alive:
                self.model.beats[worker_id] = self.clock.now
        elif event == "stop":
            self.do(self.store.remove_worker(self.connection, worker_id))
            self.model.beats.pop(worker_id, None)
        else:
            holders = sorted({lease.worker_id for lease in self.model.leases.values()})
            worker_id = data.draw(st.sampled_from(holders), label="holder") if holders else worker_id
            incarnation = data.draw(st.sampled_from([None, 1, 2]), label="incarnation")
            find = self.store.find_child_leases(self.connection, worker_id=worker_id, incarnation=incarnation)
            leases = self.do(find)
            assert leases == self.model.find_child_leases(worker_id, incarnation)
            if data.draw(st.booleans(), label="crashed"):
                jobs = sorted({job.id for lease in self.model.leases.values() for job in lease.jobs})
                started = st.lists(st.sampled_from(jobs), unique=True) if jobs else st.just([])
                self.give_back(leases, OutcomeKind.LOST, data.draw(started, label="started"))
            else:
                self.give_back(leases, OutcomeKind.HANDED_BACK, [])

    def lead(self, data: st.DataObject) -> None:
        """Time passes, and the leader does one of its duties."""
        seconds = data.draw(st.sampled_from([0.0, 0.5, 2.0, LEASE_S, LEASE_S + 1, 3600.0]), label="seconds")
        duty = data.draw(st.sampled_from(["stage", "reap", "expire"]), label="duty")
        limit = data.draw(st.integers(1, 4), label="limit")
        self.clock.advance(seconds=seconds)
        now = self.clock.now
        fold = data.draw(st.sampled_from([None, 1, 100]), label="fold")
        if fold is not None:
            self.do(self.store.fold_stats(self.connection, limit=fold))
        if data.draw(st.booleans(), label="workers beat"):
            for worker_id in self.model.beats:
                assert self.do(self.store.heartbeat(self.connection, worker_id))
                self.model.beats[worker_id] = now
        if duty == "expire":
            assert self.do(self.store.expire(self.connection, limit=100)) == self.model.expire(now)
            assert self.do(self.store.prune_keys(self.connection, limit=100)) == self.model.prune_keys(now)
            return
        if duty == "stage":
            waits = [job.run_at for job in self.model.among(State.SCHEDULED, State.RETRYING) if job.run_at]
            due_s = (min(waits) - now).total_seconds() if waits else None
            assert self.do(self.store.look_ahead(self.connection, grace_s=1.0)).due_s == due_s
            limit = self.model.without_tie(now, limit)
            assert self.do(self.store.stage(self.connection, limit=limit)) == self.model.stage(now, limit)
            return
        buried = self.do(self.store.bury_workers(self.connection))
        assert set(buried) == self.model.bury_workers(now, LEASE_S)
        orphans = self.do(self.store.find_orphan_leases(self.connection, limit=limit))
        assert orphans == self.model.find_orphan_leases()[:limit]
        self.give_back([*orphans, LeaseId(self.new_id())], OutcomeKind.LOST, None)

    # Promises --------------------------------------------------------------------------------------------------------

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.do(self.check())

    async def check(self) -> None:
        """Every job in one place, leases as open as they should be, reads and lists complete, ends counted."""
        jobs = sorted(self.model.jobs.values(), key=lambda job: job.id, reverse=True)
        places = [
            (job.id, PLACE[job.state], job.attempt, job.failures)
            + ((None, None) if job.state.is_terminal else (job.crashes, job.suspect))
            for job in reversed(jobs)
        ]
        assert [tuple(row) for row in await self.connection.fetch(PLACES)] == places
        leases = [
            (lease.id, lease.worker_id, lease.incarnation, "".join("01"[n in lease.open] for n in range(lease.size)))
            for lease in sorted(self.model.leases.values(), key=lambda lease: lease.id)
        ]
        assert [tuple(row) for row in await self.connection.fetch(LEASES)] == leases
        keys = {(*key, job.id, until) for key, (job, until) in self.model.keys.items()}
        assert {tuple(row) for row in await self.connection.fetch(KEYS)} == keys
        deliveries = self.model.deliveries
        assert sorted(tuple(row) for row in await self.connection.fetch(DELIVERIES)) == deliveries
        assert tuple(await self.connection.fetchrow(COUNTS) or ()) == (len(deliveries),) * 3
        read = await self.store.read_jobs(self.connection, [job.id for job in jobs])
        assert read == [job.view() for job in jobs]
        for job in read:
            assert job.attempt >= self.attempts.get(job.id, 0)
            self.attempts[job.id] = job.attempt
        ends = {tuple(row)[:4]: row["jobs"] for row in await self.connection.fetch(STATS)}
        assert ends == self.model.ends
        self.checks += 1
        for namespace, state in LISTS[self.checks % LIST_TURNS :: LIST_TURNS]:
            ids = [job.id for job in jobs if job.new.namespace == namespace and state in (None, job.state)]
            listed = self.store.list_ids(self.connection, namespace, JobFilter(state=state), limit=1000, before=None)
            assert await listed == (ids, None)

    # How -------------------------------------------------------------------------------------------------------------

    def submit(self, requests: Sequence[Request], commit: bool) -> None:
        news = [self.plan(*request) for request in requests]
        with self.transaction(commit=commit):
            answers = self.do(self.store.enqueue(self.connection, news))
        stored = [answer.id for answer in answers if not answer.duplicate]
        assert stored == sorted(stored)
        if commit:
            self.model.enqueue(self.clock.now, news, answers)

    def plan(self, new: NewJob, wait_s: int | None, fixed: bool) -> NewJob:
        if wait_s is None:
            return new
        if fixed:
            return replace(new, run_at=self.clock.now + timedelta(seconds=wait_s))
        return replace(new, run_after=timedelta(seconds=max(0, wait_s)))

    def start_worker(self) -> None:
        worker_id = WorkerId(self.new_id())
        register = self.store.register_worker(
            self.connection, worker_id=worker_id, host="here", pid=1, queues=QUEUES, concurrency=4
        )
        self.do(register)
        self.workers.append(worker_id)
        self.model.beats[worker_id] = self.clock.now

    def take(self, data: st.DataObject, commit: bool) -> None:
        if not self.model.beats:
            self.start_worker()
        worker_id = self.draw_worker(data)
        incarnation = data.draw(st.integers(1, 2), label="incarnation")
        queues = data.draw(st.permutations(QUEUES), label="queues")[: data.draw(st.sampled_from([2, 2, 1]))]
        kinds = data.draw(st.sampled_from([KINDS, KINDS, KINDS[:1], KINDS[1:]]), label="kinds")
        limit = data.draw(st.integers(1, 5), label="limit")
        lease_ids = [LeaseId(self.new_id()) for _ in range(len(queues) + 1)]
        with self.transaction(commit=commit):
            claim = self.store.claim(
                self.connection,
                worker_id=worker_id,
                incarnation=incarnation,
                queues=queues,
                kinds=kinds,
                limit=limit,
                lease_ids=lease_ids,
            )
            claims = self.do(claim)
        if not commit:
            return
        chosen = self.model.claim(self.clock.now, lease_ids, worker_id, incarnation, queues, kinds, limit)
        assert claim_of(claims) == [
            (position, job.id, job.attempt, job.failures, job.crashes, job.suspect) for position, job in chosen
        ]
        assert all(claim.lease_size == self.model.leases[claim.lease_id].size for claim in claims)
        self.claims += claims

    def new_id(self) -> UUID:
        """Scattered like random ids, but the same when an example is run again."""
        self.ids += 1
        return uuid5(NAMESPACE_OID, str(self.ids))

    def draw_worker(self, data: st.DataObject) -> WorkerId:
        """Mostly one that lives."""
        alive = [worker for worker in self.workers if worker in self.model.beats] or self.workers
        return data.draw(st.sampled_from([*alive, *alive, *self.workers]), label="worker")

    def draw_claims(self, data: st.DataObject) -> list[Claim]:
        """Some claims, most of them such as still stand."""
        if not self.claims:
            return []
        numbers = range(len(self.claims))
        standing = [n for n in numbers if self.stands(self.claims[n])]
        chosen = st.sampled_from(standing) | st.sampled_from(numbers) if standing else st.sampled_from(numbers)
        return [
            self.claims[n] for n in data.draw(st.lists(chosen, min_size=1, max_size=6, unique=True), label="claims")
        ]

    def draw_outcome(self, data: st.DataObject, claim: Claim) -> Outcome:
        error = JobError("ValueError", f"attempt {claim.attempt}")
        match data.draw(st.sampled_from(ENDINGS), label="ending"):
            case "complete":
                return policy.succeeded(claim, {"attempt": claim.attempt}, 0.5)
            case "error":
                return policy.failed(claim, OutcomeKind.ERROR, error, 0.5, backoff=lambda failures: 2.0**failures)
            case "timeout":
                return policy.failed(claim, OutcomeKind.TIMEOUT, error, 30.0, retry_after_s=0.0)
            case "crash":
                return policy.crashed(claim, error, 0.5, backoff=lambda crashes: 2.0**crashes)
            case "permanent":
                return policy.failed_for_good(claim, error, 0.25)
            case "snooze":
                return policy.snoozed(claim, 3.0, 0.5)
            case "cancel":
                return policy.cancelled(claim, 0.5)
            case "hand back":
                return policy.handed_back(claim)
            case _:
                return policy.handed_back(claim, 9.5)

    def stands(self, claim: Claim) -> bool:
        lease = self.model.leases.get(claim.lease_id)
        return lease is not None and claim.position in lease.open

    def send(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        completed, others = split(outcomes)
        return [
            *self.do(self.store.complete(self.connection, completed)),
            *self.do(self.store.finish(self.connection, others)),
        ]

    def give_back(self, lease_ids: Sequence[LeaseId], kind: OutcomeKind, suspects: Sequence[JobId] | None) -> None:
        returned = self.do(self.store.return_leases(self.connection, lease_ids, kind, suspects=suspects))
        assert returned == self.model.return_leases(self.clock.now, lease_ids, kind, suspects)


def split(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """What `complete` takes, and what `finish` takes."""
    completed = [outcome for outcome in outcomes if outcome.state is State.COMPLETED]
    return completed, [outcome for outcome in outcomes if outcome.state is not State.COMPLETED]


def in_order(sent: Sequence[Outcome], refused: Sequence[Outcome]) -> list[Outcome]:
    completed, others = split([outcome for outcome in sent if outcome in refused])
    return completed + others


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.covers("S2-7", "S2-8", "S2-10", "S2-12", "S2-18", "S2-20", "S3-13", "S3-19", "S2-23", "X-9")
def test_every_history_of_the_queue_is_one_of_the_model(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least once, never lost, one place per job, late workers refused: over random histories."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database_url, server_settings=session_settings("test")))

        class Machine(StoreMachine):
            pass

        Machine.runner, Machine.connection = runner, connection
        monkeypatch.setattr(job_statements, "MIN_ROWS", 3)  # bulks are small here
        try:
            run_state_machine_as_test(Machine, settings=settings.get_profile("store_machine"))
        finally:
            runner.run(connection.close(timeout=5))
