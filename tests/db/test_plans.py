"""
How PostgreSQL runs the engine's statements: by the index that each is written for, touching no more than it must.

The plans are those that production gets, seen through auto_explain while the store does its work, on a backlog of
50,000 ready jobs, in the three conditions that matter to a planner whose tables fill and empty within seconds.
"""

import asyncio
import json
import os
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest
from tests.conftest import TEMPLATE
from tests.db import dataset_plans, schedule_plans
from tests.engine.worksite import failed, new_job, succeeded
from tests.support.clock import FakeClock

import taskflow
from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.pool import session_settings
from taskflow.db.query import Connection, Query
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    Claim,
    JobFilter,
    JobId,
    LeaseId,
    NewLogLine,
    NewProgress,
    OutcomeKind,
    State,
    WorkerId,
)
from taskflow.engine.record import JobBody, LogPosition
from taskflow.engine.store import VACUUMED, Store
from taskflow.engine.store.copying import MIN_ROWS
from taskflow.webhooks import repository
from taskflow.webhooks.repository import DeliveryStatus
from taskflow.webhooks.service import MAX_ID

READY, LEASES, LEASE_SIZE, DEFERRED, DONE = 50_000, 20, 100, 4_000, 9_000
ACTIVE = LEASES * LEASE_SIZE
TOTAL = READY + ACTIVE + DEFERRED + DONE
SMALL = UUID(int=7)  # a namespace with ten jobs, older than all others
DRAINED, NEVER_ANALYSED, ANALYSED = "planned while drained", "never analysed", "analysed"

# Job n is in the place its number says: ready, then active, deferred (every other one due), and ended.
# The table of numbers is made beforehand: a temporary one would make a schema, and that throws away every cached plan.
NUMBERS = """
    CREATE TABLE fill (
        n integer, at timestamptz, id uuid, namespace uuid, queue text, kind text, priority integer, batch integer
    )
"""
FILL = f"""
    DELETE FROM fill;
    INSERT INTO fill
    SELECT n, at, taskflow.uuid_v7(at) AS id,
        CASE WHEN n > {TOTAL - 10} THEN '{SMALL}' ELSE '{DEFAULT_NAMESPACE}' END::uuid AS namespace, 'default' AS queue,
        'mail' AS kind, (ARRAY[2, 5, 8])[n %% 3 + 1] AS priority, (n - 1 - {READY}) / {LEASE_SIZE} AS batch
    FROM (
        SELECT n, %(now)s::timestamptz - n * interval '1 ms' AS at
        FROM generate_series(1, {TOTAL}) AS n
    ) AS numbers;
    INSERT INTO taskflow.job
    SELECT id, namespace, queue, kind, '{{}}', priority, 3, 30000, '{{}}', '{{}}', at FROM fill;
    INSERT INTO taskflow.ready
    SELECT id, namespace, queue, kind, priority, at, 0, 0, 0, false, false,
        CASE WHEN n %% 50 = 0 THEN %(now)s + n * interval '1 s' END
    FROM fill WHERE n <= {READY};
    INSERT INTO taskflow.lease
    SELECT gen_random_uuid(), %(worker)s, 1, array_agg(id ORDER BY n), array_agg(1 ORDER BY n), array_agg(0 ORDER BY n),
        repeat('1', count(*)::integer)::bit varying, NULL, %(now)s
    FROM fill WHERE n > {READY} AND n <= {READY + ACTIVE} GROUP BY batch;
    INSERT INTO taskflow.deferred
    SELECT id, namespace, queue, kind, priority, %(now)s + (n %% 2 * 2 - 1) * n * interval '1 ms', n %% 2, n %% 2,
        (ARRAY['scheduled', 'retrying'])[n %% 2 + 1], 0, false, false, CASE WHEN n %% 10 = 0 THEN at END
    FROM fill WHERE n > {READY + ACTIVE} AND n <= {READY + ACTIVE + DEFERRED};
    INSERT INTO taskflow.done
    SELECT id, namespace, queue, kind, (ARRAY['completed', 'failed', 'cancelled'])[n %% 3 + 1], NULL, 1, 0, NULL, NULL,
        at, at + interval '5 ms'
    FROM fill WHERE n > {READY + ACTIVE + DEFERRED};
    INSERT INTO taskflow.attempt_log
    SELECT id, namespace, 1, 'error', NULL, at, at, at FROM fill WHERE n > {READY + ACTIVE};
    INSERT INTO taskflow.job_log
    SELECT id, namespace, nextval('taskflow.job_log_seq'), 1, 'info', 'line', at
    FROM fill, generate_series(1, 20) WHERE n > {READY + ACTIVE + DEFERRED};
    DELETE FROM taskflow.queue;
    INSERT INTO taskflow.queue
    SELECT 'q' || n, %(now)s, CASE WHEN n <= 3 THEN %(now)s END, NULL, NULL, %(now)s FROM generate_series(1, 1000) AS n;
    INSERT INTO taskflow.unique_claim
    SELECT namespace, kind, n::text, id, 'until_finished', NULL FROM fill WHERE n <= 4000;
    INSERT INTO taskflow.unique_claim
    SELECT namespace, kind, 'window ' || n - 4000, id, 'window', at FROM fill WHERE n > 4000 AND n <= 8000;
    INSERT INTO taskflow.webhook_delivery
    SELECT id, namespace, id, kind, 'job.failed', NULL, at, (ARRAY['pending', 'delivered', 'failed'])[n %% 3 + 1],
        at, at
    FROM fill WHERE n > {READY + ACTIVE + DEFERRED};
"""
FILL += schedule_plans.FILL + dataset_plans.FILL
TABLES = (
    "job",
    "ready",
    "deferred",
    "lease",
    "done",
    "attempt_log",
    "job_log",
    "worker",
    "queue",
    "unique_claim",
    "webhook_delivery",
    *schedule_plans.TABLES,
    *dataset_plans.TABLES,
)
LEAVES = "SELECT relname FROM pg_class WHERE relnamespace = 'taskflow'::regnamespace AND relkind = 'r'"
INDEXES = """
    SELECT i.relname, coalesce(p.relname, i.relname)
    FROM pg_class i LEFT JOIN pg_inherits h ON h.inhrelid = i.oid LEFT JOIN pg_class p ON p.oid = h.inhparent
    WHERE i.relnamespace = 'taskflow'::regnamespace AND i.relkind = 'i'
"""
FILLED = f"{LEAVES} AND pg_relation_size(oid) > 0"
EXPLAIN = """
    LOAD 'auto_explain';
    SET client_min_messages = log;
    SET auto_explain.log_min_duration = 0;
    SET auto_explain.log_analyze = on;
    SET auto_explain.log_buffers = on;
    SET auto_explain.log_timing = off;
    SET auto_explain.log_format = json;
    SET auto_explain.log_nested_statements = on;
"""


@dataclass(slots=True)
class Sample:
    """What the statements are asked about; of an empty database, things that do not exist."""

    claims: Sequence[Claim]  # of two leases
    ready: JobBody
    deferred: JobBody
    failed: JobBody
    worker_id: WorkerId


@dataclass(slots=True)
class Scan:
    """One node of a plan that reads a table."""

    node: str
    relation: str
    index: str | None
    rows: float  # read, whether they passed the filter or not


@dataclass(slots=True)
class Plan:
    """What auto_explain saw of one statement."""

    root: Mapping[str, Any]
    index_of: Mapping[str, str]  # a partition's index → the index of its parent
    filled: set[str]  # relations that hold anything

    def nodes(self) -> Iterator[Mapping[str, Any]]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.get("Plans", [])

    @property
    def scans(self) -> list[Scan]:
        found = []
        for node in self.nodes():
            if not node["Actual Loops"] or node.get("Relation Name") not in self.filled:
                continue  # in an empty partition one index is as good as another
            if node["Node Type"] not in ("Seq Scan", "Index Scan", "Index Only Scan", "Tid Scan", "Bitmap Heap Scan"):
                continue
            removed = sum(node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck"))
            rows = (node["Actual Rows"] + removed) * node["Actual Loops"]
            index = node.get("Index Name")
            found.append(
                Scan(node["Node Type"], node["Relation Name"], self.index_of.get(index, index) if index else None, rows)
            )
        return found

    @property
    def indexes(self) -> set[str]:
        return {scan.index for scan in self.scans if scan.index}

    @property
    def touched(self) -> float:
        return sum(scan.rows for scan in self.scans)

    @property
    def buffers(self) -> int:
        return int(self.root["Shared Hit Blocks"]) + int(self.root["Shared Read Blocks"])

    @property
    def sorted_rows(self) -> float:
        """The largest number of rows that was sorted."""
        return max(
            (node["Actual Rows"] * node["Actual Loops"] for node in self.nodes() if "Sort" in node["Node Type"]),
            default=0,
        )


Work: TypeAlias = Callable[[Store, Connection, Sample], Coroutine[Any, Any, object]]


@dataclass(slots=True)
class Case:
    """
    A statement, how the store runs it, and what it may cost.

    Args:
        indexes: all that it uses; each is named in the statement's header.
        rows: how many rows of tables and indexes it may read in all.
        scans: tables that it reads from end to end, because they are as small as the work in flight.
    """

    work: Work
    indexes: set[str]
    rows: int
    buffers: int = 400
    scans: set[str] = field(default_factory=set)


def lists(state: State | None, namespace: UUID = DEFAULT_NAMESPACE) -> Work:
    return lambda store, connection, sample: store.list_ids(
        connection, namespace, JobFilter(state=state), limit=30, before=None
    )


async def ended_of(store: Store, connection: Connection, *, limit: int) -> int:
    end = FakeClock().now + timedelta(days=1)
    stream = store.stream_ended(connection, DEFAULT_NAMESPACE, end - timedelta(days=2), end, limit=limit)
    return len([job async for job in stream])


def deliveries(job_id: UUID | None = None, status: DeliveryStatus | None = None) -> Work:
    return lambda store, connection, sample: repository.list_page(
        connection, DEFAULT_NAMESPACE, job_id=job_id, status=status, before=MAX_ID, limit=10
    )


CASES: Mapping[str, Case] = {
    "claim": Case(
        lambda store, connection, sample: store.claim(
            connection, worker_id=sample.worker_id, incarnation=1, queues=["default", "x"], kinds=["mail"], limit=10
        ),
        {"ready_claim", "job_pkey", "worker_pkey", "queue_pkey"},
        rows=43,
    ),
    "expire": Case(
        lambda store, connection, sample: store.expire(connection, limit=10),
        {"ready_expiry", "deferred_expiry"},
        rows=40,
    ),
    "claim of a namespace": Case(
        lambda store, connection, sample: store.claim(
            connection,
            worker_id=sample.worker_id,
            incarnation=1,
            queues=["default", "x"],
            kinds=["mail"],
            limit=10,
            namespace=DEFAULT_NAMESPACE,
        ),
        {"ready_claim", "job_pkey", "worker_pkey", "queue_pkey"},
        rows=43,
    ),
    "next_expiry_s": Case(
        lambda store, connection, sample: store.next_expiry_s(connection), {"ready_expiry", "deferred_expiry"}, rows=2
    ),
    "run_now": Case(
        lambda store, connection, sample: store.run_now(connection, sample.deferred), {"deferred_pkey"}, rows=1
    ),
    "change_waiting": Case(
        lambda store, connection, sample: store.change_waiting(
            connection, sample.ready, priority=9, run_at=None, run_after=None
        ),
        {"ready_pkey", "deferred_pkey", "job_pkey"},
        rows=2,
    ),
    "claim_unique_keys": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job(unique_key="new")] * 10), set(), rows=10
    ),
    "find_unique_holders": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job(unique_key="7")]),
        {"unique_claim_pkey"},
        rows=1,
    ),
    "free_unique_keys": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job(unique_key="window 1")]),
        {"unique_claim_pkey"},
        rows=2,
    ),
    "reclaim_key": Case(
        lambda store, connection, sample: store.is_key_held(connection, sample.failed), {"job_pkey"}, rows=1
    ),
    "free_key_of_job": Case(
        lambda store, connection, sample: store.is_key_held(connection, sample.failed), {"job_pkey"}, rows=1
    ),
    "prune_unique_keys": Case(
        lambda store, connection, sample: store.prune_keys(connection, limit=10), {"unique_claim_window"}, rows=20
    ),
    "set_queue": Case(lambda store, connection, sample: store.set_queue(connection, "q1", paused=True), set(), rows=1),
    "forget_queue": Case(
        lambda store, connection, sample: store.set_queue(connection, "q1000", limits=True), {"queue_pkey"}, rows=1
    ),
    "find_hindrance": Case(
        lambda store, connection, sample: store.find_hindrance(
            connection, queue="q1", kind="k", namespace=DEFAULT_NAMESPACE
        ),
        {"queue_pkey"},
        rows=10,
        scans={"worker"},
    ),
    "find_draining": Case(
        lambda store, connection, sample: store.find_draining(connection, ["q1", "default"]), {"queue_draining"}, rows=2
    ),
    "read_queues": Case(
        lambda store, connection, sample: store.read_queues(connection, name="default"),
        {"ready_claim", "queue_pkey", "job_pkey"},
        rows=20_000,
        buffers=60_000,
        scans={"lease", "worker", "queue", "kind"},
    ),
    "enqueue": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job(expires_after=timedelta(hours=1))] * 10),
        {"queue_draining"},
        rows=13,
    ),
    "enqueue_now": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job()] * 10), {"queue_draining"}, rows=13
    ),
    "open_submit": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job()] * MIN_ROWS), {"queue_draining"}, rows=3
    ),
    "enqueue_one": Case(
        lambda store, connection, sample: store.enqueue(connection, [new_job()]), {"queue_draining"}, rows=3
    ),
    "complete": Case(
        lambda store, connection, sample: store.complete(connection, [succeeded(claim) for claim in sample.claims]),
        {"lease_pkey"},
        rows=3 * LEASES,
    ),
    "finish": Case(
        lambda store, connection, sample: store.finish(connection, [failed(claim) for claim in sample.claims]),
        {"lease_pkey"},
        rows=3 * LEASES,
    ),
    "find_settled": Case(
        lambda store, connection, sample: store.find_unsettled(
            connection, [*map(succeeded, sample.claims[:5]), *map(failed, sample.claims[5:])]
        ),
        {"done_job", "attempt_log_job"},
        rows=30,
    ),
    "write_logs": Case(
        lambda store, connection, sample: store.write_logs(
            connection, [NewLogLine(claim, "info", "line", 0.0) for claim in sample.claims], written_at_s=0.0
        ),
        {"lease_pkey"},
        rows=20,
    ),
    "write_progress": Case(
        lambda store, connection, sample: store.write_progress(
            connection, [NewProgress(claim, 0.5, "half", 0.0) for claim in sample.claims], written_at_s=0.0
        ),
        {"lease_pkey"},
        rows=20,
    ),
    "write_logs of an attempt that has ended": Case(
        lambda store, connection, sample: store.write_logs(
            connection, [NewLogLine(ended(sample), "info", "line", 0.0)], written_at_s=0.0
        ),
        {"lease_pkey", "done_job"},
        rows=20,
    ),
    "write_progress of an attempt that has ended": Case(
        lambda store, connection, sample: store.write_progress(
            connection, [NewProgress(ended(sample), 0.5, "half", 0.0)], written_at_s=0.0
        ),
        {"lease_pkey", "done_job"},
        rows=20,
    ),
    "return_leases": Case(
        lambda store, connection, sample: store.return_leases(
            connection, [sample.claims[0].lease_id], OutcomeKind.LOST
        ),
        {"lease_pkey", "job_pkey"},
        rows=LEASE_SIZE + 1,
        buffers=4000,
    ),
    "stage": Case(lambda store, connection, sample: store.stage(connection, limit=10), {"deferred_due"}, rows=20),
    "next_due_s": Case(lambda store, connection, sample: store.next_due_s(connection), {"deferred_due"}, rows=1),
    "cancel_many": Case(
        lambda store, connection, sample: store.cancel_many(connection, [sample.ready.id, sample.deferred.id]),
        {"ready_pkey", "deferred_pkey", "job_pkey"},
        rows=8,
    ),
    "find_active": Case(
        lambda store, connection, sample: store.find_active(connection, [sample.claims[0].job_id]),
        set(),
        rows=2 * ACTIVE,
        scans={"lease"},
    ),
    "cancel_waiting": Case(
        lambda store, connection, sample: store.cancel_waiting(connection, sample.ready),
        {"ready_pkey", "deferred_pkey"},
        rows=1,
    ),
    "settle": Case(
        lambda store, connection, sample: store.settle(connection, [sample.failed.id]),
        {"job_pkey", "unique_claim_job", "done_job", "webhook_delivery_pkey"},
        rows=10,
    ),
    "prune_deliveries": Case(
        lambda store, connection, sample: store.prune_deliveries(connection, before=date(9000, 1, 1), limit=100),
        {"webhook_delivery_pkey"},
        rows=700,
        buffers=1500,
    ),
    "find_delivery": Case(
        lambda store, connection, sample: repository.find(connection, sample.failed.id, DEFAULT_NAMESPACE),
        {"webhook_delivery_pkey"},
        rows=1,
    ),
    "list_deliveries": Case(deliveries(), {"webhook_delivery_list"}, rows=20),
    "list_deliveries_by_status": Case(deliveries(status=DeliveryStatus.FAILED), {"webhook_delivery_status"}, rows=20),
    "count_failing": Case(
        lambda store, connection, sample: repository.count_failing(connection, DEFAULT_NAMESPACE),
        {"webhook_delivery_status", "deferred_pkey"},
        rows=12_000,  # it counts: each of the 3,000 that are tried is looked for among the deferred
        buffers=30_000,
    ),
    "list_deliveries_of_job": Case(
        lambda store, connection, sample: deliveries(job_id=sample.failed.id)(store, connection, sample),
        {"webhook_delivery_end"},
        rows=1,
    ),
    "list_responses": Case(
        lambda store, connection, sample: repository.list_responses(connection, sample.failed.id), set(), rows=0
    ),
    "request_cancel": Case(
        lambda store, connection, sample: store.request_cancel(connection, sample.claims[0].job_id),
        set(),
        rows=LEASES,
        scans={"lease"},
    ),
    "find_job_body": Case(
        lambda store, connection, sample: store.find_body(connection, sample.ready.id, DEFAULT_NAMESPACE),
        {"job_pkey"},
        rows=1,
    ),
    "find_done": Case(
        lambda store, connection, sample: store.find_end(connection, sample.failed), {"done_job"}, rows=3
    ),
    "replay": Case(lambda store, connection, sample: store.replay(connection, sample.failed), {"done_job"}, rows=1),
    "read_jobs": Case(
        lambda store, connection, sample: store.read_jobs(
            connection, [sample.ready.id, sample.deferred.id, sample.failed.id, sample.claims[0].job_id]
        ),
        {"job_pkey", "ready_pkey", "deferred_pkey", "done_job", "attempt_log_job"},
        rows=60,
        buffers=1500,
        scans={"lease"},
    ),
    "list_jobs": Case(lists(None), {"job_list"}, rows=60),
    "list_jobs_pending": Case(lists(State.PENDING), {"job_list", "ready_pkey"}, rows=150, buffers=1000),
    "list_jobs of a small namespace": Case(lists(None, SMALL), {"job_list"}, rows=20),
    "list_jobs_boundary of a small namespace": Case(lists(None, SMALL), {"job_list"}, rows=20),
    "list_jobs_active": Case(lists(State.ACTIVE), {"job_pkey"}, rows=LEASES + ACTIVE, buffers=50_000, scans={"lease"}),
    "list_jobs_deferred": Case(lists(State.RETRYING), {"deferred_pkey"}, rows=100),
    "list_jobs_done": Case(lists(State.FAILED), {"done_job"}, rows=60),
    "list_attempts": Case(
        lambda store, connection, sample: store.list_attempts(connection, sample.failed),
        {"attempt_log_job", "done_job"},
        rows=3,
    ),
    "list_logs": Case(
        lambda store, connection, sample: store.list_logs(connection, sample.failed, after_seq=0, limit=10),
        {"job_log_job"},
        rows=12,
    ),
    "follow_logs": Case(
        lambda store, connection, sample: store.follow_logs(
            connection, [LogPosition(sample.failed), LogPosition(sample.ready)], limit=10
        ),
        {"job_log_job"},
        rows=24,
    ),
    "find_ends": Case(
        lambda store, connection, sample: store.follow_logs(
            connection, [LogPosition(sample.failed), LogPosition(sample.ready)], limit=10
        ),
        {"done_job"},
        rows=6,
        buffers=900,  # three probes in each day on which it may have ended
    ),
    "count_ended": Case(
        lambda store, connection, sample: store.read_activity(connection),
        {"stat_hour_pkey"},
        rows=400,
        scans={"stat_delta"},
    ),
    "count_active": Case(
        lambda store, connection, sample: store.read_activity(connection),
        {"job_pkey"},
        rows=LEASES + ACTIVE,
        buffers=50_000,
        scans={"lease"},
    ),
    "count_deferred": Case(
        lambda store, connection, sample: store.read_activity(connection), set(), rows=DEFERRED, scans={"deferred"}
    ),
    "find_child_leases": Case(
        lambda store, connection, sample: store.find_child_leases(connection, worker_id=sample.worker_id),
        {"lease_pkey"},
        rows=LEASES,
    ),
    "find_orphan_leases": Case(
        lambda store, connection, sample: store.find_orphan_leases(connection, limit=10),
        {"lease_pkey", "worker_pkey"},
        rows=2 * LEASES,
    ),
    "list_own_leases": Case(
        lambda store, connection, sample: store.list_own_leases(connection, worker_id=sample.worker_id, incarnation=1),
        set(),
        rows=LEASES,
        scans={"lease"},
    ),
    "beat_remote_worker": Case(
        lambda store, connection, sample: store.beat_remote_worker(
            connection, sample.worker_id, namespace=DEFAULT_NAMESPACE
        ),
        {"worker_pkey"},
        rows=1,
    ),
    "keep_idle_worker": Case(
        lambda store, connection, sample: store.keep_idle_worker(
            connection, sample.worker_id, namespace=DEFAULT_NAMESPACE
        ),
        {"worker_pkey"},
        rows=2 + LEASES,
        scans={"lease"},
    ),
    "list_held": Case(
        lambda store, connection, sample: store.list_held(connection, sample.worker_id),
        set(),
        rows=LEASES + ACTIVE,
        scans={"lease"},
    ),
    "find_claims": Case(
        lambda store, connection, sample: store.find_claims(
            connection, [(claim.lease_id, claim.position) for claim in sample.claims]
        ),
        {"lease_pkey", "job_pkey"},
        rows=30,
    ),
    "find_overdue": Case(
        lambda store, connection, sample: find_overdue(store, connection),
        {"job_pkey", "worker_pkey"},
        rows=2 * LEASES + ACTIVE,
        buffers=5 * ACTIVE,
        scans={"lease"},
    ),
    "count_log_lines": Case(
        lambda store, connection, sample: store.count_log_lines(
            connection, [claim_of(LeaseId(uuid4()), 0, sample.failed.id)], limit=1000
        ),
        {"job_log_job"},
        rows=20,
    ),
    "heartbeat": Case(
        lambda store, connection, sample: store.heartbeat(connection, sample.worker_id), {"worker_pkey"}, rows=1
    ),
    "queue_depths": Case(
        lambda store, connection, sample: store.queue_depths(connection),
        set(),
        rows=2 * 10_000,
        buffers=4000,
        scans={"ready", "worker"},
    ),
    "stream_ended": Case(
        lambda store, connection, sample: ended_of(store, connection, limit=1_000),
        {"done_job"},
        rows=1_001,
        buffers=2_000,
    ),
    "count_dead_letters": Case(
        lambda store, connection, sample: store.count_dead_letters(connection, DEFAULT_NAMESPACE),
        {"done_job"},
        rows=10_000,
        buffers=10_000,
    ),
    **{
        name: Case(work, indexes, rows=rows, buffers=30_000 if name == "count_live" else 2000, scans=scans)
        for name, (work, indexes, rows, scans) in {**schedule_plans.CASES, **dataset_plans.CASES}.items()
    },
}


async def find_overdue(store: Store, connection: Connection) -> object:
    """As if all workers were over HTTP, and idle."""
    await connection.execute("UPDATE taskflow.worker SET namespace = $1", DEFAULT_NAMESPACE)
    await connection.execute("UPDATE taskflow.lease SET claimed_at = claimed_at - interval '1 day'")
    return await store.find_overdue(connection, grace_s=10, limit=500)


def nothing(clock: FakeClock) -> Sample:
    body = JobBody(JobId(uuid4()), DEFAULT_NAMESPACE, "default", 5, clock.now, settles=False)
    claim = claim_of(LeaseId(uuid4()), 0, body.id)
    return Sample([claim], ready=body, deferred=body, failed=body, worker_id=WorkerId(uuid4()))


def sample(filler: "psycopg.Connection[tuple[Any, ...]]", worker_id: WorkerId) -> Sample:
    leases = filler.execute("SELECT id, job_ids[1:5] FROM taskflow.lease ORDER BY id LIMIT 2").fetchall()
    claims = [
        claim_of(lease_id, position, job_id) for lease_id, job_ids in leases for position, job_id in enumerate(job_ids)
    ]

    def body(place: str) -> JobBody:
        job = "SELECT id, namespace, queue, priority, created_at, false FROM taskflow.job WHERE id ="
        (row,) = filler.execute(f"{job} (SELECT job_id FROM taskflow.{place} LIMIT 1)").fetchall()
        return JobBody(*row)

    return Sample(
        claims,
        ready=body("ready ORDER BY run_at OFFSET 25000"),
        deferred=body("deferred ORDER BY run_at OFFSET 2000"),
        failed=body("done WHERE state = 'failed' ORDER BY job_id OFFSET 1000"),
        worker_id=worker_id,
    )


def claim_of(lease_id: LeaseId, position: int, job_id: JobId) -> Claim:
    return Claim(
        lease_id=lease_id,
        lease_size=LEASE_SIZE,
        position=position,
        job_id=job_id,
        attempt=1,
        failures=0,
        namespace=DEFAULT_NAMESPACE,
        kind="mail",
        queue="default",
        priority=5,
        payload="{}",
        retries=3,
        timeout_s=30.0,
        headers={},
        queue_wait_s=0.0,
    )


def ended(sample: Sample) -> Claim:
    """What the claim of a job that has ended was: its lease is gone."""
    return claim_of(LeaseId(UUID(int=0)), 0, sample.failed.id)


def statement_of(name: str) -> str:
    return name.partition(" of ")[0]


@dataclass(slots=True)
class Bench:
    """A database in one of the conditions, and a connection on which every plan is seen."""

    condition: str
    runner: asyncio.Runner
    connection: Connection
    store: Store
    sample: Sample
    index_of: Mapping[str, str]
    filled: set[str] = field(default_factory=set)
    seen: dict[str, Plan] = field(default_factory=dict)

    def listen(self, _: object, message: Any) -> None:
        if (found := _PLAN.search(message.message)) is not None:
            explained = json.loads(found[1])
            if (name := _NAME.search(explained["Query Text"])) is not None:
                # What a function does, under its caller's name, comes before the call itself.
                self.seen.setdefault(name[1], Plan(explained["Plan"], self.index_of, self.filled))

    def run(self, work: Work) -> Mapping[str, Plan]:
        """Do *work* and undo it; return the plans of its statements by their names."""
        self.seen.clear()
        self.runner.run(self._run(work))
        return self.seen

    async def _run(self, work: Work) -> None:
        block = self.connection.transaction()
        await block.start()
        try:
            await work(self.store, self.connection, self.sample)
        finally:
            await block.rollback()


_PLAN = re.compile(r"\Aduration: .*?plan:\s*(\{.*)", re.DOTALL)
_NAME = re.compile(r"/\* taskflow:(\w+) \*/")


@pytest.fixture(scope="module", params=[DRAINED, NEVER_ANALYSED, ANALYSED])
def bench(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Bench]:
    name = f"plans_{os.getpid()}_{request.param.replace(' ', '_')}"
    url = f"{postgres.url.rsplit('/', 1)[0]}/{name}"
    clock = FakeClock()
    worker_id = WorkerId(uuid4())
    with asyncio.Runner() as runner, psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as filler:
            for (table,) in filler.execute(LEAVES).fetchall():
                filler.execute(f"ALTER TABLE taskflow.{table} SET (autovacuum_enabled = false)")
            filler.execute(NUMBERS)
            index_of = dict(filler.execute(INDEXES).fetchall())
            connection = runner.run(asyncpg.connect(url, server_settings=session_settings("test")))
            runner.run(connection.execute(EXPLAIN))
            bench = Bench(request.param, runner, connection, Store(clock), nothing(clock), index_of)
            connection.add_log_listener(bench.listen)
            if request.param == DRAINED:
                filler.execute(FILL, {"now": clock.now, "worker": worker_id})
                filler.execute(
                    "DELETE FROM taskflow.ready; DELETE FROM taskflow.lease; DELETE FROM taskflow.deferred;"
                    "DELETE FROM taskflow.unique_claim"
                )
                for table in VACUUMED:
                    runner.run(Store().vacuum(connection, table))
                for case in CASES.values():
                    bench.run(case.work)
            filler.execute(FILL, {"now": clock.now, "worker": worker_id})
            filler.execute(
                "INSERT INTO taskflow.worker VALUES (%s, 'here', 1, '{}', '{}', 1, now(), now())", [worker_id]
            )
            if request.param == ANALYSED:
                filler.execute(f"VACUUM ANALYZE {', '.join(f'taskflow.{table}' for table in TABLES)}")
            bench.sample = sample(filler, worker_id)
            bench.filled = {name for (name,) in filler.execute(FILLED).fetchall()}
        yield bench
        runner.run(connection.close(timeout=5))
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.covers("S3-17")
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_statement_runs_by_its_index_and_touches_no_more_than_it_must(bench: Bench, name: str) -> None:
    case = CASES[name]
    plan = bench.run(case.work)[statement_of(name)]
    assert plan.indexes == case.indexes
    assert {scan.relation for scan in plan.scans if scan.node == "Seq Scan"} <= case.scans
    assert plan.touched <= case.rows
    assert plan.sorted_rows <= case.rows
    assert plan.buffers <= case.buffers


@pytest.mark.parametrize("name", ["find_ends"])
async def test_a_look_at_what_ended_that_was_planned_before_anything_had_is_by_its_index(
    connection: Connection, name: str
) -> None:
    """A connection keeps its plan while the table behind it grows."""
    statement = next(path for known, path in QUERIES.items() if known == f"engine/{name}")
    sql = Query(name, statement.read_text()).sql
    count = len((await connection.prepare(sql)).get_parameters())
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE early AS {sql}")
    rows = await connection.fetch(f"EXPLAIN EXECUTE early({', '.join(['NULL'] * count)})")
    plan = "\n".join(row[0] for row in rows)
    assert "Hash" not in plan
    assert "Merge Join" not in plan
    assert re.search(r"Index.*Scan.* on done", plan)


FOLDERS = sorted(Path(taskflow.__file__).parent.rglob("queries"))
QUERIES: Mapping[str, Path] = {
    f"{path.parents[1].name}/{path.stem}": path for folder in FOLDERS for path in sorted(folder.glob("*.sql"))
}


def header_of(path: Path) -> str:
    lines = path.read_text().splitlines()
    return " ".join(line[2:] for line in lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))])


@pytest.mark.parametrize("name", QUERIES)
def test_a_statement_says_what_it_is_for_and_what_it_locks(name: str) -> None:
    header = header_of(QUERIES[name])
    assert len(header) > 20
    body = QUERIES[name].read_text()
    if re.search(r"\b(INSERT INTO|UPDATE|DELETE FROM|VACUUM|pg_\w*advisory\w*)\b", body):
        assert re.search(r"\b[Ll]ock|\bheld\b", header), "names no locks"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.indexes])
def test_a_statement_names_the_indexes_that_it_is_written_for(name: str) -> None:
    (path,) = (path for known, path in QUERIES.items() if known.endswith(f"/{statement_of(name)}"))
    header = header_of(path)
    for index in CASES[name].indexes:
        table, _, kind = index.rpartition("_")
        if table in ("lease", "worker"):
            continue  # as small as the work in flight
        assert index in header or (kind == "pkey" and re.search(r"\bkeys?\b", header)), index


async def test_every_statement_prepares_on_the_migrated_schema(connection: Connection) -> None:
    """None names a table, a column or a function that is not there, or leaves a parameter's type open."""
    for name, path in QUERIES.items():
        sql = Query(path.stem, path.read_text()).sql
        if "VACUUM" in sql:
            continue
        statement = await connection.prepare(sql)
        types = [parameter.name for parameter in statement.get_parameters()]
        assert "unknown" not in types, name
