"""Job ids: UUIDs of version 7, made in SQL, and the smallest id of an instant, in SQL and in Python."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest

from taskflow.db.query import Connection
from taskflow.engine.store import id_floor
from taskflow.kernel.ids import MAX_ID


async def test_an_id_is_a_uuid_of_version_7_whose_first_bits_are_the_time(connection: Connection) -> None:
    at = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)
    made = await connection.fetchval("SELECT taskflow.uuid_v7($1)", at)
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == round(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1000) + 123
    assert (made.int >> 64) & 0xFFF == 456 * 4096 // 1000


async def test_ids_of_one_instant_differ(connection: Connection) -> None:
    made = await connection.fetch("SELECT taskflow.uuid_v7(now()) AS id FROM generate_series(1, 1000)")
    assert len({row["id"] for row in made}) == 1000


async def test_ids_a_microsecond_apart_are_ordered(connection: Connection) -> None:
    rows = await connection.fetch(
        "SELECT taskflow.uuid_v7(timestamptz '2026-11-23 23:59:59.999Z' + n * interval '1 microsecond') AS id"
        " FROM generate_series(0, 2000) AS n ORDER BY n"
    )
    ids = [row["id"] for row in rows]
    assert ids == sorted(ids)


@pytest.mark.slow
async def test_the_floor_of_an_instant_is_the_same_in_python_and_in_sql(connection: Connection) -> None:
    rows = await connection.fetch(
        "SELECT at, taskflow.uuid_v7_floor(at) AS floor, taskflow.uuid_v7(at) AS id FROM ("
        " SELECT timestamptz 'epoch' + random() * interval '2000 years' AS at FROM generate_series(1, 5000)"
        " UNION ALL VALUES (timestamptz 'epoch'), (timestamptz 'epoch' + interval '999 microseconds'),"
        " (timestamptz '2026-11-23 00:00:00.0009999Z')) AS instants"
    )
    for row in rows:
        assert row["floor"] == id_floor(row["at"])
        assert row["floor"] < row["id"] < id_floor(row["at"] + timedelta(milliseconds=1))


def test_every_instant_has_a_floor() -> None:
    assert id_floor(datetime(1901, 1, 1, tzinfo=UTC)) == UUID(int=0)
    assert id_floor(datetime.max.replace(tzinfo=UTC)) > id_floor(datetime(9999, 1, 1, tzinfo=UTC))
    assert id_floor(datetime.max.replace(tzinfo=UTC)) < MAX_ID
