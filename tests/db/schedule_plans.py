"""What `test_plans` fills in of schedules and statistics, and what their statements may cost."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any
from uuid import UUID

from tests.db.planning import Case

from taskflow.db.query import Connection
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.engine.schedule import Schedule, ScheduleId, SchedulePlan, Tick, TickOutcome
from taskflow.engine.store import Store
from taskflow.kernel.ids import MAX_ID

SCHEDULES, DUE, TICKS = 900, 40, 300  # of one namespace; a ledger of so many rows for each of twenty schedules
HOURS, DELTAS = 24 * 30, 300

FILL = f"""
    DELETE FROM taskflow.schedule;
    DELETE FROM taskflow.schedule_tick;
    DELETE FROM taskflow.stat_hour;
    DELETE FROM taskflow.stat_delta;
    DELETE FROM taskflow.kind;
    INSERT INTO taskflow.schedule
    SELECT md5(n::text)::uuid, '{DEFAULT_NAMESPACE}', 'number ' || n, '* * * * *', 'UTC', NULL, %(now)s, 'mail', '{{}}',
        NULL, NULL, NULL, NULL, '{{}}', 'latest', 'skip', %(now)s, %(now)s, NULL,
        %(now)s::timestamptz + (n - {DUE}) * interval '1 minute'
    FROM generate_series(1, {SCHEDULES}) AS n;
    INSERT INTO taskflow.schedule_tick
    SELECT md5(n::text)::uuid, date_trunc('minute', %(now)s::timestamptz) - t * interval '1 minute',
        '{DEFAULT_NAMESPACE}', 'fired', false, NULL, NULL, NULL, %(now)s::timestamptz - t * interval '1 minute'
    FROM generate_series(1, 20) AS n, generate_series(1, {TICKS}) AS t;
    INSERT INTO taskflow.stat_hour
    SELECT CASE WHEN b > 5 THEN '{UUID(int=7)}' ELSE '{DEFAULT_NAMESPACE}' END::uuid,
        date_trunc('hour', %(now)s::timestamptz) - h * interval '1 hour', 'default', 'mail', 'completed', m, b, 10
    FROM generate_series(1, {HOURS}) AS h, generate_series(1, 10) AS b, unnest(ARRAY['run', 'wait']) AS m;
    INSERT INTO taskflow.stat_delta
    SELECT '{DEFAULT_NAMESPACE}', date_trunc('hour', %(now)s::timestamptz), 'default', 'mail', 'completed', 'run', 5, 1
    FROM generate_series(1, {DELTAS});
    INSERT INTO taskflow.kind
    SELECT 'kind ' || n, 'hash ' || h, 'default', '{{}}', 5, 3, 1000, %(now)s
    FROM generate_series(1, 200) AS n, generate_series(1, 5) AS h;
"""
TABLES = ("schedule", "schedule_tick", "stat_hour", "stat_delta", "kind")


def schedule_id(number: int) -> ScheduleId:
    return ScheduleId(UUID(md5(str(number).encode()).hexdigest()))


def minute(back: int) -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=back)


PLAN = SchedulePlan("number 7", "mail", {}, cron="* * * * *")
SEEN = Schedule(schedule_id(7), PLAN, minute(0), minute(0), minute(0))
TICK = Tick(schedule_id(500), minute(0), TickOutcome.FIRED)
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DAY = {"first": HOUR - timedelta(days=1), "past": HOUR}


async def _update(store: Store, connection: Connection, _: Any) -> None:
    seen = await store.find_schedule(connection, SEEN.id, DEFAULT_NAMESPACE)
    await store.update_schedule(connection, seen or SEEN, now=minute(0))


CASES: Mapping[str, Case] = {
    "find_schedule": Case(
        lambda store, connection, _: store.find_schedule(connection, SEEN.id, DEFAULT_NAMESPACE),
        {"schedule_list"},
        rows=1,
    ),
    "lock_schedule": Case(
        lambda store, connection, _: store.find_schedule(connection, SEEN.id, DEFAULT_NAMESPACE, lock=True),
        {"schedule_list"},
        rows=1,
    ),
    "find_schedule_by_name": Case(
        lambda store, connection, _: store.find_schedule_by_name(connection, "number 7", DEFAULT_NAMESPACE),
        {"schedule_name"},
        rows=1,
    ),
    "list_schedules": Case(
        lambda store, connection, _: store.list_schedules(connection, DEFAULT_NAMESPACE, before=MAX_ID, limit=30),
        {"schedule_list"},
        rows=31,
    ),
    "count_schedules": Case(
        lambda store, connection, _: store.count_schedules(connection, DEFAULT_NAMESPACE, limit=1000),
        {"schedule_list"},
        rows=SCHEDULES,
        buffers=2000,
    ),
    "insert_schedule": Case(
        lambda store, connection, _: store.insert_schedule(
            connection, replace(PLAN, name="new"), now=minute(0), next_at=minute(0)
        ),
        set(),
        rows=0,
    ),
    "update_schedule": Case(_update, {"schedule_list"}, rows=1),
    "delete_schedule": Case(
        lambda store, connection, _: store.delete_schedule(connection, SEEN.id, DEFAULT_NAMESPACE),
        {"schedule_list"},
        rows=1,
    ),
    "take_due_schedules": Case(
        lambda store, connection, _: store.take_due_schedules(connection, limit=10), {"schedule_due"}, rows=12
    ),
    "advance_schedules": Case(
        lambda store, connection, _: store.advance_schedules(
            connection, [(schedule_id(number), minute(0), TICK) for number in range(1, 11)]
        ),
        {"schedule_pkey"},
        rows=10,
    ),
    "find_ticks": Case(
        lambda store, connection, _: store.find_ticks(
            connection, [(schedule_id(number), minute(5)) for number in range(1, 11)]
        ),
        {"schedule_tick_pkey"},
        rows=10,
    ),
    "insert_ticks": Case(
        lambda store, connection, _: store.insert_ticks(connection, [(DEFAULT_NAMESPACE, TICK)]), set(), rows=1
    ),
    "list_ticks": Case(
        lambda store, connection, _: store.list_ticks(connection, schedule_id(7), before=minute(-5), limit=10),
        {"schedule_tick_pkey"},
        rows=11,
    ),
    "prune_ticks": Case(
        lambda store, connection, _: store.prune_ticks(connection, kept_days=0, limit=10),
        {"schedule_tick_age"},
        rows=21,
    ),
    "find_kinds": Case(
        lambda store, connection, _: store.find_kinds(connection, ["kind 1", "kind 2"]), {"kind_pkey"}, rows=10
    ),
    "find_live_jobs": Case(
        lambda store, connection, sample: store.find_live_jobs(connection, [sample.ready.id, sample.failed.id]),
        {"ready_pkey", "deferred_pkey"},
        rows=40,
        scans={"lease"},
    ),
    "fold_stats": Case(
        lambda store, connection, _: store.fold_stats(connection, limit=1000),
        set(),
        rows=3 * DELTAS,
        buffers=2000,
        scans={"stat_delta"},
    ),
    "prune_stats": Case(
        lambda store, connection, _: store.prune_stats(connection, kept_days=1, limit=10),
        {"stat_hour_pkey"},
        rows=20 * HOURS + 10,
    ),
    "read_stats": Case(
        lambda store, connection, _: store.read_stats(connection, DEFAULT_NAMESPACE, **DAY),
        {"stat_hour_pkey"},
        rows=24 * 10 + 30 + DELTAS,
        buffers=2000,
        scans={"stat_delta"},
    ),
    "read_stat_series": Case(
        lambda store, connection, _: store.read_stat_series(connection, DEFAULT_NAMESPACE, period="hour", **DAY),
        {"stat_hour_pkey"},
        rows=24 * 10 + 30 + DELTAS,
        buffers=2000,
        scans={"stat_delta"},
    ),
    "count_live": Case(
        lambda store, connection, _: store.count_live(connection, DEFAULT_NAMESPACE),
        {"job_pkey"},
        rows=10_000 + 4_000 + 2 * 2_000 + 100,
        scans={"ready", "deferred", "lease"},
        buffers=30_000,
    ),
}
