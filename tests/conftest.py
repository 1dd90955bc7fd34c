"""
Real PostgreSQL for every test: one server per test process, a template migrated once, a clone of it per test.

`TASKFLOW_TEST_POSTGRES=/usr/lib/postgresql/15/bin` runs the suite on an installed server's binaries instead of the
embedded ones.
"""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psycopg
import pytest

from taskflow.db.embedded import TEST_SETTINGS, EmbeddedPostgres
from taskflow.db.migrate import migrate
from taskflow.db.pool import Database, session_settings
from taskflow.db.query import Connection
from taskflow.engine.store import Store
from tests.support.clock import FakeClock

TEMPLATE = "taskflow_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this test process; nothing in it survives a crash of the machine, which makes it fast."""
    binaries = os.environ.get("TASKFLOW_TEST_POSTGRES")
    server = EmbeddedPostgres(
        tmp_path_factory.mktemp("postgres") / "data",
        settings=TEST_SETTINGS,
        binaries=Path(binaries) if binaries else None,
    )
    server.initialise()
    server.spawn()
    try:
        server.wait_ready(60)
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(_url_of(server, TEMPLATE))
        yield server
    finally:
        server.stop()


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        yield _url_of(postgres, name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on the test's database."""
    database = Database(database_url, max_size=8, application_name="test")
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """One connection to the test's database, planned like production's."""
    connection = await asyncpg.connect(database_url, server_settings=session_settings("test"))
    yield connection
    await connection.close(timeout=5)


@pytest.fixture
async def second(database_url: str) -> AsyncIterator[Connection]:
    """Another connection to the same database, for races."""
    connection = await asyncpg.connect(database_url, server_settings=session_settings("test"))
    yield connection
    await connection.close(timeout=5)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Store:
    """A store whose time is the test's."""
    return Store(clock)


def _url_of(server: EmbeddedPostgres, name: str) -> str:
    return server.url.rsplit("/", 1)[0] + f"/{name}"
