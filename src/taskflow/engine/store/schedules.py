"""Statements about schedules and their ledger."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from taskflow.db.query import Connection
from taskflow.engine.job import UniqueScope
from taskflow.engine.policy import encode_payload
from taskflow.engine.schedule import Catchup, Overlap, Schedule, ScheduleId, SchedulePlan, Tick, TickOutcome
from taskflow.engine.store.base import QUERIES, StoreBase
from taskflow.kernel.durations import in_ms, of_ms

_decode_json = msgspec.json.decode


class ScheduleStatements(StoreBase):
    """See the module."""

    async def insert_schedule(
        self, connection: Connection, plan: SchedulePlan, *, now: datetime, next_at: datetime | None
    ) -> Schedule | None:
        """Store a schedule that is new at *now*; paused if *next_at* is None. None: its name is taken."""
        row = await QUERIES["insert_schedule"].fetchrow(
            connection, **_columns(plan), namespace=plan.namespace, now=now, paused=next_at is None, next_at=next_at
        )
        return None if row is None else _schedule(row)

    async def find_schedule(
        self, connection: Connection, schedule_id: ScheduleId, namespace: UUID, *, lock: bool = False
    ) -> Schedule | None:
        """Return a schedule; with *lock*, nobody changes or fires it until the transaction ends."""
        row = await QUERIES["lock_schedule" if lock else "find_schedule"].fetchrow(
            connection, schedule_id=schedule_id, namespace=namespace
        )
        return None if row is None else _schedule(row)

    async def find_schedule_by_name(self, connection: Connection, name: str, namespace: UUID) -> Schedule | None:
        row = await QUERIES["find_schedule_by_name"].fetchrow(connection, name=name, namespace=namespace)
        return None if row is None else _schedule(row)

    async def list_schedules(
        self, connection: Connection, namespace: UUID, *, before: UUID, limit: int
    ) -> list[Schedule]:
        rows = await QUERIES["list_schedules"].fetch(connection, namespace=namespace, before=before, limit=limit)
        return [_schedule(row) for row in rows]

    async def count_schedules(self, connection: Connection, namespace: UUID, *, limit: int) -> int:
        """Count the schedules of a namespace, up to *limit*."""
        count: int = await QUERIES["count_schedules"].fetchval(connection, namespace=namespace, limit=limit)
        return count

    async def update_schedule(self, connection: Connection, schedule: Schedule, *, now: datetime) -> Schedule | None:
        """
        Store what *schedule* now says. None: it is gone, or was changed since it was read.

        Raises:
            asyncpg.UniqueViolationError: its new name is taken.
        """
        row = await QUERIES["update_schedule"].fetchrow(
            connection,
            **_columns(schedule.plan),
            namespace=schedule.plan.namespace,
            schedule_id=schedule.id,
            anchor_at=schedule.anchor_at,
            paused_at=schedule.paused_at,
            next_at=schedule.next_at,
            seen=schedule.updated_at,
            now=now,
        )
        return None if row is None else _schedule(row)

    async def delete_schedule(self, connection: Connection, schedule_id: ScheduleId, namespace: UUID) -> bool:
        found = await QUERIES["delete_schedule"].fetchval(connection, schedule_id=schedule_id, namespace=namespace)
        return found is not None

    # Firing ----------------------------------------------------------------------------------------------------------

    async def take_due_schedules(self, connection: Connection, *, limit: int) -> tuple[list[Schedule], datetime | None]:
        """Lock schedules that are due, soonest first, and return them with the database's time (None with none)."""
        rows = await QUERIES["take_due_schedules"].fetch(connection, now=self._now(), limit=limit)
        return [_schedule(row) for row in rows], rows[0]["now"] if rows else None

    async def advance_schedules(
        self, connection: Connection, moved: Sequence[tuple[ScheduleId, datetime | None, Tick]]
    ) -> None:
        """Of each schedule write down when it is due next and its latest tick, whose job is the latest one of it."""
        await QUERIES["advance_schedules"].execute(
            connection,
            schedule_ids=[schedule_id for schedule_id, _, _ in moved],
            next_ats=[next_at for _, next_at, _ in moved],
            fire_ats=[tick.fire_at for _, _, tick in moved],
            outcomes=[tick.outcome for _, _, tick in moved],
            job_ids=[tick.job_id for _, _, tick in moved],
        )

    async def find_ticks(
        self, connection: Connection, instants: Sequence[tuple[ScheduleId, datetime]]
    ) -> set[tuple[ScheduleId, datetime]]:
        """Of *instants* return those that the ledger has already."""
        if not instants:
            return set()
        rows = await QUERIES["find_ticks"].fetch(
            connection, schedule_ids=[item for item, _ in instants], fire_ats=[at for _, at in instants]
        )
        return {(row["schedule_id"], row["fire_at"]) for row in rows}

    async def insert_ticks(self, connection: Connection, ticks: Sequence[tuple[UUID, Tick]]) -> None:
        """Write rows of the ledger, each with its namespace."""
        await QUERIES["insert_ticks"].execute(
            connection,
            now=self._now(),
            schedule_ids=[tick.schedule_id for _, tick in ticks],
            fire_ats=[tick.fire_at for _, tick in ticks],
            namespaces=[namespace for namespace, _ in ticks],
            outcomes=[tick.outcome for _, tick in ticks],
            manuals=[tick.manual for _, tick in ticks],
            job_ids=[tick.job_id for _, tick in ticks],
            details=[tick.detail for _, tick in ticks],
            missed_untils=[tick.missed_until for _, tick in ticks],
        )

    async def list_ticks(
        self, connection: Connection, schedule_id: ScheduleId, *, before: datetime, limit: int
    ) -> list[Tick]:
        rows = await QUERIES["list_ticks"].fetch(connection, schedule_id=schedule_id, before=before, limit=limit)
        return [Tick(**{**row, "outcome": TickOutcome(row["outcome"])}) for row in rows]

    async def prune_ticks(self, connection: Connection, *, kept_days: int, limit: int) -> int:
        """Delete up to *limit* old rows of the ledger; return how many."""
        return await QUERIES["prune_ticks"].write(connection, now=self._now(), kept_days=kept_days, limit=limit)


def _columns(plan: SchedulePlan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "cron": plan.cron,
        "zone": plan.zone,
        "interval_ms": in_ms(plan.every),
        "kind": plan.kind,
        "payload": encode_payload(plan.payload),
        "queue": plan.queue,
        "priority": plan.priority,
        "retries": plan.retries,
        "timeout_ms": None if plan.timeout_s is None else round(plan.timeout_s * 1000),
        "tags": list(plan.tags),
        "catchup": plan.catchup,
        "overlap": plan.overlap,
        "callback_url": plan.callback_url,
        "unique_key": plan.unique_key,
        "unique_scope": plan.unique_scope,
        "unique_window_ms": in_ms(plan.unique_window),
        "ttl_ms": in_ms(plan.expires_after),
    }


def _schedule(row: asyncpg.Record) -> Schedule:
    return Schedule(
        id=row["id"],
        plan=SchedulePlan(
            name=row["name"],
            kind=row["kind"],
            payload=_decode_json(row["payload"]),
            namespace=row["namespace"],
            cron=row["cron"],
            zone=row["zone"],
            every=of_ms(row["interval_ms"]),
            queue=row["queue"],
            priority=row["priority"],
            retries=row["retries"],
            timeout_s=None if row["timeout_ms"] is None else row["timeout_ms"] / 1000,
            tags=tuple(row["tags"]),
            catchup=Catchup(row["catchup"]),
            overlap=Overlap(row["overlap"]),
            callback_url=row["callback_url"],
            unique_key=row["unique_key"],
            unique_scope=None if row["unique_scope"] is None else UniqueScope(row["unique_scope"]),
            unique_window=of_ms(row["unique_window_ms"]),
            expires_after=of_ms(row["ttl_ms"]),
        ),
        anchor_at=row["anchor_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        paused_at=row["paused_at"],
        next_at=row["next_at"],
        last_fire_at=row["last_fire_at"],
        last_outcome=None if row["last_outcome"] is None else TickOutcome(row["last_outcome"]),
        last_job_id=row["last_job_id"],
        last_job_at=row["last_job_at"],
    )
