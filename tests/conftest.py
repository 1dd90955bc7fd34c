"""
Real PostgreSQL for every test: one server per test process, a template migrated once, clones of it for tests.

A clone takes a fifth of a second, emptying one a few milliseconds: a test that leaves the schema as it was hands its
database on, and with it the session that empties it, which has planned that before.

`TASKFLOW_TEST_POSTGRES=/usr/lib/postgresql/15/bin` runs the suite on an installed server's binaries instead of the
embedded ones.
"""

import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
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
TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'taskflow'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND relname <> 'alembic_version'
"""
SCHEMA = """
SELECT md5(string_agg(about, ' ' ORDER BY about)) FROM (
    SELECT concat_ws(' ', oid, relname, relnatts, relchecks, reloptions, relacl, relrowsecurity) FROM pg_class
    WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('taskflow', 'public')) AND relkind <> 'i'
    UNION ALL SELECT concat_ws(' ', oid, conname, convalidated) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', oid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', indexrelid, indisvalid) FROM pg_index WHERE indexrelid >= 16384
    UNION ALL SELECT concat_ws(' ', oid, proname, proacl, prosrc) FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT concat_ws(' ', oid, nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT version_num FROM taskflow.alembic_version
) AS what(about)
"""
STRANGERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it starts in the background ignore Ctrl-C; what is tested here must hear one all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)

LEAVING_S = 0.5  # a server process outlives its client's goodbye by a moment

_spare: list["_Keeper"] = []  # with emptied databases of this process
_numbers = itertools.count(1)


class _Template:
    """How to empty a clone, and what its schema is like."""

    empty = ""
    schema: str | None = None


_template = _Template()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `make test-fuzz` and `make test-interleavings`."""
    parser.addoption("--fuzz-examples", default="2", help="requests to each operation of the API")
    parser.addoption("--fuzz-seed", default="1", help="a number, or `random`")
    parser.addoption("--orders", default="8", help="orders in which three operations of the engine are interleaved")
    parser.addoption("--every-crash", action="store_true", help="also at places that look like the one before")
    parser.addoption("--order", help="one order of statements, as a failed test gave it")


class _Keeper:
    """A clone, and the session beside its tests' that empties it."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self.name = f"test_{os.getpid()}_{next(_numbers)}"
        self.url = _url_of(server, self.name)
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self.name} TEMPLATE {TEMPLATE}")
        self._session: psycopg.Connection | None = None

    def empty(self) -> bool:
        """Empty it; False if somebody still uses it, or its schema is not what it was."""
        for _ in range(2):
            session = self._session = self._session or psycopg.connect(self.url, autocommit=True)
            try:
                return _emptied(session)
            except psycopg.OperationalError:  # cut by a test that cuts connections
                self.close()
        return False

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def drop(self) -> None:
        self.close()
        with psycopg.connect(self._server.url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no long test be among the last, whatever their order: test processes that are done would wait for it."""
    last = len(items) * 3 // 4
    long = [item for item in items[last:] if any(map(item.get_closest_marker, ("system", "timeout")))]
    items[:] = [*long, *items[:last], *(item for item in items[last:] if item not in long)]


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
        with psycopg.connect(_url_of(server, TEMPLATE)) as template:
            tables = [name for (name,) in template.execute(TABLES)]
            _template.empty = "; ".join(f"DELETE FROM taskflow.{table}" for table in tables)
            _template.schema = _schema(template)
        yield server
    finally:
        for keeper in _spare:
            keeper.close()
        server.stop()


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    with borrowed_database(postgres, new="spoilt_schema" in request.fixturenames) as url:
        yield url


@contextmanager
def borrowed_database(postgres: EmbeddedPostgres, *, new: bool = False) -> Iterator[str]:
    """Lend a migrated, empty database; one that is *new* is thrown away afterwards."""
    keeper = _Keeper(postgres) if new or not _spare else _spare.pop()
    yield keeper.url
    if not new and keeper.empty():
        _spare.append(keeper)
    else:
        keeper.drop()


@pytest.fixture
def spoilt_schema() -> None:
    """For tests that change the schema, or look at how tables lie on disk: their database is new, and thrown away."""


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


def _emptied(session: psycopg.Connection) -> bool:
    deadline = time.monotonic() + LEAVING_S
    while session.execute(STRANGERS).fetchone() != (0,):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    if _schema(session) != _template.schema:
        return False
    session.execute(_template.empty.encode())
    return True


def _schema(connection: psycopg.Connection) -> str | None:
    """Return a digest of what tables, functions and the like there are; None if it is not even our schema."""
    try:
        [(digest,)] = connection.execute(SCHEMA)
    except psycopg.errors.UndefinedTable:
        return None
    return str(digest)
