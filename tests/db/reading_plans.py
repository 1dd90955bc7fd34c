"""What `test_plans` fills in of what is read of jobs, and what their statements may cost."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID, uuid4

from tests.db.planning import ACTIVE, DEFERRED, LEASES, SMALL, Case, Work, claim_of
from tests.support.clock import FakeClock

from taskflow.db.query import Connection
from taskflow.engine.job import DEFAULT_NAMESPACE, JobFilter, LeaseId, State
from taskflow.engine.record import LogPosition
from taskflow.engine.store import Store

FILL = ""
TABLES = ()


def lists(state: State | None, namespace: UUID = DEFAULT_NAMESPACE) -> Work:
    return lambda store, connection, sample: store.list_ids(
        connection, namespace, JobFilter(state=state), limit=30, before=None
    )


async def ended_of(store: Store, connection: Connection, *, limit: int) -> int:
    end = FakeClock().now + timedelta(days=1)
    stream = store.stream_ended(connection, DEFAULT_NAMESPACE, end - timedelta(days=2), end, limit=limit)
    return len([job async for job in stream])


CASES: Mapping[str, Case] = {
    "find_job_body": Case(
        lambda store, connection, sample: store.find_body(connection, sample.ready.id, DEFAULT_NAMESPACE),
        {"job_pkey"},
        rows=1,
    ),
    "find_done": Case(
        lambda store, connection, sample: store.find_end(connection, sample.failed), {"done_job"}, rows=3
    ),
    "read_jobs": Case(
        lambda store, connection, sample: store.read_jobs(
            connection, [sample.ready.id, sample.deferred.id, sample.failed.id, sample.claims[0].job_id]
        ),
        {"job_pkey", "ready_pkey", "deferred_pkey", "done_job", "attempt_log_job", "job_progress_pkey"},
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
    "count_log_lines": Case(
        lambda store, connection, sample: store.count_log_lines(
            connection, [claim_of(LeaseId(uuid4()), 0, sample.failed.id)], limit=1000
        ),
        {"job_log_job"},
        rows=20,
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
}
