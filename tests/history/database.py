"""The database as a witness: `install` lets it write down what happens (`recording.sql`), the rest reads that."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from tests.history.events import Delivery, Effect, Event, Final, Tick

RECORDING = Path(__file__).with_name("recording.sql")

Connection = psycopg.Connection[Any]

PLACES = """
    SELECT job_id::text, 'ready' FROM taskflow.ready
    UNION ALL SELECT job_id::text, 'deferred' FROM taskflow.deferred
    UNION ALL SELECT job_id::text, state FROM taskflow.done
    UNION ALL
    SELECT u.job_id::text, 'lease'
    FROM taskflow.lease l CROSS JOIN unnest(l.job_ids) WITH ORDINALITY AS u(job_id, ord)
    WHERE get_bit(l.open, u.ord::integer - 1) = 1
"""
TICKS = """
    SELECT
        schedule_id::text, (extract(epoch FROM fire_at) * 1000)::bigint, outcome, job_id::text,
        (extract(epoch FROM missed_until) * 1000)::bigint
    FROM taskflow.schedule_tick
"""
UNENDED = """
    SELECT count(*) FROM taskflow.job j WHERE NOT EXISTS (SELECT FROM taskflow.done d WHERE d.job_id = j.id)
"""


def install(connection: Connection) -> None:
    """Begin to record, in a migrated database."""
    connection.execute(RECORDING.read_bytes())


def read_events(connection: Connection) -> list[Event]:
    """Return what the database has recorded, in its order."""
    rows = connection.execute(
        "SELECT seq, tx, extract(epoch FROM at)::double precision, what, about FROM history.event ORDER BY seq"
    )
    return [
        msgspec.convert(
            {"event": what, "seq": seq, "tx": tx, "at": at, "source": f"database:{seq}", **_without_nulls(about)},
            type=Event,
        )
        for seq, tx, at, what, about in rows
    ]


def read_final(connection: Connection) -> Final:
    """Return where everything is now, as of one instant."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        places: dict[str, list[str]] = defaultdict(list)
        for job_id, place in connection.execute(PLACES):
            places[job_id].append(place)
        return Final(
            places=places,
            effects=[
                Effect(*row)
                for row in connection.execute("SELECT job_id::text, attempt, lease_id::text FROM history.effect")
            ],
            ticks=[Tick(*row) for row in connection.execute(TICKS)],
            deliveries=[
                Delivery(*row)
                for row in connection.execute("SELECT id::text, job_id::text, status FROM taskflow.webhook_delivery")
            ],
        )


def count_unended(connection: Connection) -> int:
    """Return how many jobs have not ended, the engine's own included."""
    found = connection.execute(UNENDED).fetchone()
    return int(found[0]) if found else 0


def _without_nulls(about: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if value is not None}
