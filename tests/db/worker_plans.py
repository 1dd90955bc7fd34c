"""What `test_plans` fills in of workers, leases and kinds, and what their statements may cost."""

from collections.abc import Mapping
from uuid import uuid4

from tests.db.planning import ACTIVE, LEASE_SIZE, LEASES, Case

from taskflow.db.query import Connection
from taskflow.engine.job import DEFAULT_NAMESPACE, KindInfo, OutcomeKind, WorkerId
from taskflow.engine.record import RemoteWorker
from taskflow.engine.store import Store

FILL = ""
TABLES = ("worker",)

REMOTE = RemoteWorker(DEFAULT_NAMESPACE, ["default"], ["mail"], 1)
KIND = KindInfo("kind 1", "default", {}, retries=3, timeout_s=30.0, priority=5)


async def find_overdue(store: Store, connection: Connection) -> object:
    """As if all workers were over HTTP, and idle."""
    await connection.execute("UPDATE taskflow.worker SET namespace = $1", DEFAULT_NAMESPACE)
    await connection.execute("UPDATE taskflow.lease SET claimed_at = claimed_at - interval '1 day'")
    return await store.find_overdue(connection, grace_s=10, limit=500)


async def look_ahead(store: Store, connection: Connection) -> object:
    """When all leases are old, but none is of a worker over HTTP."""
    await connection.execute("UPDATE taskflow.lease SET claimed_at = claimed_at - interval '1 day'")
    return await store.look_ahead(connection, grace_s=10)


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
    "register_worker": Case(
        lambda store, connection, sample: store.register_worker(
            connection, worker_id=WorkerId(uuid4()), host="here", pid=1, queues=["default"], concurrency=1
        ),
        set(),
        rows=0,
    ),
    "remove_worker": Case(
        lambda store, connection, sample: store.remove_worker(connection, sample.worker_id), {"worker_pkey"}, rows=1
    ),
    "set_worker_kinds": Case(
        lambda store, connection, sample: store.set_worker_kinds(connection, sample.worker_id, ["mail"]),
        {"worker_pkey"},
        rows=1,
    ),
    "list_workers": Case(
        lambda store, connection, sample: store.list_workers(connection), set(), rows=1, scans={"worker"}
    ),
    "bury_workers": Case(
        lambda store, connection, sample: store.bury_workers(connection), set(), rows=1, scans={"worker"}
    ),
    "look_ahead": Case(
        lambda store, connection, _: look_ahead(store, connection),
        {"deferred_due", "schedule_due", "ready_expiry", "deferred_expiry", "worker_pkey"},
        rows=5 + 2 * LEASES,
        scans={"lease"},
    ),
    "next_death_s": Case(
        lambda store, connection, _: store.next_death_s(connection),
        {"worker_pkey"},
        rows=1 + 2 * LEASES,
        scans={"lease", "worker"},
    ),
    "register_remote_worker": Case(
        lambda store, connection, sample: store.register_remote_worker(
            connection, WorkerId(uuid4()), REMOTE, limit=100
        ),
        set(),
        rows=1,
        scans={"worker"},
    ),
    "renew_remote_worker": Case(
        lambda store, connection, sample: store.renew_remote_worker(connection, sample.worker_id, REMOTE),
        {"worker_pkey"},
        rows=1,
    ),
    "remove_remote_worker": Case(
        lambda store, connection, sample: store.remove_remote_worker(
            connection, sample.worker_id, namespace=DEFAULT_NAMESPACE
        ),
        {"worker_pkey"},
        rows=1,
    ),
    "publish_kinds": Case(
        lambda store, connection, sample: store.publish_kinds(connection, [(KIND, "hash 1")]), set(), rows=1
    ),
    "adopt_kinds": Case(
        lambda store, connection, sample: store.publish_remote_kinds(connection, DEFAULT_NAMESPACE, [(KIND, "hash 1")]),
        {"kind_pkey"},
        rows=5,
    ),
    "find_foreign_kinds": Case(
        lambda store, connection, sample: store.find_foreign_kinds(connection, DEFAULT_NAMESPACE, ["kind 1", "kind 2"]),
        {"kind_pkey"},
        rows=10,
    ),
    "list_kinds": Case(
        lambda store, connection, sample: store.list_kinds(connection), {"kind_pkey"}, rows=1_000, buffers=3_000
    ),
    "count_remote_kinds": Case(
        lambda store, connection, sample: store.count_remote_kinds(connection, DEFAULT_NAMESPACE, limit=100),
        set(),
        rows=1_000,
        scans={"kind"},
    ),
}
