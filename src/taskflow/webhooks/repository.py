"""The `webhook_delivery` and `webhook_response` tables, but for what `taskflow.settle` writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from uuid import UUID

import asyncpg

from taskflow.db.query import Connection, load_queries
from taskflow.engine.job import JobId

QUERIES = load_queries(Path(__file__).parent / "queries")
MAX_RESPONSES = 1000  # of one delivery that are shown
FAILING_ROWS = 10_000  # deliveries of each status that `count_failing` looks at
TROUBLED_FAILURES = 2  # one alone may be a hiccup


class DeliveryStatus(StrEnum):
    """Where a delivery is: still tried, taken, or given up (the dead letters)."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One end of a job that is to be told. *id* is also the id of the engine's job that tells it."""

    id: JobId
    namespace: UUID
    job_id: JobId
    kind: str
    event: str
    error: str | None
    ended_at: datetime
    status: DeliveryStatus
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Met:
    """What one attempt met: a *status* with the beginning of its body, or a *fault* in its place."""

    attempt: int
    at: datetime
    duration_ms: int
    status: int | None
    excerpt: str | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class Failing:
    """
    Deliveries that do not arrive.

    Args:
        failed: given up; counted up to `FAILING_ROWS`.
        newest_age_s: since the last of them was given up; None without any.
        retrying: tried again after `TROUBLED_FAILURES` failed attempts or more.
    """

    failed: int
    newest_age_s: float | None
    retrying: int


async def find(connection: Connection, delivery_id: UUID, namespace: UUID | None) -> Delivery | None:
    row = await QUERIES["find_delivery"].fetchrow(connection, id=delivery_id, namespace=namespace)
    return None if row is None else _delivery(row)


async def list_page(
    connection: Connection,
    namespace: UUID,
    *,
    job_id: UUID | None,
    status: DeliveryStatus | None,
    before: UUID,
    limit: int,
) -> list[Delivery]:
    """Return up to *limit* deliveries below *before*, newest first."""
    common = {"namespace": namespace, "before": before, "limit": limit}
    if job_id is not None:
        rows = await QUERIES["list_deliveries_of_job"].fetch(connection, **common, job_id=job_id, status=status)
    elif status is not None:
        rows = await QUERIES["list_deliveries_by_status"].fetch(connection, **common, status=status)
    else:
        rows = await QUERIES["list_deliveries"].fetch(connection, **common)
    return [_delivery(row) for row in rows]


async def count_failing(connection: Connection, namespace: UUID) -> Failing:
    [row] = await QUERIES["count_failing"].fetch(
        connection, namespace=namespace, limit=FAILING_ROWS, failures=TROUBLED_FAILURES
    )
    return Failing(**row)


async def keep_response(
    connection: Connection,
    delivery_id: UUID,
    attempt: int,
    *,
    duration_s: float,
    status: int | None = None,
    excerpt: str | None = None,
    fault: str | None = None,
) -> None:
    await QUERIES["keep_response"].execute(
        connection,
        delivery_id=delivery_id,
        attempt=attempt,
        duration_ms=round(duration_s * 1000),
        status=status,
        excerpt=excerpt,
        fault=fault,
    )


async def list_responses(connection: Connection, delivery_id: UUID) -> Sequence[Met]:
    rows = await QUERIES["list_responses"].fetch(connection, delivery_id=delivery_id, limit=MAX_RESPONSES)
    return [Met(**row) for row in rows]


async def reopen(connection: Connection, delivery_id: UUID) -> None:
    await QUERIES["reopen_delivery"].execute(connection, id=delivery_id)


def _delivery(row: asyncpg.Record) -> Delivery:
    return Delivery(**{**row, "status": DeliveryStatus(row["status"])})
