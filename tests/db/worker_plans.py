"""What `test_plans` fills in of workers and leases, and what their statements may cost."""

from collections.abc import Mapping

from tests.db.planning import ACTIVE, LEASE_SIZE, LEASES, Case

from taskflow.db.query import Connection
from taskflow.engine.job import DEFAULT_NAMESPACE, OutcomeKind
from taskflow.engine.store import Store

FILL = ""
TABLES = ("leader", "worker")


async def find_overdue(store: Store, connection: Connection) -> object:
    """As if all workers were over HTTP, and idle."""
    await connection.execute("UPDATE taskflow.worker SET namespace = $1", DEFAULT_NAMESPACE)
    await connection.execute("UPDATE taskflow.lease SET claimed_at = claimed_at - interval '1 day'")
    return await store.find_overdue(connection, grace_s=10, limit=500)


CASES: Mapping[str, Case] = {
    "return_leases": Case(
        lambda store, connection, sample: store.return_leases(
            connection, [sample.claims[0].lease_id], OutcomeKind.LOST
        ),
        {"lease_pkey", "job_pkey"},
        rows=LEASE_SIZE + 1,
        buffers=4000,
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
    "heartbeat": Case(
        lambda store, connection, sample: store.heartbeat(connection, sample.worker_id), {"worker_pkey"}, rows=1
    ),
}
