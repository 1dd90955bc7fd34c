"""What `test_plans` fills in of queues, and what their statements may cost."""

from collections.abc import Mapping

from tests.db.planning import Case

from taskflow.engine.job import DEFAULT_NAMESPACE

FILL = """
    DELETE FROM taskflow.queue;
    INSERT INTO taskflow.queue
    SELECT 'q' || n, %(now)s, CASE WHEN n <= 3 THEN %(now)s END, NULL, NULL, %(now)s FROM generate_series(1, 1000) AS n;
"""
TABLES = ("queue",)


CASES: Mapping[str, Case] = {
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
    "queue_depths": Case(
        lambda store, connection, sample: store.queue_depths(connection),
        {"queue_pkey"},
        rows=2 * 10_000,
        buffers=4000,
        scans={"ready", "worker"},
    ),
    "count_queue_settings": Case(
        lambda store, connection, sample: store.count_queue_settings(connection, besides="q1", limit=100),
        {"queue_pkey"},
        rows=101,
    ),
}
