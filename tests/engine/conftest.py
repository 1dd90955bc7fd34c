"""What the engine's tests share."""

import itertools
import os
import time
from collections.abc import Iterator

import psycopg
import pytest
from tests.conftest import TEMPLATE
from tests.engine.worksite import Worksite
from tests.support.clock import FakeClock

from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.query import Connection
from taskflow.engine.store import Store

TABLES = (
    *("job", "ready", "deferred", "lease", "done", "attempt_log", "job_log", "worker", "kind", "leader"),
    *("schedule", "schedule_tick", "stat_delta", "stat_hour"),
    *("queue", "unique_claim", "operation", "api_key", "idempotency_key"),
    *("webhook_delivery", "job_progress"),
    *("submit_stream", "submit_stream_error"),
    *("retention", "partition_drop"),
)
EMPTY = "; ".join(f"DELETE FROM taskflow.{table}" for table in TABLES)
STRANGERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
LEAVING_S = 0.5  # a server process outlives its client's goodbye by a moment

_spare: list[str] = []  # emptied databases of this process
_numbers = itertools.count(1)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """
    A migrated, empty database. Tests that leave the schema alone have theirs emptied and used again.

    A clone takes a fifth of a second, emptying one four milliseconds. One that somebody still uses is thrown away.
    """
    server, _ = postgres.url.rsplit("/", 1)
    name = _spare.pop() if _spare else _clone(postgres)
    yield f"{server}/{name}"
    if "spoilt_schema" not in request.fixturenames and _emptied(f"{server}/{name}"):
        _spare.append(name)
    else:
        with psycopg.connect(postgres.url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def spoilt_schema() -> None:
    """For tests that change the schema: nobody gets their database after them."""


@pytest.fixture
async def site(store: Store, connection: Connection, clock: FakeClock) -> Worksite:
    """A queue with one live worker and no jobs."""
    site = Worksite(store, connection, clock)
    await site.start_worker(site.worker_id)
    return site


def _clone(postgres: EmbeddedPostgres) -> str:
    name = f"engine_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return name


def _emptied(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        deadline = time.monotonic() + LEAVING_S
        while connection.execute(STRANGERS).fetchone() != (0,):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        connection.execute(EMPTY)
    return True
