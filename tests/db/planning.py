"""
How it is seen how PostgreSQL runs statements: on a filled database, by a connection that shows every plan.

What there is of jobs is here; modules beside this one add what their nouns have.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psycopg
from tests.support.clock import FakeClock

from taskflow.db.query import Connection
from taskflow.engine.job import DEFAULT_NAMESPACE, Claim, JobId, LeaseId, WorkerId
from taskflow.engine.record import JobBody
from taskflow.engine.store import Store

READY, LEASES, LEASE_SIZE, DEFERRED, DONE = 50_000, 20, 100, 4_000, 9_000
ACTIVE = LEASES * LEASE_SIZE
TOTAL = READY + ACTIVE + DEFERRED + DONE
SMALL = UUID(int=7)  # a namespace with ten jobs, older than all others

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
    INSERT INTO taskflow.job_progress SELECT id, 1, 0.5, 'half', at FROM fill WHERE n > {READY};
    INSERT INTO taskflow.unique_claim
    SELECT namespace, kind, n::text, id, 'until_finished', NULL FROM fill WHERE n <= 4000;
    INSERT INTO taskflow.unique_claim
    SELECT namespace, kind, 'window ' || n - 4000, id, 'window', at FROM fill WHERE n > 4000 AND n <= 8000;
"""
TABLES = (
    "job",
    "ready",
    "deferred",
    "lease",
    "done",
    "attempt_log",
    "job_log",
    "job_progress",
    "worker",
    "unique_claim",
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
