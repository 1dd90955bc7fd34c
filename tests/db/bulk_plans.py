"""What `test_plans` fills in of submits in streams and operations on many jobs, and what their statements may cost."""

from collections.abc import Mapping
from datetime import date, timedelta
from hashlib import md5
from typing import Any
from uuid import UUID

from tests.db.planning import Case
from tests.support.clock import FakeClock

from taskflow.db.query import Connection
from taskflow.engine.job import DEFAULT_NAMESPACE, JobFilter, JobId
from taskflow.engine.record import BulkAction, Operation, OperationId
from taskflow.engine.store import Store
from taskflow.jobs.repository import LineErrors, StreamId, StreamRepository

OPERATIONS, STREAMS, LINES = 3_000, 1_000, 5

FILL = f"""
    DELETE FROM taskflow.operation;
    DELETE FROM taskflow.submit_stream;
    DELETE FROM taskflow.submit_stream_error;
    INSERT INTO taskflow.operation
    SELECT md5(n::text)::uuid, '{DEFAULT_NAMESPACE}', 'cancel', '{{}}',
        (ARRAY['completed', 'completed', 'running'])[n %% 3 + 1], NULL, 0, 0, NULL,
        %(now)s::timestamptz - n * interval '1 h', %(now)s
    FROM generate_series(1, {OPERATIONS}) AS n;
    INSERT INTO taskflow.submit_stream
    SELECT md5((n %% 10)::text)::uuid, n::text, '{DEFAULT_NAMESPACE}', 0, 0, 0,
        %(now)s::timestamptz - n * interval '1 h', %(now)s::timestamptz - n * interval '1 h'
    FROM generate_series(1, {STREAMS}) AS n;
    INSERT INTO taskflow.submit_stream_error
    SELECT principal_id, key, line, '[]' FROM taskflow.submit_stream, generate_series(1, {LINES}) AS line;
"""
TABLES = ("operation", "submit_stream", "submit_stream_error")

RUNNING = Operation(
    id=OperationId(UUID(md5(b"2").hexdigest())),
    namespace=DEFAULT_NAMESPACE,
    action=BulkAction.CANCEL,
    chosen=JobFilter(),
    state="running",
    below=None,
    done=0,
    failed=0,
    job_id=JobId(UUID(int=1)),
    created_at=FakeClock().now,
    finished_at=None,
)
STREAM = StreamId(UUID(md5(b"7").hexdigest()), "7")
streams = StreamRepository()


async def move(_store: Store, connection: Connection, _: Any) -> None:
    await streams.lock(connection, STREAM, DEFAULT_NAMESPACE)
    await streams.move(connection, STREAM, last_line=1, accepted=1, rejected=0)


CASES: Mapping[str, Case] = {
    "insert_operation": Case(
        lambda store, connection, _: store.insert_operation(
            connection,
            OperationId(UUID(int=1)),
            namespace=DEFAULT_NAMESPACE,
            action=BulkAction.CANCEL,
            chosen=JobFilter(),
            job_id=JobId(UUID(int=1)),
        ),
        set(),
        rows=1,
    ),
    "find_operation": Case(
        lambda store, connection, _: store.find_operation(connection, RUNNING.id, namespace=DEFAULT_NAMESPACE),
        {"operation_pkey"},
        rows=1,
    ),
    "advance_operation": Case(
        lambda store, connection, _: store.advance_operation(
            connection, RUNNING, below=JobId(UUID(int=1)), done=1, failed=0
        ),
        {"operation_pkey"},
        rows=1,
    ),
    "prune_operations": Case(
        lambda store, connection, _: store.prune_operations(connection, before=date(9000, 1, 1), limit=10),
        {"operation_age"},
        rows=30,
    ),
    "delete_ended": Case(
        lambda store, connection, sample: store.delete_ended(
            connection, DEFAULT_NAMESPACE, [sample.failed.id], created_from=FakeClock().now - timedelta(days=1)
        ),
        {
            "done_job",
            "attempt_log_job",
            "job_log_job",
            "unique_claim_job",
            "webhook_delivery_end",
            "job_pkey",
            "job_progress_pkey",
            "webhook_response_pkey",
        },
        rows=40,
    ),
    "find_stream": Case(lambda _store, connection, _: streams.find(connection, STREAM), {"submit_stream_pkey"}, rows=1),
    "lock_stream": Case(
        lambda _store, connection, _: streams.lock(connection, STREAM, DEFAULT_NAMESPACE), set(), rows=1
    ),
    "move_stream": Case(move, {"submit_stream_pkey"}, rows=1),
    "keep_stream_errors": Case(
        lambda _store, connection, _: streams.keep_errors(connection, STREAM, [LineErrors(LINES + 1, ())]),
        set(),
        rows=1,
    ),
    "list_stream_errors": Case(
        lambda _store, connection, _: streams.list_errors(connection, STREAM, from_line=2, limit=10),
        {"submit_stream_error_pkey"},
        rows=LINES,
    ),
    "prune_streams": Case(
        lambda _store, connection, _: streams.prune(connection, kept=timedelta(days=1), limit=10),
        {"submit_stream_age", "submit_stream_pkey", "submit_stream_error_pkey"},
        rows=30 + 10 * LINES,
    ),
}
