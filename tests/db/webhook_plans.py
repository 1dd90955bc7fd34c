"""What `test_plans` fills in of callbacks, and what their statements may cost."""

from collections.abc import Mapping
from datetime import date
from uuid import UUID

from tests.db.planning import ACTIVE, DEFERRED, READY, Case, Work

from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.kernel.ids import MAX_ID
from taskflow.webhooks import repository
from taskflow.webhooks.repository import DeliveryStatus

FILL = f"""
    INSERT INTO taskflow.webhook_delivery
    SELECT id, namespace, id, kind, 'job.failed', NULL, at, (ARRAY['pending', 'delivered', 'failed'])[n %% 3 + 1],
        at, at
    FROM fill WHERE n > {READY + ACTIVE + DEFERRED};
    INSERT INTO taskflow.webhook_response
    SELECT id, attempt, at, 5, 500, 'no', NULL
    FROM fill, generate_series(1, 2) AS attempt WHERE n > {READY + ACTIVE + DEFERRED};
"""
TABLES = ("webhook_delivery", "webhook_response")


def deliveries(job_id: UUID | None = None, status: DeliveryStatus | None = None) -> Work:
    return lambda store, connection, sample: repository.list_page(
        connection, DEFAULT_NAMESPACE, job_id=job_id, status=status, before=MAX_ID, limit=10
    )


CASES: Mapping[str, Case] = {
    "settle": Case(
        lambda store, connection, sample: store.settle(connection, [sample.failed.id]),
        {"job_pkey", "unique_claim_job", "done_job", "webhook_delivery_pkey"},
        rows=10,
    ),
    "prune_deliveries": Case(
        lambda store, connection, sample: store.prune_deliveries(connection, before=date(9000, 1, 1), limit=100),
        {"webhook_delivery_pkey", "webhook_response_pkey"},
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
    "keep_response": Case(
        lambda store, connection, sample: repository.keep_response(
            connection, sample.failed.id, 9, duration_s=0.1, status=204
        ),
        set(),
        rows=1,
    ),
    "reopen_delivery": Case(
        lambda store, connection, sample: repository.reopen(connection, sample.failed.id),
        {"webhook_delivery_pkey"},
        rows=1,
    ),
    "list_responses": Case(
        lambda store, connection, sample: repository.list_responses(connection, sample.failed.id),
        {"webhook_response_pkey"},
        rows=2,
    ),
}
